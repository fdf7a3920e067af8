//! Request headers v1 and v2, response headers v0 and v1.
//!
//! A request of a flexible version has header v2, any other v1; the client id keeps its 16-bit
//! length in both. A response of a flexible version has header v1, except ApiVersions, whose
//! response header is v0 always, so that a client can read it before it knows the broker (KIP-511).

use super::apis::{API_VERSIONS, Api};
use super::reader::{Malformed, Reader};
use super::writer::Writer;

/// The part of a request header that every version shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// Which API.
    pub api_key: i16,
    /// Version of the request.
    pub version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
}

impl RequestKey {
    /// Reads the first eight bytes of a request.
    ///
    /// # Errors
    /// When they are not there.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            api_key: reader.i16()?,
            version: reader.i16()?,
            correlation_id: reader.i32()?,
        })
    }
}

/// Reads the rest of a request header: the client id, and the tagged fields of header v2.
///
/// # Errors
/// When the header is malformed.
pub fn read_client_id<'a>(
    reader: &mut Reader<'a>,
    flexible: bool,
) -> Result<Option<&'a str>, Malformed> {
    let client_id = reader.nullable_string(false)?;
    reader.skip_tags(flexible)?;
    Ok(client_id)
}

/// Writes a request header.
pub fn write_request(writer: &mut Writer, key: RequestKey, flexible: bool, client_id: &str) {
    writer.i16(key.api_key);
    writer.i16(key.version);
    writer.i32(key.correlation_id);
    writer.nullable_string(false, Some(client_id));
    writer.no_tags(flexible);
}

/// Whether the response to `version` of `api` has header v1.
#[must_use]
pub fn response_is_flexible(api: &Api, version: i16) -> bool {
    api.key != API_VERSIONS && api.is_flexible(version)
}

/// Writes a response header.
pub fn write_response(writer: &mut Writer, api: &Api, version: i16, correlation_id: i32) {
    writer.i32(correlation_id);
    writer.no_tags(response_is_flexible(api, version));
}

/// Reads a response header; answers the correlation id.
///
/// # Errors
/// When the header is malformed.
pub fn read_response(reader: &mut Reader<'_>, api: &Api, version: i16) -> Result<i32, Malformed> {
    let correlation_id = reader.i32()?;
    reader.skip_tags(response_is_flexible(api, version))?;
    Ok(correlation_id)
}
