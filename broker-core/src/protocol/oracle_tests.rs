//! The hot codec against two independent ones: the same bytes, read and written by all three.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use kafka_wire::KafkaMessage;
use kafka_wire_core::{ApiVersion, DecodeLimits};
use uuid::Uuid;

use super::api_versions::{self, ApiVersionsRequest};
use super::apis::{self, APIS};
use super::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic,
    FetchTopicResponse, ForgottenTopic,
};
use super::frame::PREFIX_BYTES;
use super::produce::{
    BatchIndexError, ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse,
    ProduceTopic, ProduceTopicResponse,
};
use super::writer::Writer;
use crate::error::ErrorCode;

const ID: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn body(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::default();
    write(&mut writer);
    Bytes::from(writer.finish().concat()).slice(PREFIX_BYTES..)
}

/// Both oracles read `bytes` to the end and write the same bytes again.
fn check_oracles<W: KafkaMessage, P: Decodable + Encodable>(bytes: &Bytes, version: i16) -> (W, P) {
    let wire = W::decode_from_bytes(
        bytes.clone(),
        ApiVersion::new(version),
        DecodeLimits::default(),
    )
    .unwrap_or_else(|error| panic!("kafka-wire, version {version}: {error}"));
    let again = wire.encode_to_bytes(ApiVersion::new(version)).unwrap();
    assert_eq!(again, bytes, "kafka-wire, version {version}");

    let mut rest = bytes.clone();
    let protocol = P::decode(&mut rest, version)
        .unwrap_or_else(|error| panic!("kafka-protocol, version {version}: {error}"));
    assert!(rest.is_empty(), "kafka-protocol, version {version}");
    let mut again = BytesMut::new();
    protocol.encode(&mut again, version).unwrap();
    assert_eq!(again, bytes, "kafka-protocol, version {version}");
    (wire, protocol)
}

fn topic_key(version: i16) -> (String, Uuid) {
    if version >= 13 {
        (String::new(), ID)
    } else {
        ("orders".to_owned(), Uuid::nil())
    }
}

#[test]
fn produce_requests_agree() {
    for version in 3..=13 {
        let (name, id) = topic_key(version);
        let partition = |index, records: Option<&[u8]>| ProducePartition {
            index,
            records: records.map(BytesMut::from),
        };
        let request = ProduceRequest {
            transactional_id: (version % 2 == 0).then(|| "tx".to_owned()),
            acks: -1,
            timeout_ms: 1500,
            topics: vec![
                ProduceTopic {
                    name: name.clone(),
                    id,
                    partitions: vec![
                        partition(3, Some(b"first")),
                        partition(4, None),
                        partition(5, Some(&[9; 3000])),
                    ],
                },
                ProduceTopic {
                    name,
                    id,
                    partitions: vec![partition(0, Some(b""))],
                },
            ],
        };
        let bytes = body(|writer| request.encode(writer, version));
        let (wire, _) = check_oracles::<
            kafka_wire::ProduceRequest,
            kafka_protocol::messages::ProduceRequest,
        >(&bytes, version);
        assert_eq!((wire.acks, wire.timeout_ms), (-1, 1500));
        assert_eq!(wire.topic_data[0].partition_data[2].index, 5);
        let decoded = ProduceRequest::decode(BytesMut::from(&bytes[..]), version).unwrap();
        assert_eq!(decoded, request, "version {version}");
    }
}

#[test]
fn produced_records_are_parts_of_the_frame() {
    let request = ProduceRequest {
        transactional_id: None,
        acks: 1,
        timeout_ms: 0,
        topics: vec![ProduceTopic {
            name: "t".to_owned(),
            id: Uuid::nil(),
            partitions: vec![ProducePartition {
                index: 0,
                records: Some(BytesMut::from(&[5; 100][..])),
            }],
        }],
    };
    let frame = BytesMut::from(&body(|writer| request.encode(writer, 9))[..]);
    let range = frame.as_ptr() as usize..frame.as_ptr() as usize + frame.len();
    let decoded = ProduceRequest::decode(frame, 9).unwrap();
    let records = decoded.topics[0].partitions[0].records.as_ref().unwrap();
    assert!(range.contains(&(records.as_ptr() as usize)));
}

#[test]
fn produce_responses_agree() {
    for version in 3..=13 {
        let (name, id) = topic_key(version);
        let mut failed = ProducePartitionResponse {
            index: 1,
            error: ErrorCode::INVALID_RECORD,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: None,
        };
        if version >= 8 {
            failed.error_message = Some("two records refused".to_owned());
            failed.record_errors = vec![
                BatchIndexError {
                    batch_index: 2,
                    message: Some("why".to_owned()),
                },
                BatchIndexError {
                    batch_index: 7,
                    message: None,
                },
            ];
        }
        let response = ProduceResponse {
            topics: vec![ProduceTopicResponse {
                name,
                id,
                partitions: vec![
                    ProducePartitionResponse {
                        index: 0,
                        error: ErrorCode::NONE,
                        base_offset: 70,
                        log_append_time_ms: 71,
                        log_start_offset: if version >= 5 { 72 } else { -1 },
                        record_errors: Vec::new(),
                        error_message: None,
                    },
                    failed,
                ],
            }],
            throttle_time_ms: 9,
        };
        let bytes = body(|writer| response.encode(writer, version));
        let (wire, protocol) = check_oracles::<
            kafka_wire::ProduceResponse,
            kafka_protocol::messages::ProduceResponse,
        >(&bytes, version);
        let first = &wire.responses[0].partition_responses[0];
        assert_eq!((first.base_offset, first.log_append_time_ms), (70, 71));
        assert_eq!(protocol.throttle_time_ms, 9);
        let decoded = ProduceResponse::decode(&bytes, version).unwrap();
        assert_eq!(decoded, response, "version {version}");
    }
}

#[test]
fn fetch_requests_agree() {
    for version in 4..=18 {
        let (name, id) = topic_key(version);
        let request = FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: 1,
            session_id: if version >= 7 { 12 } else { 0 },
            session_epoch: if version >= 7 { 13 } else { -1 },
            topics: vec![FetchTopic {
                name: name.clone(),
                id,
                partitions: vec![FetchPartition {
                    index: 2,
                    current_leader_epoch: if version >= 9 { 4 } else { -1 },
                    fetch_offset: 5,
                    last_fetched_epoch: if version >= 12 { 6 } else { -1 },
                    log_start_offset: if version >= 5 { 7 } else { -1 },
                    max_bytes: 8,
                }],
            }],
            forgotten: if version >= 7 {
                vec![ForgottenTopic {
                    name,
                    id,
                    partitions: vec![1, 2],
                }]
            } else {
                Vec::new()
            },
            rack_id: if version >= 11 {
                "rack".to_owned()
            } else {
                String::new()
            },
        };
        let bytes = body(|writer| request.encode(writer, version));
        let (wire, _) = check_oracles::<
            kafka_wire::FetchRequest,
            kafka_protocol::messages::FetchRequest,
        >(&bytes, version);
        let first = &wire.topics[0].partitions[0];
        assert_eq!((first.fetch_offset, first.partition_max_bytes), (5, 8));
        assert_eq!((wire.max_wait_ms, wire.min_bytes), (500, 1));
        let decoded = FetchRequest::decode(&bytes, version).unwrap();
        assert_eq!(decoded, request, "version {version}");
    }
}

#[test]
fn a_follower_may_say_its_high_watermark() {
    let partition = kafka_protocol::messages::fetch_request::FetchPartition::default()
        .with_partition(3)
        .with_fetch_offset(5)
        .with_high_watermark(4);
    let topic = kafka_protocol::messages::fetch_request::FetchTopic::default()
        .with_topic_id(ID)
        .with_partitions(vec![partition]);
    let request = kafka_protocol::messages::FetchRequest::default().with_topics(vec![topic]);
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, 18).unwrap();
    let decoded = FetchRequest::decode(&bytes, 18).unwrap();
    let partition = decoded.topics[0].partitions[0];
    assert_eq!((partition.index, partition.fetch_offset), (3, 5));
}

#[test]
fn fetch_responses_agree() {
    for version in 4..=18 {
        let (name, id) = topic_key(version);
        let records = Bytes::from(vec![3; 2000]);
        let response = FetchResponse {
            throttle_time_ms: 1,
            error: ErrorCode::NONE,
            session_id: 0,
            topics: vec![FetchTopicResponse {
                name,
                id,
                partitions: vec![
                    FetchPartitionResponse {
                        index: 0,
                        error: ErrorCode::NONE,
                        high_watermark: 10,
                        last_stable_offset: 9,
                        log_start_offset: if version >= 5 { 8 } else { -1 },
                        aborted: Some(vec![(7, 6), (5, 8)]),
                        diverging_epoch: None,
                        records: vec![records],
                    },
                    FetchPartitionResponse {
                        diverging_epoch: (version >= 12).then_some((3, 40)),
                        ..FetchPartitionResponse::failed(1, ErrorCode::OFFSET_OUT_OF_RANGE)
                    },
                ],
            }],
        };
        let bytes = body(|writer| response.encode(writer, version));
        let (wire, protocol) = check_oracles::<
            kafka_wire::FetchResponse,
            kafka_protocol::messages::FetchResponse,
        >(&bytes, version);
        let first = &wire.responses[0].partitions[0];
        assert_eq!((first.high_watermark, first.last_stable_offset), (10, 9));
        if version >= 12 {
            let diverging = &protocol.responses[0].partitions[1].diverging_epoch;
            assert_eq!((diverging.epoch, diverging.end_offset), (3, 40));
        }
        let decoded = FetchResponse::decode(&bytes, version).unwrap();
        assert_eq!(decoded, response, "version {version}");
    }
}

#[test]
fn api_versions_agree() {
    for version in 0..=4 {
        let request = if version >= 3 {
            ApiVersionsRequest {
                client_software_name: "librdkafka".to_owned(),
                client_software_version: "2.0.2".to_owned(),
            }
        } else {
            ApiVersionsRequest::default()
        };
        let bytes = body(|writer| request.encode(writer, version));
        check_oracles::<kafka_wire::ApiVersionsRequest, kafka_protocol::messages::ApiVersionsRequest>(
            &bytes, version,
        );
        assert_eq!(
            ApiVersionsRequest::decode(&bytes, version).unwrap(),
            request
        );

        let bytes = body(|writer| {
            api_versions::encode_response(writer, version, ErrorCode::NONE, 0, |_| true);
        });
        let (wire, _) = check_oracles::<
            kafka_wire::ApiVersionsResponse,
            kafka_protocol::messages::ApiVersionsResponse,
        >(&bytes, version);
        assert_eq!(wire.api_keys.len(), APIS.len());
        let produce = &wire.api_keys[0];
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
}

/// Requests that made other decoders abort the process or panic.
#[test]
fn hostile_requests_are_refused_without_allocating() {
    let produce = |bytes: &[u8], version| {
        ProduceRequest::decode(BytesMut::from(bytes), version)
            .map_err(|error| error.reason)
            .map(|_| ())
    };
    let too_many = Err("array count exceeds the message");
    // Null transactional id, acks, timeout, 2^31 - 1 topics.
    let v3 = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff];
    assert_eq!(produce(&v3, 3), too_many);
    let v9 = [0, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(produce(&v9, 9), too_many);
    assert_eq!(produce(&[], 9), Err("message ends early"));

    let mut fetch = vec![0; 4 + 4 + 4 + 4 + 1];
    fetch.extend_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(
        FetchRequest::decode(&fetch, 4).map_err(|error| error.reason),
        Err("array count exceeds the message")
    );

    // Metadata v9 with 2^32 - 2 topics in five bytes.
    let metadata = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    let error = super::cold::decode::<kafka_wire::MetadataRequest>(metadata, 9).unwrap_err();
    assert!(error.to_string().contains("array"), "{error}");
}

#[test]
fn every_prefix_of_a_request_is_refused_and_a_longer_one_read() {
    let request = FetchRequest {
        topics: vec![FetchTopic {
            name: String::new(),
            id: ID,
            partitions: Vec::new(),
        }],
        ..FetchRequest::default()
    };
    let bytes = body(|writer| request.encode(writer, 17));
    for end in 0..bytes.len() {
        assert!(FetchRequest::decode(&bytes[..end], 17).is_err(), "{end}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(FetchRequest::decode(&longer, 17), Ok(request));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        version in 0_i16..18,
    ) {
        drop(ProduceRequest::decode(BytesMut::from(&bytes[..]), version));
        drop(FetchRequest::decode(&bytes, version));
        drop(ProduceResponse::decode(&bytes, version));
        drop(FetchResponse::decode(&Bytes::from(bytes.clone()), version));
        drop(ApiVersionsRequest::decode(&bytes, version));
    }
}

#[test]
fn response_headers_of_api_versions_stay_readable() {
    let api = apis::find(apis::API_VERSIONS).unwrap();
    for version in api.min..=api.max {
        assert!(!super::header::response_is_flexible(api, version));
    }
}
