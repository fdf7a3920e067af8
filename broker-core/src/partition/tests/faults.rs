//! Faults below the file layer, with an oracle of what was acknowledged.
//!
//! One idempotent producer sends numbered values in order, again and again until each is
//! acknowledged as acks=all would be. Whatever the disk does in between, after every recovery: what
//! was acknowledged is there, at the offset that was answered; no value is there twice; offsets have
//! no gap; the log is a prefix of what was sent.

use super::*;
use crate::records::DecompressionScratch;

/// What the disk and the process do to the producer.
#[derive(Debug, Clone)]
enum Event {
    /// Sends the next value, or the last again if that was not acknowledged; acknowledged when the
    /// sync after it succeeds.
    Send,
    /// The same, acknowledged by nobody: the answer is lost.
    SendUnheard,
    /// The next operation of the kind fails.
    Fault(Fault),
    /// Whether as one of many partitions.
    KeepHouse(bool),
    Kill,
    PowerLoss(u64),
    /// Whether as one of many partitions.
    Stop(bool),
    /// The disk is full after so many bytes more, until there is space again.
    Full(usize),
    Space,
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![
        Just(Fault::DiskFull),
        Just(Fault::WriteError),
        Just(Fault::ShortWrite),
        Just(Fault::SyncError),
    ];
    prop_oneof![
        10 => Just(Event::Send),
        3 => Just(Event::SendUnheard),
        4 => fault.prop_map(Event::Fault),
        1 => any::<bool>().prop_map(Event::KeepHouse),
        2 => Just(Event::Kill),
        3 => any::<u64>().prop_map(Event::PowerLoss),
        1 => any::<bool>().prop_map(Event::Stop),
        1 => (0_usize..3_000).prop_map(Event::Full),
        2 => Just(Event::Space),
    ]
}

struct World {
    rig: Rig,
    partition: Arc<Partition>,
    /// The value to be sent: its number is its sequence.
    next: i32,
    /// Offset of every acknowledged value.
    acknowledged: Vec<i64>,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new(small_segments());
        rig.disk.sync_dir(Path::new(DIRECTORY)).unwrap();
        let partition = rig.open(Shutdown::Clean);
        Self {
            rig,
            partition,
            next: 0,
            acknowledged: Vec::new(),
        }
    }

    fn value(&self, number: i32) -> Vec<u8> {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(20 + usize::try_from(number * 37 % 150).unwrap(), 0x5a);
        value
    }

    fn send(&mut self, heard: bool) {
        let id = (ProducerId(7), ProducerEpoch(0), Sequence(self.next));
        let mut builder = BatchBuilder::new(Compression::None, 0).producer(id.0, id.1, id.2);
        builder.append(0, None, Some(&self.value(self.next)), &[]);
        let offset = match append(&self.partition, &builder.build()) {
            Ok(appended) => appended.last_offset,
            Err(AppendError::Duplicate { last_offset, .. }) => last_offset,
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::KAFKA_STORAGE_ERROR, "{error}");
                return self.restart_if_offline();
            }
        };
        self.partition.sync_now();
        let durable = *self.partition.durable.borrow() > offset.0;
        if heard && durable {
            self.acknowledged.push(offset.0);
            self.next += 1;
        }
        self.restart_if_offline();
    }

    /// An operator restarts what is offline.
    fn restart_if_offline(&mut self) {
        if self.partition.offline_reason().is_some() {
            self.restart();
        }
    }

    /// The page cache outlives the process, unless the partition says that it must not.
    fn restart(&mut self) {
        let reason = self.partition.offline_reason();
        if reason.is_some_and(|reason| reason.contains(RESTART_THE_MACHINE)) {
            self.rig.disk.crash(0);
        }
        self.partition = self.rig.reopen();
    }

    fn step(&mut self, event: &Event) {
        match *event {
            Event::Send => self.send(true),
            Event::SendUnheard => self.send(false),
            Event::Fault(fault) => self.rig.disk.inject(fault),
            Event::KeepHouse(together) => {
                self.rig.keep_house(&self.partition, together);
                self.restart_if_offline();
            }
            Event::Kill => self.restart(),
            Event::PowerLoss(seed) => {
                self.rig.disk.crash(seed);
                self.partition = self.rig.reopen();
            }
            Event::Stop(together) => match self.rig.stop(&self.partition, together) {
                Ok(()) => self.partition = self.rig.open(Shutdown::Clean),
                Err(_) => self.restart(),
            },
            Event::Full(bytes) => self.rig.disk.fill_up_after(bytes),
            Event::Space => self.rig.disk.make_space(),
        }
        // A start on a failing disk may leave it offline; the next one has no fault left to meet.
        for _ in 0..20 {
            if self.partition.offline_reason().is_none() {
                break;
            }
            self.rig.disk.make_space();
            self.restart();
        }
        assert_eq!(self.partition.offline_reason(), None, "after {event:?}");
    }

    /// Every value that is there, by offset, read from the files.
    fn stored(&self) -> Vec<Vec<u8>> {
        self.partition.state.lock().tail.shrink(0);
        check_whole(&self.partition);
        let mut scratch = DecompressionScratch::default();
        let (mut values, mut next) = (Vec::new(), 0);
        while next < self.partition.offsets().log_end.0 {
            let read = self.partition.read(&request(next)).unwrap();
            for bytes in &read.batches {
                let (view, _) = BatchView::parse(bytes).unwrap();
                for record in view.records(&mut scratch).unwrap() {
                    values.push(record.unwrap().value.unwrap().to_vec());
                }
                next = view.header.last_offset().0 + 1;
            }
        }
        values
    }

    fn check(&self, event: &Event) {
        let stored = self.stored();
        // In order, each once, none missing before another: a prefix of what was sent.
        for (number, value) in (0..).zip(&stored) {
            assert_eq!(value, &self.value(number), "at {number} after {event:?}");
        }
        assert!(stored.len() <= usize::try_from(self.next).unwrap() + 1);
        for (number, offset) in self.acknowledged.iter().enumerate() {
            assert_eq!(usize::try_from(*offset), Ok(number), "after {event:?}");
        }
        assert!(
            stored.len() >= self.acknowledged.len(),
            "{} of {} acknowledged values are there after {event:?}",
            stored.len(),
            self.acknowledged.len()
        );
    }
}

fn run(events: &[Event]) -> World {
    let mut world = World::new();
    for event in events {
        world.step(event);
        world.check(event);
    }
    world
}

#[test]
fn a_sync_that_failed_is_not_believed_after_a_restart() {
    use Event::{Fault as Inject, Kill, PowerLoss, Send};
    for seed in 0..50 {
        let world = run(&[
            Send,
            Inject(Fault::SyncError),
            Send,
            // Stored as far as the page cache says, so this is a duplicate.
            Send,
            Kill,
            PowerLoss(seed),
            Send,
        ]);
        assert_eq!(world.acknowledged, [0, 1, 2]);
    }
}

#[test]
fn a_sync_that_failed_on_a_full_disk_is_told_to_the_operator() {
    let rig = Rig::new(small_segments());
    let partition = rig.open(Shutdown::Clean);
    append(&partition, &sequenced(0, 1)).unwrap();
    rig.disk.fill_up_after(0);
    rig.disk.inject(Fault::SyncError);
    partition.sync_now();
    let reason = partition.offline_reason().unwrap().to_owned();
    assert!(reason.contains("sync failed"), "{reason}");
    assert!(reason.contains("no storage space"), "{reason}");
    assert!(reason.contains(RESTART_THE_MACHINE), "{reason}");
}

#[test]
fn sectors_that_survive_in_any_order_are_cut_at_the_first_gap() {
    let mut shorter = 0;
    for seed in 0..300 {
        let rig = Rig::new(TopicConfig::default());
        rig.disk.sync_dir(Path::new(DIRECTORY)).unwrap();
        let partition = rig.open(Shutdown::Clean);
        append(&partition, &batch(1, b"durable")).unwrap();
        partition.sync_now();
        append(&partition, &batch(3, &[7; 2_000])).unwrap();
        append(&partition, &batch(1, b"last")).unwrap();
        drop(partition);
        rig.disk.crash(seed);
        let end = check_whole(&rig.reopen());
        assert!([1, 4, 5].contains(&end), "seed {seed}: {end}");
        shorter += u64::from(end < 5);
    }
    assert!((50..290).contains(&shorter), "{shorter} of 300 were torn");
}

#[test]
fn a_disk_that_is_full_for_long_refuses_writes_serves_reads_and_recovers() {
    let rig = Rig::new(small_segments());
    let partition = rig.open(Shutdown::Clean);
    for at in 0..30 {
        append(&partition, &sequenced(at, 1)).unwrap();
    }
    partition.sync_now();
    rig.disk.fill_up_after(70);
    let mut at = 30;
    while append(&partition, &sequenced(at, 1)).is_ok() {
        at += 1;
        assert!(at < 50, "the disk is not full");
    }
    for round in 0..40 {
        let refused = append(&partition, &sequenced(at, 1)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::KAFKA_STORAGE_ERROR);
        assert!(
            refused.to_string().contains("no storage space"),
            "{refused}"
        );
        partition.sync_now();
        partition.keep_house(round * 31_000);
        partition.state.lock().tail.shrink(0);
        assert_eq!(check_whole(&partition), i64::from(at), "reads go on");
        assert_eq!(partition.offline_reason(), None);
    }
    // Deleting works, and gives room for what was refused.
    assert_eq!(partition.delete_records(Offset(20)), Ok(Offset(20)));
    append(&partition, &sequenced(at, 1)).unwrap();
    partition.sync_now();
    drop(partition);
    rig.disk.crash(1);
    assert_eq!(check_whole(&rig.reopen()), i64::from(at) + 1);
}

#[test]
fn no_lock_of_a_partition_is_held_while_it_syncs() {
    let rig = Rig::new(TopicConfig {
        retention_bytes: 2_000,
        compacted: true,
        min_cleanable_dirty_ratio: 0.0,
        ..small_segments()
    });
    let partition = rig.open(Shutdown::Clean);
    let syncs = Arc::new(AtomicUsize::new(0));
    let (seen, watched) = (Arc::clone(&syncs), Arc::downgrade(&partition));
    rig.disk.on_sync(move || {
        if let Some(partition) = watched.upgrade() {
            seen.fetch_add(1, Ordering::Relaxed);
            assert!(partition.state.try_lock().is_some(), "locked over a sync");
        }
    });
    let count = || syncs.swap(0, Ordering::Relaxed);
    let mut builder = BatchBuilder::new(Compression::None, 1);
    builder.append(1, Some(b"key"), Some(&[1; 200]), &[]);
    let keyed = builder.build();
    for _ in 0..20 {
        append(&partition, &keyed).unwrap();
    }
    partition.sync_now();
    assert!(count() > 0, "group commit");
    partition.compact(1, &|| false);
    assert!(count() > 0, "compaction");
    partition.delete_records(Offset(3)).unwrap();
    assert!(count() > 0, "DeleteRecords");
    for _ in 0..20 {
        append(&partition, &keyed).unwrap();
    }
    let before = partition.offsets().log_start;
    partition.keep_house(1);
    assert!(
        count() > 0 && partition.offsets().log_start > before,
        "retention"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_once_whatever_fails(events in proptest::collection::vec(event(), 1..50)) {
        run(&events);
    }
}
