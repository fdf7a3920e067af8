//! Facade over the generated codec for every message that is not hot.
//!
//! The generated structs cannot be written as literals outside their crate; [`wire!`](crate::wire)
//! sets the named fields on a default value instead.

use bytes::Bytes;
use kafka_wire_core::{
    ApiVersion, DecodeError, DecodeLimits, Decoder, EncodeError, KafkaDecode, KafkaEncode,
};

use super::writer::Writer;

/// Longest request of a cold API. A byte of such a request can become a hundred bytes of structs,
/// so `socket.request.max.bytes` alone would not bound the memory.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most elements in one array of a cold request.
const ARRAY_ELEMENTS_MAX: usize = 100_000;

fn limits() -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = REQUEST_BYTES_MAX;
    limits.max_string_bytes = i16::MAX as usize;
    limits.max_bytes_bytes = REQUEST_BYTES_MAX;
    limits.max_array_elements = ARRAY_ELEMENTS_MAX;
    limits.max_tagged_fields = 64;
    limits.max_tag_bytes = 64 * 1024;
    limits.max_total_tag_bytes = 256 * 1024;
    limits
}

/// Decodes one request body. What follows it in the frame is ignored, as Kafka does: librdkafka
/// leaves three zero bytes after a Metadata request (version 9 and later) for all topics.
///
/// # Errors
/// When it is malformed or beyond the limits.
pub fn decode<T: KafkaDecode>(body: Bytes, version: i16) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(body, limits())?;
    T::decode(&mut decoder, ApiVersion::new(version))
}

/// Decodes one response body: the peer is a broker that we chose, the limits are the codec's own.
///
/// # Errors
/// When it is malformed.
pub fn decode_response<T: KafkaDecode>(body: Bytes, version: i16) -> Result<T, DecodeError> {
    T::decode_from_bytes(body, ApiVersion::new(version), DecodeLimits::default())
}

/// Appends one body to `writer`.
///
/// # Errors
/// When a field cannot be expressed in `version`: a defect of the handler that set it.
pub fn encode<T: KafkaEncode>(
    writer: &mut Writer,
    message: &T,
    version: i16,
) -> Result<(), EncodeError> {
    message
        .encode_into(writer.buffer(), ApiVersion::new(version))
        .map(|_| ())
}

/// A value of a generated struct: the default with the named fields set.
#[macro_export]
macro_rules! wire {
    ($type:ty { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        #[allow(unused_mut, reason = "a message may have no field set")]
        let mut message = <$type>::default();
        $( $crate::wire!(@set message $field $($value)?); )*
        message
    }};
    (@set $message:ident $field:ident $value:expr) => { $message.$field = $value; };
    (@set $message:ident $field:ident) => { $message.$field = $field; };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_for_all_topics_as_librdkafka_writes_it_is_read() {
        // An empty array where null is meant, no flags, and three bytes of a placeholder.
        let body = Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0]);
        let request: kafka_wire::MetadataRequest = decode(body, 13).unwrap();
        assert_eq!(request.topics, None);
    }
}
