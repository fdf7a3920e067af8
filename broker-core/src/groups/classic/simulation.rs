//! Seeded schedules against the state machine: consumers that join, commit, crash, leave and restart
//! over a network that loses, delays and duplicates, with a coordinator that restarts from its log,
//! of which it may lose what was not synced, and whose log now and then takes nothing.
//!
//! Checked at every step: a partition has one owner per generation, generations that were handed
//! out never go back, and no committed offset moves without a request. Checked at the end, once the
//! network is well: all live consumers are in one stable generation that covers every partition.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{
    ClassicConfig, ClassicGroup, Effects, GroupState, JoinReply, JoinRequest, Protocol, Reply,
    RequestToken, SyncReply, SyncRequest,
};
use crate::error::ErrorCode;
use crate::groups::offsets::GroupOffsets;
use crate::groups::record::{self, GroupMetadata, RecordKey};
use crate::groups::simulation::{Commits, GROUP, Log, Random, Schedule, for_seeds};

const SEEDS: u64 = 1_500;
const PARTITIONS: usize = 7;
const CHAOS_MS: i64 = 60_000;
const END_MS: i64 = CHAOS_MS + 420_000;
const SESSION_MS: i32 = 10_000;
const HEARTBEAT_MS: i64 = 3_000;

#[derive(Debug, Clone)]
enum Request {
    Join(JoinRequest),
    Sync(SyncRequest),
    Heartbeat {
        member_id: String,
        instance_id: Option<String>,
        generation: i32,
    },
    Leave {
        member_id: String,
    },
    /// Of everything that the member owns, at this offset.
    Commit {
        member_id: String,
        instance_id: Option<String>,
        generation: i32,
        owned: Vec<u8>,
        offset: i64,
    },
}

#[derive(Debug, Clone)]
enum Event {
    Arrives {
        client: usize,
        call: u64,
        request: Request,
    },
    Answered {
        client: usize,
        call: u64,
        answer: Answer,
    },
    /// The client gives up on a call, or heartbeats.
    Wakes {
        client: usize,
        call: u64,
    },
    /// Something happens to a client.
    Fate {
        client: usize,
    },
    /// The log is synced up to here.
    Synced {
        written: usize,
    },
    Restart,
}

#[derive(Debug, Clone)]
enum Answer {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(ErrorCode),
    Commit(ErrorCode),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down,
    Joining,
    Syncing,
    Member,
}

struct Client {
    instance_id: Option<String>,
    version: i16,
    phase: Phase,
    member_id: String,
    generation: i32,
    leads: Option<Vec<String>>,
    owned: Vec<u8>,
    /// Identifies the call in flight; answers to others are stale.
    call: u64,
}

struct World {
    random: Random,
    now_ms: i64,
    group: ClassicGroup,
    config: ClassicConfig,
    log: Log,
    offsets: GroupOffsets,
    commits: Commits,
    /// Answers that wait until the log is synced up to there: client, call, who the assignment is
    /// for in which generation.
    unsent: Vec<(usize, usize, u64, Answer, String, i32)>,
    clients: Vec<Client>,
    events: Schedule<Event>,
    next: u64,
    /// Who waits: client, call, and who the assignment would belong to.
    tokens: HashMap<RequestToken, (usize, u64, String)>,
    /// Generation and partition to owner.
    owners: BTreeMap<(i32, u8), String>,
    synced_generation: i32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let config = ClassicConfig {
            initial_rebalance_delay_ms: [0, 3_000][usize::from(random.percent(50))],
            size_max: 100,
        };
        let count = 1 + random.below(5);
        let clients = (0..count)
            .map(|index| Client {
                instance_id: random.percent(30).then(|| format!("instance-{index}")),
                version: [3, 5, 9][usize::try_from(random.below(3)).unwrap()],
                phase: Phase::Down,
                member_id: String::new(),
                generation: -1,
                leads: None,
                owned: Vec::new(),
                call: 0,
            })
            .collect::<Vec<_>>();
        let mut world = Self {
            random,
            now_ms: 0,
            group: ClassicGroup::new(config, 0),
            config,
            log: Log::default(),
            offsets: GroupOffsets::default(),
            commits: Commits::default(),
            unsent: Vec::new(),
            clients,
            events: Schedule::new(),
            next: 0,
            tokens: HashMap::new(),
            owners: BTreeMap::new(),
            synced_generation: 0,
        };
        for client in 0..world.clients.len() {
            // Static members need JoinGroup v5.
            if world.clients[client].instance_id.is_some() {
                world.clients[client].version = world.clients[client].version.max(5);
            }
            let at_ms = world.random.below(5_000);
            world.events.at(at_ms, Event::Fate { client });
            for _ in 0..world.random.below(4) {
                let at_ms = world.random.below(CHAOS_MS);
                world.events.at(at_ms, Event::Fate { client });
            }
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
        let copies = match self.random.below(100) {
            0..5 if self.chaos() => 0,
            5..10 if self.chaos() => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let at_ms = self.now_ms + self.delay();
            let request = request.clone();
            self.events.at(
                at_ms,
                Event::Arrives {
                    client,
                    call,
                    request,
                },
            );
        }
        let patience_ms = if matches!(request, Request::Join(_)) {
            30_000
        } else {
            15_000
        };
        self.events
            .at(self.now_ms + patience_ms, Event::Wakes { client, call });
    }

    /// Answers once everything written so far is durable.
    fn answer(&mut self, client: usize, call: u64, answer: Answer, owner: String) {
        let (written, generation) = (self.log.written(), self.group.generation());
        self.unsent
            .push((written, client, call, answer, owner, generation));
        self.flush();
    }

    fn transmit(&mut self, client: usize, call: u64, answer: Answer) {
        if self.chaos() && self.random.percent(5) {
            return;
        }
        let at_ms = self.now_ms + self.delay();
        self.events.at(
            at_ms,
            Event::Answered {
                client,
                call,
                answer,
            },
        );
    }

    fn join(&mut self, client: usize) {
        let this = &mut self.clients[client];
        this.phase = Phase::Joining;
        this.owned.clear();
        let request = JoinRequest {
            member_id: this.member_id.clone(),
            instance_id: this.instance_id.clone(),
            client_id: format!("client-{client}"),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: 12_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol {
                name: "range".to_owned(),
                metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 0]),
            }],
            needs_known_member_id: this.version >= 4 && this.instance_id.is_none(),
            knows_skip_assignment: this.version >= 9,
            fresh_member_id: String::new(),
        };
        self.send(client, Request::Join(request));
    }

    fn sync(&mut self, client: usize) {
        let this = &mut self.clients[client];
        this.phase = Phase::Syncing;
        let assignments = match &this.leads {
            None => Vec::new(),
            Some(members) => {
                let mut shares = vec![Vec::new(); members.len()];
                for partition in 0..PARTITIONS {
                    shares[partition % members.len()].push(u8::try_from(partition).unwrap());
                }
                members
                    .iter()
                    .cloned()
                    .zip(shares.into_iter().map(Bytes::from))
                    .collect()
            }
        };
        let request = SyncRequest {
            member_id: this.member_id.clone(),
            instance_id: this.instance_id.clone(),
            generation: this.generation,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments,
        };
        self.send(client, Request::Sync(request));
    }

    fn heartbeat(&mut self, client: usize) {
        let commits = self.random.percent(30);
        let this = &self.clients[client];
        if commits {
            let request = Request::Commit {
                member_id: this.member_id.clone(),
                instance_id: this.instance_id.clone(),
                generation: this.generation,
                owned: this.owned.clone(),
                offset: self.now_ms,
            };
            self.send(client, request);
            return;
        }
        let request = Request::Heartbeat {
            member_id: this.member_id.clone(),
            instance_id: this.instance_id.clone(),
            generation: this.generation,
        };
        self.send(client, request);
    }

    fn apply(&mut self, mut effects: Effects) {
        if effects.record.is_some() && self.chaos() && self.random.percent(2) {
            self.group.handle_write_failure(self.now_ms, &mut effects);
        }
        if let Some(metadata) = effects.record {
            let group = GROUP.to_owned();
            let key = RecordKey::Group { group }.encode().unwrap();
            let value = record::encode_group(&metadata).unwrap();
            self.write([(key, Some(value))]);
        }
        for (token, reply) in effects.replies {
            // A restart forgets who waits.
            let Some((client, call, owner)) = self.tokens.remove(&token) else {
                continue;
            };
            let answer = match reply {
                Reply::Join(reply) => Answer::Join(reply),
                Reply::Sync(reply) => Answer::Sync(reply),
            };
            self.answer(client, call, answer, owner);
        }
    }

    fn write(&mut self, records: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
        self.log.append(records);
        self.sync_soon();
    }

    fn sync_soon(&mut self) {
        let written = self.log.written();
        let at_ms = self.now_ms + self.random.below(20);
        self.events.at(at_ms, Event::Synced { written });
    }

    /// Sends what is durable.
    fn flush(&mut self) {
        let (ready, unsent) = std::mem::take(&mut self.unsent)
            .into_iter()
            .partition(|(written, ..)| self.log.is_durable(*written));
        self.unsent = unsent;
        for (_, client, call, answer, owner, generation) in ready {
            if let Answer::Sync(reply) = &answer
                && reply.error == ErrorCode::NONE
            {
                self.check_ownership(&owner, generation, reply);
            }
            self.transmit(client, call, answer);
        }
    }

    fn check_ownership(&mut self, owner: &str, generation: i32, reply: &SyncReply) {
        assert!(
            generation >= self.synced_generation,
            "generation went back from {} to {generation}",
            self.synced_generation
        );
        self.synced_generation = generation;
        for partition in &reply.assignment {
            let before = self
                .owners
                .entry((generation, *partition))
                .or_insert_with(|| owner.to_owned());
            assert_eq!(
                *before, owner,
                "partition {partition} of generation {generation} has two owners"
            );
        }
    }

    fn arrives(&mut self, client: usize, call: u64, request: Request) {
        self.next += 1;
        let token = RequestToken(self.next);
        let now_ms = self.now_ms;
        match request {
            Request::Join(mut request) => {
                request.fresh_member_id = format!("member-{}", self.next);
                self.tokens.insert(token, (client, call, String::new()));
                let effects = self.group.handle_join(now_ms, token, request);
                self.apply(effects);
            }
            Request::Sync(request) => {
                // A static member keeps what it owns under a new member id.
                let owner = request.instance_id.as_ref().unwrap_or(&request.member_id);
                self.tokens.insert(token, (client, call, owner.clone()));
                let effects = self.group.handle_sync(now_ms, token, request);
                self.apply(effects);
            }
            Request::Heartbeat {
                member_id,
                instance_id,
                generation,
            } => {
                let error = self.group.handle_heartbeat(
                    now_ms,
                    &member_id,
                    instance_id.as_deref(),
                    generation,
                );
                self.answer(client, call, Answer::Heartbeat(error), String::new());
            }
            Request::Commit {
                member_id,
                instance_id,
                generation,
                owned,
                offset,
            } => {
                let instance_id = instance_id.as_deref();
                let checked = self
                    .group
                    .check_commit(now_ms, &member_id, instance_id, generation);
                if checked.is_ok() {
                    let commits: Vec<((String, i32), i64)> = owned
                        .into_iter()
                        .map(|partition| (("t".to_owned(), i32::from(partition)), offset))
                        .collect();
                    self.commits
                        .accept(&mut self.log, &mut self.offsets, &commits);
                    self.sync_soon();
                }
                let answer = Answer::Commit(checked.err().unwrap_or_default());
                self.answer(client, call, answer, String::new());
            }
            Request::Leave { member_id } => {
                let mut effects = Effects::default();
                let _: ErrorCode = self
                    .group
                    .handle_leave(now_ms, &member_id, None, &mut effects);
                self.apply(effects);
            }
        }
    }

    /// What a consumer does with an answer.
    fn answered(&mut self, client: usize, answer: Answer) {
        let error = match &answer {
            Answer::Join(reply) => reply.error,
            Answer::Sync(reply) => reply.error,
            Answer::Heartbeat(error) | Answer::Commit(error) => *error,
        };
        match (error, answer) {
            (ErrorCode::NONE, Answer::Join(reply)) => {
                let this = &mut self.clients[client];
                this.generation = reply.generation;
                this.member_id.clone_from(&reply.member_id);
                let leads = reply.leader == reply.member_id && !reply.skip_assignment;
                this.leads =
                    leads.then(|| reply.members.into_iter().map(|member| member.id).collect());
                self.sync(client);
            }
            (ErrorCode::NONE, Answer::Sync(reply)) => {
                let this = &mut self.clients[client];
                this.owned = reply.assignment.to_vec();
                this.phase = Phase::Member;
                let call = this.call;
                self.events
                    .at(self.now_ms + HEARTBEAT_MS, Event::Wakes { client, call });
            }
            (ErrorCode::NONE, Answer::Heartbeat(_) | Answer::Commit(_)) => {
                let call = self.clients[client].call;
                self.events
                    .at(self.now_ms + HEARTBEAT_MS, Event::Wakes { client, call });
            }
            (ErrorCode::MEMBER_ID_REQUIRED, Answer::Join(reply)) => {
                self.clients[client].member_id = reply.member_id;
                self.join(client);
            }
            (ErrorCode::FENCED_INSTANCE_ID | ErrorCode::UNKNOWN_MEMBER_ID, _) => {
                self.clients[client].member_id.clear();
                self.join(client);
            }
            (
                ErrorCode::REBALANCE_IN_PROGRESS
                | ErrorCode::ILLEGAL_GENERATION
                | ErrorCode::COORDINATOR_NOT_AVAILABLE,
                _,
            ) => self.join(client),
            (error, answer) => panic!("unexpected {} in {answer:?}", error.name()),
        }
    }

    fn fate(&mut self, client: usize) {
        match self.clients[client].phase {
            Phase::Down => self.join(client),
            _ => {
                if self.random.percent(50) && self.clients[client].instance_id.is_none() {
                    let member_id = self.clients[client].member_id.clone();
                    self.send(client, Request::Leave { member_id });
                }
                let this = &mut self.clients[client];
                this.phase = Phase::Down;
                this.call = 0;
                this.member_id.clear();
                this.owned.clear();
                if self.random.percent(70) {
                    let at_ms = self.now_ms + self.random.below(15_000);
                    self.events.at(at_ms, Event::Fate { client });
                }
            }
        }
    }

    fn restart(&mut self) {
        self.tokens.clear();
        self.unsent.clear();
        let replayed = self.log.crash(&mut self.random);
        self.offsets = replayed.offsets;
        self.commits.restarted(&self.log, &self.offsets);
        self.group = match replayed.metadata {
            Some(metadata) => {
                let metadata: GroupMetadata = metadata;
                let group = ClassicGroup::restore(self.config, &metadata, self.now_ms);
                assert_eq!(group.metadata(), metadata, "a restart changes nothing");
                group
            }
            None => ClassicGroup::new(self.config, self.now_ms),
        };
    }

    fn wakes(&mut self, client: usize) {
        match self.clients[client].phase {
            Phase::Down => {}
            Phase::Joining | Phase::Syncing => self.join(client),
            Phase::Member => self.heartbeat(client),
        }
    }

    fn converged(&self) -> bool {
        let live: Vec<&Client> = self
            .clients
            .iter()
            .filter(|client| client.phase != Phase::Down)
            .collect();
        let members = self.group.describe_members();
        if live.is_empty() {
            return self.group.state() == GroupState::Empty;
        }
        let mut owned: Vec<u8> = live
            .iter()
            .flat_map(|client| client.owned.clone())
            .collect();
        owned.sort_unstable();
        self.group.state() == GroupState::Stable
            && members.len() == live.len()
            && live.iter().all(|client| {
                client.phase == Phase::Member && client.generation == self.group.generation()
            })
            && owned == (0..u8::try_from(PARTITIONS).unwrap()).collect::<Vec<_>>()
    }

    /// Runs to convergence; when that was.
    fn run(mut self) -> (i64, i32) {
        loop {
            let at_ms = self.events.next_ms().unwrap_or(i64::MAX);
            if let Some(due_ms) = self.group.next_deadline_ms().filter(|due| *due <= at_ms) {
                self.now_ms = self.now_ms.max(due_ms);
                let effects = self.group.handle_timeout(self.now_ms);
                self.apply(effects);
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
                } => self.arrives(client, call, request),
                Event::Answered {
                    client,
                    call,
                    answer,
                } if self.clients[client].call == call => {
                    // The call is over: its patience no longer matters.
                    self.next += 1;
                    self.clients[client].call = self.next;
                    self.answered(client, answer);
                }
                Event::Wakes { client, call } if self.clients[client].call == call => {
                    self.wakes(client);
                }
                Event::Answered { .. } | Event::Wakes { .. } => {}
                Event::Fate { client } => self.fate(client),
                Event::Synced { written } => {
                    self.log.sync(written);
                    self.flush();
                }
                Event::Restart => self.restart(),
            }
            let all_quiet = self.now_ms > CHAOS_MS + 20_000;
            if all_quiet && self.converged() {
                return (self.now_ms, self.group.generation());
            }
            assert!(
                self.now_ms < END_MS,
                "not converged: {:?}, {:?}",
                self.group,
                self.clients
                    .iter()
                    .map(|c| (c.phase, &c.member_id, c.generation, &c.owned))
                    .collect::<Vec<_>>()
            );
        }
        assert!(self.converged(), "ran dry: {:?}", self.group);
        (self.now_ms, self.group.generation())
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
