//! ApiVersions, key 18, versions 0 to 4.
//!
//! v1 throttle time; v3 flexible body, client software (KIP-511) and features (KIP-584); v4 feature
//! ranges from 0.

use super::apis::{APIS, Api};
use super::reader::{Malformed, Reader};
use super::writer::Writer;
use crate::error::ErrorCode;

/// First flexible version.
const FLEXIBLE_FROM: i16 = 3;

/// What a client tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiVersionsRequest {
    /// Name of the client software; empty below v3.
    pub client_software_name: String,
    /// Its version; empty below v3.
    pub client_software_version: String,
}

impl ApiVersionsRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(body: &[u8], version: i16) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mut request = Self::default();
        if version >= FLEXIBLE_FROM {
            reader
                .string(true)?
                .clone_into(&mut request.client_software_name);
            reader
                .string(true)?
                .clone_into(&mut request.client_software_version);
            reader.skip_tags(true)?;
        }
        Ok(request)
    }

    /// Encodes a body.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version >= FLEXIBLE_FROM {
            writer.string(true, &self.client_software_name);
            writer.string(true, &self.client_software_version);
            writer.no_tags(true);
        }
    }

    /// Whether name and version are what KIP-511 allows.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_software_name(&self.client_software_name)
            && is_software_name(&self.client_software_version)
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends_right = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends_right(bytes.first())
        && ends_right(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

/// A feature of the cluster (KIP-584): a level that clients must know to use it.
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) max: i16,
    /// The level in force.
    pub(crate) level: i16,
}

/// All features. Every level from 0 to the highest is supported.
pub(crate) const FEATURES: &[Feature] = &[
    Feature {
        name: "group.version",
        max: 1,
        // KIP-848: consumer groups whose partitions the broker assigns.
        level: 1,
    },
    Feature {
        name: "transaction.version",
        max: 2,
        // KIP-890: partitions are added by producing to them, and every transaction has an epoch.
        level: 2,
    },
];

/// The levels never change while the broker runs.
const FEATURES_EPOCH: i64 = 0;

/// First version whose clients understand a supported level of 0.
const LEVEL_ZERO_FROM: i16 = 4;

/// Encodes the answer: `error`, every API of the table that is offered now, and the features (v3+).
///
/// An unsupported request version is answered in version 0 with UNSUPPORTED_VERSION, so that the
/// client finds the range of key 18 in a layout it is sure to know.
pub fn encode_response(
    writer: &mut Writer,
    version: i16,
    error: ErrorCode,
    throttle_time_ms: i32,
    offers: impl Fn(&Api) -> bool,
) {
    let flexible = version >= FLEXIBLE_FROM;
    writer.i16(error.0);
    let offered = || APIS.iter().filter(|api| offers(api));
    writer.count(flexible, offered().count());
    for api in offered() {
        writer.i16(api.key);
        writer.i16(api.advertised_min);
        writer.i16(api.max);
        writer.no_tags(flexible);
    }
    if version >= 1 {
        writer.i32(throttle_time_ms);
    }
    if flexible {
        encode_features(writer, version);
    }
}

/// Tagged fields: 0 supported features, 1 epoch of the levels, 2 levels in force.
fn encode_features(writer: &mut Writer, version: i16) {
    if version >= LEVEL_ZERO_FROM {
        writer.unsigned_varint(3);
        writer.tag(0, |field| {
            field.count(true, FEATURES.len());
            for feature in FEATURES {
                field.string(true, feature.name);
                field.i16(0);
                field.i16(feature.max);
                field.no_tags(true);
            }
        });
    } else {
        writer.unsigned_varint(2);
    }
    writer.tag(1, |field| field.i64(FEATURES_EPOCH));
    writer.tag(2, |field| {
        field.count(true, FEATURES.len());
        for feature in FEATURES {
            field.string(true, feature.name);
            field.i16(feature.level);
            field.i16(feature.level);
            field.no_tags(true);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        let cases = [
            ("apache-kafka-java", true),
            ("4.0.0", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
            ("a/b", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_software_name(name), expected, "{name:?}");
        }
    }
}
