//! All fetch sessions, used by many requests at once.
//!
//! Requests of different sessions do not wait for each other: the table of sessions is locked to find
//! one, and to make or evict one; a session is locked while the partitions of a request are gone
//! through, and two requests of one session do not come at the same time from a client in its right
//! mind. The order is table, then session, and nobody who has a session locked asks for the table.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::{
    Asked, Begun, EVICTION_MS, FINAL_EPOCH, Finished, INITIAL_EPOCH, Kind, NAME_BYTES_MAX,
    NO_SESSION, PARTITIONS_MAX, Session, asked, fits, is_short, next_epoch,
};
use crate::error::ErrorCode;
use crate::protocol::fetch::{FetchPartitionResponse, FetchRequest};

/// All sessions.
#[derive(Debug)]
pub(crate) struct SessionCache {
    table: RwLock<HashMap<i32, Arc<Held>>>,
    sessions_max: usize,
    /// Of all sessions, and what requests that are being taken in may add.
    partitions_count: AtomicUsize,
    /// How many sessions were reported last.
    reported: AtomicUsize,
    reporting: Mutex<()>,
}

/// A session, and what must be known of it without waiting for those who use it.
#[derive(Debug)]
pub(super) struct Held {
    created_ms: i64,
    used_ms: AtomicI64,
    partitions_count: AtomicUsize,
    /// `None` once it is gone from the table, for those who found it before.
    pub(super) session: Mutex<Option<Session>>,
}

type Table = HashMap<i32, Arc<Held>>;

impl SessionCache {
    /// Room for so many sessions (`max.incremental.fetch.session.cache.slots`).
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self {
            table: RwLock::default(),
            sessions_max,
            partitions_count: AtomicUsize::new(0),
            reported: AtomicUsize::new(0),
            reporting: Mutex::new(()),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.read().len()
    }

    /// Tells how many there are, if that is not what was told last.
    pub(crate) fn report(&self, tell: impl FnOnce(usize)) {
        if self.reported.load(Ordering::Acquire) != self.len() {
            let _one_at_a_time = self.reporting.lock();
            let count = self.len();
            self.reported.store(count, Ordering::Release);
            tell(count);
        }
    }

    /// Which partitions the request is for: those that it names, or those of its session as it
    /// changes them.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    pub(crate) fn begin(
        &self,
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
        let held = self.held(id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let mut locked = held.session.lock();
        let Some(session) = locked.as_mut() else {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.topic_ids != topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        let topics = request.topics.iter();
        let added: usize = topics.map(|topic| topic.partitions.len()).sum();
        let most = session.len() + added;
        if !fits(most) || !is_short(request) || !self.reserve(added) {
            // It cannot be remembered: the client begins anew, and in full.
            drop(locked);
            self.remove(id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        session.update(request);
        self.give_back(most - session.len());
        held.partitions_count
            .store(session.len(), Ordering::Release);
        if session.len() == 0 {
            drop(locked);
            self.remove(id);
            return Ok(Begun {
                partitions: asked(request).collect(),
                kind: Kind::Sessionless,
            });
        }
        session.epoch = next_epoch(session.epoch);
        held.used_ms.store(now_ms, Ordering::Release);
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
        &self,
        begun: Begun,
        answers: Vec<FetchPartitionResponse>,
        now_ms: i64,
        fresh_id: &mut dyn FnMut() -> i32,
    ) -> Result<Finished, ErrorCode> {
        let Begun { partitions, kind } = begun;
        let answered = partitions.into_iter().zip(answers);
        let (session_id, answered) = match kind {
            Kind::Sessionless => (NO_SESSION, answered.collect()),
            Kind::Full { topic_ids } => {
                let answered: Vec<_> = answered.collect();
                let id = self.create(topic_ids, &answered, now_ms, fresh_id);
                (id, answered)
            }
            Kind::Incremental { id, epoch } => {
                let held = self.held(id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                let mut locked = held.session.lock();
                let Some(session) = locked.as_mut() else {
                    return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
                };
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                (
                    id,
                    answered
                        .filter(|(asked, answer)| session.take(asked, answer))
                        .collect(),
                )
            }
        };
        let answers = answered.into_iter();
        Ok(Finished {
            session_id,
            answers: answers
                .map(|(asked, answer)| (asked.topic, answer))
                .collect(),
        })
    }

    /// The id under which a throttled client is answered, which gets nothing this time.
    pub(crate) const fn throttled(begun: &Begun) -> i32 {
        match begun.kind {
            Kind::Sessionless | Kind::Full { .. } => NO_SESSION,
            Kind::Incremental { id, .. } => id,
        }
    }

    pub(super) fn held(&self, id: i32) -> Option<Arc<Held>> {
        self.table.read().get(&id).cloned()
    }

    /// Partitions of all sessions.
    #[cfg(test)]
    pub(super) fn partitions_count(&self) -> usize {
        self.partitions_count.load(Ordering::Acquire)
    }

    /// Makes a session if there is room, and answers its id.
    fn create(
        &self,
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
        // Made before the table is locked: it may have thousands of partitions.
        let session = Session::of(topic_ids, answered);
        let mut table = self.table.write();
        if !self.make_room(&mut table, size, now_ms) {
            return NO_SESSION;
        }
        // Twice the same id in a row is no accident: then there is no session.
        let ids = std::iter::from_fn(|| Some(fresh_id())).take(8);
        let free = |id: &i32| *id != NO_SESSION && !table.contains_key(id);
        let Some(id) = ids.into_iter().find(free) else {
            self.give_back(size);
            return NO_SESSION;
        };
        self.give_back(size - session.len());
        let held = Held {
            created_ms: now_ms,
            used_ms: AtomicI64::new(now_ms),
            partitions_count: AtomicUsize::new(session.len()),
            session: Mutex::new(Some(session)),
        };
        table.insert(id, Arc::new(held));
        id
    }

    /// Evicts until one more session of `size` partitions fits, if that may be, and reserves those.
    fn make_room(&self, table: &mut Table, size: usize, now_ms: i64) -> bool {
        loop {
            if table.len() < self.sessions_max && self.reserve(size) {
                return true;
            }
            let used_ms = |held: &Held| held.used_ms.load(Ordering::Acquire);
            let count = |held: &Held| held.partitions_count.load(Ordering::Acquire);
            let stale = table
                .iter()
                .filter(|(_, held)| now_ms - used_ms(held) > EVICTION_MS)
                .min_by_key(|(_, held)| used_ms(held));
            let smaller = || {
                table
                    .iter()
                    .filter(|(_, held)| now_ms - held.created_ms > EVICTION_MS)
                    .min_by_key(|(_, held)| count(held))
                    .filter(|(_, held)| count(held) < size)
            };
            let Some((id, _)) = stale.or_else(smaller) else {
                return false;
            };
            let id = *id;
            self.forget(table.remove(&id));
        }
    }

    pub(super) fn remove(&self, id: i32) {
        if id != NO_SESSION {
            let removed = self.table.write().remove(&id);
            self.forget(removed);
        }
    }

    /// Ends a session that is gone from the table.
    fn forget(&self, removed: Option<Arc<Held>>) {
        let session = removed.and_then(|held| held.session.lock().take());
        self.give_back(session.map_or(0, |session| session.len()));
    }

    /// Counts `partitions` more, if there may be so many.
    fn reserve(&self, partitions: usize) -> bool {
        let more = |count: usize| Some(count + partitions).filter(|sum| *sum <= PARTITIONS_MAX);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.partitions_count.fetch_update(set, fetch, more).is_ok()
    }

    fn give_back(&self, partitions: usize) {
        self.partitions_count
            .fetch_sub(partitions, Ordering::AcqRel);
    }
}
