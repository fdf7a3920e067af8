//! One life of a broker on a simulated disk, as far as transactions go: topics, groups, coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use bytes::BytesMut;

use super::coordinator::{ClientVersion, Producer};
use super::{ProducerIds, TransactionConfig, TransactionCoordinator};
use crate::broker::Durability;
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::groups::driver::{Committer, OffsetReader};
use crate::groups::offsets::CommittedOffset;
use crate::groups::{GroupConfig, GroupCoordinator};
use crate::ids::{Offset, PartitionIndex, Sequence};
use crate::log::Shutdown;
use crate::partition::{AppendError, Isolation, Partition, ReadRequest, Syncer};
use crate::records::{
    BatchBuilder, BatchHeader, BatchView, Compression, DecompressionScratch, TransactionResult,
    marker_of,
};
use crate::storage::simulated::SimulatedStorage;
use crate::topics::{NewTopic, Topics, TopicsOptions};
use crate::validation::NoValidation;

/// Partitions of the topic `t`.
pub(super) const PARTITIONS: i32 = 3;

/// One life of the broker.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) topics: Arc<Topics>,
    pub(super) groups: Arc<GroupCoordinator>,
    pub(super) transactions: Arc<TransactionCoordinator>,
}

impl Life {
    pub(super) fn open(
        disk: &SimulatedStorage,
        durability: Durability,
        now: &Arc<AtomicI64>,
    ) -> Self {
        let clock = Clock::Manual(Arc::clone(now));
        let options = TopicsOptions {
            storage: Arc::new(disk.clone()),
            data_dir: PathBuf::from("/data"),
            shutdown: Shutdown::Unclean,
            durability,
            default_partitions: 1,
            topic_defaults: BTreeMap::new(),
            clock: clock.clone(),
            validator: Arc::new(NoValidation),
        };
        let topics = Topics::open_with(options, Syncer::inline()).unwrap();
        if topics.get("t").is_none() {
            let topic = NewTopic {
                name: "t".to_owned(),
                partitions: PARTITIONS,
                replication_factor: 1,
                configs: [("segment.bytes".to_owned(), "2000".to_owned())].into(),
                internal: false,
            };
            topics.create(&topic, false).unwrap();
        }
        let config = GroupConfig::default();
        let groups = GroupCoordinator::open(Arc::clone(&topics), config, clock.clone()).unwrap();
        let transactions = TransactionCoordinator::open(
            Arc::clone(&topics),
            Arc::clone(&groups),
            Arc::new(ProducerIds::new(Arc::clone(&topics))),
            TransactionConfig::default(),
            clock,
        )
        .unwrap();
        Self {
            topics,
            groups,
            transactions,
        }
    }

    pub(super) fn partition(&self, index: i32) -> Arc<Partition> {
        let topic = self.topics.get("t").unwrap();
        topic.partition(PartitionIndex(index)).unwrap()
    }

    /// As the produce path does it, with acks=all.
    pub(super) async fn produce(
        &self,
        id: &str,
        (who, version): (Producer, ClientVersion),
        (index, sequence): (i32, i32),
        value: &str,
    ) -> Result<(), ErrorCode> {
        let place = ("t".to_owned(), index);
        let mut batch = BatchBuilder::new(Compression::None, 0)
            .producer(who.id, who.epoch, Sequence(sequence))
            .transactional();
        batch.append(0, None, Some(value.as_bytes()), &[]);
        let batch = batch.build();
        if version == ClientVersion::Two {
            let places = std::slice::from_ref(&place);
            self.transactions
                .add_partitions(id, who, places, version)
                .await?;
        }
        let header = BatchHeader::parse(&batch).unwrap();
        let partition = self.partition(index);
        let is_member = || self.transactions.check_partition(id, who, &place);
        let still_holds = || is_member().is_ok();
        let appended = partition.append(BytesMut::from(&batch[..]), &header, 0, &still_holds);
        let last = match appended {
            Ok(appended) => appended.last_offset,
            Err(AppendError::Duplicate { last_offset, .. }) => last_offset,
            Err(AppendError::StaleVerdict(_)) => {
                return Err(is_member().err().unwrap_or(ErrorCode::REQUEST_TIMED_OUT));
            }
            Err(error) => return Err(error.code()),
        };
        partition.durable(last).await.map_err(|error| error.code())
    }

    pub(super) async fn commit_offset(
        &self,
        id: &str,
        (who, version): (Producer, ClientVersion),
        offset: i64,
    ) -> Result<(), ErrorCode> {
        self.transactions.add_offsets(id, who, id, version).await?;
        let place = self.transactions.offsets_partition(id);
        let nobody = Committer {
            member_id: "",
            instance_id: None,
            generation: -1,
        };
        let committed = CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
        };
        let in_transaction = || self.transactions.check_partition(id, who, &place);
        let commits = vec![(("source".to_owned(), 0), committed)];
        self.groups
            .commit_in_transaction(id, nobody, (who.id, who.epoch), commits, &in_transaction)
            .await
    }

    pub(super) async fn committed_offset(&self, id: &str) -> Option<i64> {
        let wanted = [("source".to_owned(), vec![0])];
        let anybody = OffsetReader::ANYBODY;
        let found = self
            .groups
            .fetch_offsets(id, anybody, Some(&wanted), true)
            .await;
        let offset = found.unwrap()[0].1[0].1.clone();
        offset
            .expect("no offset is pending")
            .map(|found| found.offset)
    }
}

/// Values of a partition as a read-committed consumer sees them.
pub(super) fn read_committed(partition: &Partition) -> Vec<String> {
    let (seen, _) = read_committed_from(partition, 0);
    seen.into_iter().map(|(_, value)| value).collect()
}

/// Offsets and values from `from` on as a read-committed consumer sees them, and where it goes on.
pub(super) fn read_committed_from(partition: &Partition, from: i64) -> (Vec<(i64, String)>, i64) {
    let mut scratch = DecompressionScratch::default();
    let (mut values, mut next) = (Vec::new(), from);
    while next < partition.offsets().last_stable.0 {
        let read = partition
            .read(&ReadRequest {
                from: Offset(next),
                max_bytes: 1 << 20,
                at_least_one: true,
                isolation: Isolation::ReadCommitted,
            })
            .unwrap();
        let mut aborted = read.aborted.clone();
        let mut dropping = BTreeSet::new();
        for bytes in &read.batches {
            let (batch, _) = BatchView::parse(bytes).unwrap();
            let header = batch.header;
            while aborted
                .first()
                .is_some_and(|first| first.first_offset <= header.last_offset())
            {
                dropping.insert(aborted.remove(0).producer_id);
            }
            next = header.last_offset().0 + 1;
            if header.is_control() {
                if marker_of(&batch) == Some(TransactionResult::Abort) {
                    dropping.remove(&header.producer_id);
                }
            } else if !dropping.contains(&header.producer_id) {
                let offsets = header.base_offset.0..;
                for (record, offset) in batch.records(&mut scratch).unwrap().zip(offsets) {
                    let value = record.unwrap().value.unwrap().to_vec();
                    values.push((offset, String::from_utf8(value).unwrap()));
                }
            }
        }
    }
    (values, next)
}
