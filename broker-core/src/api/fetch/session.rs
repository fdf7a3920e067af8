//! Fetch sessions (KIP-227): a consumer names its partitions once, then only what changes, and is
//! answered only what changed.
//!
//! Pure: time and new ids are arguments. A request [begins](SessionCache::begin) by saying which
//! partitions to read and [ends](SessionCache::finish) by choosing which answers go out; between
//! the two nothing is held, so that a long poll locks nobody out. Knows nothing of logs and
//! connections: as with Kafka, a session outlives the connection that made it, until it is
//! replaced by its client or evicted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::error::ErrorCode;
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
    created_ms: i64,
    used_ms: i64,
    /// In the order of reading: partitions that gave records go to the end, so that all get their
    /// turn although an answer has a limit.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
}

impl Session {
    fn new(topic_ids: bool, now_ms: i64) -> Self {
        Self {
            topic_ids,
            epoch: next_epoch(INITIAL_EPOCH),
            created_ms: now_ms,
            used_ms: now_ms,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        }
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
                None => self.put(Cached {
                    asked,
                    high_watermark: -1,
                    last_stable_offset: -1,
                    log_start_offset: -1,
                }),
            }
        }
        for topic in &request.forgotten {
            let key = TopicKey::of(topic);
            for index in &topic.partitions {
                self.remove(&(key.clone(), *index));
            }
        }
    }

    fn asked(&self) -> Vec<Asked> {
        let cached = self.partitions.values();
        cached.map(|cached| cached.asked.clone()).collect()
    }
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct SessionCache {
    sessions: HashMap<i32, Session>,
    sessions_max: usize,
    /// Of all sessions.
    partitions_count: usize,
    /// How many sessions were reported last.
    reported: usize,
}

impl SessionCache {
    /// Room for so many sessions (`max.incremental.fetch.session.cache.slots`).
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self {
            sessions: HashMap::new(),
            sessions_max,
            partitions_count: 0,
            reported: 0,
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many there are, if that is not what was answered last.
    pub(crate) fn report(&mut self) -> Option<usize> {
        let changed = self.reported != self.sessions.len();
        self.reported = self.sessions.len();
        changed.then_some(self.reported)
    }

    /// Which partitions the request is for: those that it names, or those of its session as it
    /// changes them.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    pub(crate) fn begin(
        &mut self,
        request: &FetchRequest,
        topic_ids: bool,
        now_ms: i64,
    ) -> Result<Begun, ErrorCode> {
        let id = request.session_id;
        if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            // A client that asks in full is through with the session that it had.
            self.remove(id);
            return Ok(Begun {
                partitions: asked(request).collect(),
                kind: if request.session_epoch == FINAL_EPOCH {
                    Kind::Sessionless
                } else {
                    Kind::Full { topic_ids }
                },
            });
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.topic_ids != topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let before = session.len();
        let added: usize = request
            .topics
            .iter()
            .map(|topic| topic.partitions.len())
            .sum();
        let others = self.partitions_count - before;
        if !fits(before + added) || others + before + added > PARTITIONS_MAX || !is_short(request) {
            // It cannot be remembered: the client begins anew, and in full.
            self.remove(id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        session.update(request);
        self.partitions_count = others + session.len();
        if session.len() == 0 {
            self.remove(id);
            return Ok(Begun {
                partitions: asked(request).collect(),
                kind: Kind::Sessionless,
            });
        }
        session.epoch = next_epoch(session.epoch);
        session.used_ms = now_ms;
        Ok(Begun {
            partitions: session.asked(),
            kind: Kind::Incremental {
                id,
                epoch: session.epoch,
            },
        })
    }

    /// Chooses what goes out of the answers to a request, which are in the order of its
    /// partitions. `fresh_id` gives ids, not 0, that are hard to guess.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH: the session went on without it.
    pub(crate) fn finish(
        &mut self,
        begun: Begun,
        answers: Vec<FetchPartitionResponse>,
        now_ms: i64,
        fresh_id: &mut dyn FnMut() -> i32,
    ) -> Result<Finished, ErrorCode> {
        let Begun { partitions, kind } = begun;
        let answered = partitions.into_iter().zip(answers);
        match kind {
            Kind::Sessionless => Ok(Finished {
                session_id: NO_SESSION,
                answers: answered
                    .map(|(asked, answer)| (asked.topic, answer))
                    .collect(),
            }),
            Kind::Full { topic_ids } => {
                let answered: Vec<_> = answered.collect();
                let session_id = self.create(topic_ids, &answered, now_ms, fresh_id);
                let answers = answered.into_iter();
                Ok(Finished {
                    session_id,
                    answers: answers
                        .map(|(asked, answer)| (asked.topic, answer))
                        .collect(),
                })
            }
            Kind::Incremental { id, epoch } => {
                let Some(session) = self.sessions.get_mut(&id) else {
                    return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
                };
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                let mut answers = Vec::new();
                for (asked, answer) in answered {
                    let key = asked.key();
                    let Some(cached) = session.cached(&key) else {
                        continue;
                    };
                    if !cached.take(&answer) {
                        continue;
                    }
                    if has_records(&answer)
                        && let Some(cached) = session.remove(&key)
                    {
                        session.put(cached);
                    }
                    answers.push((asked.topic, answer));
                }
                Ok(Finished {
                    session_id: id,
                    answers,
                })
            }
        }
    }

    /// The id under which a throttled client is answered, which gets nothing this time.
    pub(crate) const fn throttled(begun: &Begun) -> i32 {
        match begun.kind {
            Kind::Sessionless | Kind::Full { .. } => NO_SESSION,
            Kind::Incremental { id, .. } => id,
        }
    }

    /// Makes a session if there is room, and answers its id.
    fn create(
        &mut self,
        topic_ids: bool,
        answered: &[(Asked, FetchPartitionResponse)],
        now_ms: i64,
        fresh_id: &mut dyn FnMut() -> i32,
    ) -> i32 {
        let is_short = |(asked, _): &(Asked, _)| asked.topic.name.len() <= NAME_BYTES_MAX;
        let size = answered.len();
        if size == 0 || !fits(size) || !answered.iter().all(is_short) {
            return NO_SESSION;
        }
        if !self.make_room(size, now_ms) {
            return NO_SESSION;
        }
        let mut session = Session::new(topic_ids, now_ms);
        // Those that gave records have had their turn.
        let (served, waiting): (Vec<_>, Vec<_>) =
            answered.iter().partition(|(_, answer)| has_records(answer));
        for (asked, answer) in waiting.into_iter().chain(served) {
            let mut cached = Cached {
                asked: asked.clone(),
                high_watermark: -1,
                last_stable_offset: -1,
                log_start_offset: -1,
            };
            cached.take(answer);
            session.put(cached);
        }
        // Twice the same id in a row is no accident: then there is no session.
        let ids = std::iter::from_fn(|| Some(fresh_id())).take(8);
        let free = |id: &i32| *id != NO_SESSION && !self.sessions.contains_key(id);
        let Some(id) = ids.into_iter().find(free) else {
            return NO_SESSION;
        };
        self.partitions_count += session.len();
        self.sessions.insert(id, session);
        id
    }

    /// Evicts until one more session of `size` partitions fits, if that may be.
    fn make_room(&mut self, size: usize, now_ms: i64) -> bool {
        loop {
            let full = self.sessions.len() >= self.sessions_max;
            if !full && self.partitions_count + size <= PARTITIONS_MAX {
                return true;
            }
            let stale = self
                .sessions
                .iter()
                .filter(|(_, session)| now_ms - session.used_ms > EVICTION_MS)
                .min_by_key(|(_, session)| session.used_ms);
            let smaller = || {
                self.sessions
                    .iter()
                    .filter(|(_, session)| now_ms - session.created_ms > EVICTION_MS)
                    .min_by_key(|(_, session)| session.len())
                    .filter(|(_, session)| session.len() < size)
            };
            let Some((id, _)) = stale.or_else(smaller) else {
                return false;
            };
            let id = *id;
            self.remove(id);
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions_count -= session.len();
        }
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
