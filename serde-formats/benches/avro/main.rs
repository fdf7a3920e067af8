//! What judging one Avro payload costs, beside apache-avro, which builds the value; and what a schema
//! costs. All in one run, `cargo bench -p serde-formats --bench avro`.
//!
//! Both judge the same bytes in turns. The best of several rounds is shown, because whatever else
//! runs on the machine only ever adds time. Ends with a failure when a valid record allocates.

mod records;

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use serde_formats::compatibility::{CompatibilityPolicy, compare};
use serde_formats::{
    ParseMode, ParsedSchema, SchemaFormat, Scratch, ValidationOptions, json_value,
};
use serde_json::json;

/// Length of one round.
const ROUND: Duration = Duration::from_millis(50);
const ROUNDS: usize = 12;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<8} {:>6} {:>10} {:>6} {:>7} {:>16} {:>6} {:>7}",
        "payload", "bytes", "ns/record", "GB/s", "allocs", "apache-avro ns", "GB/s", "times"
    )?;
    let mut allocating = Vec::new();
    for (name, text, record) in records::all() {
        let schema = parse(text)?;
        let payload = json_value::encode(&schema, &[0], &record)?;
        if measure(&mut out, name, text, &payload)? != 0 {
            allocating.push(name);
        }
    }
    writeln!(
        out,
        "goals: 0.90 GB/s on the order, 10 times apache-avro, no allocation"
    )?;
    measure_schemas(&mut out)?;
    match allocating.is_empty() {
        true => Ok(()),
        false => Err(format!("records allocate: {}", allocating.join(", ")).into()),
    }
}

fn parse(text: &str) -> Result<ParsedSchema, Failure> {
    Ok(ParsedSchema::parse(
        SchemaFormat::Avro,
        text,
        &[],
        ParseMode::New,
    )?)
}

/// Allocations of ours a record.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(out: &mut impl Write, name: &str, text: &str, payload: &[u8]) -> Result<u64, Failure> {
    let compiled = parse(text)?.compile()?;
    let message = compiled.message(&[0]).ok_or("no message")?;
    let mut scratch = Scratch::default();
    let options = ValidationOptions::default();
    let mut ours = || {
        let verdict = compiled.validate(message, black_box(payload), options, &mut scratch);
        verdict.is_ok()
    };
    let schema = Schema::parse_str(text)?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    let mut theirs = || {
        let mut rest = black_box(payload);
        black_box(reader.read_value(&mut rest)).is_ok() && rest.is_empty()
    };
    let refused = |who: &str| format!("{who} refuses the {name}");
    let (mut our_best, mut their_best) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        our_best = our_best.min(round(&mut ours).ok_or_else(|| refused("our validator"))?);
        their_best = their_best.min(round(&mut theirs).ok_or_else(|| refused("apache-avro"))?);
    }
    let allocations = counting::during(&mut ours);
    let bytes = payload.len();
    writeln!(
        out,
        "{name:<8} {bytes:>6} {our_best:>10.1} {:>6.2} {allocations:>7} {their_best:>16.1} {:>6.2} \
         {:>7.1}",
        bytes as f64 / our_best,
        bytes as f64 / their_best,
        their_best / our_best,
    )?;
    Ok(allocations)
}

/// Nanoseconds of one call in one round; `None` when a call says no.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn round(run: &mut dyn FnMut() -> bool) -> Option<f64> {
    let started = Instant::now();
    let mut calls = 0_u32;
    while started.elapsed() < ROUND {
        // The clock is read once for many short calls, and for each long one.
        for _ in 0..if calls > 50 { 64 } else { 1 } {
            if !black_box(run()) {
                return None;
            }
            calls += 1;
        }
    }
    Some(started.elapsed().as_secs_f64() * 1e9 / f64::from(calls))
}

/// Parsing a text of 1 MiB, and comparing two records of 1,000 fields.
fn measure_schemas(out: &mut impl Write) -> Result<(), Failure> {
    let mut large = "[".to_owned();
    let mut number = 0;
    while large.len() < 1024 * 1024 {
        if number > 0 {
            large.push(',');
        }
        large.push_str(&wide(&format!("Record{number}"), 100, "\"string\""));
        number += 1;
    }
    large.push(']');
    let old = parse(&wide("R", 1_000, "\"int\""))?;
    let new = parse(&wide("R", 1_000, "[\"null\",\"long\"]"))?;
    let broken = parse(&wide("R", 1_000, "\"boolean\""))?;
    let differences = |reader: &ParsedSchema, writer: &ParsedSchema| {
        compare(reader, writer, CompatibilityPolicy::Strict).len()
    };
    type Work<'a> = (&'a str, f64, Box<dyn FnMut() -> bool + 'a>);
    let works: [Work<'_>; 4] = [
        ("parse 1 MiB", 100.0, Box::new(|| parse(&large).is_ok())),
        (
            "parse 1 MiB and compile",
            100.0,
            Box::new(|| parse(&large).is_ok_and(|schema| schema.compile().is_ok())),
        ),
        (
            "compare records of 1,000 fields",
            5.0,
            Box::new(|| differences(&new, &old) == 0),
        ),
        (
            "the same, every field incompatible",
            5.0,
            Box::new(|| differences(&broken, &old) == 1_000),
        ),
    ];
    writeln!(out, "{:<36} {:>9} {:>9}", "schema", "ms", "at most")?;
    for (name, most, mut run) in works {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            best = best.min(round(&mut run).ok_or(name)?);
        }
        writeln!(out, "{name:<36} {:>9.3} {most:>9.1}", best / 1e6)?;
    }
    Ok(())
}

/// A record of so many fields, documented as real ones are.
fn wide(name: &str, fields: usize, ty: &str) -> String {
    let field =
        |n: usize| format!(r#"{{"name":"field_{n}","type":{ty},"doc":"what this field is for"}}"#);
    let fields: Vec<String> = (0..fields).map(field).collect();
    let name = json!(name);
    format!(
        r#"{{"type":"record","name":{name},"fields":[{}]}}"#,
        fields.join(",")
    )
}

/// The allocator that counts.
#[allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicU64, Ordering};

    static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

    /// Allocations of one call.
    pub(super) fn during(run: &mut dyn FnMut() -> bool) -> u64 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        run();
        ALLOCATIONS.load(Ordering::Relaxed) - before
    }

    struct Counting;

    // SAFETY: every method hands its arguments unchanged to the system allocator, which keeps the
    // contract; counting allocates nothing.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
            unsafe { System.realloc(block, layout, new_size) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
}
