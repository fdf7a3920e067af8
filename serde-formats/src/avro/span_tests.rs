//! Which bytes say which value.

use super::conformance_tests::cases;
use super::{AvroSchema, decode_json, decode_with_spans};
use crate::json_value::FieldSpan;
use crate::schema::ParseMode;

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], ParseMode::Existing).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A path with its first byte and the one after its last.
type Told<'a> = (&'a str, usize, usize);

/// Whether the path of one span leads through the other.
fn is_inside(inner: &FieldSpan, outer: &FieldSpan) -> bool {
    let rest = inner.path.strip_prefix(outer.path.as_str());
    rest.is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// Spans that hold no other.
fn leaves(spans: &[FieldSpan]) -> Vec<&FieldSpan> {
    let followed = spans
        .iter()
        .zip(spans.iter().skip(1).map(Some).chain([None]));
    let leaves = followed.filter(|(span, next)| !next.is_some_and(|next| is_inside(next, span)));
    leaves.map(|(span, _)| span).collect()
}

#[test]
fn every_byte_is_a_leafs_or_structure() {
    type Pieces<'a> = &'a [(&'a str, &'a [u8])];
    const STRUCTURE: &str = "";
    let order = r#"{"type":"record","name":"Order","fields":[
        {"name":"id","type":"long"},
        {"name":"note","type":["null","string"]},
        {"name":"none","type":["null","string"]},
        {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
            {"name":"sku","type":"string"},{"name":"qty","type":"int"}]}}},
        {"name":"tags","type":{"type":"map","values":"boolean"}},
        {"name":"digest","type":{"type":"fixed","name":"D","size":2}},
        {"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B"]}},
        {"name":"price","type":"double"}]}"#;
    // schema, the payload in pieces, containers with their bytes
    let cases: [(&str, Pieces<'_>, &[Told<'_>]); 3] = [
        (
            order,
            &[
                ("$.id", &[0x80, 0x01]),
                (STRUCTURE, &[2]),
                ("$.note", &[4, b'h', b'i']),
                (STRUCTURE, &[0]),
                ("$.none", &[]),
                // A block with its size, then one without.
                (STRUCTURE, &[1, 6]),
                ("$.lines[0].sku", &[2, b's']),
                ("$.lines[0].qty", &[6]),
                (STRUCTURE, &[2]),
                ("$.lines[1].sku", &[0]),
                ("$.lines[1].qty", &[1]),
                (STRUCTURE, &[0]),
                (STRUCTURE, &[2, 2, b'k']),
                ("$.tags[\"k\"]", &[1]),
                (STRUCTURE, &[0]),
                ("$.digest", &[9, 9]),
                ("$.kind", &[2]),
                ("$.price", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
            ],
            &[
                ("$", 0, 32),
                ("$.lines", 7, 16),
                ("$.lines[0]", 9, 12),
                ("$.lines[1]", 13, 15),
                ("$.tags", 16, 21),
            ],
        ),
        (r#""string""#, &[("$", &[4, b'o', b'k'])], &[]),
        // A root of bytes is the payload itself.
        (r#""bytes""#, &[("$", &[1, 2, 3])], &[]),
    ];
    for (text, pieces, containers) in cases {
        let payload: Vec<u8> = pieces
            .iter()
            .flat_map(|(_, bytes)| bytes.to_vec())
            .collect();
        let schema = schema(text);
        let decoded = decode_with_spans(&schema, &payload).unwrap();
        assert_eq!(decoded.value, decode_json(&schema, &payload).unwrap());
        let mut at = 0;
        let mut expected = Vec::new();
        for (path, bytes) in pieces {
            if *path != STRUCTURE {
                expected.push((*path, at, at + bytes.len()));
            }
            at += bytes.len();
        }
        let told = |span: &FieldSpan| (span.path.clone(), span.start, span.end);
        let own = |(path, start, end): &Told<'_>| ((*path).to_owned(), *start, *end);
        let found: Vec<_> = leaves(&decoded.spans).into_iter().map(told).collect();
        assert_eq!(
            found,
            expected.iter().map(own).collect::<Vec<_>>(),
            "{text}"
        );
        let inner: Vec<_> = decoded
            .spans
            .iter()
            .map(told)
            .filter(|s| !found.contains(s))
            .collect();
        assert_eq!(
            inner,
            containers.iter().map(own).collect::<Vec<_>>(),
            "{text}"
        );
    }
}

/// On every recorded payload that decodes: spans nest, stand in order, and leave no leaf out.
#[test]
fn spans_of_recorded_payloads() {
    let mut payloads = 0;
    for case in cases("own-payload/avro.jsonl") {
        let schema = schema(case["schema"].as_str().unwrap());
        let hex = case["data"].as_str().unwrap();
        let payload: Vec<u8> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let plain = decode_json(&schema, &payload);
        let told = decode_with_spans(&schema, &payload);
        let Ok(told) = told else {
            assert_eq!(told.err(), plain.err());
            continue;
        };
        assert_eq!(Ok(told.value), plain);
        let mut open: Vec<&FieldSpan> = Vec::new();
        for span in &told.spans {
            // A key that comes twice has one path, so equal paths are siblings.
            while open.last().is_some_and(|outer| !is_inside(span, outer)) {
                open.pop();
            }
            assert!(
                span.start <= span.end && span.end <= payload.len(),
                "{span:?}"
            );
            if let Some(outer) = open.last() {
                assert!(
                    outer.start <= span.start && span.end <= outer.end,
                    "{outer:?} {span:?}"
                );
            }
            open.push(span);
        }
        let mut end = 0;
        for leaf in leaves(&told.spans) {
            assert!(leaf.start >= end, "{leaf:?} begins before byte {end}");
            end = leaf.end;
        }
        payloads += 1;
    }
    eprintln!("spans of {payloads} recorded payloads");
}

#[test]
fn too_many_values_to_tell_are_an_error() {
    let schema = schema(r#"{"type":"array","items":"boolean"}"#);
    // 200,000 items of one byte.
    let mut payload = vec![0x80, 0xb5, 0x18];
    payload.extend(std::iter::repeat_n(1, 200_000));
    payload.push(0);
    assert!(decode_json(&schema, &payload).is_ok());
    let error = decode_with_spans(&schema, &payload).unwrap_err();
    assert_eq!(error.path, "$[99999]");
}
