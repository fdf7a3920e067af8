use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;

const TOPIC: &str = "t";

fn partition(index: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        index,
        current_leader_epoch: -1,
        fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        max_bytes: 1 << 20,
    }
}

fn topics<P>(partitions: Vec<P>) -> Vec<TopicPartitions<P>> {
    if partitions.is_empty() {
        return Vec::new();
    }
    vec![TopicPartitions {
        name: TOPIC.to_owned(),
        id: Uuid::nil(),
        partitions,
    }]
}

fn request((session_id, session_epoch): (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    let asked = partitions.iter();
    FetchRequest {
        session_id,
        session_epoch,
        topics: topics(
            asked
                .map(|(index, offset)| partition(*index, *offset))
                .collect(),
        ),
        ..FetchRequest::default()
    }
}

/// An answer without records.
fn empty(index: i32, high_watermark: i64) -> FetchPartitionResponse {
    FetchPartitionResponse {
        high_watermark,
        last_stable_offset: high_watermark,
        log_start_offset: 0,
        ..FetchPartitionResponse::failed(index, ErrorCode::NONE)
    }
}

fn full(index: i32, high_watermark: i64) -> FetchPartitionResponse {
    FetchPartitionResponse {
        records: vec![Bytes::from_static(b"records")],
        ..empty(index, high_watermark)
    }
}

fn indexes(begun: &Begun) -> Vec<i32> {
    let partitions = begun.partitions.iter();
    partitions.map(|asked| asked.partition.index).collect()
}

/// Begins and finishes; the session's id and which partitions are answered.
fn fetch(
    cache: &SessionCache,
    request: &FetchRequest,
    now_ms: i64,
    answer: impl Fn(i32) -> FetchPartitionResponse,
) -> Result<(i32, Vec<i32>), ErrorCode> {
    let begun = cache.begin(request, false, now_ms)?;
    let answers = indexes(&begun).into_iter().map(answer).collect();
    let mut next = 100;
    let mut fresh_id = || {
        next += 1;
        next
    };
    let finished = cache.finish(begun, answers, now_ms, &mut fresh_id)?;
    let answered = finished.answers.iter().map(|(_, answer)| answer.index);
    Ok((finished.session_id, answered.collect()))
}

#[test]
fn only_what_changed_is_answered() {
    let cache = SessionCache::new(10);
    let asked = [(0, 0), (1, 0), (2, 0)];
    let first = fetch(&cache, &request((0, 0), &asked), 0, |index| empty(index, 5));
    assert_eq!(first, Ok((101, vec![0, 1, 2])));
    let quiet = fetch(&cache, &request((101, 1), &[]), 0, |index| empty(index, 5));
    assert_eq!(quiet, Ok((101, vec![])));
    let answer = |index| match index {
        0 => empty(0, 6),
        1 => full(1, 5),
        _ => empty(2, 5),
    };
    let changed = fetch(&cache, &request((101, 2), &[]), 0, answer);
    assert_eq!(changed, Ok((101, vec![0, 1])));
    // An error is told as long as it lasts, and that it is over is told too.
    let failed = |index| FetchPartitionResponse::failed(index, ErrorCode::KAFKA_STORAGE_ERROR);
    let some = |index| if index == 2 { failed(2) } else { answer(index) };
    for epoch in 3..=4 {
        let request = request((101, epoch), &[]);
        let told = fetch(&cache, &request, 0, some).unwrap();
        assert!(told.1.contains(&2), "epoch {epoch}: {told:?}");
    }
    let over = fetch(&cache, &request((101, 5), &[]), 0, |index| match index {
        0 => empty(0, 6),
        index => empty(index, 5),
    });
    assert_eq!(over, Ok((101, vec![2])));
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let cache = SessionCache::new(10);
    let first = request((0, 0), &[(0, 0), (1, 0)]);
    fetch(&cache, &first, 0, |index| empty(index, 5)).unwrap();
    let mut next = request((101, 1), &[(1, 7), (2, 0)]);
    next.forgotten = topics(vec![0]);
    let begun = cache.begin(&next, false, 0).unwrap();
    let asked: Vec<(i32, i64)> = begun
        .partitions
        .iter()
        .map(|asked| (asked.partition.index, asked.partition.fetch_offset))
        .collect();
    assert_eq!(asked, [(1, 7), (2, 0)]);
    assert_eq!(cache.partitions_count(), 2);
    // A session without partitions is none.
    let mut last = request((101, 2), &[]);
    last.forgotten = topics(vec![1, 2]);
    let ended = fetch(&cache, &last, 0, |index| empty(index, 5));
    assert_eq!(ended, Ok((NO_SESSION, vec![])));
    assert_eq!((cache.len(), cache.partitions_count()), (0, 0));
}

#[test]
fn sessions_are_refused_as_kip_227_says() {
    let cache = SessionCache::new(10);
    let answer = |index| empty(index, 5);
    fetch(&cache, &request((0, 0), &[(0, 0)]), 0, answer).unwrap();
    let unknown = fetch(&cache, &request((7, 1), &[]), 0, answer);
    assert_eq!(unknown, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    for epoch in [2, 5, -2] {
        let refused = fetch(&cache, &request((101, epoch), &[]), 0, answer);
        assert_eq!(
            refused,
            Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            "{epoch}"
        );
    }
    let by_id = cache.begin(&request((101, 1), &[]), true, 0).map(drop);
    assert_eq!(by_id, Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
    // The refusals did no harm.
    assert_eq!(
        fetch(&cache, &request((101, 1), &[]), 0, answer),
        Ok((101, vec![]))
    );
    // An answer that was overtaken is none.
    let slow = cache.begin(&request((101, 2), &[]), false, 0).unwrap();
    fetch(&cache, &request((101, 3), &[]), 0, answer).unwrap();
    let overtaken = cache.finish(slow, vec![answer(0)], 0, &mut || 9);
    assert_eq!(
        overtaken.err(),
        Some(ErrorCode::INVALID_FETCH_SESSION_EPOCH)
    );
    // Asking in full ends the session, with or without a new one.
    let closed = fetch(&cache, &request((101, FINAL_EPOCH), &[(0, 0)]), 0, answer);
    assert_eq!((closed, cache.len()), (Ok((NO_SESSION, vec![0])), 0));
}

#[test]
fn epochs_go_round_without_their_special_values() {
    let cache = SessionCache::new(1);
    fetch(&cache, &request((0, 0), &[(0, 0)]), 0, |index| {
        empty(index, 5)
    })
    .unwrap();
    let held = cache.held(101).unwrap();
    held.session.lock().as_mut().unwrap().epoch = i32::MAX;
    let last = request((101, i32::MAX), &[]);
    fetch(&cache, &last, 0, |index| empty(index, 5)).unwrap();
    let first = request((101, 1), &[]);
    assert_eq!(
        fetch(&cache, &first, 0, |index| empty(index, 5)),
        Ok((101, vec![]))
    );
}

#[test]
fn a_full_cache_evicts_what_is_stale_or_spares_less() {
    let make = |cache: &SessionCache, count: i32, now_ms: i64, id: i32| {
        let asked: Vec<(i32, i64)> = (0..count).map(|index| (index, 0)).collect();
        let begun = cache
            .begin(&request((0, 0), &asked), false, now_ms)
            .unwrap();
        let answers = (0..count).map(|index| empty(index, 5)).collect();
        let finished = cache.finish(begun, answers, now_ms, &mut || id);
        finished.unwrap().session_id
    };
    let cache = SessionCache::new(2);
    assert_eq!(make(&cache, 2, 0, 1), 1);
    assert_eq!(make(&cache, 3, 0, 2), 2);
    // Full, and all are young.
    assert_eq!(make(&cache, 100, 1000, 3), NO_SESSION);
    // Both are used, and old enough to give way to a larger one: the smallest does.
    let late_ms = EVICTION_MS + 1;
    for id in [1, 2] {
        cache.begin(&request((id, 1), &[]), false, late_ms).unwrap();
    }
    assert_eq!(make(&cache, 2, late_ms, 3), NO_SESSION);
    assert_eq!(make(&cache, 3, late_ms, 3), 3);
    assert!(cache.held(2).is_some() && cache.held(1).is_none());
    // What is not used gives way to anything.
    let used = request((3, 1), &[]);
    cache.begin(&used, false, 2 * late_ms).unwrap();
    assert_eq!(make(&cache, 1, 2 * late_ms, 4), 4);
    assert!(cache.held(2).is_none());
    assert_eq!(cache.partitions_count(), 4);
}

#[test]
fn what_would_take_too_much_memory_is_not_remembered() {
    let cache = SessionCache::new(10);
    let many: Vec<(i32, i64)> = (0..)
        .take(SESSION_PARTITIONS_MAX)
        .map(|index| (index, 0))
        .collect();
    let most = fetch(&cache, &request((0, 0), &many), 0, |index| empty(index, 5));
    assert_eq!(most.unwrap().0, 101);
    let one_more = fetch(&cache, &request((101, 1), &[(-1, 0)]), 0, |index| {
        empty(index, 5)
    });
    assert_eq!(one_more, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!((cache.len(), cache.partitions_count()), (0, 0));
    let mut long = request((0, 0), &[(0, 0)]);
    long.topics[0].name = "x".repeat(NAME_BYTES_MAX + 1);
    let long = fetch(&cache, &long, 0, |index| empty(index, 5));
    assert_eq!(long, Ok((NO_SESSION, vec![0])));
}

/// Partitions that always have more get their turn although an answer holds two of them.
#[test]
fn no_partition_starves_behind_others() {
    let cache = SessionCache::new(10);
    let asked: Vec<(i32, i64)> = (0..7).map(|index| (index, 0)).collect();
    let mut served = [0; 7];
    for round in 0..70 {
        let request = if round == 0 {
            request((0, 0), &asked)
        } else {
            request((101, round), &[])
        };
        let begun = cache.begin(&request, false, 0).unwrap();
        let answers = indexes(&begun)
            .into_iter()
            .enumerate()
            .map(|(place, index)| {
                if place < 2 {
                    full(index, 5)
                } else {
                    empty(index, 5)
                }
            });
        let finished = cache
            .finish(begun, answers.collect(), 0, &mut || 101)
            .unwrap();
        for (_, answer) in &finished.answers {
            if has_records(answer) {
                served[usize::try_from(answer.index).unwrap()] += 1;
            }
        }
    }
    assert!(
        served.iter().all(|count| (19..=21).contains(count)),
        "{served:?}"
    );
}

/// What happens to a broker and its consumer.
#[derive(Debug, Clone)]
enum Event {
    Append(i32),
    DeleteRecords(i32),
    Fail(i32),
    Heal(i32),
    Subscribe(i32),
    Unsubscribe(i32),
    Seek(i32, i64),
    /// A fetch whose answer has room for so many partitions with records.
    Fetch(usize),
    /// The same, whose answer is lost.
    FetchInVain(usize),
    /// Others ask so much that the session is evicted.
    Evict,
}

const PARTITIONS: i32 = 5;

fn event() -> impl Strategy<Value = Event> {
    let index = || 0..PARTITIONS;
    prop_oneof![
        4 => index().prop_map(Event::Append),
        1 => index().prop_map(Event::DeleteRecords),
        1 => index().prop_map(Event::Fail),
        1 => index().prop_map(Event::Heal),
        2 => index().prop_map(Event::Subscribe),
        1 => index().prop_map(Event::Unsubscribe),
        1 => (index(), 0_i64..4).prop_map(|(index, offset)| Event::Seek(index, offset)),
        8 => (1_usize..4).prop_map(Event::Fetch),
        1 => (1_usize..4).prop_map(Event::FetchInVain),
        1 => Just(Event::Evict),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    error: ErrorCode,
    high_watermark: i64,
    log_start_offset: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Log {
    start: i64,
    end: i64,
    failed: bool,
}

impl Log {
    /// What a fetch without a session is answered.
    fn told(self) -> Told {
        if self.failed {
            Told {
                error: ErrorCode::KAFKA_STORAGE_ERROR,
                high_watermark: -1,
                log_start_offset: -1,
            }
        } else {
            Told {
                error: ErrorCode::NONE,
                high_watermark: self.end,
                log_start_offset: self.start,
            }
        }
    }
}

/// A consumer as KIP-227 describes it: it remembers what it sent, and what it was told.
#[derive(Debug, Default)]
struct Consumer {
    /// Id and next epoch.
    session: (i32, i32),
    wanted: BTreeMap<i32, i64>,
    sent: BTreeMap<i32, i64>,
    told: BTreeMap<i32, Told>,
}

impl Consumer {
    fn request(&mut self) -> FetchRequest {
        let before = if self.session.1 == INITIAL_EPOCH {
            self.told.clear();
            BTreeMap::new()
        } else {
            std::mem::take(&mut self.sent)
        };
        let wanted: Vec<(i32, i64)> = self
            .wanted
            .iter()
            .map(|(index, at)| (*index, *at))
            .collect();
        let new = wanted
            .iter()
            .filter(|(index, at)| before.get(index) != Some(at));
        let mut request = request(self.session, &new.copied().collect::<Vec<_>>());
        let forgotten = before.keys().copied();
        let forgotten: Vec<i32> = forgotten
            .filter(|index| !self.wanted.contains_key(index))
            .collect();
        self.told.retain(|index, _| !forgotten.contains(index));
        request.forgotten = topics(forgotten);
        self.sent = self.wanted.clone();
        request
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens, a consumer with a session knows of each of its partitions what it would
    /// be told without one, and gets each record that there was room for.
    #[test]
    fn the_view_by_sessions_is_that_without(events in proptest::collection::vec(event(), 1..80)) {
        let cache = SessionCache::new(1);
        let mut logs = [Log::default(); PARTITIONS as usize];
        let mut consumer = Consumer::default();
        let mut id = 0;
        for event in events {
            let place = |index: i32| usize::try_from(index).unwrap();
            let (room, lost) = match event {
                Event::Append(index) => {
                    logs[place(index)].end += 1;
                    continue;
                }
                Event::DeleteRecords(index) => {
                    let log = &mut logs[place(index)];
                    log.start = log.end;
                    continue;
                }
                Event::Fail(index) => {
                    logs[place(index)].failed = true;
                    continue;
                }
                Event::Heal(index) => {
                    logs[place(index)].failed = false;
                    continue;
                }
                Event::Subscribe(index) => {
                    let at = logs[place(index)].start;
                    consumer.wanted.entry(index).or_insert(at);
                    continue;
                }
                Event::Unsubscribe(index) => {
                    consumer.wanted.remove(&index);
                    continue;
                }
                Event::Seek(index, back) => {
                    let log = logs[place(index)];
                    if let Some(at) = consumer.wanted.get_mut(&index) {
                        *at = (log.end - back).max(log.start);
                    }
                    continue;
                }
                Event::Evict => {
                    cache.remove(consumer.session.0);
                    continue;
                }
                Event::Fetch(room) => (room, false),
                Event::FetchInVain(room) => (room, true),
            };
            let request = consumer.request();
            let begun = match cache.begin(&request, false, 0) {
                Ok(begun) => begun,
                Err(error) => {
                    prop_assert_eq!(error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
                    consumer.session = (NO_SESSION, INITIAL_EPOCH);
                    continue;
                }
            };
            let asked: BTreeMap<i32, i64> = begun
                .partitions
                .iter()
                .map(|asked| (asked.partition.index, asked.partition.fetch_offset))
                .collect();
            prop_assert_eq!(&asked, &consumer.wanted, "what is read is what is wanted");
            let mut left = room;
            let answers: Vec<FetchPartitionResponse> = begun
                .partitions
                .iter()
                .map(|asked| {
                    let index = asked.partition.index;
                    let log = logs[place(index)];
                    let told = log.told();
                    let mut answer = FetchPartitionResponse {
                        high_watermark: told.high_watermark,
                        last_stable_offset: told.high_watermark,
                        log_start_offset: told.log_start_offset,
                        ..FetchPartitionResponse::failed(index, told.error)
                    };
                    if !log.failed && asked.partition.fetch_offset < log.end && left > 0 {
                        left -= 1;
                        answer.records = vec![Bytes::from_static(b"r")];
                    }
                    answer
                })
                .collect();
            let due: Vec<i32> = answers
                .iter()
                .filter(|answer| has_records(answer))
                .map(|answer| answer.index)
                .collect();
            id += 1;
            let finished = cache.finish(begun, answers, 0, &mut || id).unwrap();
            if lost {
                // It connects again, and asks in full under the session that it had.
                consumer.session = (consumer.session.0, INITIAL_EPOCH);
                continue;
            }
            consumer.session = match finished.session_id {
                NO_SESSION => (NO_SESSION, INITIAL_EPOCH),
                same if same == consumer.session.0 => (same, next_epoch(consumer.session.1)),
                new => (new, 1),
            };
            let mut got = Vec::new();
            for (_, answer) in finished.answers {
                consumer.told.insert(answer.index, Told {
                    error: answer.error,
                    high_watermark: answer.high_watermark,
                    log_start_offset: answer.log_start_offset,
                });
                if has_records(&answer) {
                    got.push(answer.index);
                    *consumer.wanted.get_mut(&answer.index).unwrap() += 1;
                }
            }
            prop_assert_eq!(got, due, "records that were read go out");
            for index in consumer.wanted.keys() {
                let told = consumer.told.get(index);
                prop_assert_eq!(told, Some(&logs[place(*index)].told()), "partition {}", index);
            }
        }
    }
}

#[test]
fn a_request_waits_for_no_other_session() {
    let cache = SessionCache::new(10);
    let answer = |index| empty(index, 5);
    let mut ids = [7, 8].into_iter();
    for _ in 0..2 {
        let begun = cache.begin(&request((0, 0), &[(0, 0)]), false, 0).unwrap();
        let finished = cache.finish(begun, vec![empty(0, 5)], 0, &mut || ids.next().unwrap());
        finished.unwrap();
    }
    let held = cache.held(7).unwrap();
    let busy = held.session.lock();
    // With one lock for all, this would never end.
    let other = fetch(&cache, &request((8, 1), &[]), 0, answer);
    assert_eq!(other, Ok((8, vec![])));
    let new = fetch(&cache, &request((0, 0), &[(0, 0)]), 0, answer);
    assert_eq!(new, Ok((101, vec![0])));
    drop(busy);
    let same = fetch(&cache, &request((7, 1), &[]), 0, answer);
    assert_eq!(same, Ok((7, vec![])));
}

#[test]
fn a_session_that_goes_while_it_is_used_is_not_found() {
    let cache = SessionCache::new(10);
    fetch(&cache, &request((0, 0), &[(0, 0)]), 0, |index| {
        empty(index, 5)
    })
    .unwrap();
    let begun = cache
        .begin(&request((101, 1), &[(1, 0)]), false, 0)
        .unwrap();
    let held = cache.held(101).unwrap();
    cache.remove(101);
    assert!(held.session.lock().is_none());
    assert_eq!(cache.partitions_count(), 0);
    let answers = vec![empty(0, 6), empty(1, 6)];
    let finished = cache.finish(begun, answers, 0, &mut || 1);
    assert_eq!(finished.unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

/// Clients that come and go, each with a few partitions, in a cache too small for all of them.
#[test]
fn counts_are_right_however_requests_meet() {
    let cache = SessionCache::new(4);
    let next_id = std::sync::atomic::AtomicI32::new(1);
    let fresh = || next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        for client in 0..8_i32 {
            let (cache, fresh) = (&cache, &fresh);
            scope.spawn(move || {
                let mut session = (NO_SESSION, INITIAL_EPOCH);
                for round in 0..500_i32 {
                    let asked: Vec<(i32, i64)> =
                        (0..(client + round) % 5 + 1).map(|at| (at, 0)).collect();
                    let now_ms = i64::from(round) * EVICTION_MS / 50;
                    let Ok(begun) = cache.begin(&request(session, &asked), false, now_ms) else {
                        session = (NO_SESSION, INITIAL_EPOCH);
                        continue;
                    };
                    let answers = indexes(&begun)
                        .into_iter()
                        .map(|index| empty(index, 5))
                        .collect();
                    let finished = cache.finish(begun, answers, now_ms, &mut || fresh());
                    session = match finished {
                        Ok(finished) if finished.session_id == session.0 => {
                            (session.0, next_epoch(session.1))
                        }
                        Ok(finished) => (finished.session_id, 1),
                        Err(_) => (NO_SESSION, INITIAL_EPOCH),
                    };
                    if session.0 == NO_SESSION {
                        session.1 = INITIAL_EPOCH;
                    }
                    assert!(cache.len() <= 4);
                }
            });
        }
    });
    let ids = 1..next_id.load(std::sync::atomic::Ordering::Relaxed);
    let sessions = ids.filter_map(|id| cache.held(id));
    let counted: usize = sessions
        .map(|held| held.session.lock().as_ref().map_or(0, Session::len))
        .sum();
    assert_eq!(cache.partitions_count(), counted);
}
