//! What judging one payload costs, without a server: nanoseconds a record and megabytes a second.
//!
//! The record is that of `assay bench produce`, in the three formats. The best of several rounds
//! is shown, because whatever else runs on the machine only ever adds time.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_formats::{
    ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions, json_value,
};
use serde_json::{Value, json};

const AVRO: &str = r#"{"type":"record","name":"BenchOrder","namespace":"assay.bench","fields":[
{"name":"id","type":"long"},
{"name":"customer","type":"string"},
{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","SHIPPED"]}},
{"name":"total","type":"double"},
{"name":"paid","type":"boolean"},
{"name":"note","type":["null","string"],"default":null},
{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
{"name":"sku","type":"string"},{"name":"qty","type":"int"},{"name":"price","type":"double"}]}}},
{"name":"attributes","type":{"type":"map","values":"string"}}]}"#;

const JSON: &str = r#"{"type":"object","additionalProperties":false,"required":["id","customer"],
"properties":{"id":{"type":"integer"},"customer":{"type":"string"},
"status":{"enum":["NEW","PAID","SHIPPED"]},"total":{"type":"number"},"paid":{"type":"boolean"},
"note":{"type":["string","null"]},
"lines":{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{
"sku":{"type":"string"},"qty":{"type":"integer"},"price":{"type":"number"}}}},
"attributes":{"type":"object","additionalProperties":{"type":"string"}}}}"#;

const PROTOBUF: &str = r#"syntax = "proto3";
message BenchOrder {
  int64 id = 1;
  string customer = 2;
  enum Status { NEW = 0; PAID = 1; SHIPPED = 2; }
  Status status = 3;
  double total = 4;
  bool paid = 5;
  optional string note = 6;
  message Line { string sku = 1; int32 qty = 2; double price = 3; }
  repeated Line lines = 7;
  map<string, string> attributes = 8;
}"#;

/// Length of one round.
const ROUND: Duration = Duration::from_millis(100);
const ROUNDS: usize = 10;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<10} {:>7} {:>10} {:>10}",
        "format", "bytes", "ns/record", "MB/s"
    )?;
    for (format, text) in [
        (SchemaFormat::Avro, AVRO),
        (SchemaFormat::Json, JSON),
        (SchemaFormat::Protobuf, PROTOBUF),
    ] {
        for size in [100, 1024] {
            measure(&mut out, format, text, size)?;
        }
    }
    Ok(())
}

/// As many lines and as long a note as `assay bench produce` takes for `size` bytes of Avro.
fn record(format: SchemaFormat, size: usize) -> Value {
    let lines: Vec<Value> = (0..size.saturating_sub(60) / 46)
        .map(|n| json!({ "sku": format!("sku-{n:06}"), "qty": n % 9, "price": 9.5 }))
        .collect();
    let (note, attributes) = if size >= 512 {
        let attributes = json!({ "channel": "web", "country": "NL", "currency": "EUR" });
        ("x".repeat(size / 2 - 60), attributes)
    } else {
        ("x".repeat(size / 2), json!({}))
    };
    let note = match format {
        SchemaFormat::Avro => json!({ "string": note }),
        SchemaFormat::Json | SchemaFormat::Protobuf => json!(note),
    };
    json!({
        "id": 123_456_789, "customer": "customer-000042", "status": "PAID", "total": 99.95,
        "paid": true, "note": note, "lines": lines, "attributes": attributes,
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(
    out: &mut impl Write,
    format: SchemaFormat,
    text: &str,
    size: usize,
) -> Result<(), Failure> {
    let schema = ParsedSchema::parse(format, text, &[], ParseMode::New)?;
    let payload = json_value::encode(&schema, &[0], &record(format, size))?;
    let compiled = schema.compile()?;
    let message = compiled.message(&[0]).ok_or("no message")?;
    let options = ValidationOptions::default();
    let mut scratch = Scratch::default();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut records = 0_u32;
        while started.elapsed() < ROUND {
            for _ in 0..256 {
                let verdict =
                    compiled.validate(message, black_box(&payload), options, &mut scratch);
                if let Err(violation) = verdict {
                    return Err(format!("{}: {}", violation.path, violation.detail).into());
                }
            }
            records += 256;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(records));
    }
    let bytes = payload.len();
    writeln!(
        out,
        "{:<10} {bytes:>7} {best:>10.1} {:>10.0}",
        format!("{format:?}"),
        bytes as f64 * 1e3 / best,
    )?;
    Ok(())
}
