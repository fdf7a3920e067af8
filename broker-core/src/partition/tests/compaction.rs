//! Compaction on a disk that fails: what is read afterwards, and after a crash in the middle.

use std::collections::BTreeMap;

use super::*;
use crate::records::DecompressionScratch;

fn compacted(segment_bytes: i32) -> TopicConfig {
    TopicConfig {
        compacted: true,
        delete_old: false,
        segment_bytes,
        index_interval_bytes: 100,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 1_000,
        ..TopicConfig::default()
    }
}

/// A batch of (key, value) records; no value is a tombstone.
fn keyed(records: &[(u32, Option<u32>)]) -> Vec<u8> {
    keyed_by(records, None)
}

fn keyed_by(records: &[(u32, Option<u32>)], producer: Option<(i64, i32)>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), Sequence(sequence));
    }
    for (key, value) in records {
        let value = value.map(u32::to_be_bytes);
        let value = value.as_ref().map(<[u8; 4]>::as_slice);
        builder.append(10, Some(&key.to_be_bytes()), value, &[]);
    }
    builder.build()
}

/// (offset, key, value) of every record from `from` on, read from disk.
fn records_from(partition: &Partition, from: i64) -> Vec<(i64, u32, Option<u32>)> {
    partition.state.lock().tail.shrink(0);
    read_from(partition, from)
}

/// The same as a consumer reads it, from memory where it is there.
fn read_from(partition: &Partition, from: i64) -> Vec<(i64, u32, Option<u32>)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut found = Vec::new();
    let mut next = from;
    let mut scratch = DecompressionScratch::default();
    while next < partition.offsets().log_end.0 {
        let read = partition.read(&request(next)).unwrap();
        if read.batches.is_empty() {
            break;
        }
        for bytes in &read.batches {
            let (view, _) = BatchView::parse(bytes).unwrap();
            view.verify_crc().unwrap();
            for record in view.records(&mut scratch).unwrap() {
                let record = record.unwrap();
                let offset = view.header.base_offset.0 + i64::from(record.offset_delta);
                if offset >= from {
                    let key = number(record.key.unwrap());
                    found.push((offset, key, record.value.map(number)));
                }
            }
            assert!(view.header.last_offset().0 >= next, "{next} was asked for");
            next = view.header.last_offset().0 + 1;
        }
    }
    found
}

fn latest(records: &[(i64, u32, Option<u32>)]) -> BTreeMap<u32, Option<u32>> {
    records
        .iter()
        .map(|(_, key, value)| (*key, *value))
        .collect()
}

fn segments(rig: &Rig) -> usize {
    let names = rig.disk.list(Path::new(DIRECTORY)).unwrap();
    names.iter().filter(|name| name.ends_with(".log")).count()
}

/// A record that is compacted away is gone for consumers too that could be served from memory.
#[test]
fn memory_forgets_what_is_compacted() {
    let rig = Rig::new(compacted(300));
    let partition = rig.open(Shutdown::Clean);
    for round in 0..20_u32 {
        append(&partition, &keyed(&[(round % 3, Some(round))])).unwrap();
    }
    partition.sync_now();
    assert_eq!(read_from(&partition, 0).len(), 20);
    partition.compact(0, &|| false);
    let read = read_from(&partition, 0);
    assert!(
        partition.state.lock().tail.bytes() > 0,
        "the end is in memory still"
    );
    assert!(read.len() < 15, "{read:?}");
    assert_eq!(read, records_from(&partition, 0));
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let rig = Rig::new(compacted(300));
    let partition = rig.open(Shutdown::Clean);
    for round in 0..20_u32 {
        append(
            &partition,
            &keyed(&[(round % 3, Some(round)), (100 + round % 2, Some(round))]),
        )
        .unwrap();
    }
    partition.sync_now();
    let before = records_from(&partition, 0);
    partition.compact(0, &|| false);
    let after = records_from(&partition, 0);
    assert_eq!(latest(&after), latest(&before));
    assert!(after.iter().all(|record| before.contains(record)));
    let sealed_end = partition
        .state
        .lock()
        .log
        .as_ref()
        .unwrap()
        .recovery_point();
    assert_eq!(sealed_end.0, 40);
    assert!(
        after.len() < before.len() - 10,
        "{} of {}",
        after.len(),
        before.len()
    );
    // A reader may ask for an offset that is gone, in any place.
    for from in 0..40 {
        let wanted: Vec<_> = after
            .iter()
            .filter(|(offset, ..)| *offset >= from)
            .copied()
            .collect();
        assert_eq!(records_from(&partition, from), wanted, "from {from}");
    }
    // Nothing is dirty: a second round is no work.
    partition.compact(0, &|| false);
    assert_eq!(records_from(&partition, 0), after);
    let count_before = segments(&rig);
    for round in 0..8 {
        append(&partition, &keyed(&[(9, Some(round))])).unwrap();
    }
    partition.sync_now();
    partition.compact(0, &|| false);
    assert!(segments(&rig) < count_before, "small segments are joined");
    let after = records_from(&partition, 0);
    drop(partition);
    let partition = rig.reopen();
    assert_eq!(records_from(&partition, 0), after);
    drop(partition);
    let lost = rig.file("recovery-point-offset-checkpoint");
    rig.disk.remove(&lost).unwrap();
    let partition = rig.reopen();
    assert_eq!(records_from(&partition, 0), after, "gaps are no faults");
    assert_eq!(partition.offsets().log_end.0, 48);
}

#[test]
fn tombstones_stay_for_their_time() {
    let rig = Rig::new(compacted(150));
    let partition = rig.open(Shutdown::Clean);
    append(&partition, &keyed(&[(1, Some(1)), (2, Some(2))])).unwrap();
    append(&partition, &keyed(&[(1, None)])).unwrap();
    let fill = |from: u32| {
        for key in from..from + 4 {
            append(&partition, &keyed(&[(key, Some(key))])).unwrap();
        }
        partition.sync_now();
    };
    fill(100);
    partition.compact(5_000, &|| false);
    let has_tombstone = || {
        records_from(&partition, 0)
            .iter()
            .any(|(_, key, value)| (*key, *value) == (1, None))
    };
    assert!(has_tombstone(), "readers must learn of the deletion");
    assert!(!records_from(&partition, 0).contains(&(0, 1, Some(1))));
    fill(200);
    partition.compact(5_999, &|| false);
    assert!(has_tombstone(), "before the horizon");
    fill(300);
    partition.compact(6_000, &|| false);
    assert!(!has_tombstone(), "from the horizon on");
    assert!(records_from(&partition, 0).contains(&(1, 2, Some(2))));
}

#[test]
fn young_records_and_other_policies_wait() {
    let rig = Rig::new(TopicConfig {
        min_compaction_lag_ms: 100,
        ..compacted(150)
    });
    let partition = rig.open(Shutdown::Clean);
    for round in 0..10 {
        append(&partition, &keyed(&[(1, Some(round))])).unwrap();
    }
    partition.sync_now();
    partition.compact(110, &|| false);
    assert_eq!(
        records_from(&partition, 0).len(),
        10,
        "younger than the lag"
    );
    partition.compact(111, &|| true);
    assert_eq!(records_from(&partition, 0).len(), 10, "told to stop");
    partition.compact(111, &|| false);
    assert!(records_from(&partition, 0).len() < 10);
}

#[test]
fn duplicates_are_known_after_compaction_and_a_lost_snapshot() {
    let rig = Rig::new(compacted(150));
    let partition = rig.open(Shutdown::Clean);
    for round in 0..4 {
        append(&partition, &keyed_by(&[(1, Some(0))], Some((7, round)))).unwrap();
    }
    for round in 0..4 {
        append(&partition, &keyed(&[(1, Some(round)), (2, None)])).unwrap();
    }
    partition.sync_now();
    partition.compact(0, &|| false);
    drop(partition);
    for name in rig.disk.list(Path::new(DIRECTORY)).unwrap() {
        if name.ends_with(".snapshot") {
            rig.disk.remove(&rig.file(&name)).unwrap();
        }
    }
    let partition = rig.reopen();
    let retry = append(&partition, &keyed_by(&[(1, Some(0))], Some((7, 3))));
    assert!(
        matches!(
            retry,
            Err(AppendError::Duplicate {
                base_offset: Offset(3),
                ..
            })
        ),
        "{retry:?}"
    );
}

#[test]
fn a_reader_in_the_middle_goes_on_with_the_old_segment() {
    let rig = Rig::new(compacted(150));
    let partition = rig.open(Shutdown::Clean);
    for round in 0..12 {
        append(&partition, &keyed(&[(1, Some(round))])).unwrap();
    }
    partition.sync_now();
    partition.state.lock().tail.shrink(0);
    let place = partition
        .state
        .lock()
        .log
        .as_mut()
        .unwrap()
        .place(Offset(0))
        .unwrap();
    partition.compact(0, &|| false);
    let context = &partition.context;
    let (file, from, end) = place
        .resolve(Offset(0), context.storage.as_ref(), &context.open_segments)
        .unwrap();
    let found = crate::log::find_batch(file.as_ref(), from, end, Offset(0)).unwrap();
    assert_eq!(found.unwrap().1.base_offset, Offset(0));
}

/// The first steps of a compaction, as [`Partition::compact`] takes them.
fn compact_in_part(partition: &Partition, steps: u8) {
    let config = partition.topic.config.load_full();
    let (storage, open) = (
        partition.context.storage.as_ref(),
        &partition.context.open_segments,
    );
    let mut state = partition.state.lock();
    let log = state.log.as_mut().unwrap();
    let Some(planned) = log.compaction(&config, log.log_end(), 0) else {
        return;
    };
    let compacted = planned.run(storage, open, &|| false).unwrap();
    if steps > 1 {
        compacted.publish(storage, log.recovery_point()).unwrap();
    }
    if steps > 2 {
        assert!(log.replace(compacted, open).unwrap().is_some());
    }
}

/// A life with compaction and crashes: after any of them the last value of every key is there.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u32, Option<u32>)>),
    Sync,
    /// At this time, in ms: tombstones go 1,000 ms after they were first compacted.
    Compact(i64),
    /// Power is lost after so many steps of a compaction.
    CutCompaction(u8, u64),
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0..6_u32, proptest::option::weighted(0.8, any::<u32>()));
    prop_oneof![
        6 => proptest::collection::vec(record, 1..4).prop_map(Step::Append),
        3 => Just(Step::Sync),
        3 => (0..4_i64).prop_map(|at| Step::Compact(at * 600)),
        2 => (1..4_u8, any::<u64>()).prop_map(|(steps, seed)| Step::CutCompaction(steps, seed)),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_crash_takes_the_last_value_of_a_key(steps in proptest::collection::vec(step(), 1..60)) {
        let rig = Rig::new(compacted(250));
        let mut partition = rig.open(Shutdown::Clean);
        // What was synced must be there after a power loss; what was appended, after a kill.
        let mut written: Vec<(i64, u32, Option<u32>)> = Vec::new();
        let (mut first, mut synced) = (0, 0);
        for step in steps {
            match step {
                Step::Append(records) => {
                    let appended = append(&partition, &keyed(&records)).unwrap();
                    for (at, (key, value)) in (appended.base_offset.0..).zip(records) {
                        written.push((at, key, value));
                    }
                }
                Step::Sync => {
                    partition.sync_now();
                    synced = partition.offsets().log_end.0;
                }
                Step::Compact(now_ms) => partition.compact(now_ms, &|| false),
                Step::Kill => {
                    drop(partition);
                    partition = rig.reopen();
                    let end = written.last().map_or(first, |last| last.0 + 1);
                    prop_assert_eq!(partition.offsets().log_end.0, end);
                }
                Step::PowerLoss(seed) | Step::CutCompaction(_, seed) => {
                    if let Step::CutCompaction(steps, _) = step {
                        compact_in_part(&partition, steps);
                    }
                    drop(partition);
                    rig.disk.crash(seed);
                    partition = rig.reopen();
                    let (start, end) = (partition.offsets().log_start.0, partition.offsets().log_end.0);
                    prop_assert!(end >= synced, "{} of {}", end, synced);
                    prop_assert!(start == first || synced <= start, "start {}, synced {}", start, synced);
                    first = start;
                    written.retain(|(offset, ..)| (start..end).contains(offset));
                    synced = end.min(synced);
                }
            }
            let found = records_from(&partition, first);
            prop_assert!(found.iter().all(|record| written.contains(record)));
            let values = |records: &[_]| {
                let mut latest = latest(records);
                latest.retain(|_, value| value.is_some());
                latest
            };
            prop_assert_eq!(values(&found), values(&written));
        }
    }
}
