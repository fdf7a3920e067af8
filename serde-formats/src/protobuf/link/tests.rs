//! Verdicts of `protoc` 35.1 on small files of our own, and limits.

use super::super::{ProtobufSchema, ProtobufScratch, decode_json, encode_json};
use crate::schema::{ParseError, ParseMode, ResolvedReference, TextForm};
use crate::validator::ValidationOptions;

/// A case starts with `#### taken`, or `#### refused` and where; other files follow `-- path`.
const CASES: &str = include_str!("protoc.cases");

struct Case {
    taken: bool,
    /// Where `protoc` says the first mistake is.
    position: Option<(u32, u32)>,
    text: String,
    references: Vec<ResolvedReference>,
}

fn cases() -> Vec<Case> {
    let cases = CASES.split("#### ").filter(|case| !case.is_empty());
    cases.map(case).collect()
}

fn case(text: &str) -> Case {
    let (verdict, files) = text.split_once('\n').unwrap();
    let mut parts = files.split("\n-- ");
    let root = parts.next().unwrap().to_owned();
    let position = verdict.split_once(' ').map(|(_, at)| {
        let (line, column) = at.split_once(':').unwrap();
        (line.parse().unwrap(), column.parse().unwrap())
    });
    let references = parts.map(|part| {
        let (name, schema) = part.split_once('\n').unwrap();
        ResolvedReference {
            name: name.to_owned(),
            subject: name.to_owned(),
            version: 1,
            schema: schema.to_owned(),
        }
    });
    Case {
        taken: verdict == "taken",
        position,
        text: root,
        references: references.collect(),
    }
}

fn full_check(text: &str, references: &[ResolvedReference]) -> Result<ProtobufSchema, ParseError> {
    let schema = ProtobufSchema::parse(text, references, ParseMode::New)?;
    schema.check_fields()?;
    Ok(schema)
}

#[test]
fn verdicts_are_those_of_protoc() {
    let mut wrong = Vec::new();
    let (mut placed, mut same_place) = (0, 0);
    for case in cases() {
        let verdict = full_check(&case.text, &case.references);
        if verdict.is_ok() != case.taken {
            wrong.push(format!("{}\n{:?}", case.text, verdict.as_ref().err()));
        }
        if let (Err(error), Some(position)) = (&verdict, case.position) {
            placed += 1;
            if error.position == Some(position) {
                same_place += 1;
            } else if std::env::var_os("ASSAY_SHOW").is_some() {
                wrong.push(format!("{}\n{position:?} {error:?}", case.text));
            }
        }
        if let Ok(schema) = verdict {
            if !case.taken {
                continue;
            }
            schema.compile().unwrap();
            let linked = schema.linked().unwrap();
            if linked.pool.files().len() == 0 {
                wrong.push(format!("reflection: {}", case.text));
            }
            let printed = schema.text(TextForm::Canonical);
            let again = ProtobufSchema::parse(&printed, &case.references, ParseMode::Existing);
            assert_eq!(again.unwrap().text(TextForm::Canonical), printed);
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(
        same_place * 3 >= placed * 2,
        "{same_place} of {placed} places"
    );
}

/// Payloads of an edition, judged by what its features say.
#[test]
fn features_decide_how_payloads_are_read() {
    let text = "edition = \"2023\"; package p;
message M {
  string checked = 1;
  string free = 2 [features.utf8_validation = NONE];
  Open open = 3;
  Closed closed = 4;
  N group = 5 [features.message_encoding = DELIMITED];
  repeated int32 apart = 6 [features.repeated_field_encoding = EXPANDED];
  message N { int32 x = 1; }
}
message R { int32 must = 1 [features.field_presence = LEGACY_REQUIRED]; }
enum Open { A = 0; }
enum Closed { option features.enum_type = CLOSED; B = 1; }";
    let schema = full_check(text, &[]).unwrap();
    let validator = schema.compile().unwrap();
    let mut scratch = ProtobufScratch::default();
    for (message, payload, path) in [
        (0, &[0x0a, 1, b'a'][..], None),
        (0, &[0x0a, 1, 0xff], Some("$.checked")),
        (0, &[0x12, 1, 0xff], None),
        (0, &[0x18, 9], None),
        (0, &[0x20, 1], None),
        (0, &[0x20, 9], Some("$.closed")),
        (0, &[0x2b, 0x08, 1, 0x2c], None),
        (0, &[0x2a, 2, 0x08, 1], Some("$.group")),
        (0, &[0x30, 1, 0x30, 2], None),
        (0, &[0x32, 2, 1, 2], None),
        (1, &[0x08, 1], None),
        (1, &[], Some("$.must")),
    ] {
        let id = validator.message(&[message]).unwrap();
        let options = ValidationOptions::default();
        let verdict = validator.validate(id, payload, options, &mut scratch);
        let found = verdict.err().map(|violation| violation.path);
        assert_eq!(found.as_deref(), path, "{payload:?}");
    }
}

#[test]
fn errors_name_the_file_they_are_in() {
    let reference = ResolvedReference {
        name: "b.proto".to_owned(),
        subject: "b".to_owned(),
        version: 1,
        schema: "syntax = \"proto3\";\nmessage B { int32 a = 1; int32 b = 1; }".to_owned(),
    };
    let text = "syntax = \"proto3\"; import \"b.proto\"; message M { B b = 1; }";
    let error = ProtobufSchema::parse(text, &[reference], ParseMode::New).unwrap_err();
    assert_eq!(error.position, None);
    assert!(error.message.starts_with("in b.proto:2:36: "), "{error}");
}

#[test]
fn registration_takes_unknown_options_and_known_types() {
    let reference = ResolvedReference {
        name: "b.proto".to_owned(),
        subject: "b".to_owned(),
        version: 1,
        schema: "syntax = \"proto3\"; package p; message B { int32 a = 1; }".to_owned(),
    };
    for text in [
        "syntax = \"proto3\"; message M { option (nobody) = \"x\"; int32 a = 1; }",
        "syntax = \"proto3\"; package p; message M { map<string, B> b = 1; }",
        "syntax = \"proto3\"; message M { google.protobuf.Timestamp at = 1; }",
    ] {
        let references = std::slice::from_ref(&reference);
        let schema = ProtobufSchema::parse(text, references, ParseMode::New).unwrap();
        schema.compile().unwrap();
        assert!(schema.check_fields().is_err(), "{text}");
    }
}

#[test]
fn bombs_end_in_an_error() {
    use std::fmt::Write as _;
    let head = "syntax = \"proto3\";\n";
    let mut many = head.to_owned();
    for at in 0..100_001 {
        writeln!(many, "message M{at} {{}}").unwrap();
    }
    let import = "import \"google/protobuf/descriptor.proto\"; ";
    let declare = "message O { O o = 1; } extend google.protobuf.FileOptions { O o = 50001; } ";
    let path = format!(
        "{head}{import}{declare}option (o){} = {{}};",
        ".o".repeat(100_000)
    );
    let keys = (0..2000).map(|at| format!("k{at}: 1 ")).collect::<String>();
    let aggregate = format!("{head}{import}{declare}option (o) = {{ {keys} }};");
    for (text, part) in [
        (many, "tokens"),
        (path, "parts"),
        (aggregate, "keys"),
        (format!("{head}import \"nope.proto\";"), "not found"),
    ] {
        let error = ProtobufSchema::parse(&text, &[], ParseMode::New).unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn long_import_chains_link_and_cycles_do_not() {
    let chain = |last: &str| -> Vec<ResolvedReference> {
        let file = |at: usize| ResolvedReference {
            name: format!("{at}.proto"),
            subject: format!("{at}"),
            version: 1,
            schema: if at == 899 {
                format!("syntax = \"proto3\"; {last} message M899 {{ }}")
            } else {
                format!(
                    "syntax = \"proto3\"; import \"{0}.proto\"; message M{at} {{ M{0} m = 1; }}",
                    at + 1
                )
            },
        };
        (0..900).map(file).collect()
    };
    let text = "syntax = \"proto3\"; import \"0.proto\"; message M { M0 m = 1; }";
    full_check(text, &chain("")).unwrap();
    let error = full_check(text, &chain("import \"5.proto\";")).unwrap_err();
    assert!(error.message.contains("imports itself"), "{error}");
}

/// What `protoc` 35.1 writes for an edition 2024 file.
const DESCRIPTOR_2024: &str = "CgdtLnByb3RvEgFwIuABCgFNEhMKAWEYASABKAlCBaoBAggCUgFhEhsKAW4YAiABKAsy\
    Bi5wLk0uTkIFqgECKAJSAW4SEwoBchgDIAEoBUIFqgECCANSAXISDAoBeBgEIAMoBVIBeBIZCgFtGAUgAygLMgsucC5NLk\
    1FbnRyeVIBbRIOCgFiGAYgASgISABSAWIaPAoGTUVudHJ5EhAKA2tleRgBIAEoCVIDa2V5EhwKBXZhbHVlGAIgASgLMgYu\
    cC5NLk5SBXZhbHVlOgI4ARoTCgFOEgwKAXgYASABKAVSAXhYAkIDCgFvUgNvbGQqFAoBRRIHCgNFX0EQARoEOgIQAjABQg\
    WSAwIgA2IIZWRpdGlvbnNw6Qc=";

#[test]
fn descriptors_of_editions_read_as_their_text() {
    let schema = full_check(DESCRIPTOR_2024, &[]).unwrap();
    let text = schema.text(TextForm::Canonical);
    for line in [
        "edition = \"2024\";\npackage p;\n\noption features.utf8_validation = NONE;\n",
        "  reserved old;\n",
        "    features.field_presence = IMPLICIT,\n",
        "    features.message_encoding = DELIMITED,\n",
        "  repeated int32 x = 4 [json_name = \"x\"];\n",
        "  export message N {\n",
        "local enum E {\n  option features.enum_type = CLOSED;\n",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    let again = full_check(&text, &[]).unwrap();
    assert_eq!(again.text(TextForm::Canonical), text);
    let serialized = schema.text(TextForm::Serialized);
    let back = full_check(&serialized, &[]).unwrap();
    assert_eq!(
        back.text(TextForm::Normalized),
        schema.text(TextForm::Normalized)
    );
}

#[test]
fn payloads_of_editions_read_as_json_and_back() {
    let text = "edition = \"2023\";
message M {
  string plain = 1 [features.field_presence = IMPLICIT];
  string kept = 2;
  N group = 3 [features.message_encoding = DELIMITED];
  map<string, N> entries = 4;
  message N { int32 x = 1; }
}";
    let schema = full_check(text, &[]).unwrap();
    let value = serde_json::json!({
        "plain": "", "kept": "", "group": {"x": 1}, "entries": {"a": {"x": 2}},
    });
    let bytes = encode_json(&schema, &[0], &value).unwrap();
    assert_eq!(
        bytes.first(),
        Some(&0x12),
        "an implicit default is not written"
    );
    assert!(bytes.contains(&0x1b), "the group starts with its tag");
    assert_eq!(decode_json(&schema, &[0], &bytes).unwrap(), value);
}
