//! Seeded schedules against the state machine: consumers that join, commit, give partitions up
//! slowly, crash, leave and come back, and topics that come, grow and go, over a network that loses,
//! delays and duplicates, with a coordinator that restarts from its log, of which it may lose what
//! was not synced, and whose log now and then takes nothing. In some schedules part of the consumers
//! speaks the classic protocol.
//!
//! Checked at every step: a partition is with one member, epochs that were told never go back, and no
//! committed offset moves without a request. As long as the requests of a client arrive in their
//! order, as those of a connection do, no two consumers that the group knows read a partition.
//! Checked at the end, once the network is well: every live consumer has its target, which covers
//! every partition.

mod client;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::change::partitions;
use super::embedded::{NamedPartitions, read_assignment, write_assignment};
use super::{
    Assignment, Assignor, Changes, ConsumerConfig, ConsumerGroup, ConsumerGroupState, Heartbeat,
    HeartbeatReply, JOIN_EPOCH, LEAVE_EPOCH, MemberState, STATIC_LEAVE_EPOCH, TopicFacts,
    TopicView,
};
use crate::error::ErrorCode;
use crate::groups::classic::{JoinReply, JoinRequest, Protocol, SyncRequest};
use crate::groups::offsets::GroupOffsets;
use crate::groups::simulation::{Commits, GROUP, Log, Random, Schedule, for_seeds};
use crate::ids::TopicId;

const SEEDS: u64 = 500;
const CHAOS_MS: i64 = 60_000;
const END_MS: i64 = CHAOS_MS + 300_000;
const SESSION_MS: i32 = 10_000;
const HEARTBEAT_MS: i64 = 3_000;
const PATIENCE_MS: i64 = 5_000;

/// Topics of a test: the n-th made has the id n.
#[derive(Default)]
pub(super) struct Catalogue {
    topics: RefCell<BTreeMap<String, TopicFacts>>,
    made: Cell<u128>,
    version: Cell<u64>,
}

impl Catalogue {
    pub(super) fn set(&self, name: &str, partitions: i32) {
        self.version.set(self.version.get() + 1);
        let mut topics = self.topics.borrow_mut();
        if let Some(facts) = topics.get_mut(name) {
            facts.partitions = partitions;
            return;
        }
        self.made.set(self.made.get() + 1);
        let id = TopicId(Uuid::from_u128(self.made.get()));
        topics.insert(name.to_owned(), TopicFacts { id, partitions });
    }

    fn has(&self, id: TopicId) -> bool {
        let topics = self.topics.borrow();
        topics.values().any(|facts| facts.id == id)
    }

    pub(super) fn delete(&self, name: &str) {
        self.version.set(self.version.get() + 1);
        self.topics.borrow_mut().remove(name);
    }
}

impl TopicView for Catalogue {
    fn version(&self) -> u64 {
        self.version.get()
    }

    fn find(&self, name: &str) -> Option<TopicFacts> {
        self.topics.borrow().get(name).copied()
    }

    fn names(&self) -> Vec<String> {
        self.topics.borrow().keys().cloned().collect()
    }
}

#[derive(Debug, Clone)]
enum Request {
    Heartbeat(Heartbeat),
    Leave {
        member_id: String,
        instance_id: Option<String>,
        epoch: i32,
    },
    Commit {
        member_id: String,
        epoch: i32,
        partitions: Vec<(TopicId, i32)>,
        offset: i64,
    },
    /// In the classic protocol.
    Join(JoinRequest),
    Sync(SyncRequest),
    Beat {
        member_id: String,
        instance_id: Option<String>,
        generation: i32,
    },
}

#[derive(Debug, Clone)]
enum Answer {
    Heartbeat(Result<HeartbeatReply, ErrorCode>),
    Commit(Result<(), ErrorCode>),
    Join(JoinReply),
    /// With what the member may have.
    Sync(ErrorCode, Assignment),
    Beat(ErrorCode),
}

#[derive(Debug)]
enum Event {
    Arrives {
        client: usize,
        call: u64,
        request: Request,
        copies: usize,
    },
    Answered {
        client: usize,
        call: u64,
        answer: Answer,
    },
    /// It is time to report, or to give up on a call.
    Wakes {
        client: usize,
        call: u64,
    },
    /// The application has stopped reading what was taken away.
    Revoked {
        client: usize,
        life: u64,
    },
    /// Something happens to a client.
    Fate {
        client: usize,
    },
    /// Something happens to a topic.
    Topic,
    /// The log is synced up to here.
    Synced {
        written: usize,
    },
    Restart,
}

#[derive(Debug)]
struct Client {
    classic: bool,
    instance_id: Option<String>,
    regex: Option<String>,
    topics: BTreeSet<String>,
    up: bool,
    /// Raised with every start.
    life: u64,
    member_id: String,
    epoch: i32,
    /// What it reads.
    owned: Assignment,
    /// What it was told last.
    told: Assignment,
    /// The next heartbeat says everything.
    full: bool,
    /// Identifies the call in flight; answers to others are stale.
    call: u64,
    waits: bool,
    /// Requests and answers of a connection keep their order.
    arrived_ms: i64,
    answered_ms: i64,
}

struct World {
    random: Random,
    now_ms: i64,
    group: ConsumerGroup,
    topics: Catalogue,
    config: ConsumerConfig,
    /// Whether requests of a client keep their order.
    ordered: bool,
    log: Log,
    offsets: GroupOffsets,
    commits: Commits,
    /// Answers that wait until the log is synced up to there.
    unsent: Vec<(usize, usize, u64, String, Answer)>,
    clients: Vec<Client>,
    events: Schedule<Event>,
    next: u64,
    /// The highest epoch that a member was told.
    told_epochs: HashMap<String, i32>,
    group_epoch: i32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let topics = Catalogue::default();
        for name in ["a", "b", "c"] {
            topics.set(name, i32::try_from(1 + random.below(5)).unwrap());
        }
        let same = random.percent(50);
        let mixed = random.percent(40);
        let count = 1 + random.below(5);
        let clients = (0..count)
            .map(|index| {
                let kind = if same { 0 } else { random.below(4) };
                let classic = mixed && kind != 1 && random.percent(50);
                Client {
                    classic,
                    instance_id: random.percent(30).then(|| format!("instance-{index}")),
                    regex: (kind == 1).then(|| "[ad]".to_owned()),
                    topics: match kind {
                        0 => BTreeSet::from(["a".to_owned(), "b".to_owned(), "c".to_owned()]),
                        1 => BTreeSet::new(),
                        2 => BTreeSet::from(["b".to_owned(), "d".to_owned()]),
                        _ => BTreeSet::from(["c".to_owned()]),
                    },
                    up: false,
                    life: 0,
                    member_id: String::new(),
                    epoch: 0,
                    owned: Assignment::new(),
                    told: Assignment::new(),
                    full: true,
                    call: 0,
                    waits: false,
                    arrived_ms: 0,
                    answered_ms: 0,
                }
            })
            .collect::<Vec<_>>();
        let mut world = Self {
            config: ConsumerConfig {
                session_timeout_ms: SESSION_MS,
                heartbeat_interval_ms: i32::try_from(HEARTBEAT_MS).unwrap(),
                size_max: 100,
                assignors: vec![random.pick(&Assignor::ALL)],
            },
            ordered: random.percent(50),
            random,
            now_ms: 0,
            group: ConsumerGroup::default(),
            topics,
            log: Log::default(),
            offsets: GroupOffsets::default(),
            commits: Commits::default(),
            unsent: Vec::new(),
            clients,
            events: Schedule::new(),
            next: 0,
            told_epochs: HashMap::new(),
            group_epoch: 0,
        };
        for client in 0..world.clients.len() {
            let at_ms = world.random.below(5_000);
            world.events.at(at_ms, Event::Fate { client });
            for _ in 0..world.random.below(4) {
                let at_ms = world.random.below(CHAOS_MS);
                world.events.at(at_ms, Event::Fate { client });
            }
        }
        for _ in 0..world.random.below(3) {
            let at_ms = world.random.below(CHAOS_MS);
            world.events.at(at_ms, Event::Topic);
        }
        for _ in 0..world.random.below(3) {
            let at_ms = world.random.below(CHAOS_MS);
            world.events.at(at_ms, Event::Restart);
        }
        world
    }

    fn chaos(&self) -> bool {
        self.now_ms < CHAOS_MS
    }

    fn delay(&mut self) -> i64 {
        if self.chaos() && self.random.percent(10) {
            self.random.below(8_000)
        } else {
            1 + self.random.below(50)
        }
    }

    /// Sends a request: lost or doubled while the network is ill.
    fn send(&mut self, client: usize, request: Request) {
        self.next += 1;
        let call = self.next;
        self.clients[client].call = call;
        self.clients[client].waits = true;
        let copies = match self.random.below(100) {
            0..5 if self.chaos() => 0,
            5..10 if self.chaos() => 2,
            _ => 1,
        };
        // The copies come at once, or, where there is no order, whenever.
        let (arrivals, copies) = if self.ordered {
            (copies.min(1), copies)
        } else {
            (copies, 1)
        };
        for _ in 0..arrivals {
            let mut at_ms = self.now_ms + self.delay();
            if self.ordered {
                at_ms = at_ms.max(self.clients[client].arrived_ms);
                self.clients[client].arrived_ms = at_ms;
            }
            let request = request.clone();
            let event = Event::Arrives {
                client,
                call,
                request,
                copies,
            };
            self.events.at(at_ms, event);
        }
        let at_ms = self.now_ms + PATIENCE_MS;
        self.events.at(at_ms, Event::Wakes { client, call });
    }

    /// Answers once everything written so far is durable.
    fn answer(&mut self, client: usize, call: u64, member_id: String, answer: Answer) {
        let written = self.log.written();
        self.unsent.push((written, client, call, member_id, answer));
        self.flush();
    }

    fn flush(&mut self) {
        let (ready, unsent) = std::mem::take(&mut self.unsent)
            .into_iter()
            .partition(|(written, ..)| self.log.is_durable(*written));
        self.unsent = unsent;
        for (_, client, call, member_id, answer) in ready {
            if let Answer::Heartbeat(Ok(reply)) = &answer {
                let told = self.told_epochs.entry(member_id).or_default();
                *told = reply.member_epoch.max(*told);
            }
            if self.chaos() && self.random.percent(5) {
                continue;
            }
            let delayed_ms = self.now_ms + self.delay();
            let at_ms = delayed_ms.max(self.clients[client].answered_ms);
            self.clients[client].answered_ms = at_ms;
            let event = Event::Answered {
                client,
                call,
                answer,
            };
            self.events.at(at_ms, event);
        }
    }

    fn sync_soon(&mut self) {
        let written = self.log.written();
        let at_ms = self.now_ms + self.random.below(20);
        self.events.at(at_ms, Event::Synced { written });
    }

    /// Writes what the group did; whether the log took it.
    fn write(&mut self, changes: Changes) -> bool {
        if changes.applied.is_empty() {
            return true;
        }
        if self.chaos() && self.random.percent(2) {
            self.group.undo(changes);
            return false;
        }
        let records = changes.applied.iter();
        let records: Vec<_> = records
            .map(|change| change.encode(GROUP).unwrap())
            .collect();
        self.log.append(records);
        self.sync_soon();
        true
    }

    fn arrives(&mut self, client: usize, call: u64, request: Request) {
        let now_ms = self.now_ms;
        let unwritten = ErrorCode::COORDINATOR_NOT_AVAILABLE;
        let (member_id, answer) = match request {
            Request::Heartbeat(request) => {
                let done = self
                    .group
                    .heartbeat(now_ms, &request, &self.topics, &self.config);
                let answered = match done {
                    Ok((reply, changes)) => self.write(changes).then_some(reply).ok_or(unwritten),
                    Err(refusal) => Err(refusal.code),
                };
                (request.member_id, Answer::Heartbeat(answered))
            }
            Request::Leave {
                member_id,
                instance_id,
                epoch,
            } => {
                let instance_id = instance_id.as_deref();
                if self.clients[client].classic {
                    let left = self
                        .group
                        .classic_leave(&member_id, instance_id, &self.topics);
                    if let Ok(changes) = left {
                        self.write(changes);
                    }
                    return;
                }
                let done = self
                    .group
                    .leave(&member_id, instance_id, epoch, &self.topics);
                if let Ok((_, changes)) = done {
                    self.write(changes);
                }
                return;
            }
            Request::Commit {
                member_id,
                epoch,
                partitions,
                offset,
            } => {
                let checked = self.group.check_commit(&member_id, epoch);
                if checked.is_ok() {
                    let commits: Vec<_> = partitions
                        .iter()
                        .map(|(topic, index)| ((topic.0.to_string(), *index), offset))
                        .collect();
                    self.commits
                        .accept(&mut self.log, &mut self.offsets, &commits);
                    self.sync_soon();
                }
                (member_id, Answer::Commit(checked))
            }
            Request::Join(mut request) => {
                self.next += 1;
                request.fresh_member_id = format!("member-{}", self.next);
                let done = self
                    .group
                    .classic_join(now_ms, &request, &self.topics, &self.config);
                let answered = match done {
                    Ok((reply, changes)) => self.write(changes).then_some(reply).ok_or(unwritten),
                    Err(error) => Err(error),
                };
                let refused = |error| JoinReply::error(error, &request.member_id);
                let reply = answered.unwrap_or_else(refused);
                (reply.member_id.clone(), Answer::Join(reply))
            }
            Request::Sync(request) => {
                let reply = self.group.classic_sync(now_ms, &request, &self.topics);
                let mut assigned = Assignment::new();
                if reply.error == ErrorCode::NONE {
                    let (named, _) = read_assignment(&reply.assignment).unwrap();
                    for (name, indexes) in named {
                        assigned.insert(self.topics.find(&name).unwrap().id, indexes);
                    }
                }
                (request.member_id, Answer::Sync(reply.error, assigned))
            }
            Request::Beat {
                member_id,
                instance_id,
                generation,
            } => {
                let instance_id = instance_id.as_deref();
                let (beaten, changes) = self.group.classic_heartbeat(
                    now_ms,
                    &member_id,
                    instance_id,
                    generation,
                    &self.topics,
                );
                self.write(changes);
                (member_id, Answer::Beat(beaten))
            }
        };
        self.answer(client, call, member_id, answer);
    }

    fn topic(&mut self) {
        let name = self.random.pick(&["a", "b", "c", "d"]);
        let before = self.topics.find(name).map_or(0, |facts| facts.partitions);
        if before > 0 && self.random.percent(30) {
            self.topics.delete(name);
        } else {
            let more = i32::try_from(1 + self.random.below(3)).unwrap();
            self.topics.set(name, before + more);
        }
    }

    fn restart(&mut self) {
        self.unsent.clear();
        let whole = (self.log.written(), self.group.snapshot());
        let replayed = self.log.crash(&mut self.random);
        self.offsets = replayed.offsets;
        self.commits.restarted(&self.log, &self.offsets);
        self.group = replayed.consumer;
        self.group.restore(self.now_ms, &self.topics, &self.config);
        if self.log.written() == whole.0 && self.group.exists() {
            assert_eq!(self.group.snapshot(), whole.1, "a restart changes nothing");
        }
        self.group_epoch = 0;
        for (id, member) in &self.group.members {
            let told = self.told_epochs.get(id).copied().unwrap_or_default();
            // Away, or its removal was cut in half: it is made to join again.
            let gone = member.current.epoch <= JOIN_EPOCH;
            assert!(
                gone || member.current.epoch >= told,
                "{id} was told {told}, the log has {}",
                member.current.epoch
            );
        }
    }

    fn check(&mut self) {
        let group = &self.group;
        let mut owners: BTreeMap<(TopicId, i32), String> = BTreeMap::new();
        for (id, member) in &group.members {
            let current = &member.current;
            for partition in partitions(&current.assigned).chain(partitions(&current.revoking)) {
                let before = owners.insert(partition, id.clone());
                assert_eq!(before, None, "{partition:?} is also with {id}");
            }
            assert!(current.epoch <= group.assignment_epoch, "{id}: {current:?}");
            let revokes = current.state == MemberState::Revoking;
            assert_eq!(revokes, !current.revoking.is_empty(), "{id}: {current:?}");
        }
        assert_eq!(owners, group.owners);
        assert!(group.assignment_epoch <= group.epoch);
        assert!(self.group_epoch <= group.epoch, "the group epoch went back");
        self.group_epoch = group.epoch;
        if !self.ordered {
            return;
        }
        for client in self.clients.iter().filter(|client| client.up) {
            let Some(member) = group.members.get(&client.member_id) else {
                continue;
            };
            let current = &member.current;
            if client.epoch != current.epoch && client.epoch != current.previous_epoch {
                continue;
            }
            // The classic protocol has names, which say nothing of topics that are gone.
            let exists = |topic: &TopicId| self.topics.has(*topic);
            for partition in partitions(&client.owned).filter(|(topic, _)| exists(topic)) {
                assert_eq!(
                    owners.get(&partition),
                    Some(&client.member_id),
                    "{partition:?} is read by {client:?}, whose member is {current:?}"
                );
            }
        }
    }

    fn converged(&self) -> bool {
        let group = &self.group;
        let live: Vec<&Client> = self.clients.iter().filter(|client| client.up).collect();
        if group.members.len() != live.len() {
            return false;
        }
        if live.is_empty() {
            return group.state() == ConsumerGroupState::Empty;
        }
        let settled = group.state() == ConsumerGroupState::Stable
            && group.topics_version == Some(self.topics.version())
            && live.iter().all(|client| {
                let member = group.members.get(&client.member_id);
                member.is_some_and(|member| {
                    client.epoch == group.assignment_epoch
                        && client.owned == member.current.assigned
                        && member.current.assigned == member.target
                        && member.subscription.topics == client.topics
                })
            });
        if settled {
            self.check_cover();
        }
        settled
    }

    /// Every partition that somebody subscribes to is with somebody who does.
    fn check_cover(&self) {
        let group = &self.group;
        for name in self.topics.names() {
            let facts = self.topics.find(&name).unwrap();
            let wanted = group.subscribes_to(&name);
            for index in 0..facts.partitions {
                let owner = group.owners.get(&(facts.id, index));
                assert_eq!(owner.is_some(), wanted, "{name}-{index} of {owner:?}");
                if let Some(owner) = owner {
                    let subscription = &group.members[owner].subscription;
                    assert!(group.is_subscribed(subscription, &name));
                }
            }
        }
    }

    /// Runs to convergence; when that was.
    fn run(mut self) -> (i64, i32) {
        loop {
            let at_ms = self.events.next_ms().unwrap_or(i64::MAX);
            if let Some(due_ms) = self.group.next_deadline_ms().filter(|due| *due <= at_ms) {
                self.now_ms = self.now_ms.max(due_ms);
                let changes = self
                    .group
                    .handle_timeout(self.now_ms, &self.topics, &self.config);
                self.write(changes);
                self.check();
                continue;
            }
            let Some((at_ms, event)) = self.events.pop() else {
                break;
            };
            self.now_ms = at_ms;
            match event {
                Event::Arrives {
                    client,
                    call,
                    request,
                    copies,
                } => {
                    for _ in 0..copies {
                        self.arrives(client, call, request.clone());
                    }
                }
                Event::Answered {
                    client,
                    call,
                    answer,
                } if self.clients[client].call == call && self.clients[client].up => {
                    // The call is over: its patience no longer matters.
                    self.next += 1;
                    self.clients[client].call = self.next;
                    self.answered(client, answer);
                }
                Event::Wakes { client, call } if self.clients[client].call == call => {
                    // Nobody answered: what was said may be lost.
                    let this = &mut self.clients[client];
                    this.full |= this.waits && !this.classic;
                    self.wakes(client);
                }
                Event::Answered { .. } | Event::Wakes { .. } => {}
                Event::Revoked { client, life } => self.revoked(client, life),
                Event::Fate { client } => self.fate(client),
                Event::Topic => self.topic(),
                Event::Synced { written } => {
                    self.log.sync(written);
                    self.flush();
                }
                Event::Restart => self.restart(),
            }
            self.check();
            if self.now_ms > CHAOS_MS + 20_000 && self.converged() {
                return (self.now_ms, self.group.epoch);
            }
            assert!(
                self.now_ms < END_MS,
                "not converged: {:?}, {:?}",
                self.group,
                self.clients
            );
        }
        assert!(self.converged(), "ran dry: {:?}", self.group);
        (self.now_ms, self.group.epoch)
    }
}

#[test]
fn every_schedule_keeps_one_owner_per_partition_and_converges() {
    for_seeds(SEEDS, |seed| {
        World::new(seed).run();
    });
}

#[test]
fn a_seed_runs_the_same_twice() {
    for seed in 0..20 {
        assert_eq!(
            World::new(seed).run(),
            World::new(seed).run(),
            "seed {seed}"
        );
    }
}
