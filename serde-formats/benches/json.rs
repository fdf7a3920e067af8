//! What judging one JSON payload costs, three ways in turn: `serde_json` and then the jsonschema
//! crate, the same crate over our tape, and our one pass. Then what comparing and parsing large
//! schemas costs. The best of many rounds counts, because whatever else runs on the machine only
//! ever adds time.
//!
//! `order` is nested, with 20 fields; `click` is small; `batch` holds clicks. `cargo bench -p
//! serde-formats --bench json -- large` does the large schemas alone, and the name of a record that one.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock; the library has none"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_formats::compatibility::CompatibilityPolicy;
use serde_formats::json::{JsonSchema, JsonScratch, JsonValidator, compare};
use serde_formats::{ParseMode, ValidationOptions};
use serde_json::{Value, json};

/// Length of one round of one way.
const ROUND: Duration = Duration::from_millis(40);
const ROUNDS: usize = 15;
/// Times a large schema is compared or parsed.
const LARGE_ROUNDS: usize = 20;

const ORDER: &str = r##"{
  "title": "Order", "type": "object", "additionalProperties": false,
  "required": ["id", "customer", "status", "created", "shipping", "lines", "total"],
  "definitions": {
    "address": {
      "type": "object", "additionalProperties": false, "required": ["street", "city", "country"],
      "properties": {
        "street": {"type": "string", "maxLength": 100}, "city": {"type": "string"},
        "zip": {"type": "string"}, "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "lat": {"type": "number", "minimum": -90, "maximum": 90}, "lon": {"type": "number"}
      }
    },
    "money": {
      "type": "object", "additionalProperties": false, "required": ["currency", "cents"],
      "properties": {
        "currency": {"enum": ["EUR", "USD", "GBP", "SEK"]}, "cents": {"type": "integer"}
      }
    },
    "line": {
      "type": "object", "additionalProperties": false, "required": ["sku", "qty", "price"],
      "properties": {
        "sku": {"type": "string", "minLength": 3}, "title": {"type": "string"},
        "qty": {"type": "integer", "minimum": 1}, "price": {"$ref": "#/definitions/money"},
        "gift": {"type": "boolean"}
      }
    }
  },
  "properties": {
    "id": {"type": "integer"}, "customer": {"type": "string"}, "email": {"type": "string"},
    "status": {"enum": ["NEW", "PAID", "SHIPPED"]}, "total": {"$ref": "#/definitions/money"},
    "paid": {"type": "boolean"}, "created": {"type": "integer"},
    "updated": {"oneOf": [{"type": "null"}, {"type": "integer"}]},
    "shipping": {"$ref": "#/definitions/address"},
    "billing": {"oneOf": [{"type": "null"}, {"$ref": "#/definitions/address"}]},
    "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/line"}},
    "attributes": {"type": "object", "additionalProperties": {"type": "string"}},
    "scores": {"type": "array", "items": {"type": "integer"}},
    "rating": {"type": "number", "minimum": 0, "maximum": 5},
    "note": {"type": ["string", "null"]}, "labels": {"type": "array", "items": {"type": "string"}},
    "iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}[A-Z0-9]+$"},
    "version": {"type": "integer", "minimum": 0}, "channel": {"const": "web"},
    "coupon": {"oneOf": [{"type": "null"}, {"type": "string", "maxLength": 12}]}
  }
}"##;

const CLICK: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["at", "page", "user"],
  "properties": {
    "at": {"type": "integer"}, "page": {"type": "string"}, "user": {"type": "integer"},
    "touch": {"type": "boolean"}
  }
}"#;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    // Cargo adds options of its own.
    let arguments = std::env::args().skip(1);
    let chosen: Vec<String> = arguments.filter(|text| !text.starts_with('-')).collect();
    if chosen.contains(&"large".to_owned()) {
        return large(&mut out);
    }
    writeln!(
        out,
        "{:<6} {:>5} {:>9} {:>5} {:>9} {:>5} {:>9} {:>5} {:>6} {:>6}",
        "record",
        "bytes",
        "serde ns",
        "GB/s",
        "tape ns",
        "GB/s",
        "fast ns",
        "GB/s",
        "tape x",
        "fast x"
    )?;
    let batch = format!(
        r#"{{"type":"object","properties":{{"events":{{"type":"array","items":{CLICK}}}}}}}"#
    );
    let clicks: Vec<Value> = (0..136).map(click).collect();
    for (name, schema, record) in [
        ("order", ORDER, order()),
        ("click", CLICK, click(1)),
        ("batch", &batch, json!({ "events": clicks })),
    ] {
        if chosen.is_empty() || chosen.contains(&name.to_owned()) {
            measure(&mut out, name, schema, &record)?;
        }
    }
    if chosen.is_empty() {
        large(&mut out)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(
    out: &mut impl std::io::Write,
    name: &str,
    schema: &str,
    record: &Value,
) -> Result<(), Failure> {
    let parsed = JsonSchema::parse(schema, &[], ParseMode::New)?;
    let fast = parsed.compile()?;
    let tape = parsed.compile()?.over_the_tape();
    if !fast.is_fast() {
        return Err("the schema has no faster form".into());
    }
    let tree: Value = serde_json::from_str(schema)?;
    let library = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .build(&tree)
        .map_err(|error| error.to_string())?;
    let payload = record.to_string().into_bytes();
    let mut scratch = JsonScratch::default();
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let [by_library, by_tape, by_pass] = &mut best;
        *by_library = by_library.min(round(|| {
            serde_json::from_slice::<Value>(black_box(&payload))
                .is_ok_and(|value| library.is_valid(&value))
        })?);
        *by_tape = by_tape.min(round(|| judge(&tape, &payload, &mut scratch))?);
        *by_pass = by_pass.min(round(|| judge(&fast, &payload, &mut scratch))?);
    }
    let bytes = payload.len();
    let [by_library, by_tape, by_pass] = best;
    let rate = |nanoseconds: f64| bytes as f64 / nanoseconds;
    writeln!(
        out,
        "{name:<6} {bytes:>5} {by_library:>9.1} {:>5.2} {by_tape:>9.1} {:>5.2} {by_pass:>9.1} \
         {:>5.2} {:>6.1} {:>6.1}",
        rate(by_library),
        rate(by_tape),
        rate(by_pass),
        by_library / by_tape,
        by_library / by_pass
    )?;
    Ok(())
}

fn judge(validator: &JsonValidator, payload: &[u8], scratch: &mut JsonScratch) -> bool {
    let options = ValidationOptions::default();
    validator
        .validate(black_box(payload), options, scratch)
        .is_ok()
}

/// Nanoseconds a call.
fn round(mut call: impl FnMut() -> bool) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut calls = 0_u32;
    while started.elapsed() < ROUND {
        for _ in 0..32 {
            if !call() {
                return Err("the record is refused".into());
            }
        }
        calls += 32;
    }
    Ok(started.elapsed().as_secs_f64() * 1e9 / f64::from(calls))
}

/// Comparing two schemas of 1,000 properties, and parsing one of a mebibyte.
fn large(out: &mut impl std::io::Write) -> Result<(), Failure> {
    let old = JsonSchema::parse(&wide(1000, ""), &[], ParseMode::New)?;
    let added = r#","added":{"type":"string"}"#;
    let new = JsonSchema::parse(&wide(1000, added), &[], ParseMode::New)?;
    let compared = best(|| {
        let found = compare(&new, &old, CompatibilityPolicy::Strict);
        black_box(found).is_empty()
    })?;
    writeln!(
        out,
        "compare two schemas of 1,000 properties: {compared:.2} ms"
    )?;
    let mut count = 4000;
    let mut text = wide(count, "");
    while text.len() < 1 << 20 {
        count += 500;
        text = wide(count, "");
    }
    let parsed = best(|| JsonSchema::parse(black_box(&text), &[], ParseMode::New).is_ok())?;
    let bytes = text.len();
    writeln!(
        out,
        "parse {bytes} bytes of schema, {count} properties: {parsed:.1} ms"
    )?;
    Ok(())
}

/// Milliseconds of the fastest of some calls.
fn best(mut call: impl FnMut() -> bool) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    for _ in 0..LARGE_ROUNDS {
        let started = Instant::now();
        if !call() {
            return Err("refused, or not compatible".into());
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

/// A closed object of so many properties of several types, and what is added to them.
fn wide(count: usize, added: &str) -> String {
    const TYPES: [&str; 5] = [
        r#""type":"string","maxLength":40"#,
        r#""type":"integer","minimum":0,"maximum":100000"#,
        r#""enum":["NEW","PAID","SHIPPED","RETURNED"]"#,
        r#""oneOf":[{"type":"null"},{"type":"string","format":"date"}]"#,
        r#""type":"array","items":{"type":"object","required":["a"],"properties":{"a":{"type":"number"},"b":{"type":"string"}}}"#,
    ];
    let mut text =
        r#"{"type":"object","additionalProperties":false,"properties":{"first":{}"#.to_owned();
    for (number, keywords) in (0..count).zip(TYPES.iter().cycle()) {
        write!(
            text,
            r#","property_{number}":{{"description":"Property {number}, as people describe it in a sentence of usual length",{keywords}}}"#
        )
        .unwrap_or_default();
    }
    text + added + "}}"
}

fn click(number: usize) -> Value {
    json!({
        "at": 1_700_000_000 + number, "page": "/p/1", "user": 9000 + number,
        "touch": number.is_multiple_of(2),
    })
}

fn order() -> Value {
    let address = json!({
        "street": "Keizersgracht 123-II", "city": "Amsterdam", "zip": "1015 CJ", "country": "NL",
        "lat": 52.3702, "lon": 4.8952,
    });
    let line = |number: usize| {
        json!({
            "sku": format!("sku-{number:06}"), "title": "A sturdy bicycle bell",
            "qty": number % 9 + 1, "price": {"currency": "EUR", "cents": 1299}, "gift": false,
        })
    };
    json!({
        "id": 123_456_789, "customer": "customer-000042", "email": "ann.jansen@example.com",
        "status": "PAID", "total": {"currency": "EUR", "cents": 129_995}, "paid": true,
        "created": 1_700_000_000_000_u64, "updated": null, "shipping": address, "billing": address,
        "lines": (0..3).map(line).collect::<Vec<_>>(),
        "attributes": {"channel": "web", "country": "NL", "campaign": "spring-2026"},
        "scores": [37, 74, 111, 148], "rating": 4.5,
        "note": "Please ring the bell twice.", "labels": ["priority", "gift"],
        "iban": "NL91ABNA0417164300", "version": 77, "channel": "web", "coupon": null,
    })
}
