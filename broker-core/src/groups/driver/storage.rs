//! `__consumer_offsets`: where groups and offsets are kept, over an
//! [`InternalLog`](crate::internal_log).

use super::{GroupCoordinator, Inner};
use crate::error::ErrorCode;
use crate::groups::OFFSETS_TOPIC;
use crate::groups::consumer::Change;
use crate::groups::group::Group;
use crate::groups::offsets::CommittedOffset;
use crate::groups::record::{self, GroupMetadata, RecordError, RecordKey};
use crate::groups::replay::Replay;
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::internal_log::{InternalLog, KeyValue, Replayed};
use crate::partition::AppendError;
use crate::records::TransactionResult;
use crate::topics::Topics;

/// The log of groups and offsets.
#[derive(Debug)]
pub(super) struct OffsetsLog(InternalLog);

/// Records of one group, to be written together.
#[derive(Debug)]
pub(super) struct Records {
    group: String,
    records: Vec<KeyValue>,
}

impl Records {
    pub(super) fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            records: Vec::new(),
        }
    }

    /// A commit, or its tombstone.
    pub(super) fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        offset: Option<&CommittedOffset>,
    ) -> Result<(), ErrorCode> {
        let key = RecordKey::Offset {
            group: self.group.clone(),
            topic: topic.to_owned(),
            partition,
        };
        self.put(&key, offset.map(record::encode_offset))
    }

    /// The group's metadata, or its tombstone.
    pub(super) fn metadata(&mut self, metadata: Option<&GroupMetadata>) -> Result<(), ErrorCode> {
        let key = RecordKey::Group {
            group: self.group.clone(),
        };
        self.put(&key, metadata.map(record::encode_group))
    }

    /// Changes of a consumer group.
    pub(super) fn changes(&mut self, changes: &[Change]) -> Result<(), ErrorCode> {
        for change in changes {
            let record = change.encode(&self.group).map_err(unstorable)?;
            self.records.push(record);
        }
        Ok(())
    }

    fn put(
        &mut self,
        key: &RecordKey,
        value: Option<Result<Vec<u8>, RecordError>>,
    ) -> Result<(), ErrorCode> {
        let key = key.encode().map_err(unstorable)?;
        let value = value.transpose().map_err(unstorable)?;
        self.records.push((key, value));
        Ok(())
    }
}

impl OffsetsLog {
    pub(super) fn open(topics: &Topics) -> Result<Self, String> {
        InternalLog::open(topics, OFFSETS_TOPIC).map(Self)
    }

    /// Reads everything; records that make no sense are skipped and counted in the log.
    pub(super) fn replay(&self) -> Result<Replay, String> {
        let mut replay = Replay::default();
        self.0.replay(&mut |found| match found {
            Replayed::Record { header, key, value } => {
                let producer = (header.producer_id, header.producer_epoch);
                let producer = header.is_transactional().then_some(producer);
                replay.apply(key, value, producer).is_ok()
            }
            Replayed::Marker {
                partition,
                producer_id,
                result,
            } => {
                let belongs = |group: &str| self.0.index_of(group) == partition;
                replay.end_transaction(producer_id, result, &belongs);
                true
            }
        })?;
        Ok(replay)
    }

    /// Appends the records of one group, as part of a transaction if a producer is given; the
    /// offset of the last, or `None` when there are none.
    pub(super) fn append(
        &self,
        records: Records,
        producer: Option<(ProducerId, ProducerEpoch)>,
        now_ms: i64,
    ) -> Result<Option<Offset>, ErrorCode> {
        let index = self.0.index_of(&records.group);
        self.0
            .append(index, records.records, producer, now_ms)
            .map_err(|error| code(&error))
    }

    /// Ends a producer's transaction in one partition.
    pub(super) fn append_marker(
        &self,
        index: usize,
        producer: (ProducerId, ProducerEpoch),
        result: TransactionResult,
        now_ms: i64,
    ) -> Result<Offset, AppendError> {
        self.0.append_marker(index, producer, result, now_ms)
    }

    /// Waits until the record at `offset` is durable.
    pub(super) async fn durable(
        &self,
        group_id: &str,
        offset: Option<Offset>,
    ) -> Result<(), ErrorCode> {
        let index = self.0.index_of(group_id);
        self.0
            .durable(index, offset)
            .await
            .map_err(|error| code(&error))
    }

    pub(super) fn index_of(&self, group_id: &str) -> usize {
        self.0.index_of(group_id)
    }
}

impl GroupCoordinator {
    /// Rewrites the partitions of `__consumer_offsets` that grew too far.
    pub(super) async fn bound_log(&self) {
        for index in 0..self.log.0.partitions_count() {
            if self.log.0.needs_rewrite(index)
                && let Err(text) = self.rewrite(index).await
            {
                tracing::warn!(
                    partition = index,
                    "{OFFSETS_TOPIC} could not be rewritten: {text}"
                );
            }
        }
    }

    /// Writes every group of a partition again, waits for durability, deletes what was before.
    pub(super) async fn rewrite(&self, index: usize) -> Result<(), String> {
        let now_ms = self.clock.now_ms();
        self.log
            .0
            .rewrite(index, || self.write_groups(index, now_ms))
            .await
    }

    fn write_groups(&self, index: usize, now_ms: i64) -> Result<Option<Offset>, AppendError> {
        // No transaction ends between its offsets being written again and what follows: they
        // would be written behind the marker that settles them.
        let _no_transaction_ends = self.ending.lock();
        let unwritten = |error: ErrorCode| AppendError::Refused {
            code: error,
            text: error.name().to_owned(),
        };
        let mut last = None;
        for slot in self.slots() {
            if self.log.index_of(&slot.id) != index {
                continue;
            }
            // Under its lock no change of the group comes between reading and writing it.
            let mut inner = slot.inner.lock();
            if inner.removed {
                continue;
            }
            let mut writes = vec![(everything(&slot.id, &inner).map_err(unwritten)?, None)];
            for (producer, pending) in inner.offsets.pending() {
                let mut records = Records::new(&slot.id);
                for ((topic, partition), offset) in pending {
                    if let Some(offset) = offset {
                        records
                            .offset(topic, *partition, Some(offset))
                            .map_err(unwritten)?;
                    }
                }
                writes.push((records, Some(producer)));
            }
            for (records, producer) in writes {
                let written = self.log.append(records, producer, now_ms);
                if let Some(written) = written.map_err(unwritten)? {
                    inner.written = Some(written);
                    last = Some(written);
                }
            }
        }
        Ok(last)
    }
}

fn unstorable(_: RecordError) -> ErrorCode {
    ErrorCode::UNKNOWN_SERVER_ERROR
}

fn everything(group_id: &str, inner: &Inner) -> Result<Records, ErrorCode> {
    let mut records = Records::new(group_id);
    // What was stored last, not a rebalance half done.
    if inner.stored.is_some() {
        records.metadata(inner.stored.as_ref())?;
    }
    if let Group::Consumer(group) = &inner.group
        && group.exists()
    {
        records.changes(&group.snapshot())?;
    }
    for (topic, partitions) in inner.offsets.topics() {
        for (partition, offset) in partitions {
            records.offset(topic, *partition, Some(offset))?;
        }
    }
    Ok(records)
}

pub(super) fn code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Refused { code, .. }
            if [
                ErrorCode::MESSAGE_TOO_LARGE,
                ErrorCode::RECORD_LIST_TOO_LARGE,
            ]
            .contains(code) =>
        {
            ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        }
        // The producer of an offset's transaction is fenced.
        AppendError::Refused { code, .. } if *code == ErrorCode::INVALID_PRODUCER_EPOCH => *code,
        AppendError::StaleVerdict(_)
        | AppendError::Duplicate { .. }
        | AppendError::Refused { .. }
        | AppendError::Offline(_) => ErrorCode::COORDINATOR_NOT_AVAILABLE,
    }
}
