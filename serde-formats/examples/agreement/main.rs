//! Random schema pairs with their verdicts, records and witnesses, for an independent
//! implementation to contradict: `agreement FORMAT PAIRS SEED` prints one JSON line a pair.
//!
//! A line has `old` and `new` (schema texts), `compatible` (can `new` read what `old` wrote),
//! `records` (payloads of `old`: hex, and the JSON they mean) and, for an incompatible pair,
//! `witnesses` (`kind`, `path`, `label`, and for `breaks` the payload with what the reader does).
//! `caveats` look the same: what the verdict misses, or overstates, as the reference does.
//! Protobuf lines also have both descriptors in base64.
//! The peers in `tests/agreement` read the lines and check each claim.

mod avro;
mod protobuf;
mod random;

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use serde_formats::compatibility::{CompatibilityPolicy, caveats, compare};
use serde_formats::json_value;
use serde_formats::witness::{Evidence, Outcome, caveat_evidence, evidence};
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, TextForm};
use serde_json::{Value, json};

/// A generated pair: texts of an old and a new schema, and records that the old one allows.
struct Pair {
    old: String,
    new: String,
    /// Protobuf message path of the records; empty for the other formats.
    indexes: Vec<i32>,
    /// In the JSON form that [`json_value::encode`] takes.
    records: Vec<Value>,
}

/// Makes the pair of a seed: the same seed makes the same pair.
type Generator = fn(seed: u64) -> Pair;

const GENERATORS: &[(&str, SchemaFormat, Generator)] = &[
    ("avro", SchemaFormat::Avro, avro::pair),
    ("protobuf", SchemaFormat::Protobuf, protobuf::pair),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, pairs, seed] = arguments.as_slice() else {
        return usage();
    };
    let found = GENERATORS.iter().find(|(name, _, _)| name == format);
    let (Some((_, format, generator)), Ok(pairs), Ok(seed)) =
        (found, pairs.parse::<u64>(), seed.parse::<u64>())
    else {
        return usage();
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    for seed in seed..seed + pairs {
        let line = describe(*format, seed, &generator(seed));
        if writeln!(out, "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    out.flush()
        .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "a command-line tool")]
fn usage() -> ExitCode {
    eprintln!("usage: agreement FORMAT PAIRS SEED, FORMAT one of avro, json, protobuf");
    ExitCode::from(2)
}

fn describe(format: SchemaFormat, seed: u64, pair: &Pair) -> Value {
    let parse = |text: &str| ParsedSchema::parse(format, text, &[], ParseMode::New);
    let (old, new) = match (parse(&pair.old), parse(&pair.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            let errors: Vec<String> = [old.err(), new.err()]
                .into_iter()
                .flatten()
                .map(|error| error.to_string())
                .collect();
            return json!({ "seed": seed, "old": pair.old, "new": pair.new, "errors": errors });
        }
    };
    let mut records = Vec::new();
    let mut errors = Vec::new();
    for record in &pair.records {
        match json_value::encode(&old, &pair.indexes, record) {
            Ok(payload) => records.push(json!({ "payload": hex(&payload), "json": record })),
            Err(error) => errors.push(error.to_string()),
        }
    }
    let differences = compare(&new, &old, CompatibilityPolicy::Strict);
    let witnesses: Vec<Value> = differences
        .iter()
        .map(|found| shown(found.kind, &found.path, evidence(&new, &old, found)))
        .collect();
    let caveats: Vec<Value> = caveats(&new, &old, CompatibilityPolicy::Strict)
        .iter()
        .map(|found| {
            let mut line = shown(found.kind, &found.path, caveat_evidence(&new, &old, found));
            line["effect"] = json!(found.effect.name());
            line
        })
        .collect();
    let mut line = json!({
        "seed": seed,
        "old": pair.old,
        "new": pair.new,
        "indexes": pair.indexes,
        "compatible": differences.is_empty(),
        "records": records,
        "witnesses": witnesses,
        "caveats": caveats,
        "errors": errors,
    });
    if format == SchemaFormat::Protobuf {
        line["old_descriptor"] = json!(old.text(TextForm::Serialized));
        line["new_descriptor"] = json!(new.text(TextForm::Serialized));
    }
    line
}

/// A claim with what proves it.
fn shown(kind: &str, path: &str, evidence: Evidence) -> Value {
    let mut line = json!({ "kind": kind, "path": path, "label": evidence.label() });
    match evidence {
        Evidence::Breaks(witness) => {
            line["payload"] = json!(hex(&witness.payload));
            line["indexes"] = json!(witness.indexes);
            line["json"] = witness.json;
            line["outcome"] = match witness.outcome {
                Outcome::Refused { path, reason } => {
                    json!({ "refused": { "path": path, "reason": reason } })
                }
                Outcome::Misread {
                    path,
                    written,
                    read,
                } => {
                    json!({ "misread": { "path": path, "written": written, "read": read } })
                }
            };
        }
        Evidence::Convention { reason } | Evidence::NotFound { reason } => {
            line["reason"] = json!(reason);
        }
    }
    line
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
