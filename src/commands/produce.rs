//! `assay produce`: JSON lines in, encoded by a schema, framed, produced.

use std::io::BufRead;
use std::io::Write;

use broker_core::records::{BatchBuilder, Compression};
use clap::{Args, ValueEnum};
use serde_formats::{ParseMode, ParsedSchema, ResolvedReference, SchemaFormat, json_value, wire};
use serde_json::Value;

use crate::cli::{CommandResult, Outcome, Servers};
use crate::client::KafkaClient;
use crate::commands::http::{HttpError, RegistryClient, segment};
use crate::commands::schema;

/// Records sent in one batch.
const BATCH_RECORDS: usize = 500;
/// A batch is sent once its records are this large, well below `max.message.bytes`.
const BATCH_BYTES: usize = 256 * 1024;

/// What to produce, and how.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic
    pub topic: String,
    /// Encode values by SUBJECT, SUBJECT@VERSION or id:N
    #[arg(long, value_name = "SCHEMA", conflicts_with = "raw")]
    pub value_schema: Option<String>,
    /// Protobuf: the message, for example shop.Order (default: the first)
    #[arg(long, value_name = "MESSAGE")]
    pub message: Option<String>,
    /// Send all of standard input as one value, unchanged
    #[arg(long)]
    pub raw: bool,
    /// Key of every record
    #[arg(short, long)]
    pub key: Option<String>,
    /// Partition (default: round robin)
    #[arg(short, long)]
    pub partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// 0 is not offered: nobody would see a refusal
    #[arg(long, default_value = "all", value_parser = ["1", "all"])]
    pub acks: String,
}

/// Compression of the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are Kafka's own")]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

/// A schema from the registry, ready to encode with.
#[derive(Debug)]
pub(crate) struct RegistrySchema {
    pub(crate) id: i32,
    pub(crate) parsed: ParsedSchema,
}

/// Runs the command.
///
/// # Errors
/// When a line does not fit the schema, the servers cannot be reached, or the broker refuses a
/// record: the text says which and why.
pub async fn run(servers: &Servers, arguments: Arguments) -> CommandResult {
    let schema = match &arguments.value_schema {
        Some(name) => Some(load(&RegistryClient::new(&servers.registry)?, name).await?),
        None => None,
    };
    let indexes = match (&schema, &arguments.message) {
        (Some(schema), Some(message)) => message_indexes(&schema.parsed, message)?,
        _ => vec![0],
    };
    let mut broker = KafkaClient::connect(&servers.bootstrap).await?;
    // Metadata without auto-creation: a mistyped topic is told instead of made.
    let partitions = broker.partitions(&arguments.topic).await?;
    let mut sender = Sender {
        broker,
        partitions,
        next: 0,
        stored: 0,
        arguments,
    };

    let stdin = std::io::stdin();
    if sender.arguments.raw {
        let mut value = Vec::new();
        std::io::Read::read_to_end(&mut stdin.lock(), &mut value)?;
        sender.send(&[value]).await?;
    } else {
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        for (number, line) in stdin.lock().lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let value = match &schema {
                Some(schema) => encode(schema, &indexes, &line)
                    .map_err(|reason| format!("line {}: {reason}", number + 1))?,
                None => line.into_bytes(),
            };
            bytes += value.len();
            batch.push(value);
            if batch.len() == BATCH_RECORDS || bytes >= BATCH_BYTES {
                sender.send(&batch).await?;
                batch.clear();
                bytes = 0;
            }
        }
        sender.send(&batch).await?;
    }
    writeln!(
        std::io::stdout(),
        "produced {} records to {}",
        sender.stored,
        sender.arguments.topic
    )?;
    Ok(Outcome::Good)
}

struct Sender {
    broker: KafkaClient,
    partitions: Vec<i32>,
    next: usize,
    stored: usize,
    arguments: Arguments,
}

impl Sender {
    async fn send(
        &mut self,
        values: &[Vec<u8>],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if values.is_empty() {
            return Ok(());
        }
        let now = now_ms();
        let mut batch = BatchBuilder::new(self.arguments.compression.into(), now);
        let key = self.arguments.key.as_deref().map(str::as_bytes);
        for value in values {
            batch.append(now, key, Some(value), &[]);
        }
        let partition = match self.arguments.partition {
            Some(partition) => partition,
            None => {
                let index = self.next % self.partitions.len().max(1);
                self.next += 1;
                self.partitions.get(index).copied().unwrap_or(0)
            }
        };
        let acks = if self.arguments.acks == "1" { 1 } else { -1 };
        let topic = &self.arguments.topic;
        let answer = self
            .broker
            .produce(topic, partition, &batch.build(), acks)
            .await?;
        if answer.error.0 == 0 {
            self.stored += values.len();
            return Ok(());
        }
        let mut text = format!(
            "{topic}-{partition}: {} ({}): {}",
            answer.error.name(),
            answer.error.0,
            answer.error_message.as_deref().unwrap_or("no reason given")
        );
        for record in &answer.record_errors {
            if let Some(message) = &record.message {
                text.push_str(&format!("\n  record {}: {message}", record.batch_index));
            }
        }
        Err(text.into())
    }
}

fn encode(schema: &RegistrySchema, indexes: &[i32], line: &str) -> Result<Vec<u8>, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let mut out = Vec::new();
    wire::write_prefix(schema.id, &mut out);
    if schema.parsed.format() == SchemaFormat::Protobuf {
        wire::write_message_indexes(indexes, &mut out);
    }
    let payload =
        json_value::encode(&schema.parsed, indexes, &value).map_err(|error| error.to_string())?;
    out.extend_from_slice(&payload);
    Ok(out)
}

/// Finds a message by its full name, depth first over the message paths that exist.
fn message_indexes(schema: &ParsedSchema, message: &str) -> Result<Vec<i32>, String> {
    let compiled = schema.compile().map_err(|error| error.to_string())?;
    let mut pending: Vec<Vec<i32>> = vec![vec![]];
    while let Some(parent) = pending.pop() {
        for index in 0.. {
            let mut path = parent.clone();
            path.push(index);
            let Some(id) = compiled.message(&path) else {
                break;
            };
            if compiled.record_name(id) == Some(message) {
                return Ok(path);
            }
            if path.len() < wire::MESSAGE_INDEXES_MAX {
                pending.push(path);
            }
        }
    }
    Err(format!("the schema has no message {message}"))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    broker_core::clock::Clock::System.now_ms()
}

/// A schema by SUBJECT, SUBJECT@VERSION or id:N, with its references.
pub(crate) async fn load(
    registry: &RegistryClient,
    name: &str,
) -> Result<RegistrySchema, Box<dyn std::error::Error + Send + Sync>> {
    let answer = schema::fetch(registry, name).await?;
    let id = match name.strip_prefix("id:") {
        Some(id) => id.parse()?,
        None => answer["id"]
            .as_i64()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or("no schema id")?,
    };
    parse(registry, id, &answer).await
}

/// Parses the registry's answer about a schema, fetching what it refers to.
pub(crate) async fn parse(
    registry: &RegistryClient,
    id: i32,
    answer: &Value,
) -> Result<RegistrySchema, Box<dyn std::error::Error + Send + Sync>> {
    let format = answer["schemaType"].as_str().unwrap_or("AVRO");
    let format = SchemaFormat::from_name(format).ok_or_else(|| format!("schema type {format}"))?;
    let text = answer["schema"]
        .as_str()
        .ok_or("the answer holds no schema")?;
    let mut references = Vec::new();
    resolve(registry, answer, &mut references).await?;
    let parsed = ParsedSchema::parse(format, text, &references, ParseMode::Existing)
        .map_err(|error| format!("schema id {id}: {error}"))?;
    Ok(RegistrySchema { id, parsed })
}

/// Depth first, dependencies before dependents, first occurrence of a name only.
async fn resolve(
    registry: &RegistryClient,
    answer: &Value,
    out: &mut Vec<ResolvedReference>,
) -> Result<(), HttpError> {
    for reference in answer["references"].as_array().into_iter().flatten() {
        let name = reference["name"].as_str().unwrap_or_default();
        if out.iter().any(|known| known.name == name) {
            continue;
        }
        let subject = reference["subject"].as_str().unwrap_or_default();
        let version = reference["version"].as_i64().unwrap_or(-1);
        let path = format!(
            "/subjects/{}/versions/{version}?deleted=true",
            segment(subject)
        );
        let found = registry.get(&path).await?;
        Box::pin(resolve(registry, &found, out)).await?;
        out.push(ResolvedReference {
            name: name.to_owned(),
            subject: subject.to_owned(),
            version: i32::try_from(version).unwrap_or(-1),
            schema: found["schema"].as_str().unwrap_or_default().to_owned(),
        });
    }
    Ok(())
}
