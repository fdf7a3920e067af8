//! A partition on a disk that fails: appended, killed, opened again.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::ids::{ProducerEpoch, ProducerId, Sequence, TopicId, TopicName};
use crate::log::Shutdown;
use crate::records::{BatchBuilder, BatchView, Compression};
use crate::storage::simulated::{Fault, SimulatedStorage};

mod advisory;
mod compaction;
mod faults;
mod files;
mod lives;
mod transactions;

const DIRECTORY: &str = "/data/topics/orders-0";

/// A disk, and a partition on it that is opened again and again.
struct Rig {
    disk: SimulatedStorage,
    context: Arc<PartitionContext>,
    topic: Arc<TopicState>,
    unclean_starts: std::cell::Cell<i32>,
}

impl Rig {
    fn new(config: TopicConfig) -> Self {
        let disk = SimulatedStorage::default();
        disk.create_dir(Path::new(DIRECTORY)).unwrap();
        let settings = TopicSettings {
            name: TopicName::new("orders").unwrap(),
            id: TopicId(uuid::Uuid::nil()),
            properties: std::collections::BTreeMap::new(),
            compiled: OnceLock::new(),
        };
        Self {
            context: Self::context(&disk, Durability::GroupFsync),
            disk,
            topic: Arc::new(TopicState {
                settings: ArcSwap::from_pointee(settings),
                config: ArcSwap::from_pointee(config),
            }),
            unclean_starts: std::cell::Cell::new(0),
        }
    }

    /// Without sync threads: tests say when.
    fn context(disk: &SimulatedStorage, durability: Durability) -> Arc<PartitionContext> {
        let storage = Arc::new(disk.clone());
        Arc::new(PartitionContext::new(storage, Arc::default(), durability))
    }

    fn open(&self, shutdown: Shutdown) -> Arc<Partition> {
        if shutdown == Shutdown::Unclean {
            self.unclean_starts.set(self.unclean_starts.get() + 1);
        }
        let start = Start {
            shutdown,
            epoch_floor: LeaderEpoch(self.unclean_starts.get()),
            now_ms: 0,
        };
        let index = PartitionIndex(0);
        Partition::open(
            &self.context,
            &self.topic,
            index,
            PathBuf::from(DIRECTORY),
            start,
        )
    }

    /// As a start after `kill -9`: what the page cache holds is there.
    fn reopen(&self) -> Arc<Partition> {
        self.open(Shutdown::Unclean)
    }

    /// Keeps house, as for one partition or for so many that the file system is synced as a whole.
    fn keep_house(&self, partition: &Arc<Partition>, together: bool) {
        let (partitions, directory) = ([Arc::clone(partition)], Path::new(DIRECTORY));
        self.many(together)
            .keep_house(&partitions, directory, 0, &|| false);
    }

    /// The orderly stop, likewise.
    fn stop(&self, partition: &Arc<Partition>, together: bool) -> Result<(), String> {
        let (partitions, directory) = ([Arc::clone(partition)], Path::new(DIRECTORY));
        self.many(together).close(&partitions, directory)
    }

    fn many(&self, together: bool) -> PartitionContext {
        let storage = Arc::new(self.disk.clone());
        PartitionContext {
            together_from: if together { 0 } else { usize::MAX },
            ..PartitionContext::new(storage, Arc::default(), Durability::GroupFsync)
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(DIRECTORY).join(name)
    }
}

fn batch(count: i32, value: &[u8]) -> Vec<u8> {
    batch_at(count, value, 0)
}

fn batch_at(count: i32, value: &[u8], timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None, timestamp);
    for at in 0..count {
        builder.append(timestamp + i64::from(at), None, Some(value), &[]);
    }
    builder.build()
}

fn sequenced(first: i32, count: i32) -> Vec<u8> {
    let id = (ProducerId(7), ProducerEpoch(0), Sequence(first));
    let mut builder = BatchBuilder::new(Compression::None, 0).producer(id.0, id.1, id.2);
    for _ in 0..count {
        builder.append(0, None, Some(b"v"), &[]);
    }
    builder.build()
}

fn append(partition: &Partition, batch: &[u8]) -> Result<Appended, AppendError> {
    append_at(partition, batch, 0)
}

fn append_at(partition: &Partition, batch: &[u8], now_ms: i64) -> Result<Appended, AppendError> {
    let header = BatchHeader::parse(batch).unwrap();
    partition.append(BytesMut::from(batch), &header, now_ms, &|| true)
}

fn request(from: i64) -> ReadRequest {
    ReadRequest {
        from: Offset(from),
        max_bytes: 1 << 20,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
    }
}

/// Reads the whole log batch by batch, checks that it is whole and contiguous, answers its end.
fn check_whole(partition: &Partition) -> i64 {
    let offsets = partition.offsets();
    let mut next = offsets.log_start.0;
    while next < offsets.log_end.0 {
        let read = partition.read(&request(next)).unwrap();
        assert!(!read.batches.is_empty(), "nothing at {next}");
        for bytes in &read.batches {
            let (view, rest) = BatchView::parse(bytes).unwrap();
            assert_eq!(rest, b"");
            view.verify_crc().unwrap();
            if view.header.base_offset.0 > offsets.log_start.0 {
                assert_eq!(view.header.base_offset.0, next);
            }
            next = view.header.last_offset().0 + 1;
        }
    }
    assert_eq!(next, offsets.log_end.0);
    next
}

fn small_segments() -> TopicConfig {
    TopicConfig {
        segment_bytes: 1000,
        index_interval_bytes: 200,
        ..TopicConfig::default()
    }
}

#[test]
fn what_is_appended_is_read_from_memory_and_from_disk() {
    let rig = Rig::new(small_segments());
    let partition = rig.open(Shutdown::Clean);
    for count in 1..40 {
        let appended = append(&partition, &batch(count, b"value")).unwrap();
        assert_eq!(
            appended.base_offset.0,
            i64::from(count) * i64::from(count - 1) / 2
        );
    }
    assert_eq!(check_whole(&partition), 780);
    partition.state.lock().tail.shrink(0);
    assert_eq!(check_whole(&partition), 780);
    for from in [0, 1, 5, 400, 779] {
        let read = partition.read(&request(from)).unwrap();
        let first = BatchHeader::parse(&read.batches[0]).unwrap();
        let holds = first.base_offset.0..=first.last_offset().0;
        assert!(holds.contains(&from), "{from} is not in {holds:?}");
    }
    assert_eq!(partition.read(&request(780)).unwrap().batches.len(), 0);
    for outside in [-1, 781] {
        assert!(matches!(
            partition.read(&request(outside)),
            Err(ReadError::OutOfRange { .. })
        ));
    }
}

#[test]
fn reads_are_limited_to_whole_batches() {
    let rig = Rig::new(TopicConfig::default());
    let partition = rig.open(Shutdown::Clean);
    let one = batch(1, b"value");
    for _ in 0..5 {
        append(&partition, &one).unwrap();
    }
    for in_memory in [true, false] {
        if !in_memory {
            partition.state.lock().tail.shrink(0);
        }
        for (max_bytes, at_least_one, expected) in [
            (one.len() * 3 - 1, true, 2),
            (one.len() * 3, false, 3),
            (1, true, 1),
            (1, false, 0),
        ] {
            let read = partition.read(&ReadRequest {
                max_bytes,
                at_least_one,
                ..request(0)
            });
            let read = read.unwrap();
            assert_eq!(
                read.batches.len(),
                expected,
                "{max_bytes} {at_least_one} {in_memory}"
            );
            assert_eq!(read.bytes, expected * one.len());
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_the_epoch_bumped() {
    for (torn, expected_end) in [(1, 2), (60, 2), (61, 2), (70, 2), (0, 4)] {
        let rig = Rig::new(TopicConfig::default());
        let partition = rig.open(Shutdown::Clean);
        append(&partition, &batch(2, b"a")).unwrap();
        append(&partition, &batch(2, b"b")).unwrap();
        drop(partition);
        let path = rig.file("00000000000000000000.log");
        if torn > 0 {
            let file = rig.disk.open(&path).unwrap();
            file.truncate(file.len().unwrap() - torn).unwrap();
        }
        let partition = rig.reopen();
        assert_eq!(check_whole(&partition), expected_end, "{torn} bytes torn");
        assert_eq!(partition.offsets().leader_epoch, LeaderEpoch(1));
        let appended = append(&partition, &batch(1, b"c")).unwrap();
        assert_eq!(appended.base_offset.0, expected_end);
        let end = |epoch| partition.end_offset_for_epoch(LeaderEpoch(epoch));
        assert_eq!(end(0), Some((LeaderEpoch(0), Offset(expected_end))));
        assert_eq!(end(1), Some((LeaderEpoch(1), Offset(expected_end + 1))));
        assert_eq!(end(2), None);
    }
}

#[test]
fn every_flipped_byte_cuts_there_and_nowhere_else() {
    let batches = [batch(1, b"one"), batch(2, b"two"), batch(1, b"three")];
    let total: usize = batches.iter().map(Vec::len).sum();
    for flip in (0..total).step_by(3) {
        let rig = Rig::new(TopicConfig::default());
        let partition = rig.open(Shutdown::Clean);
        let mut ends = Vec::new();
        for batch in &batches {
            append(&partition, batch).unwrap();
            ends.push((partition.size_bytes(), partition.offsets().log_end.0));
        }
        drop(partition);
        let path = rig.file("00000000000000000000.log");
        let byte = rig.disk.contents(&path).unwrap()[flip] ^ 0x40;
        let file = rig.disk.open(&path).unwrap();
        file.write_at(&[byte], u64::try_from(flip).unwrap())
            .unwrap();
        let found = check_whole(&rig.reopen());
        let kept = ends
            .iter()
            .rfind(|(size, _)| *size <= u64::try_from(flip).unwrap());
        // The leader epoch is the one field that neither the CRC nor its neighbours vouch for.
        let in_batch = u64::try_from(flip).unwrap() - kept.map_or(0, |(size, _)| *size);
        if !(12..16).contains(&in_batch) {
            assert_eq!(found, kept.map_or(0, |(_, end)| *end), "byte {flip}");
        }
    }
}

#[test]
fn an_orderly_stop_changes_nothing() {
    let rig = Rig::new(small_segments());
    let partition = rig.open(Shutdown::Clean);
    for count in 1..30 {
        append(&partition, &batch(count, b"value")).unwrap();
    }
    let before = (partition.offsets(), partition.size_bytes());
    rig.stop(&partition, false).unwrap();
    assert!(matches!(
        append(&partition, &batch(1, b"v")),
        Err(AppendError::Offline(_))
    ));
    // Even a power loss: everything was synced.
    rig.disk.crash(1);
    let partition = rig.open(Shutdown::Clean);
    assert_eq!((partition.offsets(), partition.size_bytes()), before);
    check_whole(&partition);
}

#[test]
fn indexes_are_rebuilt_when_missing_or_wrong() {
    for damage in ["missing", "garbage", "empty", "cut"] {
        let rig = Rig::new(small_segments());
        let partition = rig.open(Shutdown::Clean);
        for count in 1..40 {
            append(
                &partition,
                &batch_at(count, b"value", i64::from(count) * 1000),
            )
            .unwrap();
        }
        let asked = OffsetQuery::Timestamp(20_000);
        let expected = partition.offset_for(asked).unwrap();
        rig.stop(&partition, false).unwrap();
        for name in rig.disk.list(Path::new(DIRECTORY)).unwrap() {
            let path = rig.file(&name);
            if !(name.ends_with("index")) {
                continue;
            }
            let file = rig.disk.open(&path).unwrap();
            match damage {
                "missing" => rig.disk.remove(&path).unwrap(),
                "garbage" => {
                    file.write_at(&[0xa5; 64], 0).unwrap();
                }
                "empty" => file.truncate(0).unwrap(),
                _ => file
                    .truncate(file.len().unwrap().saturating_sub(5))
                    .unwrap(),
            }
        }
        let partition = rig.open(Shutdown::Clean);
        assert_eq!(check_whole(&partition), 780, "{damage}");
        let found = partition.offset_for(asked).unwrap();
        if damage != "empty" && damage != "cut" {
            assert_eq!(found, expected, "{damage}");
        }
    }
}

#[test]
fn producer_state_survives_restarts() {
    for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
        for keep_snapshots in [true, false] {
            let rig = Rig::new(small_segments());
            let partition = rig.open(Shutdown::Clean);
            for first in 0..40 {
                append(&partition, &sequenced(first * 2, 2)).unwrap();
            }
            if shutdown == Shutdown::Clean {
                rig.stop(&partition, false).unwrap();
            }
            if !keep_snapshots {
                for name in rig.disk.list(Path::new(DIRECTORY)).unwrap() {
                    if name.ends_with(".snapshot") {
                        rig.disk.remove(&rig.file(&name)).unwrap();
                    }
                }
            }
            let partition = rig.open(shutdown);
            let verdict = |first, count| {
                let header = BatchHeader::parse(&sequenced(first, count)).unwrap();
                partition.sequence_verdict(&header, 0)
            };
            let duplicate = SequenceVerdict::Duplicate {
                base_offset: Offset(78),
                last_offset: Offset(79),
                timestamp: -1,
            };
            assert_eq!(verdict(78, 2), duplicate, "{shutdown:?} {keep_snapshots}");
            assert_eq!(verdict(80, 1), SequenceVerdict::Append);
            assert!(matches!(verdict(81, 1), SequenceVerdict::OutOfOrder { .. }));
            assert!(matches!(
                append(&partition, &sequenced(78, 2)),
                Err(AppendError::Duplicate {
                    base_offset: Offset(78),
                    ..
                })
            ));
        }
    }
}

#[test]
fn a_stale_verdict_appends_nothing() {
    let rig = Rig::new(TopicConfig::default());
    let partition = rig.open(Shutdown::Clean);
    let bytes = sequenced(0, 1);
    let header = BatchHeader::parse(&bytes).unwrap();
    let refused = partition.append(BytesMut::from(&bytes[..]), &header, 0, &|| false);
    let given_back = BytesMut::from(&bytes[..]);
    assert_eq!(refused, Err(AppendError::StaleVerdict(given_back)));
    assert_eq!(partition.offsets().log_end, Offset(0));
    assert_eq!(append(&partition, &bytes).unwrap().base_offset, Offset(0));
}

#[test]
fn append_time_is_stamped() {
    let rig = Rig::new(TopicConfig {
        log_append_time: true,
        ..TopicConfig::default()
    });
    let partition = rig.open(Shutdown::Clean);
    let appended = append_at(&partition, &batch_at(2, b"v", 5), 1234).unwrap();
    assert_eq!(appended.log_append_time, 1234);
    let found = partition
        .offset_for(OffsetQuery::Timestamp(6))
        .unwrap()
        .unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(0), 1234));
    check_whole(&partition);
}

#[test]
fn offsets_by_time() {
    let rig = Rig::new(small_segments());
    let partition = rig.open(Shutdown::Clean);
    assert_eq!(partition.offset_for(OffsetQuery::MaxTimestamp), Ok(None));
    // Two records each, at 0, 1; 100, 101; ... and one out of order.
    for at in 0..30 {
        append(&partition, &batch_at(2, b"value", at * 100)).unwrap();
    }
    append(&partition, &batch_at(2, b"late", 5)).unwrap();
    let ask = |query| {
        let found = partition.offset_for(query).unwrap();
        found.map(|found| (found.offset.0, found.timestamp))
    };
    for (query, expected) in [
        (OffsetQuery::Timestamp(-1), Some((0, 0))),
        (OffsetQuery::Timestamp(1), Some((1, 1))),
        (OffsetQuery::Timestamp(2), Some((2, 100))),
        (OffsetQuery::Timestamp(1501), Some((31, 1501))),
        (OffsetQuery::Timestamp(2901), Some((59, 2901))),
        (OffsetQuery::Timestamp(2902), None),
        (OffsetQuery::MaxTimestamp, Some((59, 2901))),
        (OffsetQuery::Earliest, Some((0, -1))),
        (
            OffsetQuery::Latest(Isolation::ReadCommitted),
            Some((62, -1)),
        ),
    ] {
        assert_eq!(ask(query), expected, "{query:?}");
    }
    partition.delete_records(Offset(35)).unwrap();
    assert_eq!(ask(OffsetQuery::Timestamp(0)), Some((35, 1701)));
    assert_eq!(ask(OffsetQuery::Earliest), Some((35, -1)));
}

#[test]
fn deleted_records_stay_deleted() {
    let rig = Rig::new(small_segments());
    let partition = rig.open(Shutdown::Clean);
    for _ in 0..40 {
        append(&partition, &batch(2, b"value")).unwrap();
    }
    assert_eq!(partition.delete_records(Offset(41)), Ok(Offset(41)));
    assert_eq!(
        partition.delete_records(Offset(3)),
        Ok(Offset(41)),
        "never back"
    );
    assert!(partition.delete_records(Offset(81)).is_err());
    assert!(matches!(
        partition.read(&request(40)),
        Err(ReadError::OutOfRange { .. })
    ));
    let read = partition.read(&request(41)).unwrap();
    assert_eq!(
        BatchHeader::parse(&read.batches[0]).unwrap().base_offset,
        Offset(40)
    );
    drop(partition);
    // Nothing was ever synced but the log start: no offset below it may come back.
    rig.disk.crash(3);
    let partition = rig.reopen();
    assert!(partition.offsets().log_start >= Offset(41));
    check_whole(&partition);
    assert_eq!(
        partition.delete_records(Offset(-1)),
        Ok(partition.offsets().log_end)
    );
}

#[test]
fn retention_by_time_and_size() {
    let by_time = TopicConfig {
        retention_ms: 1000,
        ..small_segments()
    };
    let by_size = TopicConfig {
        retention_bytes: 3000,
        ..small_segments()
    };
    let kept = TopicConfig {
        retention_ms: 1000,
        delete_old: false,
        ..small_segments()
    };
    for (case, config, expect) in [
        ("time", by_time, 0..1),
        ("size", by_size, 2000..5000),
        ("compact", kept, 5000..9000),
    ] {
        let rig = Rig::new(config);
        let partition = rig.open(Shutdown::Clean);
        for at in 0..80 {
            append(&partition, &batch_at(1, b"value", 1 + at)).unwrap();
        }
        partition.keep_house(5000);
        assert!(
            expect.contains(&partition.size_bytes()),
            "{case}: {}",
            partition.size_bytes()
        );
        let offsets = partition.offsets();
        assert_eq!(offsets.log_end, Offset(80), "{case}");
        check_whole(&partition);
        drop(partition);
        assert_eq!(
            rig.reopen().offsets().log_start,
            offsets.log_start,
            "{case}"
        );
    }
}

#[test]
fn segments_roll_by_size_and_time() {
    let rig = Rig::new(TopicConfig {
        segment_ms: 1000,
        ..small_segments()
    });
    let partition = rig.open(Shutdown::Clean);
    let segments = || {
        let names = rig.disk.list(Path::new(DIRECTORY)).unwrap();
        names.iter().filter(|name| name.ends_with(".log")).count()
    };
    append_at(&partition, &batch(1, &[7; 400]), 0).unwrap();
    append_at(&partition, &batch(1, &[7; 400]), 999).unwrap();
    assert_eq!(segments(), 1);
    append_at(&partition, &batch(1, &[7; 400]), 999).unwrap();
    assert_eq!(segments(), 2, "by size");
    append_at(&partition, &batch(1, b"v"), 1999).unwrap();
    assert_eq!(segments(), 3, "by time at an append");
    partition.keep_house(9999);
    assert_eq!(segments(), 4, "by time without one");
    let too_large = append(&partition, &batch(1, &[7; 1000])).unwrap_err();
    assert_eq!(too_large.code(), ErrorCode::RECORD_LIST_TOO_LARGE);
    check_whole(&partition);
}

#[tokio::test]
async fn a_failed_sync_takes_the_partition_offline_for_good() {
    let rig = Rig::new(TopicConfig::default());
    let partition = rig.open(Shutdown::Clean);
    let appended = append(&partition, &batch(1, b"v")).unwrap();
    rig.disk.inject(Fault::SyncError);
    let mut readable = partition.readable();
    readable.mark_unchanged();
    partition.sync_now();
    let refused = partition.durable(appended.last_offset).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(
        readable.has_changed().ok(),
        Some(true),
        "waiting consumers are woken"
    );
    partition.sync_now();
    assert!(matches!(
        append(&partition, &batch(1, b"v")),
        Err(AppendError::Offline(_))
    ));
    assert!(matches!(
        partition.read(&request(0)),
        Err(ReadError::Offline(_))
    ));
    for together in [true, false] {
        assert!(rig.stop(&partition, together).is_err());
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    for fault in [Fault::DiskFull, Fault::WriteError, Fault::ShortWrite] {
        let rig = Rig::new(TopicConfig::default());
        let partition = rig.open(Shutdown::Clean);
        append(&partition, &sequenced(0, 1)).unwrap();
        rig.disk.inject(fault);
        let second = append(&partition, &sequenced(1, 1));
        if fault == Fault::ShortWrite {
            second.unwrap();
        } else {
            assert_eq!(second.unwrap_err().code(), ErrorCode::KAFKA_STORAGE_ERROR);
            // The producer tries again: its sequence was not taken.
            append(&partition, &sequenced(1, 1)).unwrap();
        }
        drop(partition);
        assert_eq!(check_whole(&rig.reopen()), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn durable_waits_for_the_group_commit() {
    let rig = Rig::new(TopicConfig::default());
    let syncer = Syncer::start().unwrap();
    let context = Arc::new(PartitionContext::new(
        Arc::new(rig.disk.clone()),
        Arc::clone(&syncer),
        Durability::GroupFsync,
    ));
    let directory = PathBuf::from(DIRECTORY);
    let partition = Partition::open(
        &context,
        &rig.topic,
        PartitionIndex(0),
        directory,
        Start {
            shutdown: Shutdown::Clean,
            epoch_floor: LeaderEpoch(0),
            now_ms: 0,
        },
    );
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let appended = append(&partition, &batch(1, b"v")).unwrap();
        let partition = Arc::clone(&partition);
        waiting.push(tokio::spawn(async move {
            partition.durable(appended.last_offset).await
        }));
    }
    for done in waiting {
        done.await.unwrap().unwrap();
    }
    syncer.stop();
    drop(partition);
    rig.disk.crash(9);
    assert_eq!(check_whole(&rig.reopen()), 50);
}
