//! The `_schemas` topic of Confluent's registry, read from any broker with the Kafka API.

use broker_core::records::{BatchHeader, BatchView, DecompressionScratch};
use registry::transfer::Facts;
use registry::transfer::replay::Replay;

use crate::client::KafkaClient;

/// How long one fetch waits for records, in ms.
const WAIT_MS: i32 = 500;

/// What reading the topic came to.
#[derive(Debug)]
pub struct Read {
    /// The registry as of the end of the topic.
    pub facts: Facts,
    /// Records read.
    pub records: u64,
    /// Of those, records that say nothing that is understood, or bind an id to a second schema; the
    /// reference passes over them too.
    pub passed_over: usize,
}

/// Reads the topic from its beginning to the end it has now.
///
/// # Errors
/// When the broker cannot be reached, has no such topic, or it has several partitions.
pub async fn read(
    bootstrap: &str,
    topic: &str,
) -> Result<Read, Box<dyn std::error::Error + Send + Sync>> {
    let mut broker = KafkaClient::connect(bootstrap).await?;
    let partitions = broker.partitions(topic).await?;
    let [partition] = partitions[..] else {
        return Err(format!(
            "topic {topic} has {} partitions; a registry keeps its schemas in one",
            partitions.len()
        )
        .into());
    };
    let mut leader = broker.connect_to_leader(topic, partition).await?;
    let mut offset = leader.offset(topic, partition, -2).await?;
    let end = leader.offset(topic, partition, -1).await?;
    let mut replay = Replay::default();
    let mut records = 0;
    let mut scratch = DecompressionScratch::default();
    while offset < end {
        let (batches, _) = leader.fetch(topic, partition, offset, WAIT_MS).await?;
        let mut rest: &[u8] = &batches;
        let before = offset;
        while !rest.is_empty() {
            // A batch cut by the size limit is fetched again as a whole.
            let Ok((batch, after)) = BatchView::parse(rest) else {
                break;
            };
            rest = after;
            let header = &batch.header;
            if !header.is_control() {
                for record in batch.records(&mut scratch)? {
                    let record = record?;
                    let at = header.base_offset.0 + i64::from(record.offset_delta);
                    if at < offset {
                        continue;
                    }
                    let time_ms = record_time_ms(header, record.timestamp_delta);
                    replay.apply(record.key, record.value, time_ms);
                    records += 1;
                }
            }
            offset = header.last_offset().0 + 1;
        }
        if offset == before {
            return Err(format!("{topic}-{partition} cannot be read at offset {offset}").into());
        }
    }
    let (facts, passed_over) = replay.finish();
    Ok(Read {
        facts,
        records,
        passed_over,
    })
}

/// The time that the registry shows of a record: the broker's, where the topic keeps that.
fn record_time_ms(header: &BatchHeader, delta: i64) -> i64 {
    if header.is_log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.saturating_add(delta)
    }
}
