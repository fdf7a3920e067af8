//! Numbers and encodings of the options that a serialized descriptor keeps.

/// How an option's value is encoded.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Text,
    Truth,
    /// An enum: its constants, numbered from the first number given.
    Constants(usize, &'static [&'static str]),
    /// As [`Encoding::Constants`], once for each time the option is given.
    List(usize, &'static [&'static str]),
    /// The features of an edition, given one by one.
    Features,
    /// Messages of editions, numbers, truths and texts, once for each time the option is given.
    Messages(&'static [(&'static str, u32)]),
}

pub(super) type Known = &'static [(&'static str, u32, Encoding)];

pub(super) const FILE_OPTIONS: Known = &[
    ("java_package", 1, Encoding::Text),
    ("java_outer_classname", 8, Encoding::Text),
    (
        "optimize_for",
        9,
        Encoding::Constants(1, &["SPEED", "CODE_SIZE", "LITE_RUNTIME"]),
    ),
    ("java_multiple_files", 10, Encoding::Truth),
    ("go_package", 11, Encoding::Text),
    ("cc_generic_services", 16, Encoding::Truth),
    ("java_generic_services", 17, Encoding::Truth),
    ("py_generic_services", 18, Encoding::Truth),
    ("java_generate_equals_and_hash", 20, Encoding::Truth),
    ("deprecated", 23, Encoding::Truth),
    ("java_string_check_utf8", 27, Encoding::Truth),
    ("cc_enable_arenas", 31, Encoding::Truth),
    ("objc_class_prefix", 36, Encoding::Text),
    ("csharp_namespace", 37, Encoding::Text),
    ("swift_prefix", 39, Encoding::Text),
    ("php_class_prefix", 40, Encoding::Text),
    ("php_namespace", 41, Encoding::Text),
    ("php_metadata_namespace", 44, Encoding::Text),
    ("ruby_package", 45, Encoding::Text),
    ("features", 50, Encoding::Features),
];
pub(super) const MESSAGE_OPTIONS: Known = &[
    ("message_set_wire_format", 1, Encoding::Truth),
    ("no_standard_descriptor_accessor", 2, Encoding::Truth),
    ("deprecated", 3, Encoding::Truth),
    ("map_entry", 7, Encoding::Truth),
    ("features", 12, Encoding::Features),
];
pub(super) const FIELD_OPTIONS: Known = &[
    (
        "ctype",
        1,
        Encoding::Constants(0, &["STRING", "CORD", "STRING_PIECE"]),
    ),
    ("packed", 2, Encoding::Truth),
    ("deprecated", 3, Encoding::Truth),
    ("lazy", 5, Encoding::Truth),
    (
        "jstype",
        6,
        Encoding::Constants(0, &["JS_NORMAL", "JS_STRING", "JS_NUMBER"]),
    ),
    ("weak", 10, Encoding::Truth),
    ("unverified_lazy", 15, Encoding::Truth),
    ("debug_redact", 16, Encoding::Truth),
    (
        "retention",
        17,
        Encoding::Constants(
            0,
            &["RETENTION_UNKNOWN", "RETENTION_RUNTIME", "RETENTION_SOURCE"],
        ),
    ),
    ("targets", 19, Encoding::List(0, TARGETS)),
    (
        "edition_defaults",
        20,
        Encoding::Messages(&[("value", 2), ("edition", 3)]),
    ),
    ("features", 21, Encoding::Features),
    (
        "feature_support",
        22,
        Encoding::Messages(&[
            ("edition_introduced", 1),
            ("edition_deprecated", 2),
            ("deprecation_warning", 3),
            ("edition_removed", 4),
        ]),
    ),
];
pub(super) const ENUM_OPTIONS: Known = &[
    ("allow_alias", 2, Encoding::Truth),
    ("deprecated", 3, Encoding::Truth),
    ("features", 7, Encoding::Features),
];
pub(super) const CONSTANT_OPTIONS: Known = &[
    ("deprecated", 1, Encoding::Truth),
    ("features", 2, Encoding::Features),
];
pub(super) const RANGE_OPTIONS: Known = &[
    (
        "declaration",
        2,
        Encoding::Messages(&[
            ("number", 1),
            ("full_name", 2),
            ("type", 3),
            ("reserved", 5),
            ("repeated", 6),
        ]),
    ),
    (
        "verification",
        3,
        Encoding::Constants(0, &["DECLARATION", "UNVERIFIED"]),
    ),
];
pub(super) const SERVICE_OPTIONS: Known = &[
    ("deprecated", 33, Encoding::Truth),
    ("features", 34, Encoding::Features),
];
pub(super) const METHOD_OPTIONS: Known = &[
    ("deprecated", 33, Encoding::Truth),
    (
        "idempotency_level",
        34,
        Encoding::Constants(0, &["IDEMPOTENCY_UNKNOWN", "NO_SIDE_EFFECTS", "IDEMPOTENT"]),
    ),
    ("features", 35, Encoding::Features),
];

pub(super) const TARGETS: &[&str] = &[
    "TARGET_TYPE_UNKNOWN",
    "TARGET_TYPE_FILE",
    "TARGET_TYPE_EXTENSION_RANGE",
    "TARGET_TYPE_MESSAGE",
    "TARGET_TYPE_FIELD",
    "TARGET_TYPE_ONEOF",
    "TARGET_TYPE_ENUM",
    "TARGET_TYPE_ENUM_ENTRY",
    "TARGET_TYPE_SERVICE",
    "TARGET_TYPE_METHOD",
];

/// Constants of `google.protobuf.Edition`.
pub(super) const EDITIONS: [(&str, i64); 10] = [
    ("EDITION_UNKNOWN", 0),
    ("EDITION_1_TEST_ONLY", 1),
    ("EDITION_2_TEST_ONLY", 2),
    ("EDITION_LEGACY", 900),
    ("EDITION_PROTO2", 998),
    ("EDITION_PROTO3", 999),
    ("EDITION_2023", 1000),
    ("EDITION_2024", 1001),
    ("EDITION_2026", 1002),
    ("EDITION_MAX", 0x7fff_ffff),
];

/// Name and number of each feature, its first value's number and its values.
pub(super) const FEATURES: [(&str, u32, usize, &[&str]); 8] = [
    (
        "field_presence",
        1,
        1,
        &["EXPLICIT", "IMPLICIT", "LEGACY_REQUIRED"],
    ),
    ("enum_type", 2, 1, &["OPEN", "CLOSED"]),
    ("repeated_field_encoding", 3, 1, &["PACKED", "EXPANDED"]),
    ("utf8_validation", 4, 2, &["VERIFY", "NONE"]),
    ("message_encoding", 5, 1, &["LENGTH_PREFIXED", "DELIMITED"]),
    ("json_format", 6, 1, &["ALLOW", "LEGACY_BEST_EFFORT"]),
    ("enforce_naming_style", 7, 1, &["STYLE2024", "STYLE_LEGACY"]),
    (
        "default_symbol_visibility",
        8,
        1,
        &["EXPORT_ALL", "EXPORT_TOP_LEVEL", "LOCAL_ALL", "STRICT"],
    ),
];
