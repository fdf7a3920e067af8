//! Fetch sessions (KIP-227): a consumer names its partitions once, then only what changes, and is
//! answered only what changed.
//!
//! Time and new ids are arguments. A request [begins](SessionCache::begin) by saying which
//! partitions to read and [ends](SessionCache::finish) by choosing which answers go out; between
//! the two nothing is held, so that a long poll locks nobody out. Knows nothing of logs and
//! connections: as with Kafka, a session outlives the connection that made it, until it is
//! replaced by its client or evicted. Next: [`cache`] for how many requests use it at once.

mod cache;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

pub(crate) use cache::SessionCache;

use crate::protocol::fetch::{FetchPartition, FetchPartitionResponse, FetchRequest};
use crate::protocol::topic_partitions::TopicPartitions;

/// A session that was not used for so long may be evicted, and one that is older than this by one
/// that spares more, in ms (`min.incremental.fetch.session.eviction.ms` of Kafka).
const EVICTION_MS: i64 = 120_000;

/// Most partitions of one session: twice what a broker may have.
const SESSION_PARTITIONS_MAX: usize = 20_000;

/// Most partitions of all sessions together, which bounds their memory to some 50 MB.
const PARTITIONS_MAX: usize = 250_000;

/// Longest topic name; what is longer is no topic's, and not worth remembering.
const NAME_BYTES_MAX: usize = 249;

/// The client asks for a new session.
const INITIAL_EPOCH: i32 = 0;

/// The client wants no session.
const FINAL_EPOCH: i32 = -1;

/// No session.
pub(crate) const NO_SESSION: i32 = 0;

/// A topic as the client names it: by name, or by id from the version on that has ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TopicKey {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
}

impl TopicKey {
    fn of<P>(topic: &TopicPartitions<P>) -> Self {
        Self {
            name: Arc::from(topic.name.as_str()),
            id: topic.id,
        }
    }
}

/// A partition asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) topic: TopicKey,
    pub(crate) partition: FetchPartition,
}

impl Asked {
    fn key(&self) -> Key {
        (self.topic.clone(), self.partition.index)
    }
}

/// A request that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What to read, in this order.
    pub(crate) partitions: Vec<Asked>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Sessionless,
    /// A session is made of it if there is room.
    Full {
        topic_ids: bool,
    },
    Incremental {
        id: i32,
        /// Of the session once it had begun: another one then means that a request overtook it.
        epoch: i32,
    },
}

/// What goes out.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) session_id: i32,
    pub(crate) answers: Vec<(TopicKey, FetchPartitionResponse)>,
}

type Key = (TopicKey, i32);

/// A partition of a session, and what its client was told last; -1 when that must be told again.
#[derive(Debug)]
struct Cached {
    asked: Asked,
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
}

impl Cached {
    /// Of a partition whose client was told nothing.
    const fn new(asked: Asked) -> Self {
        Self {
            asked,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
        }
    }

    /// Remembers what is answered; whether it need be answered at all.
    fn take(&mut self, answer: &FetchPartitionResponse) -> bool {
        let told = (
            self.high_watermark,
            self.last_stable_offset,
            self.log_start_offset,
        );
        let now = (
            answer.high_watermark,
            answer.last_stable_offset,
            answer.log_start_offset,
        );
        (
            self.high_watermark,
            self.last_stable_offset,
            self.log_start_offset,
        ) = now;
        if answer.error.is_error() {
            // Told again when the error goes away.
            self.high_watermark = -1;
        }
        told != now
            || answer.error.is_error()
            || answer.diverging_epoch.is_some()
            || has_records(answer)
    }
}

fn has_records(answer: &FetchPartitionResponse) -> bool {
    answer.records.iter().any(|chunk| !chunk.is_empty())
}

#[derive(Debug)]
struct Session {
    topic_ids: bool,
    epoch: i32,
    /// In the order of reading: partitions that gave records go to the end, so that all get their
    /// turn although an answer has a limit.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
}

impl Session {
    /// Of the partitions of a request and what is answered.
    fn of(topic_ids: bool, answered: &[(Asked, FetchPartitionResponse)]) -> Self {
        let mut session = Self {
            topic_ids,
            epoch: next_epoch(INITIAL_EPOCH),
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        };
        // Those that gave records have had their turn.
        let (served, waiting): (Vec<_>, Vec<_>) =
            answered.iter().partition(|(_, answer)| has_records(answer));
        for (asked, answer) in waiting.into_iter().chain(served) {
            let mut cached = Cached::new(asked.clone());
            cached.take(answer);
            session.put(cached);
        }
        session
    }

    fn len(&self) -> usize {
        self.partitions.len()
    }

    fn put(&mut self, cached: Cached) {
        let key = cached.asked.key();
        let place = self.next_place;
        self.next_place += 1;
        if let Some(old) = self.places.insert(key, place) {
            self.partitions.remove(&old);
        }
        self.partitions.insert(place, cached);
    }

    fn cached(&mut self, key: &Key) -> Option<&mut Cached> {
        let place = self.places.get(key)?;
        self.partitions.get_mut(place)
    }

    fn remove(&mut self, key: &Key) -> Option<Cached> {
        let place = self.places.remove(key)?;
        self.partitions.remove(&place)
    }

    /// Takes over what the request adds, changes and forgets.
    fn update(&mut self, request: &FetchRequest) {
        for asked in asked(request) {
            match self.cached(&asked.key()) {
                Some(cached) => cached.asked = asked,
                None => self.put(Cached::new(asked)),
            }
        }
        for topic in &request.forgotten {
            let key = TopicKey::of(topic);
            for index in &topic.partitions {
                self.remove(&(key.clone(), *index));
            }
        }
    }

    /// Remembers what is answered; whether it need be answered at all.
    fn take(&mut self, asked: &Asked, answer: &FetchPartitionResponse) -> bool {
        let key = asked.key();
        let Some(cached) = self.cached(&key) else {
            return false;
        };
        if !cached.take(answer) {
            return false;
        }
        if has_records(answer)
            && let Some(cached) = self.remove(&key)
        {
            self.put(cached);
        }
        true
    }

    fn asked(&self) -> Vec<Asked> {
        let cached = self.partitions.values();
        cached.map(|cached| cached.asked.clone()).collect()
    }
}

const fn fits(partitions: usize) -> bool {
    partitions <= SESSION_PARTITIONS_MAX
}

fn is_short(request: &FetchRequest) -> bool {
    let topics = request.topics.iter();
    topics
        .map(|topic| topic.name.len())
        .all(|length| length <= NAME_BYTES_MAX)
}

fn asked(request: &FetchRequest) -> impl Iterator<Item = Asked> {
    request.topics.iter().flat_map(|topic| {
        let key = TopicKey::of(topic);
        topic.partitions.iter().map(move |partition| Asked {
            topic: key.clone(),
            partition: *partition,
        })
    })
}

/// After the last epoch comes the first: 0 and -1 have their own meaning.
const fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}

#[cfg(test)]
mod tests;
