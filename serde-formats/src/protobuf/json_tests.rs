//! Payloads to JSON and back: forms by table, and agreement with a second implementation on
//! random messages.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, SerializeOptions};
use serde_json::{Value as Json, json};

use super::types::{Count, Kind, Types};
use super::values::{Key, Message, Unnamed, Value, Values, read, write};
use super::{ProtobufSchema, ProtobufScratch, decode_json, decode_with_spans, encode_json};
use crate::schema::ParseMode;
use crate::validator::{MessageId, UnknownFields, ValidationOptions, ViolationReason};

const PROTO3: &str = r#"syntax = "proto3";
package t;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message All {
  double d = 1; float f = 2; int32 i32 = 3; int64 i64 = 4; uint32 u32 = 5; uint64 u64 = 6;
  sint32 s32 = 7; sint64 s64 = 8; fixed32 f32 = 9; fixed64 f64 = 10; sfixed32 sf32 = 11;
  sfixed64 sf64 = 12; bool b = 13; string text_value = 14; bytes raw = 15; Color color = 16;
  All inner = 17; optional int32 maybe = 18;
  oneof choice { string word = 19; int64 number = 20; All other = 21; }
  repeated int32 packed = 22; repeated sint64 zigzag = 23;
  repeated string words = 24; repeated All inners = 25; repeated Color colors = 26;
  map<string, int64> by_text = 27; map<sint32, All> by_number = 28; map<bool, Color> by_flag = 29;
  map<uint64, bytes> by_long = 30; repeated double doubles = 31; repeated bool flags = 200;
  google.protobuf.Timestamp at = 40; google.protobuf.Duration took = 41;
  google.protobuf.Struct free = 42; google.protobuf.Value any_value = 43;
  google.protobuf.ListValue list = 44; google.protobuf.FieldMask mask = 45;
  google.protobuf.Int64Value wrapped_long = 46; google.protobuf.StringValue wrapped_text = 47;
  google.protobuf.DoubleValue wrapped_double = 48; google.protobuf.BytesValue wrapped_bytes = 49;
  google.protobuf.NullValue nothing = 50; google.protobuf.Any any = 51;
  google.protobuf.BoolValue wrapped_bool = 52; google.protobuf.UInt32Value wrapped_u32 = 53;
}
enum Color { NONE = 0; RED = 1; BLUE = 5; }
"#;

const PROTO2: &str = r#"
package t;
message All {
  required int32 id = 1; optional string name = 2 [default = "x"]; repeated int32 codes = 3;
  repeated fixed64 fixed = 4; optional Color color = 5 [default = BLUE];
  optional group Extra = 6 { optional sfixed32 weight = 1; repeated group Deep = 2 { optional bool on = 3; } }
  oneof choice { bytes raw = 7; group Picked = 8 { optional float f = 1; } }
  optional All inner = 9; map<int32, Shade> colors = 10; map<string, All> alls = 11;
  repeated Color many = 12;
  extensions 100 to 199;
}
extend All { optional int64 ext = 100; repeated All more = 101; optional Color tint = 102; }
enum Color { RED = 1; BLUE = 5; }
enum Shade { DARK = 0; LIGHT = 5; }
"#;

fn schema(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(text, &[], ParseMode::Existing).unwrap()
}

/// A small generator of its own, so that a seed means the same for ever (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn text(&mut self) -> Vec<u8> {
        let words = ["", "a", "order", "Zoë", "0", "true", "\"quoted\"\n"];
        words[usize::try_from(self.below(7)).unwrap()].into()
    }

    /// Few values, of every length, so that edges come up.
    fn bits(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }
}

fn random_value(types: &Types, kind: Kind, random: &mut Random, depth: u32) -> Value {
    let bits = random.bits();
    let half = u32::try_from(bits & 0xffff_ffff).unwrap();
    match kind {
        // Not-a-number is not equal to itself, and has a case of its own.
        Kind::Double => Value::Double(
            Some(f64::from_bits(bits))
                .filter(|it| !it.is_nan())
                .unwrap_or(1.5),
        ),
        Kind::Float => Value::Float(
            Some(f32::from_bits(half))
                .filter(|it| !it.is_nan())
                .unwrap_or(2.5),
        ),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::Signed(i64::from(half.cast_signed())),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::Signed(bits.cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => Value::Unsigned(half.into()),
        Kind::Uint64 | Kind::Fixed64 => Value::Unsigned(bits),
        Kind::Bool => Value::Bool(bits & 1 == 1),
        Kind::Text => Value::Bytes(random.text()),
        Kind::Bytes => {
            Value::Bytes(bits.to_le_bytes()[..usize::from(bits.to_le_bytes()[0]) % 9].into())
        }
        Kind::Enum(place) => {
            let numbers: Vec<i32> = types.enum_names(place).unwrap().all().collect();
            let at = random.below(numbers.len() as u64);
            Value::Enum(numbers[usize::try_from(at).unwrap()])
        }
        Kind::Message(position) | Kind::Group(position) => {
            Value::Message(random_message(types, position, random, depth + 1))
        }
    }
}

fn random_message(types: &Types, position: u32, random: &mut Random, depth: u32) -> Message {
    let mut message = Message::default();
    let message_type = types.message(position).unwrap();
    let text = |value: &str| Values::One(Value::Bytes(value.into()).into());
    match message_type.name.as_str() {
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
            let seconds = i64::try_from(random.below(4_000_000_000)).unwrap();
            let nanos = i64::try_from(random.below(4)).unwrap() * 250_000_010;
            message
                .fields
                .insert(1, Values::One(Value::Signed(seconds).into()));
            message
                .fields
                .insert(2, Values::One(Value::Signed(nanos).into()));
            return message;
        }
        "google.protobuf.FieldMask" => {
            let paths = vec![
                Value::Bytes(b"a.b_c".into()).into(),
                Value::Bytes(b"d".into()).into(),
            ];
            message.fields.insert(1, Values::Many(paths));
            return message;
        }
        "google.protobuf.Any" => {
            let inner = random_message(types, types.position("t.All").unwrap(), random, depth + 1);
            let inner = write(types, types.position("t.All").unwrap(), &inner);
            message.fields.insert(1, text("type.googleapis.com/t.All"));
            message
                .fields
                .insert(2, Values::One(Value::Bytes(inner).into()));
            return message;
        }
        "google.protobuf.Value" => {
            let value = match random.below(if depth > 4 { 3 } else { 5 }) {
                0 => (2, Value::Double(1.25)),
                1 => (3, Value::Bytes(random.text())),
                2 => (4, Value::Bool(true)),
                choice => {
                    let number = u32::try_from(choice + 2).unwrap();
                    let kind = message_type.field(number).unwrap().kind;
                    (number, random_value(types, kind, random, depth))
                }
            };
            message.fields.insert(value.0, Values::One(value.1.into()));
            return message;
        }
        _ => {}
    }
    for field in &message_type.fields {
        let rare = if depth == 0 {
            3
        } else {
            8 + u64::from(depth) * 6
        };
        if !field.required
            && (random.below(rare) != 0 || depth > 5 && field.kind.message().is_some())
        {
            continue;
        }
        let siblings = || {
            message_type
                .fields
                .iter()
                .filter(|other| other.oneof == field.oneof)
        };
        if field.oneof.is_some()
            && siblings().any(|other| message.fields.contains_key(&other.number))
        {
            continue;
        }
        let values = match field.count {
            Count::One => Values::One(random_value(types, field.kind, random, depth).into()),
            Count::Many { .. } => {
                let count = 1 + random.below(3);
                let mut one = || random_value(types, field.kind, random, depth).into();
                Values::Many((0..count).map(|_| one()).collect())
            }
            Count::Map => {
                let (key, value) = types.entry(field.kind).unwrap();
                let key = Key::of(random_value(types, key.kind, random, depth)).unwrap();
                let value = random_value(types, value.kind, random, depth).into();
                Values::Map(BTreeMap::from([(key, value)]))
            }
        };
        message.fields.insert(field.number, values);
    }
    message
}

/// What the second implementation makes of a payload.
fn reflected(schema: &ProtobufSchema, payload: &[u8]) -> Result<Json, String> {
    let pool = &schema.linked().unwrap().pool;
    let descriptor = pool.get_message_by_name("t.All").unwrap();
    let message = DynamicMessage::decode(descriptor, payload).map_err(|error| error.to_string())?;
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| error.to_string())
}

fn encoded_by_reflection(schema: &ProtobufSchema, json: &Json) -> Vec<u8> {
    let pool = &schema.linked().unwrap().pool;
    let descriptor = pool.get_message_by_name("t.All").unwrap();
    let options = DeserializeOptions::new();
    DynamicMessage::deserialize_with_options(descriptor, json, &options)
        .unwrap()
        .encode_to_vec()
}

#[test]
fn both_ways_agree_with_another_implementation() {
    for text in [PROTO3, PROTO2] {
        let schema = schema(text);
        let types = schema.types().unwrap();
        let position = types.position("t.All").unwrap();
        let mut random = Random(11);
        for round in 0..400 {
            let message = random_message(types, position, &mut random, 0);
            let payload = write(types, position, &message);
            let json = decode_json(&schema, &[0], &payload).unwrap();
            assert_eq!(Ok(&json), reflected(&schema, &payload).as_ref(), "{round}");
            let again = encode_json(&schema, &[0], &json).unwrap();
            assert_eq!(
                again,
                encoded_by_reflection(&schema, &json),
                "{round}: {json}"
            );
            assert_eq!(decode_json(&schema, &[0], &again).unwrap(), json);
            let spans = decode_with_spans(&schema, &[0], &payload).unwrap().spans;
            assert_eq!((spans[0].path.as_str(), spans[0].end), ("$", payload.len()));
            assert!(spans.is_sorted_by_key(|span| span.start));
            assert!(
                spans
                    .iter()
                    .all(|span| span.start <= span.end && span.end <= payload.len())
            );
        }
    }
}

#[test]
fn damaged_payloads_read_as_another_implementation_reads_them() {
    for text in [PROTO3, PROTO2] {
        let schema = schema(text);
        let types = schema.types().unwrap();
        let position = types.position("t.All").unwrap();
        let mut random = Random(5);
        let mut compared = 0;
        for _ in 0..3000 {
            let message = random_message(types, position, &mut random, 0);
            let mut payload = write(types, position, &message);
            for _ in 0..1 + random.below(2) {
                if !payload.is_empty() {
                    let at = usize::try_from(random.below(payload.len() as u64)).unwrap();
                    payload[at] ^= 1 << random.below(8);
                }
            }
            // The other does not look at the wire type of a map's entries.
            let options = ValidationOptions {
                unknown_fields: UnknownFields::Allow,
                ..ValidationOptions::default()
            };
            let mut scratch = ProtobufScratch::default();
            let id = MessageId(position);
            let judged = types
                .validator
                .validate(id, &payload, options, &mut scratch);
            if judged.is_err_and(|violation| violation.reason != ViolationReason::EnumOutOfRange) {
                continue;
            }
            let Ok(theirs) = reflected(&schema, &payload) else {
                continue;
            };
            compared += 1;
            match decode_json(&schema, &[0], &payload) {
                Ok(ours) => assert_eq!(ours, theirs, "{payload:02x?}"),
                Err(violation) => assert!(
                    violation.detail.starts_with("end of group")
                        || violation.reason == ViolationReason::MissingRequired
                        || violation.reason == ViolationReason::LogicalType,
                    "{violation} {payload:02x?}"
                ),
            }
        }
        assert!(compared > 500, "{compared}");
    }
}

#[test]
fn json_forms_are_those_of_the_mapping() {
    let schema = schema(PROTO3);
    // What is given; what it reads back as, beside the defaults.
    let cases = [
        (json!({"f": "NaN", "d": "-Infinity"}), None),
        (
            json!({"i64": -9, "u64": "18446744073709551615"}),
            Some(json!({"i64": "-9", "u64": "18446744073709551615"})),
        ),
        (json!({"textValue": "x"}), Some(json!({"text_value": "x"}))),
        (json!({"raw": "-_8"}), Some(json!({"raw": "+/8="}))),
        (json!({"color": 5}), Some(json!({"color": "BLUE"}))),
        (json!({"color": 77}), None),
        (
            json!({"i32": 3.0, "u32": "4"}),
            Some(json!({"i32": 3, "u32": 4})),
        ),
        (json!({"maybe": 0, "word": ""}), None),
        (json!({"maybe": null, "word": null}), Some(json!({}))),
        (
            json!({"at": "2024-01-02T03:04:05.120Z", "took": "-1.5s"}),
            Some(json!({"at": "2024-01-02T03:04:05.120Z", "took": "-1.500s"})),
        ),
        (
            json!({"at": "2024-01-02T05:04:05+02:00"}),
            Some(json!({"at": "2024-01-02T03:04:05Z"})),
        ),
        (json!({"mask": "aB.c,d"}), None),
        (
            json!({"free": {"a": [1.5, null, {"b": "c"}]}, "any_value": null, "list": [true]}),
            None,
        ),
        (
            json!({"wrapped_long": "0", "wrapped_text": "", "wrapped_double": "NaN"}),
            None,
        ),
        (json!({"any": {"@type": "x/t.All", "i32": 1}}), None),
        (
            json!({"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}}),
            None,
        ),
        (
            json!({"any": {"@type": "type.googleapis.com/far.Away", "value": "AQI="}}),
            None,
        ),
        (json!({"any": {}}), None),
        (
            json!({"by_flag": {"true": "RED"}, "by_number": {"-1": {"i32": 1}}}),
            None,
        ),
    ];
    for (given, wanted) in cases {
        let bytes = encode_json(&schema, &[0], &given).unwrap();
        let read = decode_json(&schema, &[0], &bytes).unwrap();
        let wanted = wanted.unwrap_or(given);
        for (name, value) in wanted.as_object().unwrap() {
            assert_covers(&read[name], value, name);
        }
    }
    let empty = decode_json(&schema, &[0], &[]).unwrap();
    for (name, default) in [
        ("d", json!(0.0)),
        ("i64", json!("0")),
        ("text_value", json!("")),
        ("color", json!("NONE")),
        ("packed", json!([])),
        ("by_text", json!({})),
        ("nothing", json!(null)),
    ] {
        assert_eq!(empty.get(name), Some(&default));
    }
    for name in ["maybe", "word", "inner", "at", "any_value"] {
        assert_eq!(empty.get(name), None, "{name}");
    }
}

/// Every member wanted is there; more members are defaults.
#[track_caller]
fn assert_covers(found: &Json, wanted: &Json, name: &str) {
    match (found, wanted) {
        (Json::Object(found), Json::Object(wanted)) => {
            for (key, value) in wanted {
                assert_covers(&found[key], value, name);
            }
        }
        _ => assert_eq!(found, wanted, "{name}"),
    }
}

#[test]
fn values_that_do_not_fit_are_refused_where_they_stand() {
    let schema = schema(PROTO3);
    let deep = (0..200).fold(json!({}), |inner, _| json!({ "inner": inner }));
    let deep_any = (0..200).fold(
        json!({}),
        |inner, _| json!({ "@type": "/t.All", "any": inner }),
    );
    let deep_any = json!({ "any": deep_any });
    let cases = [
        (json!([]), "$", "an object"),
        (json!({"nope": 1}), "$", "nope"),
        (json!({"i32": 2_147_483_648_u32}), "$.i32", "2147483647"),
        (json!({"i32": 1.5}), "$.i32", "whole"),
        (json!({"u32": -1}), "$.u32", "within"),
        (json!({"f": 1e300}), "$.f", "range"),
        (json!({"packed": [1, "x"]}), "$.packed[1]", "whole"),
        (json!({"packed": 1}), "$.packed", "an array"),
        (json!({"packed": [null]}), "$.packed[0]", "null"),
        (
            json!({"inners": [{}, {"inner": {"b": 1}}]}),
            "$.inners[1].inner.b",
            "a boolean",
        ),
        (
            json!({"by_number": {"x": {}}}),
            "$.by_number[\"x\"]",
            "whole",
        ),
        (json!({"by_flag": {"yes": 1}}), "$.by_flag[\"yes\"]", "true"),
        (json!({"color": "GREEN"}), "$.color", "GREEN"),
        (json!({"word": "a", "number": 1}), "$.number", "oneof"),
        (
            json!({"text_value": "a", "textValue": "b"}),
            "$.text_value",
            "twice",
        ),
        (json!({"raw": "%"}), "$.raw", "base64"),
        (json!({"at": "2024-13-02T03:04:05Z"}), "$.at", "timestamp"),
        (json!({"at": "2024-01-02 03:04:05Z"}), "$.at", "timestamp"),
        (json!({"took": "1"}), "$.took", "duration"),
        (json!({"mask": "a_b"}), "$.mask", "camel"),
        (json!({"any": {"i32": 1}}), "$.any", "@type"),
        (
            json!({"any": {"@type": "x/far.Away", "i32": 1}}),
            "$.any",
            "far.Away",
        ),
        (json!({"wrapped_long": "x"}), "$.wrapped_long", "whole"),
    ];
    for (given, path, word) in cases {
        let error = encode_json(&schema, &[0], &given).unwrap_err();
        assert_eq!(error.path, path, "{error}");
        assert!(error.message.contains(word), "{error}");
    }
    for deep in [deep, deep_any] {
        let error = encode_json(&schema, &[0], &deep).unwrap_err();
        assert!(error.message.contains("deep"), "{error}");
    }
}

/// Schema, payload; reason, path unless it is long, offset where known.
type Refused<'s> = (
    &'s ProtobufSchema,
    Vec<u8>,
    ViolationReason,
    &'static str,
    Option<usize>,
);

#[test]
fn what_has_no_json_is_refused_with_its_place() {
    let proto3 = schema(PROTO3);
    let proto2 = schema(PROTO2);
    let types = proto3.types().unwrap();
    let all = types.position("t.All").unwrap();
    let any = |content: &[u8]| {
        let mut any = Message::default();
        let one = |value: &[u8]| Values::One(Value::Bytes(value.into()).into());
        any.fields.insert(1, one(b"/t.All"));
        any.fields.insert(2, one(content));
        let mut message = Message::default();
        message
            .fields
            .insert(51, Values::One(Value::Message(any).into()));
        write(types, all, &message)
    };
    let deep_any = (0..200).fold(Vec::new(), |inner, _| any(&inner));
    let mask = |path: &[u8]| {
        let length = u8::try_from(path.len()).unwrap();
        [&[0xea, 2, length + 2, 0x0a, length], path].concat()
    };
    let cases: [Refused<'_>; 7] = [
        (
            &proto2,
            vec![8, 1, 0x12, 2, b'a', 0xff],
            ViolationReason::InvalidUtf8,
            "$.name",
            Some(4),
        ),
        (
            &proto3,
            vec![0xc2, 2, 2, 0x10, 1 + 0x80],
            ViolationReason::Truncated,
            "$.at.nanos",
            Some(4),
        ),
        (
            &proto3,
            [vec![0xc2, 2, 10, 8], vec![0xff; 8], vec![0x7f]].concat(),
            ViolationReason::LogicalType,
            "$.at",
            Some(3),
        ),
        (
            &proto3,
            any(&[0x18, 0x80]),
            ViolationReason::Truncated,
            "$.any",
            None,
        ),
        // Text that would read back as other paths.
        (
            &proto3,
            mask(b""),
            ViolationReason::LogicalType,
            "$.mask",
            None,
        ),
        (
            &proto3,
            mask(b"a,b"),
            ViolationReason::LogicalType,
            "$.mask",
            None,
        ),
        (&proto3, deep_any, ViolationReason::LimitExceeded, "", None),
    ];
    for (schema, payload, reason, path, at) in cases {
        let violation = decode_json(schema, &[0], &payload).unwrap_err();
        assert_eq!(violation.reason, reason, "{violation}");
        if !path.is_empty() {
            assert_eq!(violation.path, path);
        }
        if let Some(at) = at {
            assert_eq!(violation.byte_offset, at, "{violation}");
        }
    }
}

#[test]
fn the_last_of_several_values_is_read() {
    let schema = schema(PROTO3);
    // Two values; members of a oneof; a message in two parts; a map key twice; packed and not; a
    // field of another wire type, which nobody reads.
    let payload = [
        &[0x18, 1, 0x18, 2][..],
        &[0x9a, 1, 1, b'a', 0xa0, 1, 7],
        &[0x8a, 1, 2, 0x18, 3, 0x8a, 1, 2, 0x28, 4],
        &[
            0xda, 1, 5, 0x0a, 1, b'k', 0x10, 1, 0xda, 1, 3, 0x0a, 1, b'k',
        ],
        &[0xb0, 1, 1, 0xb2, 1, 2, 2, 3],
        &[0x72, 1, b'x', 0x70, 9],
    ]
    .concat();
    let decoded = decode_with_spans(&schema, &[0], &payload).unwrap();
    let value = &decoded.value;
    assert_eq!(value["i32"], 2);
    assert_eq!((value.get("word"), &value["number"]), (None, &json!("7")));
    assert_eq!(
        (&value["inner"]["i32"], &value["inner"]["u32"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(value["by_text"], json!({"k": "0"}));
    assert_eq!(value["packed"], json!([1, 2, 3]));
    assert_eq!(value["text_value"], "x");
    let spans: Vec<(&str, usize, usize)> = decoded
        .spans
        .iter()
        .map(|span| (span.path.as_str(), span.start, span.end))
        .collect();
    assert_eq!(
        spans,
        [
            ("$", 0, 48),
            ("$.i32", 3, 4),
            ("$.number", 10, 11),
            ("$.inner", 14, 16),
            ("$.inner.i32", 15, 16),
            ("$.inner", 19, 21),
            ("$.inner.u32", 20, 21),
            ("$.by_text", 35, 35),
            ("$.by_text[\"k\"]", 35, 35),
            ("$.packed", 37, 43),
            ("$.packed[0]", 37, 38),
            ("$.packed[1]", 41, 42),
            ("$.packed[2]", 42, 43),
            ("$.text_value", 45, 46),
        ]
    );
}

#[test]
fn packing_is_as_declared() {
    for (text, packed) in [
        (
            "syntax = \"proto3\"; message M { repeated int32 a = 1; }",
            true,
        ),
        (
            "syntax = \"proto3\"; message M { repeated int32 a = 1 [packed = false]; }",
            false,
        ),
        ("message M { repeated int32 a = 1; }", false),
        ("message M { repeated int32 a = 1 [packed = true]; }", true),
    ] {
        let schema = schema(text);
        let bytes = encode_json(&schema, &[0], &json!({"a": [1, 2]})).unwrap();
        let wanted: &[u8] = if packed {
            &[10, 2, 1, 2]
        } else {
            &[8, 1, 8, 2]
        };
        assert_eq!(bytes, wanted, "{text}");
    }
}

#[test]
fn editions_choose_presence_packing_and_form() {
    let schema = schema(
        r#"edition = "2023"; package t;
        message All {
          int32 explicit = 1;
          int32 implicit = 2 [features.field_presence = IMPLICIT];
          int32 required = 3 [features.field_presence = LEGACY_REQUIRED];
          repeated int32 packed = 4;
          repeated int32 expanded = 5 [features.repeated_field_encoding = EXPANDED];
          All delimited = 6 [features.message_encoding = DELIMITED];
          map<string, Open> opens = 7;
          repeated Closed closed = 8;
          oneof choice { string word = 9; bytes raw = 10; }
          enum Open { NONE = 0; SOME = 1; }
          enum Closed { option features.enum_type = CLOSED; ONE = 1; TWO = 2; }
        }"#,
    );
    let cases: [(Json, &[u8]); 5] = [
        (
            json!({"implicit": 0, "required": 0, "packed": [], "expanded": [], "opens": {}, "closed": []}),
            &[0x18, 0],
        ),
        (
            json!({"explicit": 0, "implicit": 5, "required": 1, "packed": [1, 2], "expanded": [1, 2], "opens": {}, "closed": ["TWO"]}),
            &[
                8, 0, 0x10, 5, 0x18, 1, 0x22, 2, 1, 2, 0x28, 1, 0x28, 2, 0x42, 1, 2,
            ],
        ),
        (
            json!({"implicit": 0, "required": 1, "packed": [], "expanded": [], "delimited": {"implicit": 0, "required": 2, "packed": [], "expanded": [], "opens": {}, "closed": []}, "opens": {}, "closed": []}),
            &[0x18, 1, 0x33, 0x18, 2, 0x34],
        ),
        (
            json!({"implicit": 0, "required": 1, "packed": [], "expanded": [], "opens": {"a": "SOME", "b": 7}, "closed": []}),
            &[
                0x18, 1, 0x3a, 5, 0x0a, 1, b'a', 0x10, 1, 0x3a, 5, 0x0a, 1, b'b', 0x10, 7,
            ],
        ),
        (
            json!({"implicit": 0, "required": 1, "packed": [], "expanded": [], "opens": {}, "closed": [], "word": ""}),
            &[0x18, 1, 0x4a, 0],
        ),
    ];
    for (json, bytes) in cases {
        assert_eq!(encode_json(&schema, &[0], &json).unwrap(), bytes, "{json}");
        assert_eq!(decode_json(&schema, &[0], bytes).unwrap(), json);
    }
    let refused = [
        (json!({}), "$.required"),
        (json!({"required": 1, "closed": [3]}), "$.closed[0]"),
    ];
    for (json, path) in refused {
        assert_eq!(encode_json(&schema, &[0], &json).unwrap_err().path, path);
    }
    assert!(decode_json(&schema, &[0], &[0x18, 1, 0x4a, 1, 0xff]).is_err());
}

#[test]
fn trees_write_what_they_were_read_from() {
    let schema = schema(PROTO2);
    let types = schema.types().unwrap();
    let position = types.position("t.All").unwrap();
    let mut random = Random(3);
    for _ in 0..200 {
        let payload = write(
            types,
            position,
            &random_message(types, position, &mut random, 0),
        );
        let read = read(types, position, &payload, 0..payload.len(), Unnamed::Keep).unwrap();
        assert_eq!(write(types, position, &read), payload);
    }
}
