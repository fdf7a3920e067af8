//! Validating, decoding and encoding: exact places, hostile payloads, and how much corruption the
//! full level catches.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AvroSchema, AvroValidator, decode_json, encode_json};
use crate::schema::ParseMode;
use crate::validator::{
    LogicalTypes, ValidationLevel, ValidationOptions, Violation, ViolationReason as R,
};

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[], ParseMode::New).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn full(validator: &AvroValidator, payload: &[u8]) -> Result<(), Violation> {
    validator.validate(payload, ValidationOptions::default())
}

fn decodes(validator: &AvroValidator, payload: &[u8]) -> bool {
    let options = ValidationOptions {
        level: ValidationLevel::Decode,
        ..ValidationOptions::default()
    };
    validator.validate(payload, options).is_ok()
}

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"long"},
    {"name":"customer","type":"string"},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","SENT"]}},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"sku","type":"string"},{"name":"qty","type":"int"},{"name":"price","type":"double"}]}}},
    {"name":"attrs","type":{"type":"map","values":"string"}},
    {"name":"paid","type":"boolean"},
    {"name":"signature","type":{"type":"fixed","name":"Sig","size":4}}]}"#;

/// The next version: one optional field more.
fn order_v2() -> String {
    let cut = ORDER.rfind("]}").unwrap();
    format!(
        r#"{},{{"name":"coupon","type":["null","string"],"default":null}}]}}"#,
        &ORDER[..cut]
    )
}

/// SplitMix64: small, seeded, good enough to vary records.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn word(&mut self) -> String {
        let len = 3 + self.below(12);
        (0..len)
            .map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap()))
            .collect()
    }

    fn order(&mut self) -> Value {
        let lines: Vec<Value> = (0..1 + self.below(4))
            .map(|_| {
                json!({"sku": self.word(), "qty": 1 + self.below(200),
                       "price": f64::from(u32::try_from(self.below(100_000)).unwrap()) / 100.0})
            })
            .collect();
        let attrs: serde_json::Map<String, Value> = (0..self.below(4))
            .map(|_| (self.word(), Value::from(self.word())))
            .collect();
        json!({
            "id": 1_000_000 + self.below(1 << 40),
            "customer": self.word(),
            "note": if self.below(2) == 0 { Value::Null } else { Value::from(self.word()) },
            "status": (["NEW", "PAID", "SENT"][self.below(3)]),
            "lines": lines,
            "attrs": attrs,
            "paid": self.below(2) == 0,
            "signature": self.word().chars().cycle().take(4).collect::<String>(),
        })
    }
}

fn orders(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let order = schema(ORDER);
    let mut random = Random(seed);
    (0..count)
        .map(|_| encode_json(&order, &random.order()).unwrap())
        .collect()
}

/// How many of the corrupted payloads pass, in tenths of a percent.
fn passing(accepts: impl Fn(&[u8]) -> bool, payloads: &[Vec<u8>]) -> usize {
    payloads.iter().filter(|p| accepts(p)).count() * 1000 / payloads.len()
}

#[test]
fn corruption_is_caught() {
    let validator = schema(ORDER).compile().unwrap();
    let v2 = schema(&order_v2());
    let v2_validator = v2.compile().unwrap();
    let good = orders(1, 4000);
    let mut random = Random(2);
    let mut corrupt = |change: &mut dyn FnMut(&mut Vec<u8>, &mut Random)| -> Vec<Vec<u8>> {
        good.iter()
            .map(|payload| {
                let mut payload = payload.clone();
                change(&mut payload, &mut random);
                payload
            })
            .collect()
    };
    let byte = |random: &mut Random| random.next().to_le_bytes()[0];

    let random_bytes = corrupt(&mut |p, r| p.iter_mut().for_each(|b| *b = byte(r)));
    let halves = corrupt(&mut |p, _| p.truncate(p.len() / 2));
    let longer = corrupt(&mut |p, r| p.push(byte(r)));
    let shorter = corrupt(&mut |p, _| *p = p.split_off(1));
    let overwritten = corrupt(&mut |p, r| {
        let at = r.below(p.len());
        p[at] = p[at].wrapping_add(1 + byte(r) % 255);
    });
    let flipped = corrupt(&mut |p, r| {
        let at = r.below(p.len());
        p[at] ^= 1 << r.below(8);
    });
    let mut values = Random(1);
    let texts: Vec<Vec<u8>> = (0..good.len())
        .map(|_| values.order().to_string().into_bytes())
        .collect();
    let mut values = Random(1);
    let newer: Vec<Vec<u8>> = (0..good.len())
        .map(|_| encode_json(&v2, &values.order()).unwrap())
        .collect();
    let pair = schema(
        r#"{"type":"record","name":"P","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}"#,
    );
    let swapped = schema(
        r#"{"type":"record","name":"P","fields":[{"name":"a","type":"int"},{"name":"b","type":"bytes"}]}"#,
    )
    .compile()
    .unwrap();
    let pairs: Vec<Vec<u8>> = (0..1000)
        .map(|i| encode_json(&pair, &json!({"a": i, "b": "text"})).unwrap())
        .collect();

    let ours = |payload: &[u8]| full(&validator, payload).is_ok();
    let lenient = |payload: &[u8]| decodes(&validator, payload);
    let newer_ok = |payload: &[u8]| full(&v2_validator, payload).is_ok();
    // corruption, tenths of a percent passing the decode level and the full level, most allowed
    let rows = [
        ("none", passing(lenient, &good), passing(ours, &good), 1000),
        (
            "random bytes",
            passing(lenient, &random_bytes),
            passing(ours, &random_bytes),
            0,
        ),
        (
            "cut in half",
            passing(lenient, &halves),
            passing(ours, &halves),
            0,
        ),
        (
            "one byte appended",
            passing(lenient, &longer),
            passing(ours, &longer),
            0,
        ),
        // The id is a varint of several bytes, of which the rest is another id.
        (
            "first byte dropped",
            passing(lenient, &shorter),
            passing(ours, &shorter),
            1000,
        ),
        (
            "one byte overwritten",
            passing(lenient, &overwritten),
            passing(ours, &overwritten),
            601,
        ),
        (
            "one bit flipped",
            passing(lenient, &flipped),
            passing(ours, &flipped),
            793,
        ),
        (
            "JSON text",
            passing(lenient, &texts),
            passing(ours, &texts),
            0,
        ),
        (
            "v2 stamped v1",
            passing(lenient, &newer),
            passing(ours, &newer),
            0,
        ),
        ("v1 stamped v2", 0, passing(newer_ok, &good), 0),
    ];
    for (corruption, decode, full, most) in rows {
        eprintln!("{corruption}: {decode}/1000 decode, {full}/1000 pass in full");
        assert!(full <= most, "{corruption}: {full} of 1000 pass");
    }
    assert_eq!(rows[0].2, 1000, "valid records pass");
    assert_eq!(
        rows[3].1, 1000,
        "decoding alone does not see appended bytes"
    );
    assert_eq!(rows[8].1, 1000, "nor a newer writer");
    // What no decoder can see: types of the same shape.
    assert_eq!(passing(|p| full(&swapped, p).is_ok(), &pairs), 1000);
}

#[test]
fn violations_name_the_place() {
    let types = r#"{"type":"record","name":"T","fields":[
        {"name":"lines","type":{"type":"array","items":{"type":"record","name":"L","fields":[
            {"name":"sku","type":"string"},{"name":"qty","type":"int"}]}}},
        {"name":"attrs","type":{"type":"map","values":["null","long",{"type":"array","items":"boolean"}]}},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
        {"name":"next","type":["null","T"],"default":null}]}"#;
    // payload, path, offset, reason
    let cases: &[(&[u8], &str, usize, R)] = &[
        (&[], "$.lines", 0, R::Truncated),
        (&[4, 2, b'a', 2, 2], "$.lines[1].sku", 4, R::Truncated),
        (
            &[4, 2, b'a', 2, 2, b'b', 0x80],
            "$.lines[1].qty",
            6,
            R::Truncated,
        ),
        (
            &[2, 2, b'a', 2, 2, 2, 0xff, 2],
            "$.lines[1].sku",
            5,
            R::InvalidUtf8,
        ),
        (&[0x80, 0x80, 0x04], "$.lines", 0, R::InvalidBlock),
        (&[1, 8, 2, b'a', 2, 0], "$.lines", 5, R::InvalidBlock),
        (&[1, 2, 2, b'a', 2, 0, 0, 0], "$.lines", 5, R::InvalidBlock),
        (&[0, 2, 2, b'k', 8], "$.attrs[\"k\"]", 4, R::UnionOutOfRange),
        (
            &[0, 2, 2, b'k', 4, 4, 1, 2, 0],
            "$.attrs[\"k\"][1]",
            7,
            R::InvalidBoolean,
        ),
        (&[0, 2, 2, 0xff, 0, 0], "$.attrs", 2, R::InvalidUtf8),
        (&[0, 0, 4, 0], "$.e", 2, R::EnumOutOfRange),
        (&[0, 0, 1, 0], "$.e", 2, R::EnumOutOfRange),
        (&[0, 0, 0, 2, 0, 0, 8, 0], "$.next.e", 6, R::EnumOutOfRange),
        (&[0, 0, 0, 4], "$.next", 3, R::UnionOutOfRange),
        (&[0, 0, 0, 0, 9], "$", 4, R::TrailingBytes),
    ];
    let types = schema(types);
    let validator = types.compile().unwrap();
    for (payload, path, offset, reason) in cases {
        let violation = full(&validator, payload).unwrap_err();
        assert_eq!(
            (
                violation.path.as_str(),
                violation.byte_offset,
                violation.reason
            ),
            (*path, *offset, *reason),
            "{payload:x?}: {violation}"
        );
        assert_eq!(decode_json(&types, payload), Err(violation));
    }
}

#[test]
fn nesting_and_empty_items_are_limited() {
    let list =
        schema(r#"{"type":"record","name":"N","fields":[{"name":"n","type":["null","N"]}]}"#)
            .compile()
            .unwrap();
    let nested = |depth: usize| [vec![2; depth], vec![0]].concat();
    for depth in [0, 1, 6, 7, 8, 9, 64, 1000] {
        assert_eq!(full(&list, &nested(depth)), Ok(()), "{depth}");
    }
    let violation = full(&list, &nested(5000)).unwrap_err();
    assert_eq!(violation.reason, R::LimitExceeded);
    assert!(violation.path.len() < 600);

    let endless = schema(r#"{"type":"record","name":"A","fields":[{"name":"a","type":"A"}]}"#)
        .compile()
        .unwrap();
    assert_eq!(full(&endless, &[]).unwrap_err().reason, R::LimitExceeded);

    let nulls = schema(r#"{"type":"array","items":{"type":"array","items":"null"}}"#)
        .compile()
        .unwrap();
    assert_eq!(full(&nulls, &[2, 0xd0, 0x0f, 0, 0]), Ok(()));
    for payload in [
        &[2, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0][..],
        // Twice 40 000: the limit is on the whole datum.
        &[4, 0x80, 0xf1, 0x04, 0, 0x80, 0xf1, 0x04, 0, 0],
    ] {
        assert_eq!(full(&nulls, payload).unwrap_err().reason, R::LimitExceeded);
    }
}

#[test]
fn the_decode_level_is_as_lenient_as_apache() {
    let validator = schema(ORDER).compile().unwrap();
    let good = orders(3, 1).remove(0);
    let with_tail = [good, vec![0; 3]].concat();
    assert!(decodes(&validator, &with_tail) && full(&validator, &with_tail).is_err());
    for (text, payload) in [
        ("\"boolean\"", &[0xff][..]),
        ("\"string\"", &[0x02, 0xff]),
        ("\"int\"", &[0x80, 0x80, 0x80, 0x80, 0x10]),
        (
            r#"{"type":"array","items":"int"}"#,
            &[0x03, 0x02, 0x02, 0x04, 0x00],
        ),
        ("[\"null\",\"int\"]", &[0x80, 0x80, 0x80, 0x80, 0x40]),
    ] {
        let validator = schema(text).compile().unwrap();
        assert!(decodes(&validator, payload), "{text}");
        assert!(full(&validator, payload).is_err(), "{text}");
    }
}

#[test]
fn a_root_of_bytes_is_written_without_length() {
    let bytes = schema("\"bytes\"");
    let validator = bytes.compile().unwrap();
    for payload in [&[][..], &[0xff, 0x00, 0x7f]] {
        assert_eq!(full(&validator, payload), Ok(()));
        let value = decode_json(&bytes, payload).unwrap();
        assert_eq!(encode_json(&bytes, &value).unwrap(), payload);
    }
    let text = schema("\"string\"").compile().unwrap();
    assert!(full(&text, b"hi").is_err());
    assert_eq!(full(&text, b"\x04hi"), Ok(()));
}

#[test]
fn json_goes_in_plain_or_in_avros_encoding_and_comes_out_in_avros() {
    let types = schema(
        r#"{"type":"record","name":"n.R","fields":[
            {"name":"u","type":["null","string",{"type":"enum","name":"E","symbols":["A"]},"n.R"],"default":null},
            {"name":"d","type":"double","default":1},
            {"name":"f","type":"float","default":"NaN"},
            {"name":"b","type":"bytes","default":"\u00ff"},
            {"name":"m","type":{"type":"map","values":["int","string"]},"default":{"k":1}}]}"#,
    );
    let defaults = json!({"u":null,"d":1.0,"f":"NaN","b":"\u{ff}","m":{"k":{"int":1}}});
    // given, decoded
    let cases = [
        (json!({}), defaults),
        (
            json!({"u":"x"}),
            json!({"u":{"string":"x"},"d":1.0,"f":"NaN","b":"ÿ","m":{"k":{"int":1}}}),
        ),
        (
            json!({"u":{"n.E":"A"},"f":0.1,"m":{}}),
            json!({"u":{"n.E":"A"},"d":1.0,"f":0.1,"b":"ÿ","m":{}}),
        ),
        (
            json!({"u":{"u":"y"},"m":{"a":"1","b":{"int":2}}}),
            json!({"u":{"n.R":{"u":{"string":"y"},"d":1.0,"f":"NaN","b":"ÿ","m":{"k":{"int":1}}}},
                   "d":1.0,"f":"NaN","b":"ÿ","m":{"a":{"string":"1"},"b":{"int":2}}}),
        ),
    ];
    let validator = types.compile().unwrap();
    for (given, decoded) in cases {
        let payload = encode_json(&types, &given).unwrap();
        assert_eq!(full(&validator, &payload), Ok(()));
        assert_eq!(decode_json(&types, &payload).unwrap(), decoded);
        assert_eq!(encode_json(&types, &decoded).unwrap(), payload);
    }
    // given, path, message
    for (given, path, message) in [
        (json!([]), "$", "expected record, found an array"),
        (json!({"x":1}), "$", "field x is not in the schema"),
        (json!({"d":"x"}), "$.d", "expected double, found a string"),
        (json!({"m":{"k":true}}), "$.m[\"k\"]", "fits no branch"),
        (
            json!({"u":{"n.E":"Z"}}),
            "$.u",
            "\"Z\" is no symbol of enum n.E",
        ),
        (json!({"b":"€"}), "$.b", "above U+00FF"),
    ] {
        let error = encode_json(&types, &given).unwrap_err();
        assert_eq!(error.path, path, "{given}");
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn ambiguous_unions_do_not_take_exponential_time() {
    let types = schema(
        r#"["null",{"type":"record","name":"A","fields":[{"name":"n","type":["null","A","B"]}]},
            {"type":"record","name":"B","fields":[{"name":"n","type":["null","A","B"]}]}]"#,
    );
    let mut value = json!({"n": "fits nowhere"});
    for _ in 0..60 {
        value = json!({ "n": value });
    }
    assert!(encode_json(&types, &value).is_err());
}

#[test]
#[expect(
    deprecated,
    reason = "the reader that replaces it needs a resolver per schema"
)]
fn what_we_accept_apache_avro_decodes() {
    let theirs = apache_avro::Schema::parse_str(ORDER).unwrap();
    let validator = schema(ORDER).compile().unwrap();
    let mut random = Random(7);
    let mut accepted = 0;
    for mut payload in orders(8, 600) {
        for _ in 0..random.below(3) {
            let at = random.below(payload.len());
            match random.below(3) {
                0 => payload[at] ^= 1 << random.below(8),
                1 => payload.insert(at, random.next().to_le_bytes()[0]),
                _ => payload.truncate(at.max(1)),
            }
        }
        if full(&validator, &payload).is_ok() {
            accepted += 1;
            let read = apache_avro::from_avro_datum(&theirs, &mut payload.as_slice(), None);
            assert!(read.is_ok(), "{payload:x?}: {read:?}");
        }
    }
    assert!(accepted > 200, "{accepted}");
}

const TYPES: [&str; 6] = [
    ORDER,
    r#"{"type":"record","name":"T","fields":[{"name":"v","type":["null","int","T",{"type":"map","values":"T"}]},{"name":"k","type":{"type":"array","items":["T","long","null"]}}]}"#,
    r#"["null","boolean","double",{"type":"array","items":{"type":"array","items":"null"}},{"type":"fixed","name":"F","size":3}]"#,
    r#"{"type":"map","values":{"type":"map","values":["null",{"type":"enum","name":"E","symbols":["A","B"]}]}}"#,
    r#"{"type":"array","items":{"type":"record","name":"X","fields":[{"name":"e","type":{"type":"record","name":"Z","fields":[]}},{"name":"s","type":["string","null"]},{"name":"z","type":"Z"},{"name":"l","type":{"type":"array","items":"long"}}]}}"#,
    r#"{"type":"array","items":{"type":"record","name":"Z","fields":[{"name":"n","type":"null"}]}}"#,
];

/// The validator and the decoder must say the same, word for word.
fn agree(types: &AvroSchema, payload: &[u8]) -> Result<(), TestCaseError> {
    let validator = types.compile().unwrap();
    let judged = full(&validator, payload);
    match decode_json(types, payload) {
        Err(violation) if violation.reason == R::LimitExceeded => {}
        decoded => prop_assert_eq!(judged.clone().err(), decoded.err()),
    }
    if judged.is_ok() {
        prop_assert!(decodes(&validator, payload));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn validator_and_decoder_agree_on_any_bytes(
        which in 0..TYPES.len(),
        payload in prop::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..80),
    ) {
        agree(&schema(TYPES[which]), &payload)?;
    }

    #[test]
    fn validator_and_decoder_agree_on_damaged_records(
        seed in any::<u64>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 0..3),
    ) {
        let mut payload = orders(seed, 1).remove(0);
        for (place, kind, byte) in edits {
            let at = place.index(payload.len());
            match kind {
                0 => payload[at] = byte,
                1 => payload[at] ^= 1 << (byte % 8),
                2 => payload.insert(at, byte),
                _ => { payload.remove(at); }
            }
        }
        agree(&schema(ORDER), &payload)?;
    }
}

const YEARS: &str = "date is outside of the years 1 to 9999";

#[test]
fn logical_types_when_asked_for() {
    let check = ValidationOptions {
        logical_types: LogicalTypes::Check,
        ..ValidationOptions::default()
    };
    let logical = |base: &str, attributes: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[
                {{"name":"a","type":{{{base},{attributes}}}}},
                {{"name":"o","type":["null","R"]}}]}}"#
        )
    };
    let uuid = logical(r#""type":"string""#, r#""logicalType":"uuid""#);
    let millis = logical(r#""type":"int""#, r#""logicalType":"time-millis""#);
    let micros = logical(r#""type":"long""#, r#""logicalType":"time-micros""#);
    let date = logical(r#""type":"int""#, r#""logicalType":"date""#);
    let instant = logical(r#""type":"long""#, r#""logicalType":"timestamp-millis""#);
    let local = logical(
        r#""type":"long""#,
        r#""logicalType":"local-timestamp-micros""#,
    );
    let nanos = logical(r#""type":"long""#, r#""logicalType":"timestamp-nanos""#);
    let decimal = logical(
        r#""type":"bytes""#,
        r#""logicalType":"decimal","precision":3,"scale":1"#,
    );
    let fixed = logical(
        r#""type":"fixed","name":"F","size":2"#,
        r#""logicalType":"decimal","precision":3"#,
    );
    let big = logical(r#""type":"bytes""#, r#""logicalType":"big-decimal""#);
    // A decimal without precision is none: the attribute is ignored.
    let untyped = logical(r#""type":"bytes""#, r#""logicalType":"decimal""#);
    let good = "123e4567-E89B-12d3-a456-426614174000";
    // schema, value, what is wrong
    let cases = [
        (&uuid, json!(good), None),
        (&uuid, json!(""), Some("expected the text of a uuid")),
        (
            &uuid,
            json!(good.replace('-', "0")),
            Some("expected the text of a uuid"),
        ),
        (
            &uuid,
            json!(good.replace('e', "g")),
            Some("expected the text of a uuid"),
        ),
        (&millis, json!(86_399_999), None),
        (&millis, json!(86_400_000), Some("time is outside of a day")),
        (&millis, json!(-1), Some("time is outside of a day")),
        (&micros, json!(86_399_999_999_i64), None),
        (
            &micros,
            json!(86_400_000_000_i64),
            Some("time is outside of a day"),
        ),
        (&date, json!(-719_162), None),
        (&date, json!(2_932_896), None),
        (&date, json!(-719_163), Some(YEARS)),
        (&date, json!(2_932_897), Some(YEARS)),
        (&instant, json!(-62_135_596_800_000_i64), None),
        (&instant, json!(-62_135_596_800_001_i64), Some(YEARS)),
        (&instant, json!(253_402_300_800_000_i64), Some(YEARS)),
        (&local, json!(253_402_300_799_999_999_i64), None),
        (&local, json!(253_402_300_800_000_000_i64), Some(YEARS)),
        (&nanos, json!(i64::MAX), None),
        (&decimal, json!("\u{3}\u{e7}"), None),
        (
            &decimal,
            json!("\u{3}\u{e8}"),
            Some("decimal has more digits than its precision"),
        ),
        (&decimal, json!("\u{fc}\u{19}"), None),
        (
            &decimal,
            json!("\u{fc}\u{18}"),
            Some("decimal has more digits than its precision"),
        ),
        (
            &decimal,
            json!(""),
            Some("expected a decimal, found no bytes"),
        ),
        (&fixed, json!("\u{3}\u{e7}"), None),
        (
            &fixed,
            json!("\u{3}\u{e8}"),
            Some("decimal has more digits than its precision"),
        ),
        (&big, json!("\u{2}\u{7}\u{4}"), None),
        (
            &big,
            json!("\u{2}"),
            Some("expected a big-decimal, an unscaled value and its scale"),
        ),
        (&untyped, json!(""), None),
    ];
    for (text, value, wrong) in cases {
        let schema = schema(text);
        let validator = schema.compile().unwrap();
        let record = json!({"a": value, "o": null});
        let payload = encode_json(&schema, &record).unwrap();
        assert_eq!(full(&validator, &payload), Ok(()), "{text}");
        let found = validator.validate(&payload, check);
        let found = found
            .err()
            .map(|v| (v.reason, v.path, v.byte_offset, v.detail));
        let wrong = wrong.map(|detail| (R::LogicalType, "$.a".to_owned(), 0, detail.to_owned()));
        assert_eq!(found, wrong, "{text} {value}");
    }
}
