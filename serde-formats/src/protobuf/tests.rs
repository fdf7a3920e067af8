//! Schemas in: texts, descriptors, references, and what is said of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::json;

use super::*;

fn resolved(name: &str, schema: &str) -> ResolvedReference {
    ResolvedReference {
        name: name.to_owned(),
        subject: name.to_owned(),
        version: 1,
        schema: schema.to_owned(),
    }
}

fn new(text: &str, references: &[ResolvedReference]) -> Result<ProtobufSchema, ParseError> {
    ProtobufSchema::parse(text, references, ParseMode::New)
}

/// The descriptor a compiler writes, in base64.
fn descriptor(text: &str) -> String {
    let short = compile::folded(&parse_text::parse_text(text).unwrap());
    let text = short.map_or_else(|| text.to_owned(), |file| print::print(&file));
    let file = protox::file::File::from_source("a.proto", &text).unwrap();
    let mut resolver = protox::file::ChainFileResolver::new();
    resolver.add(protox::file::GoogleFileResolver::new());
    resolver.add(One(file));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_file("a.proto").unwrap();
    let files = compiler.file_descriptor_set().file;
    STANDARD.encode(files.last().unwrap().encode_to_vec())
}

struct One(protox::file::File);

impl protox::file::FileResolver for One {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        if name == "a.proto" {
            Ok(self.0.clone())
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

#[test]
fn errors_say_where() {
    let cases = [
        ("syntax = \"proto3\";\nmessage M { int32 a; }", 2, 20, "'='"),
        ("syntax = \"proto4\";", 1, 10, "proto4"),
        ("edition = \"2022\";", 1, 11, "unknown edition"),
        ("message M { int32 a = 1; }", 1, 13, "'optional'"),
        (
            "syntax = \"proto3\";\nmessage M { required int32 a = 1; }",
            2,
            13,
            "'required'",
        ),
        ("message M {", 1, 12, "the end of the file"),
        (
            "message M { optional string a = 1 [default = \"x]; }",
            1,
            46,
            "not closed",
        ),
        ("/* x", 1, 1, "not closed"),
        ("message M { optional int32 a = 8.01; }", 1, 32, "8.01"),
        (
            "message M { optional int32 a = 4294967296; }",
            1,
            32,
            "4294967296",
        ),
        ("message Mé {}", 1, 10, "'é'"),
        ("package a; package b;", 1, 12, "second package"),
        ("option x = \"\\q\";", 1, 14, "escape"),
    ];
    for (text, line, column, part) in cases {
        let error = ProtobufSchema::parse(text, &[], ParseMode::Existing).unwrap_err();
        assert_eq!(error.position, Some((line, column)), "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth| format!("{}{}", "message M { ".repeat(depth), "}".repeat(depth));
    assert_eq!(new(&nested(31), &[]).err(), None);
    for text in [
        nested(33),
        nested(40_000),
        format!("option x = {}", "{ a: ".repeat(40_000)),
        format!("option x = {}", "[".repeat(40_000)),
        format!("message M {{ {}", "optional group G = 1 { ".repeat(40_000)),
    ] {
        let error = ProtobufSchema::parse(&text, &[], ParseMode::Existing).unwrap_err();
        assert!(error.message.contains("nests deeper"), "{error}");
    }
}

#[test]
fn a_new_schema_must_compile_and_a_stored_one_need_not() {
    let text = "syntax = \"proto3\";\nmessage M { int32 a = 1; string b = 1; }";
    assert!(new(text, &[]).is_err());
    let stored = ProtobufSchema::parse(text, &[], ParseMode::Existing).unwrap();
    assert!(stored.compile().is_err());
    assert!(stored.text(TextForm::Canonical).contains("string b = 1;"));
}

const FULL: &str = "syntax = \"proto3\";
package shop.v1;

import \"google/protobuf/timestamp.proto\";

option java_package = \"shop\";

message Order {
  reserved 20;
  reserved 30 to 39;
  reserved \"old\";

  option deprecated = true;

  optional int64 id = 1 [json_name = \"id\"];
  .google.protobuf.Timestamp at = 2 [json_name = \"at\"];
  repeated .shop.v1.Order.Line lines = 3 [
    deprecated = true,
    json_name = \"lines\"
  ];
  repeated .shop.v1.Order.StockEntry stock = 4 [json_name = \"stock\"];

  oneof payment {
    string card = 5 [json_name = \"card\"];
    bool cash = 6 [json_name = \"cash\"];
  }

  message StockEntry {
    option map_entry = true;
  
    string key = 1 [json_name = \"key\"];
    sint32 value = 2 [json_name = \"value\"];
  }
  message Line {
    uint32 qty = 1 [json_name = \"qty\"];
  }
}
enum Status {
  NONE = 0;
  PAID = 1 [deprecated = true];
}

service Orders {
  rpc Get (.shop.v1.Order) returns (stream .shop.v1.Order);
}
";

#[test]
fn a_descriptor_reads_as_the_text_it_came_from() {
    let encoded = descriptor(FULL);
    let schema = new(&encoded, &[]).unwrap();
    assert_eq!(schema.text(TextForm::Canonical), FULL);
    assert_eq!(schema.record_name().as_deref(), Some("shop.v1.Order"));
    let normalized = schema.text(TextForm::Normalized);
    assert!(
        normalized.contains("  map<string, sint32> stock = 4"),
        "{normalized}"
    );
    assert!(schema.is_equivalent(&new(FULL, &[]).unwrap()));
    // An entry spelled out is a message like others, and clients count it.
    let validator = schema.compile().unwrap();
    for (indexes, name) in [
        ([0, 0], "shop.v1.Order.StockEntry"),
        ([0, 1], "shop.v1.Order.Line"),
    ] {
        let found = validator
            .message(&indexes)
            .and_then(|message| validator.record_name(message));
        assert_eq!(found, Some(name));
    }
}

#[test]
fn proto2_descriptors_keep_groups_defaults_and_extensions() {
    let text = "syntax = \"proto2\";

message M {
  required string a = 1 [default = \"x\\ty\\\"\"];
  optional bytes b = 2 [default = \"\\a\\001\"];

  repeated group G = 3 {
    optional double d = 4 [default = inf];
  }

  extensions 100 to 199, 500 to max;

  extend M {
    optional int32 in = 101;
  }
}

extend M {
  repeated M out = 500;
}
";
    let schema = new(&descriptor(text), &[]).unwrap();
    let printed = schema.text(TextForm::Canonical);
    for part in [
        "required string a = 1 [\n    default = \"x\\ty\\\"\",",
        "optional bytes b = 2 [\n    default = \"\\a\u{1}\",",
        "repeated group G = 3",
        "extensions 500 to max;",
        "optional int32 in = 101",
        "repeated .M out = 500",
    ] {
        assert!(printed.contains(part), "{part} is not in\n{printed}");
    }
    assert!(!printed.contains("message G"), "{printed}");
    schema.compile().unwrap();
}

#[test]
fn custom_options_of_a_descriptor_survive() {
    let text = "syntax = \"proto3\";\nimport \"confluent/meta.proto\";\nmessage A {\n  string s = 1 \
                [(confluent.field_meta) = { tags: [\"PII\"], doc: \"d\", params: { key: \"k\" \
                value: \"v\" } }];\n}";
    let serialized = new(text, &[]).unwrap().text(TextForm::Serialized);
    let printed = new(&serialized, &[]).unwrap().text(TextForm::Normalized);
    let part = "[(confluent.field_meta) = {\n    doc: \"d\",\n    params: {\n      key: \
                \"k\",\n      value: \"v\"\n    },\n    tags: \"PII\"\n  }]";
    assert!(printed.contains(part), "{printed}");
}

#[test]
fn descriptors_of_unknown_editions_and_noise_are_refused() {
    let mut file = prost_types::FileDescriptorProto {
        name: Some("a.proto".to_owned()),
        syntax: Some("editions".to_owned()),
        ..Default::default()
    };
    let encode = |file: &prost_types::FileDescriptorProto| STANDARD.encode(file.encode_to_vec());
    let error = new(&encode(&file), &[]).unwrap_err();
    assert!(error.message.contains("edition"), "{error}");
    file.syntax = Some("proto3".to_owned());
    file.package = Some("a; import \"x\"".to_owned());
    assert!(
        new(&encode(&file), &[]).is_err(),
        "a package that is no name"
    );
    assert!(new("AAAA", &[]).is_err());
}

#[test]
fn references_resolve_by_path() {
    let base = resolved(
        "base.proto",
        "syntax = \"proto3\"; package b; message Base { int32 x = 1; }",
    );
    let mid = resolved(
        "mid.proto",
        "syntax = \"proto3\"; import public \"base.proto\";",
    );
    let text = "syntax = \"proto3\"; import \"mid.proto\"; message M { b.Base base = 1; }";
    let schema = new(text, &[base.clone(), mid]).unwrap();
    assert!(
        schema
            .text(TextForm::Normalized)
            .contains("  .b.Base base = 1;")
    );
    assert!(
        new(text, std::slice::from_ref(&base)).is_err(),
        "the import is missing"
    );
    // A descriptor serves as a reference too.
    let encoded = resolved("base.proto", &descriptor(&base.schema));
    let text = "syntax = \"proto3\"; import \"base.proto\"; message M { b.Base base = 1; }";
    let validator = new(text, &[encoded]).unwrap().compile().unwrap();
    assert_eq!(
        validator.message(&[0]).map(|it| validator.record_name(it)),
        Some(Some("M"))
    );
    assert_eq!(
        validator.message(&[1]),
        None,
        "messages of a reference are not counted"
    );
}

#[test]
fn known_files_need_no_reference() {
    let text = "syntax = \"proto3\";
import \"google/type/money.proto\"; import \"google/type/datetime.proto\";
import \"confluent/type/decimal.proto\"; import \"google/protobuf/struct.proto\";
message M {
  google.type.Money money = 1; google.type.DateTime at = 2; confluent.type.Decimal d = 3;
  google.protobuf.Struct s = 4;
}";
    new(text, &[]).unwrap().compile().unwrap();
}

#[test]
fn message_indexes_count_declared_messages() {
    let text = "syntax = \"proto3\"; package p;
enum E { Z = 0; }
message A { map<string, int32> m = 1; enum F { Y = 0; } message B { message C {} } message D {} }
message G {}";
    let validator = new(text, &[]).unwrap().compile().unwrap();
    for (indexes, name) in [
        (&[0][..], Some("p.A")),
        (&[0, 0], Some("p.A.B")),
        (&[0, 0, 0], Some("p.A.B.C")),
        (&[0, 1], Some("p.A.D")),
        (&[0, 2], None),
        (&[1], Some("p.G")),
        (&[2], None),
        (&[-1], None),
        (&[], None),
    ] {
        let found = validator
            .message(indexes)
            .and_then(|message| validator.record_name(message));
        assert_eq!(found, name, "{indexes:?}");
    }
}

#[test]
fn json_goes_both_ways() {
    let schema = new(FULL, &[]).unwrap();
    let value = json!({
        "id": "7",
        "at": "2024-01-02T03:04:05Z",
        "lines": [{"qty": 2}, {"qty": 0}],
        "stock": {"a": -1},
        "cash": true,
    });
    let bytes = encode_json(&schema, &[0], &value).unwrap();
    assert_eq!(decode_json(&schema, &[0], &bytes).unwrap(), value);
    let error = encode_json(&schema, &[0], &json!({"nope": 1})).unwrap_err();
    assert!(error.message.contains("nope"), "{error}");
    let violation = decode_json(&schema, &[0], &[0x1a, 0x02, 0x08, 0x80]).unwrap_err();
    assert_eq!(
        (violation.path.as_str(), violation.byte_offset),
        ("$.lines[0].qty", 3)
    );
    assert!(decode_json(&schema, &[9], &[]).is_err());
    let required = new("message M { required int32 a = 1; }", &[]).unwrap();
    assert_eq!(
        encode_json(&required, &[0], &json!({})).unwrap_err().path,
        "$.a"
    );
}

#[test]
fn incompatibilities_are_worded_as_the_reference_words_them() {
    let old = new("syntax = \"proto3\"; message M { string f = 2; }", &[]).unwrap();
    let next = new("syntax = \"proto3\"; message M { int32 f = 2; }", &[]).unwrap();
    let found = compare(&next, &old);
    let messages: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "{errorType:\"FIELD_SCALAR_KIND_CHANGED\", description:\"The kind of a SCALAR field at \
             path '#/M/2' in the %s schema does not match its kind in the %s schema\"}"
        ]
    );
}

#[test]
fn referenced_messages_compare_through_long_chains() {
    use std::fmt::Write as _;
    let chain = |last: &str| {
        let mut text = "syntax = \"proto3\"; package c;\n".to_owned();
        for at in 0..3000 {
            writeln!(
                text,
                "message M{at} {{ M{} next = 1; M{} again = 2; }}",
                at + 1,
                at + 1
            )
            .unwrap();
        }
        writeln!(text, "message M3000 {{ {last} x = 1; }}").unwrap();
        resolved("chain.proto", &text)
    };
    let text = "syntax = \"proto3\"; import \"chain.proto\"; message R { c.M0 m = 1; }";
    let parse = |last| ProtobufSchema::parse(text, &[chain(last)], ParseMode::Existing).unwrap();
    assert_eq!(compare(&parse("int32"), &parse("uint64")), vec![]);
    let found = compare(&parse("int32"), &parse("string"));
    assert_eq!(found[0].path, "#/M3000/1");
    assert!(
        found
            .iter()
            .any(|one| one.path == "#/R/1" && one.kind == "FIELD_NAMED_TYPE_CHANGED")
    );
}

#[test]
fn names_that_differ_in_case_are_told_apart_by_their_json_names() {
    let proto3 = "syntax = \"proto3\"; message M { int32 order_id = 1; string ORDER_ID = 2; }";
    let schema = new(proto3, &[]).unwrap();
    let validator = schema.compile().unwrap();
    let verdict = validator.validate(
        validator.message(&[0]).unwrap(),
        &[0x12, 1, 0xff],
        crate::validator::ValidationOptions::default(),
        &mut ProtobufScratch::default(),
    );
    assert_eq!(verdict.unwrap_err().path, "$.ORDER_ID");
    let proto2 = "message M { optional int32 a_b = 1; optional string aB = 2; }";
    assert!(new(proto2, &[]).is_ok());
    let clash = "syntax = \"proto3\"; message M { int32 a_b = 1; string aB = 2; }";
    assert!(new(clash, &[]).is_err());
}
