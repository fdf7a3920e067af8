//! Batches against an independent codec, the checks as tables, and arbitrary bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as oracle;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn batch(codec: Compression, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec, 1_000);
    for (at, value) in (0..).zip(values) {
        let headers: &[(&str, Option<&[u8]>)] =
            &[("h", Some(b"1")), ("h", Some(b"2")), ("n", None)];
        builder.append(1_000 + at, Some(b"key"), Some(value), headers);
    }
    builder.build()
}

fn values(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut scratch = DecompressionScratch::default();
    let (view, rest) = BatchView::parse(bytes).unwrap();
    assert_eq!(rest, b"");
    view.verify_crc().unwrap();
    let records = view.records(&mut scratch).unwrap();
    records
        .map(|record| record.unwrap().value.unwrap().to_vec())
        .collect()
}

#[test]
fn every_codec_comes_back() {
    let large = vec![b'x'; 200_000];
    for codec in CODECS {
        let bytes = batch(codec, &[b"one", &large, b""]);
        assert_eq!(
            values(&bytes),
            [b"one".to_vec(), large.clone(), Vec::new()],
            "{codec:?}"
        );
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.compression(), Ok(codec));
        assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
        assert_eq!(
            (header.base_timestamp, header.max_timestamp),
            (1_000, 1_002)
        );
        assert_eq!(header.size(), bytes.len());
    }
}

#[test]
fn one_scratch_serves_all_codecs_even_after_damage() {
    let mut scratch = DecompressionScratch::default();
    for _ in 0..2 {
        for codec in CODECS {
            let good = batch(codec, &[b"one", b"two"]);
            let mut bad = good.clone();
            bad.truncate(good.len() - 12);
            let shorter = i32::try_from(bad.len() - 12).unwrap();
            bad[8..12].copy_from_slice(&shorter.to_be_bytes());
            let (view, _) = BatchView::parse(&bad).unwrap();
            let walked = view
                .records(&mut scratch)
                .map(|records| records.filter_map(Result::err).count());
            // The codec notices the missing end itself, or a record is cut short.
            assert_ne!(walked, Ok(0), "{codec:?}");
            let (view, _) = BatchView::parse(&good).unwrap();
            assert_eq!(view.records(&mut scratch).unwrap().count(), 2, "{codec:?}");
        }
    }
}

#[test]
fn raw_snappy_and_streamed_zstd_are_read() {
    let plain = batch(Compression::None, &[b"one", b"two"]);
    let records = &plain[BATCH_HEADER_BYTES..];
    let raw = snap::raw::Encoder::new().compress_vec(records).unwrap();
    let mut streamed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut streamed, records).unwrap();
    let streamed = streamed.finish().unwrap();
    for (codec, compressed) in [(Compression::Snappy, raw), (Compression::Zstd, streamed)] {
        let mut bytes = plain[..BATCH_HEADER_BYTES].to_vec();
        bytes.extend_from_slice(&compressed);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[21..23].copy_from_slice(&codec.id().to_be_bytes());
        let crc = crc_of(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(
            values(&bytes),
            [b"one".to_vec(), b"two".to_vec()],
            "{codec:?}"
        );
    }
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeros = vec![0; (64 << 20) + 1];
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let mut compressed = Vec::new();
        compression::compress(codec, &zeros, &mut compressed).unwrap();
        let mut scratch = DecompressionScratch::default();
        assert_eq!(
            scratch.decompress(codec, &compressed),
            Err(BatchError::DecompressedTooLarge {
                limit_bytes: 64 << 20
            }),
            "{codec:?}"
        );
    }
    // A raw snappy block that claims 4 GiB, and a chunk length beyond the end.
    let mut scratch = DecompressionScratch::default();
    for lie in [
        &b"\xff\xff\xff\xff\x0f\0"[..],
        b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff",
        b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff",
    ] {
        let refused = scratch.decompress(Compression::Snappy, lie).unwrap_err();
        assert!(
            matches!(refused, BatchError::Decompress { .. }),
            "{refused}"
        );
    }
}

#[test]
fn headers_keep_order_and_repeats() {
    let bytes = batch(Compression::None, &[b"v"]);
    let mut scratch = DecompressionScratch::default();
    let (view, _) = BatchView::parse(&bytes).unwrap();
    let record = view.records(&mut scratch).unwrap().next().unwrap().unwrap();
    let found: Vec<_> = record.headers.iter().collect();
    assert_eq!(
        found,
        [
            (&b"h"[..], Some(&b"1"[..])),
            (b"h", Some(b"2")),
            (b"n", None)
        ]
    );
    assert_eq!(record.headers.len(), 3);
    assert_eq!(record.headers.last(b"h"), Some(&b"2"[..]));
    assert_eq!(record.headers.last(b"n"), None);
    assert_eq!(record.headers.last(b"x"), None);
}

#[test]
fn an_independent_codec_reads_what_is_built() {
    let mut builder = BatchBuilder::new(Compression::None, 5_000).producer(
        ProducerId(9),
        ProducerEpoch(2),
        Sequence(40),
    );
    builder.append(5_000, Some(b"k"), Some(b"v"), &[("a", Some(b"b"))]);
    builder.append(5_007, None, None, &[]);
    let bytes = builder.build();
    let read = oracle::RecordBatchDecoder::decode_all(&mut Bytes::from(bytes)).unwrap();
    let records = &read[0].records;
    let facts: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.offset,
                r.sequence,
                r.timestamp,
                r.producer_id,
                r.producer_epoch,
            )
        })
        .collect();
    assert_eq!(facts, [(0, 40, 5_000, 9, 2), (1, 41, 5_007, 9, 2)]);
    assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(records[0].headers.len(), 1);
    assert_eq!((&records[1].key, &records[1].value), (&None, &None));
}

#[test]
fn what_an_independent_codec_builds_is_built_alike() {
    let record = |offset: i64, sequence, value: &'static [u8]| oracle::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 9,
        producer_epoch: 2,
        timestamp_type: oracle::TimestampType::Creation,
        offset,
        sequence,
        timestamp: 5_000 + offset,
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(value)),
        headers: Default::default(),
    };
    let records = [record(0, 40, b"first"), record(1, 41, b"second")];
    let options = oracle::RecordEncodeOptions {
        version: 2,
        compression: oracle::Compression::None,
    };
    let mut theirs = BytesMut::new();
    oracle::RecordBatchEncoder::encode(&mut theirs, &records, &options).unwrap();
    let mut builder = BatchBuilder::new(Compression::None, 5_000).producer(
        ProducerId(9),
        ProducerEpoch(2),
        Sequence(40),
    );
    builder.append(5_000, Some(b"k"), Some(b"first"), &[]);
    builder.append(5_001, Some(b"k"), Some(b"second"), &[]);
    assert_eq!(builder.build(), theirs);
}

fn limits() -> ProduceLimits {
    ProduceLimits {
        max_message_bytes: 1_048_588,
        compacted: false,
        produce_version: 9,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        now_ms: 1_000,
    }
}

/// Changes bytes of a two-record batch, sets the CRC again, and checks it.
fn check(change: impl FnOnce(&mut Vec<u8>), limits: &ProduceLimits) -> Result<i64, BatchError> {
    let mut bytes = batch(Compression::None, &[b"one", b"two"]);
    change(&mut bytes);
    let crc = crc_of(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let view = check::only_batch(&bytes)?;
    view.verify_crc()?;
    check_produced(&view, limits)?;
    check_records(
        &view.inflated(&mut DecompressionScratch::default())?,
        limits,
    )
}

#[test]
fn produced_batches_are_checked() {
    let small = ProduceLimits {
        max_message_bytes: 80,
        ..limits()
    };
    let old = ProduceLimits {
        produce_version: 6,
        ..limits()
    };
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Change, ProduceLimits, Option<ErrorCode>); 14] = [
        ("as built", |_| {}, limits(), None),
        (
            "magic 1",
            |b| b[16] = 1,
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "base offset",
            |b| b[7] = 1,
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "count too small",
            |b| b[60] = 1,
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "count too large",
            |b| {
                b[60] = 3;
                b[26] = 2;
            },
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "count one less",
            |b| {
                b[60] = 1;
                b[26] = 0;
            },
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "no record",
            |b| {
                b[60] = 0;
                b[23..27].fill(0xff);
            },
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "control",
            |b| b[22] |= 0x20,
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "producer without sequence",
            |b| b[43..51].fill(0),
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
        (
            "unknown codec",
            |b| b[22] |= 7,
            limits(),
            Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        ),
        (
            "zstd before produce v7",
            |b| b[22] |= 4,
            old,
            Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        ),
        ("size", |_| {}, small, Some(ErrorCode::MESSAGE_TOO_LARGE)),
        (
            "cut",
            |b| b.truncate(90),
            limits(),
            Some(ErrorCode::CORRUPT_MESSAGE),
        ),
        (
            "two batches",
            |b| b.extend_from_within(..),
            limits(),
            Some(ErrorCode::INVALID_RECORD),
        ),
    ];
    for (case, change, limits, expected) in cases {
        let found = check(change, &limits).err();
        assert_eq!(
            found.as_ref().map(BatchError::code),
            expected,
            "{case}: {found:?}"
        );
    }
    let mut flipped = batch(Compression::None, &[b"one"]);
    *flipped.last_mut().unwrap() ^= 1;
    let (view, _) = BatchView::parse(&flipped).unwrap();
    assert_eq!(
        view.verify_crc().unwrap_err().code(),
        ErrorCode::CORRUPT_MESSAGE
    );
}

#[test]
fn records_are_checked_with_their_indexes() {
    let mut builder = BatchBuilder::new(Compression::Lz4, 1_000);
    for (timestamp, key) in [
        (1_000, Some(&b"k"[..])),
        (900, None),
        (1_500, Some(b"k")),
        (-1, None),
    ] {
        builder.append(timestamp, key, Some(b"v"), &[]);
    }
    let bytes = builder.build();
    let (view, _) = BatchView::parse(&bytes).unwrap();
    let mut scratch = DecompressionScratch::default();
    let batch = view.inflated(&mut scratch).unwrap();
    let run = |limits: ProduceLimits| check_records(&batch, &limits);
    assert_eq!(run(limits()), Ok(1_500));
    let compacted = run(ProduceLimits {
        compacted: true,
        ..limits()
    })
    .unwrap_err();
    assert_eq!(
        (compacted.code(), compacted.record_indexes()),
        (ErrorCode::INVALID_RECORD, &[1, 3][..])
    );
    let near = ProduceLimits {
        timestamp_before_max_ms: 50,
        timestamp_after_max_ms: 100,
        ..limits()
    };
    let out_of_time = run(near).unwrap_err();
    assert_eq!(
        (out_of_time.code(), out_of_time.record_indexes()),
        (ErrorCode::INVALID_TIMESTAMP, &[1, 2][..])
    );
    assert_eq!(
        run(ProduceLimits {
            log_append_time: true,
            ..near
        }),
        Ok(1_500)
    );
}

#[test]
fn only_the_broker_stamps_an_append_time() {
    let check = |max_timestamp: i64, log_append_time: bool| {
        let mut builder = BatchBuilder::new(Compression::None, 1_000);
        builder.append(1_000, Some(b"k"), Some(b"v"), &[]);
        builder.append(1_400, Some(b"k"), Some(b"v"), &[]);
        let mut bytes = builder.build();
        set_log_append_time(&mut bytes, max_timestamp);
        let (view, _) = BatchView::parse(&bytes).unwrap();
        let mut scratch = DecompressionScratch::default();
        let batch = view.inflated(&mut scratch).unwrap();
        let limits = ProduceLimits {
            log_append_time,
            timestamp_after_max_ms: 2_000,
            ..limits()
        };
        let checked = check_records(&batch, &limits);
        checked.map_err(|error| (error.code(), error.record_indexes().to_vec()))
    };
    let refused = |indexes: &[i32]| Err((ErrorCode::INVALID_TIMESTAMP, indexes.to_vec()));
    // As Kafka reads such a batch: every record has the header's time.
    assert_eq!(check(1_200, false), Ok(1_200));
    assert_eq!(check(i64::MAX, false), refused(&[0, 1]), "out of range");
    assert_eq!(check(-1, false), refused(&[0, 1]), "no time at all");
    assert_eq!(check(1_200, true), refused(&[0, 1]), "the topic stamps");
}

#[test]
fn offsets_and_append_time_are_written_in_place() {
    let mut bytes = batch(Compression::Zstd, &[b"one"]);
    let before = BatchHeader::parse(&bytes).unwrap();
    assign_offsets(&mut bytes, Offset(77), LeaderEpoch(5));
    let (view, _) = BatchView::parse(&bytes).unwrap();
    view.verify_crc().unwrap();
    assert_eq!(
        view.header,
        BatchHeader {
            base_offset: Offset(77),
            leader_epoch: LeaderEpoch(5),
            ..before
        }
    );
    set_log_append_time(&mut bytes, 9_999);
    let (view, _) = BatchView::parse(&bytes).unwrap();
    view.verify_crc().unwrap();
    assert!(view.header.is_log_append_time());
    assert_eq!(view.header.max_timestamp, 9_999);
    assert_eq!(view.header.compression(), Ok(Compression::Zstd));
}

#[test]
fn a_wrong_max_timestamp_is_corrected_with_its_crc() {
    let mut bytes = batch(Compression::None, &[b"one"]);
    let right = BatchHeader::parse(&bytes).unwrap().max_timestamp;
    assert!(!set_create_time(&mut bytes, right));
    assert!(set_create_time(&mut bytes, right + 7));
    let (view, _) = BatchView::parse(&bytes).unwrap();
    view.verify_crc().unwrap();
    assert_eq!(view.header.max_timestamp, right + 7);
    set_log_append_time(&mut bytes, right + 7);
    assert!(set_create_time(&mut bytes, right + 7));
    let (view, _) = BatchView::parse(&bytes).unwrap();
    view.verify_crc().unwrap();
    assert!(!view.header.is_log_append_time());
    assert!(!set_create_time(&mut [0; 10], 1), "too short to be a batch");
}

/// Reads everything that can be read, and answers nothing: it must only not panic.
fn walk(bytes: &[u8]) {
    let mut scratch = DecompressionScratch::default();
    if let Ok((view, _)) = BatchView::parse(bytes) {
        view.verify_crc().ok();
        check_produced(&view, &limits()).ok();
        if let Ok(batch) = view.inflated(&mut scratch) {
            check_records(&batch, &limits()).ok();
        }
        if let Ok(records) = view.records(&mut scratch) {
            for record in records.flatten() {
                assert_eq!(record.headers.iter().count(), record.headers.len());
                assert!(!record.headers.is_empty() || record.headers.last(b"h").is_none());
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        walk(&bytes);
    }

    #[test]
    fn damaged_batches_never_panic(
        codec in 0_usize..5,
        flips in proptest::collection::vec((0_usize..400, any::<u8>()), 1..6),
        cut in 0_usize..400,
    ) {
        let mut bytes = batch(CODECS[codec], &[b"one", b"two and some more", &[7; 100]]);
        for (at, to) in flips {
            let length = bytes.len();
            bytes[at % length] = to;
        }
        bytes.truncate(bytes.len().max(cut));
        walk(&bytes);
        // As a peer would send it: a length that fits.
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        walk(&bytes);
    }
}
