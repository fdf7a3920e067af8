//! `assay bench`: what a running server does with pre-built batches; what the registry does.
//!
//! The load is cheap on purpose (frames are built once and sent again and again), because it
//! shares the machine with the server. Raw and validated runs send the same bytes; only the
//! topic differs: one has a subject, the other has none. [`registry`] measures the registry,
//! [`partitions`] a server of many partitions.

pub mod hello;
mod http_load;
pub mod partitions;
mod process;
pub mod registry;
mod table;

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use broker_core::protocol::client as codec;
use broker_core::records::{BatchBuilder, BatchView, Compression};
use clap::{Args, Subcommand, ValueEnum};
use hdrhistogram::Histogram;
use hyper::Method;
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, json_value, wire};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::{CommandResult, Outcome, Servers};
use crate::client::{ConfigChange, KafkaClient};
use crate::commands::http::RegistryClient;
use crate::commands::produce::now_ms;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Produce pre-built batches, raw and validated
    Produce(ProduceArguments),
    /// Fetch what a topic holds from its beginning
    Consume(ConsumeArguments),
    /// Start registries of its own and measure them: start, reads, registrations, checks, loading
    Registry(registry::Arguments),
    /// Start a server of its own with many partitions and measure it: stop, start, kill -9
    Partitions(partitions::Arguments),
    /// Serve the baseline that `registry` compares reads with
    #[command(hide = true)]
    Hello(hello::Arguments),
}

/// How to produce.
#[derive(Debug, Args)]
pub struct ProduceArguments {
    /// Record sizes in bytes
    #[arg(long, value_delimiter = ',', default_value = "100,1024")]
    pub record_bytes: Vec<usize>,
    /// Which runs; interleaved, so that both see the same machine
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "raw,validated"
    )]
    pub runs: Vec<Run>,
    /// Seconds a run
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Times each run is repeated
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// Connections, which share the partitions
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Partitions; each request goes to one of them, in turn [default: one a connection]
    #[arg(long)]
    pub partitions: Option<usize>,
    /// Requests in flight a connection; 1 measures latency
    #[arg(long, default_value_t = 5)]
    pub in_flight: usize,
    /// Bytes a batch
    #[arg(long, default_value_t = 128 * 1024)]
    pub batch_bytes: usize,
    /// 1 or all
    #[arg(long, default_value = "1", value_parser = ["1", "all"])]
    pub acks: String,
    /// Keep the topics `bench-*` afterwards
    #[arg(long)]
    pub keep: bool,
    /// Process whose CPU time is told, for a broker without `/metrics` [default: ask the server]
    #[arg(long)]
    pub process: Option<u32>,
}

/// Whether the topic is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Run {
    /// No subject: records are stored as they come
    Raw,
    /// Every record is checked in full against its Avro schema
    Validated,
}

/// How to consume.
#[derive(Debug, Args)]
pub struct ConsumeArguments {
    /// Topic
    pub topic: String,
    /// Times the topic is read
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// Process whose CPU time is told, for a broker without `/metrics` [default: ask the server]
    #[arg(long)]
    pub process: Option<u32>,
}

/// Runs the command.
///
/// # Errors
/// When the servers cannot be reached or refuse.
pub async fn run(servers: &Servers, command: Command) -> CommandResult {
    match command {
        Command::Produce(arguments) => produce(servers, &arguments).await?,
        Command::Consume(arguments) => consume(servers, &arguments).await?,
        Command::Registry(arguments) => registry::run(&arguments).await?,
        Command::Partitions(arguments) => partitions::run(&arguments).await?,
        Command::Hello(arguments) => hello::run(&arguments).await?,
    }
    Ok(Outcome::Good)
}

/// An order with nested lines, an optional note and a map: what a record of a shop looks like.
const SCHEMA: &str = r#"{"type":"record","name":"BenchOrder","namespace":"assay.bench","fields":[
{"name":"id","type":"long"},
{"name":"customer","type":"string"},
{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","SHIPPED"]}},
{"name":"total","type":"double"},
{"name":"paid","type":"boolean"},
{"name":"note","type":["null","string"],"default":null},
{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
{"name":"sku","type":"string"},{"name":"qty","type":"int"},{"name":"price","type":"double"}]}}},
{"name":"attributes","type":{"type":"map","values":"string"}}]}"#;

/// One record of about `size` bytes, framing included.
fn record(schema: &ParsedSchema, id: i32, size: usize) -> Result<Vec<u8>, Failure> {
    // A line costs 23 bytes; half of the record is lines, the rest attributes and note.
    let lines: Vec<Value> = (0..size.saturating_sub(60) / 46)
        .map(|n| json!({ "sku": format!("sku-{n:06}"), "qty": n % 9, "price": 9.5 }))
        .collect();
    let encode = |note: usize| -> Result<Vec<u8>, Failure> {
        let attributes = if size >= 512 {
            json!({ "channel": "web", "country": "NL", "currency": "EUR" })
        } else {
            json!({})
        };
        let value = json!({
            "id": 123_456_789, "customer": "customer-000042", "status": "PAID", "total": 99.95,
            "paid": true, "note": { "string": "x".repeat(note) }, "lines": lines,
            "attributes": attributes,
        });
        let mut out = Vec::new();
        wire::write_prefix(id, &mut out);
        out.extend(json_value::encode(schema, &[0], &value).map_err(|error| error.to_string())?);
        Ok(out)
    };
    let bare = encode(0)?.len();
    encode(size.saturating_sub(bare))
}

async fn produce(servers: &Servers, arguments: &ProduceArguments) -> Result<(), Failure> {
    let registry = RegistryClient::new(&servers.registry)?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<10} {:>7} {:>12} {:>9} {:>9} {:>9} {:>12}",
        "run", "bytes", "records/s", "MB/s", "p50 ms", "p99 ms", "cpu s/GB"
    )?;
    let schema = ParsedSchema::parse(SchemaFormat::Avro, SCHEMA, &[], ParseMode::New)
        .map_err(|error| error.to_string())?;
    for &size in &arguments.record_bytes {
        let mut rates: Vec<(Run, Vec<f64>)> = arguments
            .runs
            .iter()
            .map(|&run| (run, Vec::new()))
            .collect();
        for _ in 0..arguments.repeat {
            for (run, rates) in &mut rates {
                let measured =
                    produce_run(servers, &registry, arguments, &schema, *run, size).await?;
                rates.push(measured.records_per_second());
                writeln!(out, "{}", measured.row(*run, size))?;
            }
        }
        if let [(first, a), (second, b)] = &rates[..] {
            writeln!(
                out,
                "{second:?}/{first:?} at {size} bytes: {:.2} (median of {})",
                median(b) / median(a),
                a.len()
            )?;
        }
    }
    Ok(())
}

/// Registered under a subject of its own, the same id is known but not bound to the raw topic.
async fn register(registry: &RegistryClient, size: usize) -> Result<i32, Failure> {
    let subject = format!("bench-validated-{size}-value");
    let registered = registry
        .call(
            Method::POST,
            &format!("/subjects/{subject}/versions"),
            Some(&json!({ "schema": SCHEMA })),
        )
        .await?;
    let id = registered["id"].as_i64();
    Ok(i32::try_from(id.ok_or("the registry answered no id")?)?)
}

async fn produce_run(
    servers: &Servers,
    registry: &RegistryClient,
    arguments: &ProduceArguments,
    schema: &ParsedSchema,
    run: Run,
    size: usize,
) -> Result<Measured, Failure> {
    let topic = match run {
        Run::Raw => format!("bench-raw-{size}"),
        Run::Validated => format!("bench-validated-{size}"),
    };
    let id = if arguments.runs == [Run::Raw] {
        1 // nobody looks at it, and the broker may be one without a registry
    } else {
        register(registry, size).await?
    };
    let value = record(schema, id, size)?;
    let per_batch = (arguments.batch_bytes / (value.len() + 10)).max(1);
    // Now, or retention by time would take the records away.
    let now = now_ms();
    let mut builder = BatchBuilder::new(Compression::None, now);
    for _ in 0..per_batch {
        builder.append(now, None, Some(&value), &[]);
    }
    let batch = builder.build();

    let mut broker = KafkaClient::connect(&servers.bootstrap).await?;
    let _left_from_an_earlier_run = broker.delete_topic(&topic).await;
    let connections = arguments.connections.max(1);
    let partitions = arguments.partitions.unwrap_or(connections).max(connections);
    // What is kept bounds the disk that a long run takes.
    let retention = ConfigChange {
        name: "retention.bytes".into(),
        value: Some("4294967296".into()),
    };
    broker
        .create_topic(&topic, i32::try_from(partitions)?, &[retention])
        .await?;

    let acks = if arguments.acks == "1" { 1 } else { -1 };
    for partition in 0..i32::try_from(partitions)? {
        let frame = broker.produce_frame(&topic, partition, &batch, acks)?;
        led(&servers.bootstrap, &frame).await?;
    }
    let cpu_before = broker_cpu_seconds(registry, arguments.process).await;
    let started = Instant::now();
    let until = started + Duration::from_secs(arguments.seconds);
    let mut tasks = Vec::new();
    for first in 0..connections {
        let frames = (first..partitions)
            .step_by(connections)
            .map(|partition| {
                let partition = i32::try_from(partition)?;
                Ok(broker.produce_frame(&topic, partition, &batch, acks)?)
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let address = servers.bootstrap.clone();
        let in_flight = arguments.in_flight.max(1);
        tasks.push(tokio::spawn(async move {
            connection(&address, &frames, in_flight, until).await
        }));
    }
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    for task in tasks {
        latencies.add(task.await??)?;
    }
    let elapsed = started.elapsed();
    let cpu = broker_cpu_seconds(registry, arguments.process)
        .await
        .zip(cpu_before)
        .map(|(after, before)| after - before);
    if !arguments.keep {
        broker.delete_topic(&topic).await?;
    }
    let records = latencies.len() * u64::try_from(per_batch)?;
    let bytes = latencies.len() * u64::try_from(batch.len())?;
    Ok(Measured {
        records,
        bytes,
        elapsed,
        latencies,
        cpu,
    })
}

/// Sends the frames in turn until the time is up, `in_flight` at a time; answers the latencies in µs.
async fn connection(
    address: &str,
    frames: &[Vec<u8>],
    in_flight: usize,
    until: Instant,
) -> Result<Histogram<u64>, Failure> {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.split();
    let mut sent: VecDeque<Instant> = VecDeque::with_capacity(in_flight);
    let mut answer = Vec::new();
    let mut checked = false;
    let mut turn = frames.iter().cycle();
    loop {
        while sent.len() < in_flight && Instant::now() < until {
            let frame = turn.next().ok_or("no partition to produce to")?;
            sent.push_back(Instant::now());
            write.write_all(frame).await?;
        }
        let Some(since) = sent.pop_front() else {
            return Ok(latencies);
        };
        let length = usize::try_from(read.read_u32().await?)?;
        answer.resize(length, 0);
        read.read_exact(&mut answer).await?;
        latencies.saturating_record(u64::try_from(since.elapsed().as_micros())?);
        if !checked {
            check_stored(&answer)?;
            checked = true;
        }
    }
}

/// Produces once, and again until the new partition has a leader: some brokers answer before it has.
async fn led(address: &str, frame: &[u8]) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address).await?;
    let patience = Instant::now() + Duration::from_secs(10);
    let mut answer = Vec::new();
    loop {
        stream.write_all(frame).await?;
        let length = usize::try_from(stream.read_u32().await?)?;
        answer.resize(length, 0);
        stream.read_exact(&mut answer).await?;
        match check_stored(&answer) {
            Err(_) if Instant::now() < patience => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stored => return stored,
        }
    }
}

/// A refused batch would be answered fast: the figures would be of nothing.
fn check_stored(answer: &[u8]) -> Result<(), Failure> {
    let frame = bytes::Bytes::copy_from_slice(answer);
    let (_, response) = codec::decode_produce(9, &frame)?;
    for partition in response
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions)
    {
        if partition.error.0 != 0 {
            return Err(format!(
                "the broker refused the batch: {} {}",
                partition.error.name(),
                partition.error_message.unwrap_or_default()
            )
            .into());
        }
    }
    Ok(())
}

async fn consume(servers: &Servers, arguments: &ConsumeArguments) -> Result<(), Failure> {
    let registry = RegistryClient::new(&servers.registry)?;
    let mut broker = KafkaClient::connect(&servers.bootstrap).await?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<10} {:>7} {:>12} {:>9} {:>9} {:>9} {:>12}",
        "run", "bytes", "records/s", "MB/s", "p50 ms", "p99 ms", "cpu s/GB"
    )?;
    for _ in 0..arguments.repeat {
        let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
        let (mut records, mut bytes) = (0_u64, 0_u64);
        let cpu_before = broker_cpu_seconds(&registry, arguments.process).await;
        let started = Instant::now();
        for partition in broker.partitions(&arguments.topic).await? {
            let mut offset = broker.offset(&arguments.topic, partition, -2).await?;
            loop {
                let since = Instant::now();
                let (batches, high_watermark) =
                    broker.fetch(&arguments.topic, partition, offset, 0).await?;
                latencies.saturating_record(u64::try_from(since.elapsed().as_micros())?);
                bytes += batches.len() as u64;
                let mut rest: &[u8] = &batches;
                while let Ok((batch, after)) = BatchView::parse(rest) {
                    records += u64::try_from(batch.header.record_count)?;
                    offset = batch.header.last_offset().0 + 1;
                    rest = after;
                }
                if batches.is_empty() || offset >= high_watermark {
                    break;
                }
            }
        }
        let elapsed = started.elapsed();
        let cpu = broker_cpu_seconds(&registry, arguments.process)
            .await
            .zip(cpu_before)
            .map(|(after, before)| after - before);
        let measured = Measured {
            records,
            bytes,
            elapsed,
            latencies,
            cpu,
        };
        let size = usize::try_from(bytes.checked_div(records).unwrap_or(0))?;
        writeln!(out, "{}", measured.line("consume", size))?;
    }
    Ok(())
}

struct Measured {
    records: u64,
    bytes: u64,
    elapsed: Duration,
    latencies: Histogram<u64>,
    cpu: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Measured {
    fn records_per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }

    fn row(&self, run: Run, size: usize) -> String {
        self.line(if run == Run::Raw { "raw" } else { "validated" }, size)
    }

    fn line(&self, run: &str, size: usize) -> String {
        let megabytes = self.bytes as f64 / 1e6;
        let cpu = self.cpu.map_or_else(
            || "-".to_owned(),
            |seconds| format!("{:.2}", seconds / (megabytes / 1e3).max(1e-9)),
        );
        format!(
            "{run:<10} {size:>7} {:>12.0} {:>9.1} {:>9.2} {:>9.2} {cpu:>12}",
            self.records_per_second(),
            megabytes / self.elapsed.as_secs_f64(),
            self.latencies.value_at_quantile(0.50) as f64 / 1e3,
            self.latencies.value_at_quantile(0.99) as f64 / 1e3,
        )
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of the server so far; `None` when it does not tell.
async fn broker_cpu_seconds(registry: &RegistryClient, process: Option<u32>) -> Option<f64> {
    if let Some(process) = process {
        return process_cpu_seconds(process);
    }
    let text = registry.get_text("/metrics").await.ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("process_cpu_seconds_total "))
        .and_then(|value| value.trim().parse().ok())
}

/// User and system time of a process, from Linux's `/proc` in ticks of 10 ms.
fn process_cpu_seconds(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything; utime and stime are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_has_the_size_asked_for() {
        let schema = ParsedSchema::parse(SchemaFormat::Avro, SCHEMA, &[], ParseMode::New).unwrap();
        for size in [100, 1024, 4096] {
            let value = record(&schema, 7, size).unwrap();
            assert!(value.len().abs_diff(size) <= 2, "{size}: {}", value.len());
        }
    }
}
