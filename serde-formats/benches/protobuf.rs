//! What judging one Protobuf payload costs, beside decoding it to values with `prost-reflect`:
//! nanoseconds a record and megabytes a second, the best of rounds taken in turn, because whatever
//! else runs on the machine only ever adds time.
//!
//! `order` is nested, with 25 fields; `click` is small; `batch` holds 125 clicks.
//!
//! Two lines more: parsing a schema of a mebibyte, comparing two messages of 1,000 fields.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock; the library has none"
)]

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::FileDescriptorProto;
use serde_formats::compatibility::{CompatibilityPolicy, compare};
use serde_formats::{
    ParseMode, ParsedSchema, SchemaFormat, Scratch, TextForm, ValidationOptions, json_value,
};
use serde_json::{Value, json};

const SCHEMA: &str = r#"syntax = "proto3";
package shop;
message Order {
  int64 id = 1; string customer_id = 2; string email = 3;
  enum Status { NEW = 0; PAID = 1; SHIPPED = 2; }
  Status status = 4; double total = 5; bool paid = 6; Time created = 7; Time updated = 8;
  Address shipping = 9; Address billing = 10; repeated Line lines = 11;
  map<string, string> attributes = 12; map<string, int64> counters = 13;
  repeated int32 scores = 14; repeated double weights = 15; bytes signature = 16;
  oneof payment { Card card = 17; string iban = 18; }
  string note = 19; uint64 version = 20; sint32 delta = 21; fixed64 trace_hi = 22;
  fixed64 trace_lo = 23; repeated string labels = 24; float rating = 25;
  message Time { int64 seconds = 1; int32 nanos = 2; }
  message Address {
    string street = 1; string city = 2; string zip = 3; string country = 4;
    double lat = 5; double lon = 6;
  }
  message Line {
    string sku = 1; string title = 2; int32 qty = 3; Money price = 4; repeated string tags = 5;
  }
  message Money { string currency = 1; int64 units = 2; int32 nanos = 3; }
  message Card { string network = 1; string last4 = 2; int32 expires = 3; }
}
message Click {
  uint64 at = 1; string page = 2; uint64 user = 3; int32 x = 4; int32 y = 5; bool touch = 6;
  string session = 7;
}
message Batch { repeated Click events = 1; }
"#;

/// Length of one round of one of the two.
const ROUND: Duration = Duration::from_millis(50);
const ROUNDS: usize = 20;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let schema = ParsedSchema::parse(SchemaFormat::Protobuf, SCHEMA, &[], ParseMode::New)?;
    let compiled = schema.compile()?;
    let mut scratch = Scratch::default();
    let pool = reflection(&schema)?;
    writeln!(
        out,
        "{:<8} {:>6} {:>10} {:>8} {:>12} {:>8} {:>6}",
        "record", "bytes", "ns", "MB/s", "reflect ns", "MB/s", "times"
    )?;
    for (name, index, record) in records() {
        let payload = json_value::encode(&schema, &[index], &record)?;
        let message = compiled.message(&[index]).ok_or("no message")?;
        let full_name = compiled.record_name(message).ok_or("no name")?;
        let descriptor = pool.get_message_by_name(full_name).ok_or("not linked")?;
        let (mut own, mut other) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            let options = ValidationOptions::default();
            own = own.min(round(|| {
                compiled
                    .validate(message, black_box(&payload), options, &mut scratch)
                    .is_ok()
            })?);
            other = other.min(round(|| {
                let decoded =
                    DynamicMessage::decode(descriptor.clone(), black_box(payload.as_slice()));
                black_box(decoded).is_ok()
            })?);
        }
        let bytes = payload.len();
        let per_second = |nanoseconds: f64| megabytes(bytes, nanoseconds);
        writeln!(
            out,
            "{name:<8} {bytes:>6} {own:>10.1} {:>8.0} {other:>12.1} {:>8.0} {:>6.1}",
            per_second(own),
            per_second(other),
            other / own
        )?;
    }
    schemas(&mut out)
}

/// What a large schema costs whoever registers it.
fn schemas(out: &mut impl Write) -> Result<(), Failure> {
    let parse = |text: &str| ParsedSchema::parse(SchemaFormat::Protobuf, text, &[], ParseMode::New);
    let large = large_schema();
    let spent = best(|| parse(&large).map(drop).map_err(Failure::from))?;
    writeln!(out, "parse    {:>6} bytes {spent:>10.2} ms", large.len())?;
    let wide = |kind: &str| {
        let fields = (1..=1000).map(|n| format!("{kind} field_{n} = {n};"));
        format!(
            "syntax = \"proto3\"; message Wide {{ {} }}",
            fields.collect::<String>()
        )
    };
    let (old, new) = (parse(&wide("int32"))?, parse(&wide("string"))?);
    for (name, reader, wanted) in [("equal", &old, 0), ("unlike", &new, 1000)] {
        let spent = best(|| {
            let found = compare(black_box(reader), &old, CompatibilityPolicy::Strict);
            if found.len() == wanted {
                Ok(())
            } else {
                Err(format!("{} differences", found.len()).into())
            }
        })?;
        writeln!(out, "compare  1000 fields, {name:<6} {spent:>8.2} ms")?;
    }
    Ok(())
}

/// A mebibyte of messages as people write them.
fn large_schema() -> String {
    let mut text = "syntax = \"proto3\";\npackage large.v1;\n".to_owned();
    let mut message = 0;
    while text.len() < 1024 * 1024 {
        text.push_str(&format!(
            "// Order number {message}.\nmessage Order{message} {{\n  string customer_name = 1;\n  \
             int64 created_at = 2;\n  repeated Line lines = 3;\n  map<string, string> labels = 4;\n  \
             Status status = 5;\n  oneof payment {{\n    string card = 6;\n    bool cash = 7;\n  }}\n  \
             message Line {{\n    string sku = 1;\n    int32 quantity = 2;\n    double price = 3;\n  }}\n  \
             enum Status {{\n    STATUS_NEW = 0;\n    STATUS_PAID = 1;\n  }}\n}}\n"
        ));
        message += 1;
    }
    text
}

/// Milliseconds of the fastest of a few calls.
fn best(mut call: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let started = Instant::now();
        call()?;
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn megabytes(bytes: usize, nanoseconds: f64) -> f64 {
    bytes as f64 * 1e3 / nanoseconds
}

/// Nanoseconds a call.
fn round(mut call: impl FnMut() -> bool) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut calls = 0_u32;
    while started.elapsed() < ROUND {
        for _ in 0..64 {
            if !call() {
                return Err("the record is refused".into());
            }
        }
        calls += 64;
    }
    Ok(started.elapsed().as_secs_f64() * 1e9 / f64::from(calls))
}

fn reflection(schema: &ParsedSchema) -> Result<DescriptorPool, Failure> {
    let bytes = STANDARD.decode(schema.text(TextForm::Serialized))?;
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(FileDescriptorProto::decode(bytes.as_slice())?)?;
    Ok(pool)
}

/// Name, message index and value.
fn records() -> [(&'static str, i32, Value); 3] {
    let address = json!({
        "street": "Keizersgracht 123-II", "city": "Amsterdam", "zip": "1015 CJ", "country": "NL",
        "lat": 52.3702, "lon": 4.8952,
    });
    let line = |n: usize| {
        json!({
            "sku": format!("sku-{n:06}"), "title": "A sturdy bicycle bell", "qty": n % 9 + 1,
            "price": {"currency": "EUR", "units": "12", "nanos": 990_000_000},
            "tags": ["bike", "bell"],
        })
    };
    let click = |n: usize| {
        json!({
            "at": (1_700_000_000_000 + n).to_string(), "page": "/products/bicycle-bells",
            "user": (90_000 + n).to_string(), "x": 512, "y": 300, "touch": n.is_multiple_of(2),
            "session": "s-0123456789",
        })
    };
    let order = json!({
        "id": "123456789", "customer_id": "customer-000042", "email": "ann.jansen@example.com",
        "status": "PAID", "total": 1299.95, "paid": true,
        "created": {"seconds": "1700000000", "nanos": 120_000_000},
        "updated": {"seconds": "1700000100", "nanos": 5},
        "shipping": address, "billing": address,
        "lines": (0..12).map(line).collect::<Vec<_>>(),
        "attributes": {
            "channel": "web", "country": "NL", "currency": "EUR", "campaign": "spring-2026",
        },
        "counters": {"views": "12", "clicks": "300"},
        "scores": (0..40).map(|n| n * 37 % 1000).collect::<Vec<_>>(),
        "weights": [0.5, 1.5, 2.5, 3.5],
        "signature": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "card": {"network": "VISA", "last4": "4242", "expires": 202_812},
        "note": "Please ring the bell twice; the dog is friendly. D\u{e9}j\u{e0} vu.",
        "version": "77", "delta": -5, "trace_hi": "1234567890123", "trace_lo": "9876543210987",
        "labels": ["priority", "gift", "fragile"], "rating": 4.5,
    });
    [
        ("order", 0, order),
        ("click", 1, click(1)),
        (
            "batch",
            2,
            json!({ "events": (0..125).map(click).collect::<Vec<_>>() }),
        ),
    ]
}
