//! Transactions in one partition: what a read-committed consumer sees, through any restart.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::records::{DecompressionScratch, marker_of};

fn read_committed(from: i64) -> ReadRequest {
    ReadRequest {
        isolation: Isolation::ReadCommitted,
        ..request(from)
    }
}

fn transactional(producer: i64, epoch: i16, first: i32, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None, 0)
        .producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(first))
        .transactional();
    builder.append(0, None, Some(value), &[]);
    builder.build()
}

fn end(partition: &Partition, producer: i64, epoch: i16, result: TransactionResult) -> Appended {
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(epoch));
    partition.append_marker(id, epoch, result, 0).unwrap()
}

/// Reads from `from` to the last stable offset and drops what every client drops: control batches,
/// and the batches of transactions that the answers call aborted.
fn consume(partition: &Partition, from: i64) -> Vec<(i64, Vec<u8>)> {
    let mut scratch = DecompressionScratch::default();
    let mut seen = Vec::new();
    let mut next = from;
    loop {
        let small = ReadRequest {
            max_bytes: 300,
            ..read_committed(next)
        };
        let read = partition.read(&small).unwrap();
        if read.batches.is_empty() {
            assert_eq!(next, read.offsets.last_stable.0, "stuck at {next}");
            return seen;
        }
        let mut aborted = read.aborted.clone();
        assert!(aborted.is_sorted_by_key(|aborted| aborted.first_offset));
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
                continue;
            }
            if header.is_transactional() && dropping.contains(&header.producer_id) {
                continue;
            }
            for (record, offset) in batch
                .records(&mut scratch)
                .unwrap()
                .zip(header.base_offset.0..)
            {
                if offset >= from {
                    seen.push((offset, record.unwrap().value.unwrap().to_vec()));
                }
            }
        }
    }
}

#[test]
fn a_read_committed_consumer_stops_at_the_first_open_transaction() {
    let rig = Rig::new(TopicConfig::default());
    let partition = rig.open(Shutdown::Clean);
    append(&partition, &batch(2, b"plain")).unwrap();
    append(&partition, &transactional(1, 0, 0, b"one")).unwrap();
    append(&partition, &transactional(2, 0, 0, b"two")).unwrap();
    append(&partition, &batch(1, b"plain")).unwrap();
    let last_stable = || partition.offsets().last_stable.0;
    assert_eq!(last_stable(), 2);
    for in_memory in [true, false] {
        if !in_memory {
            partition.state.lock().tail.shrink(0);
        }
        let read = partition.read(&read_committed(0)).unwrap();
        assert_eq!((read.batches.len(), read.aborted.len()), (1, 0));
        assert!(
            partition
                .read(&read_committed(3))
                .unwrap()
                .batches
                .is_empty()
        );
        assert_eq!(partition.read(&request(0)).unwrap().batches.len(), 4);
    }
    let latest = |isolation| {
        let found = partition.offset_for(OffsetQuery::Latest(isolation));
        found.unwrap().unwrap().offset.0
    };
    assert_eq!(latest(Isolation::ReadCommitted), 2);
    assert_eq!(latest(Isolation::ReadUncommitted), 5);

    end(&partition, 2, 1, TransactionResult::Abort);
    assert_eq!(last_stable(), 2, "the older one is still open");
    end(&partition, 1, 1, TransactionResult::Commit);
    assert_eq!(last_stable(), 7);
    let values: Vec<_> = consume(&partition, 0)
        .into_iter()
        .map(|seen| seen.0)
        .collect();
    assert_eq!(values, [0, 1, 2, 4]);
    let uncommitted = partition.read(&request(0)).unwrap();
    assert_eq!(uncommitted.aborted.len(), 0);

    let refused = append(&partition, &transactional(1, 0, 1, b"late"));
    assert!(
        matches!(
            refused,
            Err(AppendError::Refused {
                code: ErrorCode::INVALID_PRODUCER_EPOCH,
                ..
            })
        ),
        "{refused:?}"
    );
    append(&partition, &transactional(1, 1, 0, b"next")).unwrap();
    let mut plain = BatchBuilder::new(Compression::None, 0).producer(
        ProducerId(1),
        ProducerEpoch(1),
        Sequence(1),
    );
    plain.append(0, None, Some(b"v"), &[]);
    let refused = append(&partition, &plain.build());
    assert!(
        matches!(
            refused,
            Err(AppendError::Refused {
                code: ErrorCode::INVALID_TXN_STATE,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn the_last_stable_offset_is_never_below_the_log_start() {
    let rig = Rig::new(TopicConfig::default());
    let partition = rig.open(Shutdown::Clean);
    append(&partition, &transactional(1, 0, 0, b"one")).unwrap();
    append(&partition, &batch(5, b"plain")).unwrap();
    partition.delete_records(Offset(4)).unwrap();
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start.0, offsets.last_stable.0), (4, 4));
    end(&partition, 1, 1, TransactionResult::Abort);
    assert_eq!(partition.offsets().last_stable.0, 7);
    assert_eq!(consume(&partition, 4).len(), 2);
}

/// What happens to the files between two lives of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Close,
    Kill,
    LoseTransactionIndexes,
    ShortenTransactionIndexes,
    LoseSnapshots,
    LoseBothAfterKill,
}

impl Between {
    fn pass(self, rig: &Rig, partition: Arc<Partition>) -> Arc<Partition> {
        let clean = matches!(
            self,
            Self::Close | Self::LoseTransactionIndexes | Self::ShortenTransactionIndexes
        );
        if clean || self == Self::LoseSnapshots {
            rig.stop(&partition, false).unwrap();
        }
        drop(partition);
        for name in rig.disk.list(Path::new(DIRECTORY)).unwrap() {
            let path = rig.file(&name);
            let extension = path.extension().map_or("", |found| found.to_str().unwrap());
            match (self, extension) {
                (Self::LoseTransactionIndexes | Self::LoseBothAfterKill, "txnindex")
                | (Self::LoseSnapshots | Self::LoseBothAfterKill, "snapshot") => {
                    rig.disk.remove(&path).unwrap();
                }
                (Self::ShortenTransactionIndexes, "txnindex") => {
                    rig.disk.open(&path).unwrap().truncate(33).unwrap();
                }
                _ => {}
            }
        }
        rig.open(if clean || self == Self::LoseSnapshots {
            Shutdown::Clean
        } else {
            Shutdown::Unclean
        })
    }
}

/// Producers open, commit and abort transactions while the partition is closed, killed and robbed
/// of its advisory files: the consumer sees what was committed, and nothing else.
#[test]
fn exactly_the_committed_is_seen_through_any_restart() {
    const ALL: [Between; 6] = [
        Between::Close,
        Between::Kill,
        Between::LoseTransactionIndexes,
        Between::ShortenTransactionIndexes,
        Between::LoseSnapshots,
        Between::LoseBothAfterKill,
    ];
    for seed in 1..=60_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = move |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let rig = Rig::new(small_segments());
        let mut partition = rig.open(Shutdown::Clean);
        let mut expected: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        // Per producer: epoch, next sequence, offsets and values of the open transaction.
        let mut producers = vec![(0_i16, 0_i32, Vec::<(i64, Vec<u8>)>::new()); 4];
        for step in 0..250_u32 {
            let who = below(4);
            let index = usize::try_from(who).unwrap();
            let id = i64::try_from(who).unwrap();
            let (epoch, sequence, open) = &mut producers[index];
            match below(20) {
                0..=10 => {
                    let value = format!("{step}").into_bytes();
                    let sent = transactional(id, *epoch, *sequence, &value);
                    let appended = append(&partition, &sent).unwrap();
                    *sequence += 1;
                    open.push((appended.base_offset.0, value));
                }
                11..=13 => {
                    let value = format!("plain {step}").into_bytes();
                    let appended = append(&partition, &batch(1, &value)).unwrap();
                    expected.insert(appended.base_offset.0, value);
                }
                14..=16 => {
                    *epoch += 1;
                    *sequence = 0;
                    end(&partition, id, *epoch, TransactionResult::Commit);
                    expected.extend(open.drain(..));
                }
                17 | 18 => {
                    // As of a client before KIP-890: the epoch stays.
                    end(&partition, id, *epoch, TransactionResult::Abort);
                    open.clear();
                }
                _ => {
                    if below(2) == 0 {
                        partition.keep_house(0);
                    }
                    let between = ALL[usize::try_from(below(6)).unwrap()];
                    partition = between.pass(&rig, partition);
                }
            }
            if step % 10 != 0 {
                continue;
            }
            let first_open = producers.iter().filter_map(|(_, _, open)| open.first());
            let first_open = first_open.map(|(offset, _)| *offset).min();
            let offsets = partition.offsets();
            let stable = first_open.unwrap_or(offsets.log_end.0);
            assert_eq!(offsets.last_stable.0, stable, "seed {seed} step {step}");
            let from = i64::try_from(below(u64::try_from(stable).unwrap() + 1)).unwrap();
            let wanted = expected.range(from..stable);
            let wanted: Vec<_> = wanted.map(|(at, value)| (*at, value.clone())).collect();
            assert_eq!(
                consume(&partition, from),
                wanted,
                "seed {seed} step {step} from {from}"
            );
        }
    }
}

/// As above with keys, in a compacted partition: an aborted record outdoes no committed one, and the
/// last committed record of every key stays.
#[test]
fn compaction_keeps_the_last_committed_record_of_each_key() {
    const ALL: [Between; 6] = [
        Between::Close,
        Between::Kill,
        Between::LoseTransactionIndexes,
        Between::ShortenTransactionIndexes,
        Between::LoseSnapshots,
        Between::LoseBothAfterKill,
    ];
    let config = TopicConfig {
        compacted: true,
        delete_old: false,
        min_cleanable_dirty_ratio: 0.0,
        ..small_segments()
    };
    let mut shrunk = 0;
    for seed in 1..=40_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = move |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let rig = Rig::new(config.clone());
        let mut partition = rig.open(Shutdown::Clean);
        // Key to offset and value of its last committed record.
        let mut expected: BTreeMap<u8, (i64, Vec<u8>)> = BTreeMap::new();
        let mut producers = vec![(0_i16, 0_i32, Vec::<(u8, i64, Vec<u8>)>::new()); 3];
        for step in 0..250_u32 {
            let who = below(3);
            let index = usize::try_from(who).unwrap();
            let id = i64::try_from(who).unwrap();
            let (epoch, sequence, open) = &mut producers[index];
            match below(20) {
                0..=11 => {
                    let key = u8::try_from(below(6)).unwrap();
                    let value = format!("{key} {step}").into_bytes();
                    let mut builder = BatchBuilder::new(Compression::None, 0)
                        .producer(ProducerId(id), ProducerEpoch(*epoch), Sequence(*sequence))
                        .transactional();
                    builder.append(0, Some(&[key]), Some(&value), &[]);
                    let appended = append(&partition, &builder.build()).unwrap();
                    *sequence += 1;
                    open.push((key, appended.base_offset.0, value));
                }
                12..=14 => {
                    *epoch += 1;
                    *sequence = 0;
                    end(&partition, id, *epoch, TransactionResult::Commit);
                    for (key, offset, value) in open.drain(..) {
                        let last = expected.entry(key).or_insert((-1, Vec::new()));
                        if last.0 < offset {
                            *last = (offset, value);
                        }
                    }
                }
                15 | 16 => {
                    end(&partition, id, *epoch, TransactionResult::Abort);
                    open.clear();
                }
                17 | 18 => {
                    partition.sync_now();
                    let before = partition.size_bytes();
                    partition.compact(0, &|| false);
                    shrunk += u32::from(partition.size_bytes() < before);
                }
                _ => {
                    let between = ALL[usize::try_from(below(6)).unwrap()];
                    partition = between.pass(&rig, partition);
                }
            }
        }
        for (id, (epoch, _, _)) in (0_i64..).zip(&producers) {
            end(&partition, id, epoch + 1, TransactionResult::Abort);
        }
        partition.state.lock().tail.shrink(0);
        let seen = consume(&partition, 0);
        let last: BTreeMap<u8, (i64, Vec<u8>)> = seen
            .into_iter()
            .map(|(offset, value)| (value[0] - b'0', (offset, value)))
            .collect();
        assert_eq!(last, expected, "seed {seed}");
    }
    assert!(
        shrunk > 100,
        "compaction had something to do {shrunk} times"
    );
}
