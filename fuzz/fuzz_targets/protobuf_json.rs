//! Invariant: a payload that decodes to JSON is written again from it, and means the same JSON; its
//! spans lie in the payload, each in order. What a runtime reads and a writer may not write (a
//! number that a closed enum does not have) is refused with that reason alone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, json_value};

const TEXTS: [&str; 3] = [
    "syntax = \"proto3\";
    import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/duration.proto\";
    import \"google/protobuf/struct.proto\"; import \"google/protobuf/wrappers.proto\";
    import \"google/protobuf/field_mask.proto\"; import \"google/protobuf/any.proto\";
    message M {
      int64 a = 1; string b = 2; repeated int32 c = 3; map<string, M> d = 4;
      oneof u { bool e = 5; double f = 6; M g = 7; google.protobuf.NullValue n = 21; }
      enum E { Z = 0; Y = -1; } E h = 8; bytes i = 9; optional float j = 10; repeated E k = 11;
      map<int64, E> l = 12; map<bool, bytes> m = 13; repeated M o = 14; fixed64 p = 15;
      google.protobuf.Timestamp q = 16; google.protobuf.Duration r = 17;
      google.protobuf.Struct s = 18; google.protobuf.Value t = 19;
      google.protobuf.Int64Value v = 20; google.protobuf.FieldMask w = 22;
      repeated google.protobuf.BytesValue x = 23; google.protobuf.Any y = 24; sint32 z = 200;
    }",
    "syntax = \"proto2\";
    message M {
      optional int64 a = 1; optional string b = 2; repeated int32 c = 3 [packed = true];
      optional group D = 4 { required sint64 a = 1; optional M b = 2; }
      repeated group F = 5 { optional bytes a = 1; }
      enum E { ONE = 1; TWO = 2; } optional E e = 6 [default = TWO]; repeated E g = 7;
      oneof u { group H = 8 { optional float a = 1; } bool i = 9; }
      map<uint32, M> j = 10; optional M k = 11; extensions 100 to 200;
    }
    extend M { optional string note = 100; repeated M more = 101; }",
    "edition = \"2023\"; option features.message_encoding = DELIMITED;
    message M {
      int64 a = 1; string b = 2 [features.utf8_validation = NONE];
      repeated sfixed32 c = 3 [features.repeated_field_encoding = EXPANDED];
      M d = 4; repeated M e = 5; map<string, M> f = 6;
      enum E { option features.enum_type = CLOSED; TWO = 2; } E g = 7;
      uint32 h = 8 [features.field_presence = IMPLICIT];
      M i = 9 [features.message_encoding = LENGTH_PREFIXED];
    }",
];

static SCHEMAS: LazyLock<[ParsedSchema; 3]> = LazyLock::new(|| {
    TEXTS.map(|text| {
        ParsedSchema::parse(SchemaFormat::Protobuf, text, &[], ParseMode::New)
            .expect("the schema parses")
    })
});

fuzz_target!(|data: &[u8]| {
    let [which, payload @ ..] = data else { return };
    let schema = &SCHEMAS[usize::from(*which) % SCHEMAS.len()];
    let Ok(decoded) = json_value::decode_with_spans(schema, &[0], payload) else {
        return;
    };
    for span in &decoded.spans {
        assert!(span.start <= span.end && span.end <= payload.len(), "{span:?}");
    }
    assert_eq!(json_value::decode(schema, &[0], payload).as_ref(), Ok(&decoded.value));
    let bytes = match json_value::encode(schema, &[0], &decoded.value) {
        Ok(bytes) => bytes,
        Err(error) => {
            assert!(error.message.contains("enum"), "{error}: {}", decoded.value);
            return;
        }
    };
    let again = json_value::decode(schema, &[0], &bytes);
    assert_eq!(again.as_ref(), Ok(&decoded.value), "{bytes:x?}");
});
