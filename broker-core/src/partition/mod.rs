//! One partition: append, group commit, fetch, waiting.
//!
//! A short lock guards the log and its tail; it is held over a page-cache write, never over a
//! sync. Knows nothing of requests, groups or schemas. Read [`Partition::append`] first.
//!
//! The high watermark is the log end: a batch is readable as soon as it is appended, whatever the
//! durability. What acks=1 acknowledges must be readable, and a single node has no replica to
//! wait for; so a consumer may see a record that a power loss then takes away, as with any
//! acks=1 record in Kafka. The leader epoch is bumped after such a loss, so that clients notice.
//! Only the answer to acks=all waits, in [`Partition::durable`].

mod compact;
mod files;
mod many;
mod query;
mod sync;
mod tail;
mod types;
mod upkeep;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

pub use crate::log::producer_state::{ProducerDescription, SequenceVerdict};
pub(crate) use sync::Syncer;
pub use types::{
    AbortedTransaction, AppendError, Appended, Isolation, OffsetAtTime, OffsetQuery,
    PartitionOffsets, ReadBatches, ReadError, ReadRequest,
};

use crate::broker::Durability;
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use crate::log::{Log, OpenSegments, Start, TopicConfig, WriteFailure, save_sync_failure};
use crate::records::{
    BatchHeader, TransactionResult, assign_offsets, marker_batch, set_log_append_time,
};
use crate::storage::Storage;
use crate::validation::TopicSettings;
use files::{OpenFiles, Ticket};
use sync::SyncRequest;
use tail::Tail;

/// What an operator must do whose disk took neither the records nor the note that it did not: with the
/// page cache goes what could be misread.
const RESTART_THE_MACHINE: &str = "restart the machine, not the process alone";

/// What all partitions share.
#[derive(Debug)]
pub(crate) struct PartitionContext {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) syncer: Arc<Syncer>,
    pub(crate) durability: Durability,
    open_segments: OpenSegments,
    files: OpenFiles,
    tail_bytes: Arc<AtomicUsize>,
    /// From so many partitions on the file system is synced as a whole.
    together_from: usize,
}

impl PartitionContext {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        syncer: Arc<Syncer>,
        durability: Durability,
    ) -> Self {
        let (active_max, sealed_max) = files::shares();
        Self {
            storage,
            syncer,
            durability,
            open_segments: OpenSegments::new(sealed_max),
            files: OpenFiles::new(active_max),
            tail_bytes: Arc::default(),
            together_from: many::TOGETHER_FROM,
        }
    }
}

/// What all partitions of a topic share; swapped when the topic's configs change.
#[derive(Debug)]
pub(crate) struct TopicState {
    pub(crate) settings: ArcSwap<TopicSettings>,
    pub(crate) config: ArcSwap<TopicConfig>,
}

/// One partition.
#[derive(Debug)]
pub struct Partition {
    index: PartitionIndex,
    topic: Arc<TopicState>,
    context: Arc<PartitionContext>,
    state: Mutex<State>,
    /// Held over a sync, so that two of the same partition do not overlap.
    syncing: Mutex<()>,
    /// Held while files of sealed segments are exchanged or removed, so that compaction and the
    /// log start do not step on each other.
    rearranging: Mutex<()>,
    sync_request: SyncRequest,
    ticket: Ticket,
    /// Somebody wants its file closed once it is synced.
    close_wanted: AtomicBool,
    /// The high watermark.
    readable: watch::Sender<i64>,
    /// Everything below is on disk.
    durable: watch::Sender<i64>,
    /// Set once, for good.
    offline: OnceLock<String>,
    this: Weak<Self>,
}

#[derive(Debug)]
struct State {
    /// `None` when it could not be opened.
    log: Option<Log>,
    tail: Tail,
    unflushed_records: i64,
    appended_since_tick: bool,
}

impl Partition {
    /// Opens or creates the partition in `directory`, which exists. A directory that cannot be
    /// read makes an offline partition, not an error: the others must work.
    pub(crate) fn open(
        context: &Arc<PartitionContext>,
        topic: &Arc<TopicState>,
        index: PartitionIndex,
        directory: PathBuf,
        start: Start,
    ) -> Arc<Self> {
        let config = topic.config.load_full();
        let storage = Arc::clone(&context.storage);
        let shown = directory.display().to_string();
        let opened = Log::open(storage, directory, &config, start);
        let opened = opened.map_err(|error| {
            tracing::error!(directory = %shown, %error, "partition is offline");
            format!("{shown}: {error}")
        });
        Self::over(opened, context, topic, index)
    }

    /// A partition that is not made: for answering what a topic would be.
    pub(crate) fn planned(
        context: &Arc<PartitionContext>,
        topic: &Arc<TopicState>,
        index: PartitionIndex,
    ) -> Arc<Self> {
        let planned = Err("only planned".to_owned());
        Self::over(planned, context, topic, index)
    }

    fn over(
        log: Result<Log, String>,
        context: &Arc<PartitionContext>,
        topic: &Arc<TopicState>,
        index: PartitionIndex,
    ) -> Arc<Self> {
        let (log, offline) = match log {
            Ok(log) => (Some(log), OnceLock::new()),
            Err(reason) => (None, OnceLock::from(reason)),
        };
        let end = log.as_ref().map_or(0, |log| log.log_end().0);
        // What was read back after a kill may be in the page cache only.
        let durable = log.as_ref().map_or(0, |log| log.recovery_point().0);
        Arc::new_cyclic(|this| Self {
            index,
            topic: Arc::clone(topic),
            context: Arc::clone(context),
            state: Mutex::new(State {
                log,
                tail: Tail::new(Arc::clone(&context.tail_bytes)),
                unflushed_records: 0,
                appended_since_tick: false,
            }),
            syncing: Mutex::new(()),
            rearranging: Mutex::new(()),
            sync_request: SyncRequest::default(),
            ticket: Ticket::default(),
            close_wanted: AtomicBool::new(false),
            readable: watch::Sender::new(end),
            durable: watch::Sender::new(durable),
            offline,
            this: this.clone(),
        })
    }

    /// Its index in the topic.
    #[must_use]
    pub fn index(&self) -> PartitionIndex {
        self.index
    }

    /// The topic's settings in force, for the validator.
    #[must_use]
    pub fn settings(&self) -> Arc<TopicSettings> {
        self.topic.settings.load_full()
    }

    /// The offsets now.
    #[must_use]
    pub fn offsets(&self) -> PartitionOffsets {
        self.state.lock().offsets()
    }

    /// Why it cannot be used, if so.
    #[must_use]
    pub fn offline_reason(&self) -> Option<&str> {
        self.offline.get().map(String::as_str)
    }

    /// Whether the batch may be appended as far as its producer goes. Short lock; changes nothing.
    #[must_use]
    pub fn sequence_verdict(&self, header: &BatchHeader, now_ms: i64) -> SequenceVerdict {
        let state = self.state.lock();
        state.log.as_ref().map_or(SequenceVerdict::Append, |log| {
            log.producers().verdict(header, now_ms)
        })
    }

    /// Waits until the partition may have its file open, which [`Self::append`] needs.
    pub async fn make_room(&self) {
        if !self.ticket.is_set() {
            self.context.files.room().await;
        }
    }

    /// Closes the file, after a sync if need be.
    fn let_go_of_file(&self) {
        // Whoever holds the lock may wait for this very thread's.
        if let Some(mut state) = self.state.try_lock()
            && self.close_if_synced(&mut state)
        {
            return;
        }
        self.close_wanted.store(true, Ordering::Release);
        self.context.syncer.request(self);
    }

    fn close_if_synced(&self, state: &mut State) -> bool {
        let closed = state.log.as_mut().is_none_or(Log::close_idle_file);
        if closed {
            self.context.files.closed(&self.ticket);
        }
        closed
    }

    /// Appends a checked batch: under the partition's lock the sequence is judged again and
    /// `still_holds` asked, then offsets and epoch are written into the batch, it goes to the page
    /// cache, and whoever waits for it may read. Never syncs.
    ///
    /// `batch` is one whole batch, `header` its header.
    ///
    /// # Errors
    /// See [`AppendError`]; the log is then as before.
    pub fn append(
        &self,
        batch: BytesMut,
        header: &BatchHeader,
        now_ms: i64,
        still_holds: &dyn Fn() -> bool,
    ) -> Result<Appended, AppendError> {
        let config = self.topic.config.load();
        if header.size() != batch.len() || header.last_offset_delta < 0 {
            return Err(AppendError::Refused {
                code: ErrorCode::CORRUPT_MESSAGE,
                text: format!("{} bytes are not the batch of their header", batch.len()),
            });
        }
        if i64::try_from(batch.len()).map_or(true, |size| size > i64::from(config.segment_bytes)) {
            return Err(AppendError::Refused {
                code: ErrorCode::RECORD_LIST_TOO_LARGE,
                text: format!(
                    "batch of {} bytes is larger than segment.bytes {}",
                    batch.len(),
                    config.segment_bytes
                ),
            });
        }
        let state = self.state.lock();
        self.check_online().map_err(AppendError::Offline)?;
        let Some(log) = &state.log else {
            return Err(AppendError::Offline("not opened".to_owned()));
        };
        sequence_check(log.producers().verdict(header, now_ms))?;
        if !still_holds() {
            drop(state);
            return Err(AppendError::StaleVerdict(batch));
        }
        self.write(state, batch, header, now_ms)
    }

    /// Appends the marker that ends a producer's transaction here, and fences its older epochs. A
    /// second marker for the same transaction does no harm. Never syncs.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when it could not be written, [`AppendError::Offline`].
    pub fn append_marker(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        result: TransactionResult,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let batch = marker_batch(producer_id, epoch, result, now_ms);
        let header = BatchHeader::parse(&batch).map_err(|error| AppendError::Refused {
            code: ErrorCode::UNKNOWN_SERVER_ERROR,
            text: error.to_string(),
        })?;
        let state = self.state.lock();
        self.check_online().map_err(AppendError::Offline)?;
        self.write(state, BytesMut::from(&batch[..]), &header, now_ms)
    }

    /// Producers with an open transaction here, and their epochs.
    #[must_use]
    pub fn open_transactions(&self) -> Vec<(ProducerId, ProducerEpoch)> {
        let state = self.state.lock();
        let log = state.log.as_ref();
        log.map_or_else(Vec::new, |log| log.producers().open_transactions())
    }

    /// All producers remembered, by id.
    #[must_use]
    pub fn producers(&self) -> Vec<ProducerDescription> {
        let state = self.state.lock();
        let log = state.log.as_ref();
        log.map_or_else(Vec::new, |log| log.producers().describe())
    }

    /// Gives a batch its offsets and writes it.
    fn write(
        &self,
        mut state: MutexGuard<'_, State>,
        mut batch: BytesMut,
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let config = self.topic.config.load();
        let State {
            log: Some(log),
            tail,
            unflushed_records,
            appended_since_tick,
        } = &mut *state
        else {
            return Err(AppendError::Offline("not opened".to_owned()));
        };
        let mut header = *header;
        header.base_offset = log.log_end();
        header.leader_epoch = log.leader_epoch();
        let log_append_time = if config.log_append_time {
            set_log_append_time(&mut batch, now_ms);
            now_ms
        } else {
            -1
        };
        assign_offsets(&mut batch, header.base_offset, header.leader_epoch);
        if config.log_append_time {
            // Index and producer state take the stamped time.
            header = BatchHeader::parse(&batch).unwrap_or(header);
        }
        let written = log.append(&batch, &header, &config, now_ms);
        if log.has_open_file() {
            self.context.files.opened(self);
        }
        if let Err(failure) = written {
            drop(state);
            return Err(self.write_failed(failure));
        }
        let last_offset = header.last_offset();
        tail.push(header.base_offset, last_offset, batch);
        *appended_since_tick = true;
        *unflushed_records += i64::from(header.last_offset_delta) + 1;
        let flush = *unflushed_records >= config.flush_messages;
        if flush {
            *unflushed_records = 0;
        }
        let log_start = log.log_start();
        drop(state);
        raise(&self.readable, last_offset.0.saturating_add(1));
        if flush {
            self.context.syncer.request(self);
        }
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset,
            log_append_time,
            log_start,
        })
    }

    fn write_failed(&self, failure: WriteFailure) -> AppendError {
        match failure {
            WriteFailure::Refused(error) => {
                tracing::error!(partition = %self.shown(), %error, "append failed");
                AppendError::Refused {
                    code: ErrorCode::KAFKA_STORAGE_ERROR,
                    text: format!("the batch could not be written: {error}"),
                }
            }
            WriteFailure::Broken(error) => {
                let reason = format!("write failed and could not be undone: {error}");
                self.fail(&reason);
                AppendError::Offline(reason)
            }
        }
    }

    /// Waits until everything up to and including `last` is durable (group commit; at once when
    /// durability is `os`).
    ///
    /// # Errors
    /// [`AppendError::Offline`] when the sync failed: what was appended may be lost.
    pub async fn durable(&self, last: Offset) -> Result<(), AppendError> {
        if self.context.durability == Durability::GroupFsync {
            let last = last.0.min(self.offsets().log_end.0.saturating_sub(1));
            let mut durable = self.durable.subscribe();
            while *durable.borrow_and_update() <= last {
                self.check_online().map_err(AppendError::Offline)?;
                self.context.syncer.request(self);
                if durable.changed().await.is_err() {
                    break;
                }
            }
        }
        self.check_online().map_err(AppendError::Offline)
    }

    /// Syncs everything appended so far. Blocks on disk.
    pub(crate) fn sync_now(&self) {
        let _one_at_a_time = self.syncing.lock();
        if self.offline.get().is_some() {
            return;
        }
        let Some(unsynced) = self.state.lock().log.as_mut().map(Log::take_unsynced) else {
            return;
        };
        let storage = self.context.storage.as_ref();
        let files = unsynced
            .files
            .iter()
            .try_for_each(|file| file.sync(storage));
        let synced = files.and_then(|()| match &unsynced.directory {
            Some(directory) => storage.sync_dir(directory),
            None => Ok(()),
        });
        match synced {
            Ok(()) => {
                // Closed before it is asked whether there is need to.
                let end = unsynced.end;
                drop(unsynced);
                let mut state = self.state.lock();
                if let Some(log) = state.log.as_mut() {
                    log.synced(end);
                }
                if self.close_wanted.swap(false, Ordering::AcqRel) {
                    self.close_if_synced(&mut state);
                }
                drop(state);
                raise(&self.durable, end.0);
            }
            // The kernel may have dropped the pages' marks: a second sync would succeed and lie.
            Err(error) => match self.note_sync_failure() {
                Ok(()) => self.fail(&format!("sync failed: {error}")),
                Err(unnoted) => self.fail(&format!(
                    "sync failed: {error}, and the next process cannot be told ({unnoted}): \
                     {RESTART_THE_MACHINE}"
                )),
            },
        }
    }

    /// Tells the next process that what it can read may be on no disk.
    fn note_sync_failure(&self) -> io::Result<()> {
        let state = self.state.lock();
        let directory = state.log.as_ref().map(|log| log.directory().to_owned());
        drop(state);
        directory.map_or(Ok(()), |directory| {
            save_sync_failure(self.context.storage.as_ref(), &directory)
        })
    }

    /// Changes value (the high watermark) whenever more becomes readable; also marked changed on
    /// deletion and going offline.
    #[must_use]
    pub fn readable(&self) -> watch::Receiver<i64> {
        self.readable.subscribe()
    }

    /// The end offset of `epoch`, or of the largest epoch below it; `None` when `epoch` is newer
    /// than the partition's (KIP-101, KIP-320).
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state.lock();
        let log = state.log.as_ref()?;
        log.epochs().end_offset(epoch, log.log_end())
    }

    /// Bytes on disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.state.lock().log.as_ref().map_or(0, Log::size_bytes)
    }

    /// Takes the partition offline for good.
    fn fail(&self, reason: &str) {
        if self.offline.set(reason.to_owned()).is_ok() {
            tracing::error!(partition = %self.shown(), reason, "partition is offline");
        }
        self.notify_all();
    }

    fn notify_all(&self) {
        self.readable.send_modify(|_| {});
        self.durable.send_modify(|_| {});
    }

    fn check_online(&self) -> Result<(), String> {
        match self.offline.get() {
            None => Ok(()),
            Some(reason) => Err(reason.clone()),
        }
    }

    fn this(&self) -> Weak<Self> {
        self.this.clone()
    }

    fn shown(&self) -> String {
        format!("{}-{}", self.topic.settings.load().name, self.index)
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.context.files.closed(&self.ticket);
    }
}

impl State {
    fn offsets(&self) -> PartitionOffsets {
        let (log_start, log_end, leader_epoch) = self
            .log
            .as_ref()
            .map_or((Offset(0), Offset(0), LeaderEpoch(0)), |log| {
                (log.log_start(), log.log_end(), log.leader_epoch())
            });
        PartitionOffsets {
            log_start,
            high_watermark: log_end,
            last_stable: self.log.as_ref().map_or(Offset(0), Log::last_stable),
            log_end,
            leader_epoch,
        }
    }
}

fn sequence_check(verdict: SequenceVerdict) -> Result<(), AppendError> {
    match verdict {
        SequenceVerdict::Append => Ok(()),
        SequenceVerdict::Duplicate {
            base_offset,
            last_offset,
            timestamp,
        } => Err(AppendError::Duplicate {
            base_offset,
            last_offset,
            timestamp,
        }),
        SequenceVerdict::OutOfOrder { expected, found } => Err(AppendError::Refused {
            code: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            text: format!("sequence {found} where {expected} is next"),
        }),
        SequenceVerdict::Fenced { current, found } => Err(AppendError::Refused {
            code: ErrorCode::INVALID_PRODUCER_EPOCH,
            text: format!("producer epoch {found} is older than {current}"),
        }),
        SequenceVerdict::InTransaction { first_offset } => Err(AppendError::Refused {
            code: ErrorCode::INVALID_TXN_STATE,
            text: format!("the producer has a transaction open since offset {first_offset}"),
        }),
    }
}

/// Moves a watch forward, never back: appenders may arrive here out of order.
fn raise(watch: &watch::Sender<i64>, to: i64) {
    watch.send_if_modified(|value| {
        let higher = to > *value;
        *value = (*value).max(to);
        higher
    });
}

#[cfg(test)]
mod tests;
