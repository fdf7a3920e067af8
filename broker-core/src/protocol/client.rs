//! The other direction: requests out, responses in. For the CLI, the gateway, load generators and
//! tests.

use bytes::Bytes;
use kafka_wire_core::{DecodeError, EncodeError, KafkaDecode, KafkaEncode};

use super::apis::{Api, FETCH, PRODUCE, find};
use super::fetch::{FetchRequest, FetchResponse};
use super::header::{self, RequestKey};
use super::produce::{ProduceRequest, ProduceResponse};
use super::reader::Reader;
use super::writer::Writer;
use super::{cold, reader};

/// Why a message could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not in the table of APIs.
    #[error("API key {0} is not known")]
    UnknownApi(i16),
    /// The request cannot be expressed in that version.
    #[error("request of API key {api_key} version {version} cannot be encoded: {source}")]
    Encode {
        /// Which API.
        api_key: i16,
        /// Which version.
        version: i16,
        /// The codec's reason.
        source: EncodeError,
    },
    /// The response body is malformed.
    #[error("response cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The response header or a hot body is malformed.
    #[error("response is malformed: {0}")]
    Malformed(#[from] reader::Malformed),
}

fn api(api_key: i16) -> Result<&'static Api, ClientError> {
    find(api_key).ok_or(ClientError::UnknownApi(api_key))
}

fn start(api: &Api, version: i16, correlation_id: i32, client_id: &str) -> Writer {
    let mut writer = Writer::default();
    let key = RequestKey {
        api_key: api.key,
        version,
        correlation_id,
    };
    header::write_request(&mut writer, key, api.is_flexible(version), client_id);
    writer
}

/// A whole frame, length prefix included.
///
/// # Errors
/// When the API is not known or a field cannot be expressed in `version`.
pub fn encode_request(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &impl KafkaEncode,
) -> Result<Vec<u8>, ClientError> {
    let mut writer = start(api(api_key)?, version, correlation_id, client_id);
    cold::encode(&mut writer, request, version).map_err(|source| ClientError::Encode {
        api_key,
        version,
        source,
    })?;
    Ok(writer.finish().concat())
}

/// A whole Produce frame, length prefix included.
///
/// # Errors
/// Never for versions of the table.
pub fn encode_produce(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &ProduceRequest,
) -> Result<Vec<u8>, ClientError> {
    let mut writer = start(api(PRODUCE)?, version, correlation_id, client_id);
    request.encode(&mut writer, version);
    Ok(writer.finish().concat())
}

/// A whole Fetch frame, length prefix included.
///
/// # Errors
/// Never for versions of the table.
pub fn encode_fetch(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &FetchRequest,
) -> Result<Vec<u8>, ClientError> {
    let mut writer = start(api(FETCH)?, version, correlation_id, client_id);
    request.encode(&mut writer, version);
    Ok(writer.finish().concat())
}

/// Splits a response frame (without its length prefix) into correlation id and body.
///
/// # Errors
/// When the API is not known or the header is malformed.
pub fn split_response(
    api_key: i16,
    version: i16,
    frame: &Bytes,
) -> Result<(i32, Bytes), ClientError> {
    let mut reader = Reader::new(frame);
    let correlation_id = header::read_response(&mut reader, api(api_key)?, version)?;
    Ok((correlation_id, frame.slice(reader.position()..)))
}

/// Decodes a response frame (without its length prefix).
///
/// # Errors
/// When header or body are malformed.
pub fn decode_response<T: KafkaDecode>(
    api_key: i16,
    version: i16,
    frame: &Bytes,
) -> Result<(i32, T), ClientError> {
    let (correlation_id, body) = split_response(api_key, version, frame)?;
    Ok((correlation_id, cold::decode_response(body, version)?))
}

/// Decodes a Produce response frame (without its length prefix).
///
/// # Errors
/// When header or body are malformed.
pub fn decode_produce(version: i16, frame: &Bytes) -> Result<(i32, ProduceResponse), ClientError> {
    let (correlation_id, body) = split_response(PRODUCE, version, frame)?;
    Ok((correlation_id, ProduceResponse::decode(&body, version)?))
}

/// Decodes a Fetch response frame (without its length prefix); records are slices of it.
///
/// # Errors
/// When header or body are malformed.
pub fn decode_fetch(version: i16, frame: &Bytes) -> Result<(i32, FetchResponse), ClientError> {
    let (correlation_id, body) = split_response(FETCH, version, frame)?;
    Ok((correlation_id, FetchResponse::decode(&body, version)?))
}

impl From<ClientError> for std::io::Error {
    fn from(error: ClientError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}
