//! From a frame to the handler of its API, and from its response to a frame.
//!
//! Also answers ApiVersions itself (key 18, versions 0 to 4; KIP-35, KIP-511).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use kafka_wire_core::{DecodeError, EncodeError};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::throttle::{Meter, metered, request_throttle_ms};
use super::{
    RequestContext, alter_client_quotas, alter_configs, alter_partition_reassignments,
    alter_replica_log_dirs, create_partitions, create_topics, delete_records, delete_topics,
    describe_client_quotas, describe_cluster, describe_configs, describe_log_dirs, describe_quorum,
    describe_topic_partitions, elect_leaders, fetch, groups, incremental_alter_configs,
    init_producer_id, list_config_resources, list_offsets, list_partition_reassignments, metadata,
    offset_for_leader_epoch, produce, spans, telemetry, transactions, update_features,
};
use crate::authorization::Principal;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::protocol::api_versions::{self, ApiVersionsRequest};
use crate::protocol::apis::{self, API_VERSIONS, Api, FETCH, JOIN_GROUP, PRODUCE, SYNC_GROUP};
use crate::protocol::fetch::FetchRequest;
use crate::protocol::header::{self, RequestKey};
use crate::protocol::produce::ProduceRequest;
use crate::protocol::reader::{Malformed, Reader};
use crate::protocol::writer::Writer;
use crate::protocol::{cold, frame};
use crate::quotas::QuotaKind;

/// What the requests of one connection share.
#[derive(Debug)]
pub struct Session {
    /// The peer.
    pub address: SocketAddr,
    principal: Principal,
    client_id: Arc<str>,
    client_software: Arc<str>,
}

impl Session {
    /// A connection from `address` that has asked nothing yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            principal: Principal::anonymous(),
            client_id: Arc::from(""),
            client_software: Arc::from(""),
        }
    }

    /// `client.id` of the latest request.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Software name and version, when ApiVersions told them.
    #[must_use]
    pub fn client_software(&self) -> &str {
        &self.client_software
    }
}

/// The answer to one request.
#[derive(Debug)]
pub struct Reply {
    /// Which API.
    pub api: &'static Api,
    /// The frame in chunks, length prefix included; `None` for a produce with acks=0.
    pub frame: Option<Vec<Bytes>>,
    /// First error in the answer, for the metrics.
    pub error: ErrorCode,
    /// Share of the memory for records, to be held until the answer is written.
    pub memory: Option<OwnedSemaphorePermit>,
    /// How long nothing more may be read from the client, in ms: it is beyond a quota (KIP-219).
    pub throttle_ms: i64,
}

/// Why a connection is closed instead of answered.
#[derive(Debug, thiserror::Error)]
pub enum Close {
    /// The length prefix is out of bounds.
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    /// The header is malformed.
    #[error("request header is malformed: {0}")]
    Header(Malformed),
    /// No such API, or not offered.
    #[error("API key {api_key} version {version} is not supported")]
    UnsupportedApi {
        /// From the header.
        api_key: i16,
        /// From the header.
        version: i16,
    },
    /// The API is offered, this version is not.
    #[error("{api} version {version} is not supported, only {min} to {max}")]
    UnsupportedVersion {
        /// Name of the API.
        api: &'static str,
        /// From the header.
        version: i16,
        /// Lowest served.
        min: i16,
        /// Highest served.
        max: i16,
    },
    /// A hot message is malformed.
    #[error("{api} version {version} is malformed: {reason}")]
    Malformed {
        /// Name of the API.
        api: &'static str,
        /// From the header.
        version: i16,
        /// What is wrong and where.
        reason: Malformed,
    },
    /// A cold message is malformed.
    #[error("{api} version {version} is malformed: {reason}")]
    Undecodable {
        /// Name of the API.
        api: &'static str,
        /// From the header.
        version: i16,
        /// What is wrong and where.
        reason: DecodeError,
    },
    /// Our own answer cannot be expressed in the version: a defect.
    #[error("answer of {api} version {version} cannot be encoded: {reason}")]
    Unencodable {
        /// Name of the API.
        api: &'static str,
        /// From the header.
        version: i16,
        /// The codec's reason.
        reason: EncodeError,
    },
    /// A produce with acks=0 was refused: closing is the only way to tell (as Kafka does).
    #[error("produce with acks=0 was refused with {code}: {message}")]
    Unacknowledged {
        /// First error.
        code: ErrorCode,
        /// Its text.
        message: String,
    },
    /// The broker stops while the request waits for other members of its group.
    #[error("the broker is shutting down")]
    Shutdown,
}

/// Answers one frame (without its length prefix).
///
/// `memory` is the frame's share of the request memory; it is returned as soon as the request does
/// not hold the frame any more.
///
/// # Errors
/// When the connection must be closed.
pub async fn dispatch(
    broker: &Arc<Broker>,
    session: &mut Session,
    mut frame: BytesMut,
    memory: Option<OwnedSemaphorePermit>,
    shutdown: &CancellationToken,
) -> Result<Reply, Close> {
    let mut reader = Reader::new(&frame);
    let key = RequestKey::read(&mut reader).map_err(Close::Header)?;
    let version = key.version;
    let Some(api) = apis::find(key.api_key) else {
        return Err(Close::UnsupportedApi {
            api_key: key.api_key,
            version,
        });
    };
    if !api.serves(version) {
        if api.key == API_VERSIONS {
            return Ok(answer_api_versions(
                broker,
                api,
                (0, key.correlation_id),
                ErrorCode::UNSUPPORTED_VERSION,
                0,
            ));
        }
        return Err(Close::UnsupportedVersion {
            api: api.name,
            version,
            min: api.min,
            max: api.max,
        });
    }
    let client_id = header::read_client_id(&mut reader, api.is_flexible(version))
        .map_err(Close::Header)?
        .unwrap_or_default();
    if *client_id != *session.client_id {
        session.client_id = Arc::from(client_id);
    }
    let header_bytes = reader.position();
    frame.advance(header_bytes);

    // Nobody pays for measuring what nobody limits.
    let limited = broker.topics.quotas().has(QuotaKind::RequestPercentage);
    let meter = limited.then(Arc::<Meter>::default);
    let context = RequestContext {
        client_id: Arc::clone(&session.client_id),
        client_software: Arc::clone(&session.client_software),
        principal: session.principal.clone(),
        address: session.address,
        correlation_id: key.correlation_id,
        version,
        meter: meter.clone(),
    };
    let answered = answer(broker, session, &context, api, frame, memory, shutdown);
    metered(meter, answered).await
}

async fn answer(
    broker: &Arc<Broker>,
    session: &mut Session,
    context: &RequestContext,
    api: &'static Api,
    frame: BytesMut,
    memory: Option<OwnedSemaphorePermit>,
    shutdown: &CancellationToken,
) -> Result<Reply, Close> {
    let version = context.version;
    match api.key {
        PRODUCE => {
            let reply = dispatch_produce(broker, context, api, frame).await;
            drop(memory);
            reply
        }
        FETCH => {
            let request = FetchRequest::decode(&frame, version)
                .map_err(|reason| malformed(api, version, reason))?;
            drop(frame);
            drop(memory);
            let (response, memory) = fetch::handle(broker, context, request, shutdown).await;
            let error = fetch::first_error(&response);
            let mut writer = start(api, context);
            response.encode(&mut writer, version);
            Ok(Reply {
                api,
                frame: Some(writer.finish()),
                error,
                memory,
                throttle_ms: i64::from(response.throttle_time_ms),
            })
        }
        API_VERSIONS => {
            let request = ApiVersionsRequest::decode(&frame, version)
                .map_err(|reason| malformed(api, version, reason))?;
            let mut error = ErrorCode::NONE;
            if version >= 3 {
                if request.is_valid() {
                    session.client_software = Arc::from(format!(
                        "{}/{}",
                        request.client_software_name, request.client_software_version
                    ));
                } else {
                    error = ErrorCode::INVALID_REQUEST;
                }
            }
            let throttle_ms = request_throttle_ms(broker, context);
            let correlated = (version, context.correlation_id);
            Ok(answer_api_versions(
                broker,
                api,
                correlated,
                error,
                throttle_ms,
            ))
        }
        JOIN_GROUP | SYNC_GROUP => {
            // These wait for other members, possibly for minutes: a stopping broker does not.
            drop(memory);
            tokio::select! {
                reply = dispatch_cold(broker, context, api, frame.freeze()) => reply,
                () = shutdown.cancelled() => Err(Close::Shutdown),
            }
        }
        _ => {
            let reply = dispatch_cold(broker, context, api, frame.freeze()).await;
            drop(memory);
            reply
        }
    }
}

async fn dispatch_produce(
    broker: &Arc<Broker>,
    context: &RequestContext,
    api: &'static Api,
    body: BytesMut,
) -> Result<Reply, Close> {
    let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let request = ProduceRequest::decode(body, context.version)
        .map_err(|reason| malformed(api, context.version, reason))?;
    let acks = request.acks;
    let mut response = produce::handle(broker, context, request)
        .instrument(spans::request(context))
        .await;
    let now_ms = broker.config.clock.now_ms();
    let quotas = broker.topics.quotas();
    let kind = QuotaKind::ProducerByteRate;
    let produced_ms = quotas.record(kind, context.client(), f64::from(bytes), now_ms);
    let throttle_ms = produced_ms.max(request_throttle_ms(broker, context));
    response.throttle_time_ms = saturated(throttle_ms);
    let failed = produce::first_error(&response);
    let error = failed.map_or(ErrorCode::NONE, |partition| partition.error);
    if acks == 0 {
        return match failed {
            None => Ok(Reply {
                api,
                frame: None,
                error,
                memory: None,
                throttle_ms,
            }),
            Some(partition) => Err(Close::Unacknowledged {
                code: error,
                message: partition.error_message.clone().unwrap_or_default(),
            }),
        };
    }
    let mut writer = start(api, context);
    response.encode(&mut writer, context.version);
    Ok(Reply {
        api,
        frame: Some(writer.finish()),
        error,
        memory: None,
        throttle_ms,
    })
}

/// As an answer carries it.
fn saturated(throttle_ms: i64) -> i32 {
    i32::try_from(throttle_ms).unwrap_or(i32::MAX)
}

fn answer_api_versions(
    broker: &Broker,
    api: &'static Api,
    (version, correlation_id): (i16, i32),
    error: ErrorCode,
    throttle_ms: i64,
) -> Reply {
    let mut writer = Writer::default();
    header::write_response(&mut writer, api, version, correlation_id);
    let telemetry = broker.topics.client_metrics().is_wanted();
    let offers = |api: &Api| telemetry || !api.is_telemetry();
    let throttle_time_ms = saturated(throttle_ms);
    api_versions::encode_response(&mut writer, version, error, throttle_time_ms, offers);
    Reply {
        api,
        frame: Some(writer.finish()),
        error,
        memory: None,
        throttle_ms,
    }
}

fn malformed(api: &Api, version: i16, reason: Malformed) -> Close {
    Close::Malformed {
        api: api.name,
        version,
        reason,
    }
}

fn start(api: &Api, context: &RequestContext) -> Writer {
    let mut writer = Writer::default();
    header::write_response(&mut writer, api, context.version, context.correlation_id);
    writer
}

/// Decodes, handles and encodes: the same for every API that is not hot.
#[expect(clippy::too_many_lines, reason = "a table of APIs")]
async fn dispatch_cold(
    broker: &Arc<Broker>,
    context: &RequestContext,
    api: &'static Api,
    body: Bytes,
) -> Result<Reply, Close> {
    let version = context.version;
    /// The handler of a request, and where its answer keeps an error for the metrics.
    macro_rules! answer {
        (|$request:ident| $call:expr) => {
            answer!(|$request| $call, |_response| 0)
        };
        (|$request:ident| $call:expr, |$response:ident| $error:expr) => {
            answer!(
                |$request| $call,
                |$response| $error,
                |response, throttle_ms| {
                    // Its handler may have told the client to wait already.
                    let longest_ms = throttle_ms.max(i64::from(response.throttle_time_ms));
                    response.throttle_time_ms = saturated(longest_ms);
                    longest_ms
                }
            )
        };
        (
            |$request:ident| $call:expr,
            |$response:ident| $error:expr,
            |$throttled:ident, $throttle_ms:ident| $throttle:expr
        ) => {{
            let $request = cold::decode(body, version).map_err(|reason| Close::Undecodable {
                api: api.name,
                version,
                reason,
            })?;
            #[allow(unused_mut, reason = "one answer cannot say that it is throttled")]
            let mut $throttled = $call.await;
            let $throttle_ms = request_throttle_ms(broker, context);
            let throttle_ms: i64 = $throttle;
            let $response = &$throttled;
            let error = ErrorCode($error);
            let mut writer = start(api, context);
            cold::encode(&mut writer, $response, version).map_err(|reason| Close::Unencodable {
                api: api.name,
                version,
                reason,
            })?;
            Ok(Reply {
                api,
                frame: Some(writer.finish()),
                error,
                memory: None,
                throttle_ms,
            })
        }};
    }
    match api.key {
        2 => answer!(
            |request| list_offsets::handle(broker, context, request),
            |response| list_offsets::first_error(response)
        ),
        3 => answer!(
            |request| metadata::handle(broker, context, request),
            |response| metadata::first_error(response)
        ),
        8 => answer!(|request| groups::offset_commit(broker, context, version, request)),
        9 => answer!(
            |request| groups::offset_fetch(broker, context, version, request),
            |response| response.error_code
        ),
        10 => answer!(
            |request| groups::find_coordinator(broker, context, version, request),
            |response| response.error_code
        ),
        JOIN_GROUP => answer!(
            |request| groups::join_group(broker, context, version, request),
            |response| response.error_code
        ),
        12 => answer!(
            |request| groups::heartbeat(broker, context, version, request),
            |response| response.error_code
        ),
        13 => answer!(
            |request| groups::leave_group(broker, context, version, request),
            |response| response.error_code
        ),
        SYNC_GROUP => answer!(
            |request| groups::sync_group(broker, context, version, request),
            |response| response.error_code
        ),
        15 => answer!(|request| groups::describe_groups(broker, context, version, request)),
        16 => answer!(
            |request| groups::list_groups(broker, context, version, request),
            |response| response.error_code
        ),
        19 => answer!(
            |request| create_topics::handle(broker, context, request),
            |response| create_topics::first_error(response)
        ),
        20 => answer!(|request| delete_topics::handle(broker, context, request)),
        21 => answer!(|request| delete_records::handle(broker, context, request)),
        22 => answer!(
            |request| init_producer_id::handle(broker, context, request),
            |response| response.error_code
        ),
        23 => answer!(|request| offset_for_leader_epoch::handle(broker, context, request)),
        24 => answer!(|request| transactions::add_partitions(broker, context, request)),
        25 => answer!(
            |request| transactions::add_offsets(broker, context, request),
            |response| response.error_code
        ),
        26 => answer!(
            |request| transactions::end(broker, context, request),
            |response| response.error_code
        ),
        28 => answer!(|request| transactions::offset_commit(broker, context, request)),
        32 => answer!(|request| describe_configs::handle(broker, context, request)),
        33 => answer!(|request| alter_configs::handle(broker, context, request)),
        34 => answer!(|request| alter_replica_log_dirs::handle(broker, context, request)),
        35 => answer!(
            |request| describe_log_dirs::handle(broker, context, request),
            |response| response.error_code
        ),
        37 => answer!(|request| create_partitions::handle(broker, context, request)),
        42 => answer!(|request| groups::delete_groups(broker, context, version, request)),
        43 => answer!(
            |request| elect_leaders::handle(broker, context, request),
            |response| response.error_code
        ),
        44 => answer!(|request| incremental_alter_configs::handle(broker, context, request)),
        45 => answer!(
            |request| alter_partition_reassignments::handle(broker, context, request),
            |response| response.error_code
        ),
        46 => answer!(
            |request| list_partition_reassignments::handle(broker, context, request),
            |response| response.error_code
        ),
        47 => answer!(
            |request| groups::offset_delete(broker, context, version, request),
            |response| response.error_code
        ),
        48 => answer!(
            |request| describe_client_quotas::handle(broker, context, request),
            |response| response.error_code
        ),
        49 => answer!(|request| alter_client_quotas::handle(broker, context, request)),
        55 => answer!(
            |request| describe_quorum::handle(broker, context, request),
            |response| response.error_code,
            |_answer, throttle_ms| throttle_ms
        ),
        57 => answer!(
            |request| update_features::handle(broker, context, request),
            |response| response.error_code
        ),
        60 => answer!(
            |request| describe_cluster::handle(broker, context, request),
            |response| response.error_code
        ),
        61 => answer!(|request| transactions::describe_producers(broker, context, request)),
        65 => answer!(|request| transactions::describe_transactions(broker, context, request)),
        66 => answer!(
            |request| transactions::list_transactions(broker, context, request),
            |response| response.error_code
        ),
        68 => answer!(
            |request| groups::consumer_group_heartbeat(broker, context, request),
            |response| response.error_code
        ),
        69 => answer!(|request| groups::consumer_group_describe(broker, context, request)),
        71 => answer!(
            |request| telemetry::subscriptions(broker, context, request),
            |response| response.error_code
        ),
        72 => answer!(
            |request| telemetry::push(broker, context, request),
            |response| response.error_code
        ),
        74 => answer!(
            |request| list_config_resources::handle(broker, context, request),
            |response| response.error_code
        ),
        75 => answer!(|request| describe_topic_partitions::handle(broker, context, request)),
        _ => Err(Close::UnsupportedApi {
            api_key: api.key,
            version,
        }),
    }
}
