//! From the decision to the complete transaction: markers in every partition, then the record that
//! says so. While the broker runs, and for what a crash interrupted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Inner, RETRY_MS, Slot, TransactionCoordinator};
use crate::groups::OFFSETS_TOPIC;
use crate::ids::{Offset, PartitionIndex, ProducerEpoch, ProducerId};
use crate::partition::{AppendError, Partition};
use crate::records::TransactionResult;
use crate::transactions::coordinator::{Effects, Markers, Producer, TopicPartition};

/// A partition that has its marker.
type Marked = (Arc<Partition>, Offset);

impl TransactionCoordinator {
    /// Completes a decided transaction: returns when it is, or when that must be tried again.
    pub(super) async fn complete(self: &Arc<Self>, transactional_id: &str) {
        let claimed = self.with_slot(transactional_id, |slot, inner| {
            let markers = inner.transaction.markers().filter(|_| !inner.completing)?;
            inner.completing = true;
            Some((Arc::clone(&slot.id), markers, inner.written))
        });
        let Some((id, markers, decision)) = claimed.flatten() else {
            return;
        };
        let coordinator = Arc::clone(self);
        // On its own: whoever asked may hang up, and the transaction must be completed.
        let completing = tokio::spawn(async move {
            let result = coordinator.write_markers(&id, &markers, decision).await;
            coordinator.with_slot(&id, |slot, inner| {
                inner.completing = false;
                coordinator.completed(slot, inner, &markers, result);
            });
        });
        if let Err(error) = completing.await {
            tracing::error!(transactional_id, %error, "completing a transaction failed");
        }
    }

    async fn write_markers(
        &self,
        id: &str,
        markers: &Markers,
        decision: Option<Offset>,
    ) -> Result<(), AppendError> {
        self.log.durable(self.log.index_of(id), decision).await?;
        let mut marked = JoinSet::new();
        let mut failed = None;
        for partition in &markers.partitions {
            match self.mark(partition, markers.producer, markers.result) {
                Ok(Some((partition, marker))) => {
                    marked.spawn(async move { partition.durable(marker).await });
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        for durable in marked.join_all().await {
            durable?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Appends the marker to one partition; `None` when that is gone.
    fn mark(
        &self,
        (topic, index): &TopicPartition,
        producer: Producer,
        result: TransactionResult,
    ) -> Result<Option<Marked>, AppendError> {
        let found = self.topics.get(topic);
        let Some(partition) = found.and_then(|topic| topic.partition(PartitionIndex(*index)))
        else {
            return Ok(None);
        };
        let (id, epoch) = (producer.id, producer.epoch);
        let marker = if topic == OFFSETS_TOPIC {
            self.groups.end_transaction(*index, (id, epoch), result)?
        } else {
            let now_ms = self.clock.now_ms();
            partition
                .append_marker(id, epoch, result, now_ms)?
                .last_offset
        };
        Ok(Some((partition, marker)))
    }

    /// Records that the markers are on disk, or has it tried again.
    fn completed(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        markers: &Markers,
        result: Result<(), AppendError>,
    ) {
        // While it was completing nothing else could change it.
        assert!(
            inner.transaction.markers().as_ref() == Some(markers),
            "transaction of {} changed while it was completed",
            slot.id
        );
        let now_ms = self.clock.now_ms();
        match result {
            Ok(()) => {
                let record = inner.transaction.handle_markers_written(now_ms);
                let reply = Ok(());
                let _written = self.settle(slot, inner, Effects { record, reply }, now_ms);
            }
            Err(error) => {
                tracing::warn!(transactional_id = %slot.id, %error,
                    "transaction is not complete: a partition did not take its marker");
            }
        }
        if inner.transaction.markers().is_some() {
            self.schedule_at(&slot.id, inner, now_ms.saturating_add(RETRY_MS));
        }
    }

    /// Completes what a crash interrupted. Blocks on disk.
    pub(super) fn complete_after_start(&self) {
        let slots = self.slots();
        let decided: Vec<_> = slots
            .iter()
            .filter_map(|slot| Some((slot, slot.inner.lock().transaction.markers()?)))
            .collect();
        if decided.is_empty() {
            return;
        }
        // The decisions may be in the page cache only, as may markers.
        self.log.sync();
        for (slot, markers) in decided {
            let mut result = Ok(());
            for partition in &markers.partitions {
                let marked = self.mark(partition, markers.producer, markers.result);
                match marked {
                    Ok(Some((partition, _))) => {
                        partition.sync_now();
                        if let Some(reason) = partition.offline_reason() {
                            result = Err(AppendError::Offline(reason.to_owned()));
                        }
                    }
                    Ok(None) => {}
                    Err(error) => result = Err(error),
                }
            }
            self.completed(slot, &mut slot.inner.lock(), &markers, result);
        }
    }

    /// Aborts, in partitions, what no transactional id has open. No order of events leads there
    /// while `__transaction_state` keeps what was synced; should it lose that, consumers must not
    /// wait for ever. Their producers are fenced. Blocks on disk.
    pub(super) fn abort_orphans(&self) {
        let mut open: HashMap<ProducerId, BTreeSet<TopicPartition>> = HashMap::new();
        for slot in self.slots() {
            if let Some(metadata) = slot.inner.lock().transaction.metadata() {
                open.insert(metadata.producer_id, metadata.partitions.clone());
            }
        }
        for topic in self.topics.list() {
            for partition in topic.partitions().iter() {
                let place = (topic.name.to_string(), partition.index().0);
                for (id, epoch) in partition.open_transactions() {
                    if open.get(&id).is_some_and(|open| open.contains(&place)) {
                        continue;
                    }
                    tracing::warn!(topic = %topic.name, partition = place.1, producer_id = id.0,
                        "aborting a transaction that no transactional id has open");
                    let producer = Producer {
                        id,
                        epoch: ProducerEpoch(epoch.0.saturating_add(1)),
                    };
                    if let Err(error) = self.mark(&place, producer, TransactionResult::Abort) {
                        tracing::error!(topic = %topic.name, partition = place.1, %error,
                            "transaction cannot be aborted");
                    }
                }
            }
        }
    }
}
