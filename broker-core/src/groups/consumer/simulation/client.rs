//! What consumers of either protocol do.

use std::collections::BTreeSet;

use super::{
    Answer, Assignment, ErrorCode, Event, HEARTBEAT_MS, Heartbeat, HeartbeatReply, JOIN_EPOCH,
    JoinReply, JoinRequest, LEAVE_EPOCH, NamedPartitions, Protocol, Request, SESSION_MS,
    STATIC_LEAVE_EPOCH, SyncRequest, TopicView, World, partitions, write_assignment,
};

impl World {
    /// Tells the coordinator how it is, or joins.
    pub(super) fn report(&mut self, client: usize) {
        let this = &self.clients[client];
        match (this.classic, this.epoch) {
            (false, _) => self.heartbeat(client),
            (true, JOIN_EPOCH) => self.join(client),
            (true, generation) => {
                let request = Request::Beat {
                    member_id: this.member_id.clone(),
                    instance_id: this.instance_id.clone(),
                    generation,
                };
                self.send(client, request);
            }
        }
    }

    fn join(&mut self, client: usize) {
        let this = &mut self.clients[client];
        // Until it has synced it may not read or commit.
        this.full = true;
        let owned = &this.owned;
        let named: NamedPartitions = self
            .topics
            .names()
            .into_iter()
            .filter_map(|name| {
                let indexes = owned.get(&self.topics.find(&name)?.id)?;
                Some((name, indexes.clone()))
            })
            .collect();
        let request = JoinRequest {
            member_id: this.member_id.clone(),
            instance_id: this.instance_id.clone(),
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: 5_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol {
                name: "cooperative-sticky".to_owned(),
                metadata: write_subscription(&this.topics, &named).into(),
            }],
            needs_known_member_id: this.instance_id.is_none(),
            knows_skip_assignment: true,
            fresh_member_id: String::new(),
        };
        self.send(client, Request::Join(request));
    }

    fn sync(&mut self, client: usize) {
        let this = &self.clients[client];
        let request = SyncRequest {
            member_id: this.member_id.clone(),
            instance_id: this.instance_id.clone(),
            generation: this.epoch,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("cooperative-sticky".to_owned()),
            assignments: Vec::new(),
        };
        self.send(client, Request::Sync(request));
    }

    fn heartbeat(&mut self, client: usize) {
        let this = &mut self.clients[client];
        let joins = this.epoch == JOIN_EPOCH;
        let full = this.full || joins;
        this.full = false;
        let request = Heartbeat {
            member_id: this.member_id.clone(),
            member_epoch: this.epoch,
            instance_id: this.instance_id.clone(),
            rebalance_timeout_ms: full.then_some(5_000),
            topics: full.then(|| this.topics.clone()),
            regex: this.regex.clone().filter(|_| full),
            owned: Some(this.owned.clone()),
            ..Heartbeat::default()
        };
        self.send(client, Request::Heartbeat(request));
    }

    /// What a consumer does with an answer.
    pub(super) fn answered(&mut self, client: usize, answer: Answer) {
        let error = match answer {
            Answer::Heartbeat(Ok(reply)) => return self.told(client, reply),
            Answer::Commit(Ok(()) | Err(ErrorCode::STALE_MEMBER_EPOCH))
            | Answer::Beat(ErrorCode::NONE) => return self.report_later(client),
            Answer::Join(reply) if reply.error == ErrorCode::NONE => {
                let this = &mut self.clients[client];
                this.member_id = reply.member_id;
                this.epoch = reply.generation;
                return self.sync(client);
            }
            Answer::Join(reply) if reply.error == ErrorCode::MEMBER_ID_REQUIRED => {
                self.clients[client].member_id = reply.member_id;
                return self.join(client);
            }
            Answer::Sync(ErrorCode::NONE, assigned) => return self.synced(client, assigned),
            Answer::Heartbeat(Err(error))
            | Answer::Commit(Err(error))
            | Answer::Join(JoinReply { error, .. })
            | Answer::Sync(error, _)
            | Answer::Beat(error) => error,
        };
        let this = &mut self.clients[client];
        match error {
            ErrorCode::REBALANCE_IN_PROGRESS => self.join(client),
            ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION => {
                this.owned.clear();
                this.told.clear();
                this.epoch = JOIN_EPOCH;
                if this.classic && error == ErrorCode::UNKNOWN_MEMBER_ID {
                    this.member_id.clear();
                }
                self.report(client);
            }
            // Somebody took its place, or, for a retry of a start, has it still.
            ErrorCode::FENCED_INSTANCE_ID => this.up = false,
            ErrorCode::UNRELEASED_INSTANCE_ID => {
                this.epoch = JOIN_EPOCH;
                self.report_later(client);
            }
            ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                this.full = true;
                self.report_later(client);
            }
            error => panic!("unexpected {}", error.name()),
        }
    }

    fn told(&mut self, client: usize, reply: HeartbeatReply) {
        let slow_ms = self.random.below(3_000);
        let this = &mut self.clients[client];
        this.epoch = reply.member_epoch;
        if let Some(assignment) = reply.assignment {
            for (topic, index) in partitions(&assignment) {
                this.owned.entry(topic).or_default().insert(index);
            }
            this.told = assignment;
            let life = this.life;
            if this.owned != this.told {
                let at_ms = self.now_ms + slow_ms;
                self.events.at(at_ms, Event::Revoked { client, life });
            }
        }
        self.report_later(client);
    }

    fn synced(&mut self, client: usize, assigned: Assignment) {
        let this = &mut self.clients[client];
        this.full = false;
        let gave_up = partitions(&this.owned).any(|(topic, index)| {
            let kept = assigned.get(&topic);
            !kept.is_some_and(|indexes| indexes.contains(&index))
        });
        this.owned.clone_from(&assigned);
        this.told = assigned;
        if gave_up {
            self.join(client);
        } else {
            self.report_later(client);
        }
    }

    fn report_later(&mut self, client: usize) {
        self.next += 1;
        let call = self.next;
        self.clients[client].call = call;
        self.clients[client].waits = false;
        let at_ms = self.now_ms + HEARTBEAT_MS;
        self.events.at(at_ms, Event::Wakes { client, call });
    }

    pub(super) fn revoked(&mut self, client: usize, life: u64) {
        let this = &mut self.clients[client];
        if !this.up || this.life != life {
            return;
        }
        this.owned = this.told.clone();
        this.owned.retain(|_, indexes| !indexes.is_empty());
        if this.epoch != JOIN_EPOCH {
            self.heartbeat(client);
        }
    }

    pub(super) fn wakes(&mut self, client: usize) {
        if !self.clients[client].up {
            return;
        }
        let this = &mut self.clients[client];
        // Its join or sync was not answered.
        if this.classic && this.full && this.waits {
            self.join(client);
            return;
        }
        if this.epoch != JOIN_EPOCH && !this.owned.is_empty() && self.random.percent(30) {
            let request = Request::Commit {
                member_id: this.member_id.clone(),
                epoch: this.epoch,
                partitions: partitions(&this.owned).collect(),
                offset: self.now_ms,
            };
            self.send(client, request);
            return;
        }
        if this.classic && this.full {
            self.join(client);
            return;
        }
        this.full |= !this.classic && self.random.percent(30);
        self.report(client);
    }

    pub(super) fn fate(&mut self, client: usize) {
        self.next += 1;
        let this = &mut self.clients[client];
        if !this.up {
            this.up = true;
            this.life = self.next;
            this.member_id = format!("member-{}", self.next);
            if this.classic {
                this.member_id.clear();
            }
            this.epoch = JOIN_EPOCH;
            this.owned.clear();
            this.told.clear();
            self.report(client);
            return;
        }
        if self.random.percent(20) {
            // It subscribes to something else.
            let topics: &[&str] = self.random.pick(&[&["a", "b"][..], &["c"], &["a", "d"]]);
            this.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
            this.full = true;
            return;
        }
        if self.random.percent(50) {
            let epoch = match this.instance_id {
                Some(_) if !this.classic && self.random.percent(70) => STATIC_LEAVE_EPOCH,
                _ => LEAVE_EPOCH,
            };
            let request = Request::Leave {
                member_id: this.member_id.clone(),
                instance_id: this.instance_id.clone(),
                epoch,
            };
            this.owned.clear();
            self.send(client, request);
        }
        let this = &mut self.clients[client];
        this.up = false;
        this.call = 0;
        this.owned.clear();
        if self.random.percent(70) {
            let at_ms = self.now_ms + self.random.below(15_000);
            self.events.at(at_ms, Event::Fate { client });
        }
    }
}

/// A subscription of version 1.
fn write_subscription(topics: &BTreeSet<String>, owned: &NamedPartitions) -> Vec<u8> {
    let mut out = vec![0, 1];
    out.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        out.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend((-1_i32).to_be_bytes());
    // An assignment is the same between its version and its user data.
    let assignment = write_assignment(1, owned);
    out.extend(&assignment[2..assignment.len() - 4]);
    out
}
