//! What the simulations of both protocols share: chance, time, the log, and what was committed.
//!
//! A few thousand seeds run with the tests; `ASSAY_SIMULATIONS=10000 cargo test -p broker-core
//! simulation` runs as many as it says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::offsets::{CommittedOffset, GroupOffsets, TopicPartition};
use super::record::{self, RecordKey};
use super::replay::{Replay, ReplayedGroup};

/// The group of every simulation.
pub(super) const GROUP: &str = "g";

/// Runs a simulation for every seed, of which there are `count` unless `ASSAY_SIMULATIONS` says
/// otherwise.
pub(super) fn for_seeds(count: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let asked = std::env::var("ASSAY_SIMULATIONS").ok();
    let count = asked.map_or(count, |asked| asked.parse().expect("a number of seeds"));
    for seed in 0..count {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed} failed");
    }
}

/// Splitmix64: the same numbers for the same seed everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.below(i64::try_from(choices.len()).unwrap());
        choices[usize::try_from(at).unwrap()].clone()
    }
}

/// Events in the order of their times; those of the same time in the order of their making.
pub(super) struct Schedule<E> {
    heap: BinaryHeap<Reverse<(i64, u64)>>,
    bodies: HashMap<u64, E>,
    made: u64,
}

impl<E> Schedule<E> {
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            bodies: HashMap::new(),
            made: 0,
        }
    }

    pub(super) fn at(&mut self, at_ms: i64, event: E) {
        self.made += 1;
        self.heap.push(Reverse((at_ms, self.made)));
        self.bodies.insert(self.made, event);
    }

    pub(super) fn next_ms(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    pub(super) fn pop(&mut self) -> Option<(i64, E)> {
        let Reverse((at_ms, id)) = self.heap.pop()?;
        Some((at_ms, self.bodies.remove(&id).unwrap()))
    }
}

type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// `__consumer_offsets`, of which a crash may lose what was not synced. An answer waits until
/// everything that was written before it is.
#[derive(Default)]
pub(super) struct Log {
    records: Vec<KeyValue>,
    durable: usize,
}

impl Log {
    pub(super) fn append(&mut self, records: impl IntoIterator<Item = KeyValue>) {
        self.records.extend(records);
    }

    /// How much was written: what an answer given now depends on.
    pub(super) fn written(&self) -> usize {
        self.records.len()
    }

    pub(super) fn sync(&mut self, written: usize) {
        self.durable = self.durable.max(written.min(self.records.len()));
    }

    pub(super) fn is_durable(&self, written: usize) -> bool {
        written <= self.durable
    }

    /// The process ends, and maybe the machine; what the log still says of the group.
    pub(super) fn crash(&mut self, random: &mut Random) -> ReplayedGroup {
        if random.percent(50) {
            let unsynced = i64::try_from(self.records.len() - self.durable).unwrap();
            let kept = self.durable + usize::try_from(random.below(unsynced + 1)).unwrap();
            self.records.truncate(kept);
        }
        self.durable = self.records.len();
        let mut replay = Replay::default();
        for (key, value) in &self.records {
            replay.apply(key, value.as_deref(), None).unwrap();
        }
        replay.groups.remove(GROUP).unwrap_or_default()
    }
}

/// What was committed, kept a second time: each accepted commit with its place in the log. The
/// coordinator's offsets are these at all times, so none moves without a request.
#[derive(Default)]
pub(super) struct Commits {
    accepted: Vec<(usize, TopicPartition, i64)>,
    last: BTreeMap<TopicPartition, i64>,
}

impl Commits {
    /// Takes in an accepted commit, as the driver does.
    pub(super) fn accept(
        &mut self,
        log: &mut Log,
        offsets: &mut GroupOffsets,
        commits: &[(TopicPartition, i64)],
    ) {
        for ((topic, partition), offset) in commits {
            let key = RecordKey::Offset {
                group: GROUP.to_owned(),
                topic: topic.clone(),
                partition: *partition,
            };
            let committed = CommittedOffset {
                offset: *offset,
                leader_epoch: -1,
                metadata: String::new(),
                commit_timestamp_ms: 0,
                expire_timestamp_ms: None,
            };
            let value = record::encode_offset(&committed).unwrap();
            log.append([(key.encode().unwrap(), Some(value))]);
            offsets.set(topic, *partition, committed);
            let partition = (topic.clone(), *partition);
            self.last.insert(partition.clone(), *offset);
            self.accepted.push((log.written(), partition, *offset));
        }
        self.check(offsets);
    }

    /// The coordinator began anew from this log.
    pub(super) fn restarted(&mut self, log: &Log, offsets: &GroupOffsets) {
        self.accepted.retain(|(place, ..)| *place <= log.written());
        let accepted = self.accepted.iter();
        self.last = accepted
            .map(|(_, partition, offset)| (partition.clone(), *offset))
            .collect();
        self.check(offsets);
    }

    pub(super) fn check(&self, offsets: &GroupOffsets) {
        let found: BTreeMap<TopicPartition, i64> = offsets
            .topics()
            .flat_map(|(topic, partitions)| {
                let partitions = partitions.iter();
                partitions.map(|(index, found)| ((topic.to_owned(), *index), found.offset))
            })
            .collect();
        assert_eq!(found, self.last, "an offset moved without a request");
    }
}
