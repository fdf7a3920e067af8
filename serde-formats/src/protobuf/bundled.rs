//! The files every registry knows without a reference: `google/protobuf`, `google/type` and
//! Confluent's own.

use std::sync::OnceLock;

use super::ast::ProtoFile;
use super::parse_text::parse_text;

/// Import path and text of the files carried in the crate.
const TEXTS: [(&str, &str); 34] = [
    (
        "confluent/meta.proto",
        include_str!("../../proto/confluent/meta.proto"),
    ),
    (
        "confluent/type/decimal.proto",
        include_str!("../../proto/confluent/type/decimal.proto"),
    ),
    (
        "confluent/type/variant.proto",
        include_str!("../../proto/confluent/type/variant.proto"),
    ),
    (
        "google/type/calendar_period.proto",
        include_str!("../../proto/google/type/calendar_period.proto"),
    ),
    (
        "google/type/color.proto",
        include_str!("../../proto/google/type/color.proto"),
    ),
    (
        "google/type/date.proto",
        include_str!("../../proto/google/type/date.proto"),
    ),
    (
        "google/type/datetime.proto",
        include_str!("../../proto/google/type/datetime.proto"),
    ),
    (
        "google/type/dayofweek.proto",
        include_str!("../../proto/google/type/dayofweek.proto"),
    ),
    (
        "google/type/decimal.proto",
        include_str!("../../proto/google/type/decimal.proto"),
    ),
    (
        "google/type/expr.proto",
        include_str!("../../proto/google/type/expr.proto"),
    ),
    (
        "google/type/fraction.proto",
        include_str!("../../proto/google/type/fraction.proto"),
    ),
    (
        "google/type/interval.proto",
        include_str!("../../proto/google/type/interval.proto"),
    ),
    (
        "google/type/latlng.proto",
        include_str!("../../proto/google/type/latlng.proto"),
    ),
    (
        "google/type/localized_text.proto",
        include_str!("../../proto/google/type/localized_text.proto"),
    ),
    (
        "google/type/money.proto",
        include_str!("../../proto/google/type/money.proto"),
    ),
    (
        "google/type/month.proto",
        include_str!("../../proto/google/type/month.proto"),
    ),
    (
        "google/type/phone_number.proto",
        include_str!("../../proto/google/type/phone_number.proto"),
    ),
    (
        "google/type/postal_address.proto",
        include_str!("../../proto/google/type/postal_address.proto"),
    ),
    (
        "google/type/quaternion.proto",
        include_str!("../../proto/google/type/quaternion.proto"),
    ),
    (
        "google/type/timeofday.proto",
        include_str!("../../proto/google/type/timeofday.proto"),
    ),
    (
        "google/protobuf/any.proto",
        include_str!("../../proto/google/protobuf/any.proto"),
    ),
    (
        "google/protobuf/api.proto",
        include_str!("../../proto/google/protobuf/api.proto"),
    ),
    (
        "google/protobuf/cpp_features.proto",
        include_str!("../../proto/google/protobuf/cpp_features.proto"),
    ),
    (
        "google/protobuf/descriptor.proto",
        include_str!("../../proto/google/protobuf/descriptor.proto"),
    ),
    (
        "google/protobuf/duration.proto",
        include_str!("../../proto/google/protobuf/duration.proto"),
    ),
    (
        "google/protobuf/empty.proto",
        include_str!("../../proto/google/protobuf/empty.proto"),
    ),
    (
        "google/protobuf/field_mask.proto",
        include_str!("../../proto/google/protobuf/field_mask.proto"),
    ),
    (
        "google/protobuf/go_features.proto",
        include_str!("../../proto/google/protobuf/go_features.proto"),
    ),
    (
        "google/protobuf/java_features.proto",
        include_str!("../../proto/google/protobuf/java_features.proto"),
    ),
    (
        "google/protobuf/source_context.proto",
        include_str!("../../proto/google/protobuf/source_context.proto"),
    ),
    (
        "google/protobuf/struct.proto",
        include_str!("../../proto/google/protobuf/struct.proto"),
    ),
    (
        "google/protobuf/timestamp.proto",
        include_str!("../../proto/google/protobuf/timestamp.proto"),
    ),
    (
        "google/protobuf/type.proto",
        include_str!("../../proto/google/protobuf/type.proto"),
    ),
    (
        "google/protobuf/wrappers.proto",
        include_str!("../../proto/google/protobuf/wrappers.proto"),
    ),
];

/// Whether an import of `path` is known without a reference.
pub(super) fn is_known(path: &str) -> bool {
    file(path).is_some()
}

/// The known file with this import path.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static ProtoFile)> {
    let found = files().iter().find(|(known, _)| *known == path);
    found.map(|(path, file)| (*path, file))
}

/// Every known file, parsed once.
pub(super) fn files() -> &'static [(&'static str, ProtoFile)] {
    static FILES: OnceLock<Vec<(&'static str, ProtoFile)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let parsed = TEXTS
            .iter()
            .filter_map(|(path, text)| Some((*path, parse_text(text).ok()?)));
        parsed.collect()
    })
}

/// The known file that declares the type `full_name`, or the message around it.
pub(super) fn file_of_type(full_name: &str) -> Option<&'static str> {
    files().iter().find_map(|(path, file)| {
        let rest = full_name
            .strip_prefix(file.package_name())?
            .strip_prefix('.')?;
        let outer = rest.split('.').next()?;
        let declares = file.messages.iter().any(|message| message.name == outer)
            || file.enums.iter().any(|enum_type| enum_type.name == outer);
        declares.then_some(*path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_file_parses() {
        assert_eq!(files().len(), TEXTS.len());
    }

    #[test]
    fn nested_types_belong_to_their_file() {
        assert_eq!(
            file_of_type("google.type.PhoneNumber.ShortCode"),
            Some("google/type/phone_number.proto")
        );
        assert_eq!(
            file_of_type("google.protobuf.FieldOptions"),
            Some("google/protobuf/descriptor.proto")
        );
        assert_eq!(file_of_type("google.protobuf.Nothing"), None);
    }
}
