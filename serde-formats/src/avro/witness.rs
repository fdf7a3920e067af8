//! Records that show an incompatibility; see [`crate::witness`].

use super::AvroSchema;
use crate::compatibility::Incompatibility;
use crate::witness::Evidence;

/// A record of `writer` that breaks under `reader` because of `difference`.
#[must_use]
pub fn evidence(
    _reader: &AvroSchema,
    _writer: &AvroSchema,
    difference: &Incompatibility,
) -> Evidence {
    Evidence::NotFound {
        reason: format!("no construction for {}", difference.kind),
    }
}
