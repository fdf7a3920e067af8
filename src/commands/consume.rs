//! `assay consume`: records out as JSON lines, decoded by the schema id they carry.

use std::collections::HashMap;
use std::io::Write;

use broker_core::records::{BatchView, DecompressionScratch, Record};
use bytes::Bytes;
use clap::Args;
use serde_formats::{SchemaFormat, json_value, wire};
use serde_json::{Map, Value, json};

use crate::cli::{CommandResult, Outcome, Servers};
use crate::client::KafkaClient;
use crate::commands::http::{RegistryClient, segment};
use crate::commands::produce::{RegistrySchema, parse};

/// How long one fetch waits for records, in ms.
const WAIT_MS: i32 = 500;

/// What to consume, and how far.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic
    pub topic: String,
    /// Where to start: beginning, end, or an offset
    #[arg(short = 'o', long, default_value = "beginning", value_name = "WHERE")]
    pub from: String,
    /// Stop after this many records
    #[arg(short = 'n', long, value_name = "N")]
    pub max: Option<usize>,
    /// Stop at the end of the log
    #[arg(short, long)]
    pub exit: bool,
    /// Only this partition
    #[arg(short, long)]
    pub partition: Option<i32>,
}

/// Runs the command.
///
/// # Errors
/// When the servers cannot be reached or refuse.
pub async fn run(servers: &Servers, arguments: Arguments) -> CommandResult {
    let mut broker = KafkaClient::connect(&servers.bootstrap).await?;
    let partitions = match arguments.partition {
        Some(partition) => vec![partition],
        None => broker.partitions(&arguments.topic).await?,
    };
    let mut positions = Vec::new();
    for partition in partitions {
        let offset = match arguments.from.as_str() {
            "beginning" => broker.offset(&arguments.topic, partition, -2).await?,
            "end" => broker.offset(&arguments.topic, partition, -1).await?,
            offset => offset
                .parse()
                .map_err(|_| format!("--from {offset} is neither beginning, end nor an offset"))?,
        };
        positions.push((partition, offset));
    }
    let mut printer = Printer {
        decoder: Decoder {
            registry: RegistryClient::new(&servers.registry)?,
            schemas: HashMap::new(),
        },
        scratch: DecompressionScratch::default(),
        printed: 0,
        max: arguments.max.unwrap_or(usize::MAX),
    };
    loop {
        let mut at_end = true;
        let wait = if positions.len() == 1 && !arguments.exit {
            WAIT_MS
        } else {
            0
        };
        let mut idle = true;
        for (partition, offset) in &mut positions {
            let (batches, high_watermark) = broker
                .fetch(&arguments.topic, *partition, *offset, wait)
                .await?;
            idle &= batches.is_empty();
            *offset = printer.print(*partition, *offset, &batches).await?;
            if printer.printed >= printer.max {
                return Ok(Outcome::Good);
            }
            at_end &= *offset >= high_watermark;
        }
        if at_end && arguments.exit {
            return Ok(Outcome::Good);
        }
        if idle && wait == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

struct Printer {
    decoder: Decoder,
    scratch: DecompressionScratch,
    printed: usize,
    max: usize,
}

impl Printer {
    /// Prints the records from `offset` on; answers the offset after the last batch.
    async fn print(
        &mut self,
        partition: i32,
        mut offset: i64,
        batches: &Bytes,
    ) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
        let mut rest: &[u8] = batches;
        let mut out = std::io::stdout().lock();
        while !rest.is_empty() {
            // A batch cut by the size limit is fetched again as a whole.
            let Ok((batch, after)) = BatchView::parse(rest) else {
                break;
            };
            rest = after;
            if !batch.header.is_control() {
                // Schemas are fetched while decoding: the records are copied out first.
                let mut records = Vec::new();
                for record in batch.records(&mut self.scratch)? {
                    records.push(OwnedRecord::from(&record?));
                }
                for record in records {
                    let at = batch.header.base_offset.0 + i64::from(record.offset_delta);
                    if at < offset || self.printed >= self.max {
                        continue;
                    }
                    let line = self
                        .decoder
                        .line(partition, at, &batch.header, &record)
                        .await;
                    writeln!(out, "{line}")?;
                    self.printed += 1;
                }
            }
            offset = batch.header.last_offset().0 + 1;
        }
        Ok(offset)
    }
}

struct OwnedRecord {
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<&Record<'_>> for OwnedRecord {
    fn from(record: &Record<'_>) -> Self {
        Self {
            offset_delta: record.offset_delta,
            timestamp_delta: record.timestamp_delta,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

struct Decoder {
    registry: RegistryClient,
    schemas: HashMap<wire::SchemaClaim, Result<RegistrySchema, String>>,
}

impl Decoder {
    async fn line(
        &mut self,
        partition: i32,
        offset: i64,
        batch: &broker_core::records::BatchHeader,
        record: &OwnedRecord,
    ) -> Value {
        let mut line = Map::new();
        line.insert("partition".into(), json!(partition));
        line.insert("offset".into(), json!(offset));
        line.insert(
            "timestamp".into(),
            json!(batch.base_timestamp + record.timestamp_delta),
        );
        line.insert(
            "key".into(),
            record.key.as_deref().map_or(Value::Null, text_or_hex),
        );
        match &record.value {
            None => {
                line.insert("value".into(), Value::Null);
            }
            Some(value) => match self.decode(value, record).await {
                Some((id, Ok(decoded))) => {
                    line.insert("schema_id".into(), id);
                    line.insert("value".into(), decoded);
                }
                Some((id, Err(reason))) => {
                    line.insert("schema_id".into(), id);
                    line.insert("value".into(), text_or_hex(value));
                    line.insert("undecoded".into(), json!(reason));
                }
                None => {
                    line.insert("value".into(), text_or_hex(value));
                }
            },
        }
        if !record.headers.is_empty() {
            let headers: Vec<Value> = record
                .headers
                .iter()
                .map(|(name, value)| {
                    json!([
                        text_or_hex(name),
                        value.as_deref().map_or(Value::Null, text_or_hex)
                    ])
                })
                .collect();
            line.insert("headers".into(), Value::Array(headers));
        }
        Value::Object(line)
    }

    /// `None` when the value carries no claim.
    async fn decode(
        &mut self,
        value: &[u8],
        record: &OwnedRecord,
    ) -> Option<(Value, Result<Value, String>)> {
        let header = record
            .headers
            .iter()
            .rev()
            .find(|(name, value)| name == b"__value_schema_id" && value.is_some())
            .and_then(|(_, value)| value.as_deref());
        // With a header the whole value is payload; without, the prefix is cut off.
        let (claim, after_claim) = match header {
            Some(header) => {
                let (claim, used) = wire::read_claim(header).ok()?;
                (claim, header.get(used..)?)
            }
            None => {
                let (claim, used) = wire::read_claim(value).ok()?;
                (claim, value.get(used..)?)
            }
        };
        let shown = match claim {
            wire::SchemaClaim::Id(id) => json!(id),
            wire::SchemaClaim::Guid(guid) => json!(guid.to_string()),
        };
        let schema = match self.schema(claim).await {
            Ok(schema) => schema,
            Err(reason) => return Some((shown, Err(reason))),
        };
        let mut indexes = wire::MessageIndexes::FIRST;
        let mut payload = if header.is_some() { value } else { after_claim };
        if schema.parsed.format() == SchemaFormat::Protobuf {
            match wire::read_message_indexes(after_claim) {
                Ok((read, used)) => {
                    indexes = read;
                    if header.is_none() {
                        payload = after_claim.get(used..)?;
                    }
                }
                Err(error) => return Some((shown, Err(format!("message indexes: {error:?}")))),
            }
        }
        let decoded = json_value::decode(&schema.parsed, indexes.as_slice(), payload)
            .map_err(|violation| violation.to_string());
        Some((shown, decoded))
    }

    async fn schema(&mut self, claim: wire::SchemaClaim) -> Result<&RegistrySchema, String> {
        if !self.schemas.contains_key(&claim) {
            let loaded = self.load(claim).await;
            self.schemas.insert(claim, loaded);
        }
        match self.schemas.get(&claim) {
            Some(Ok(schema)) => Ok(schema),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("schema not loaded".to_owned()),
        }
    }

    async fn load(&self, claim: wire::SchemaClaim) -> Result<RegistrySchema, String> {
        let (path, id) = match claim {
            wire::SchemaClaim::Id(id) => (format!("/schemas/ids/{id}"), id),
            wire::SchemaClaim::Guid(guid) => {
                (format!("/schemas/guids/{}", segment(&guid.to_string())), 0)
            }
        };
        let answer = self
            .registry
            .get(&path)
            .await
            .map_err(|error| error.to_string())?;
        parse(&self.registry, id, &answer)
            .await
            .map_err(|error| error.to_string())
    }
}

fn text_or_hex(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => json!(text),
        _ => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}
