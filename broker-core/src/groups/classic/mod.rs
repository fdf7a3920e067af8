//! One classic consumer group as a state machine without I/O (KIP-62, 134, 345, 394, 559, 814).
//!
//! ```text
//!           first join                    every member joined, or deadline
//!   Empty ------------> PreparingRebalance -----------------> CompletingRebalance
//!     ^                   ^      |  nobody left                     | leader synced
//!     +-------------------|------+                                  v
//!                         +---------- join, leave, timeout ------ Stable
//! ```
//!
//! `handle_*` methods take the time and answer with [`Effects`]: the replies that became due and the
//! group's record when it must be written before they are sent. Requests that have to wait are
//! remembered by their [`RequestToken`]. Timers are one number: [`ClassicGroup::next_deadline_ms`]
//! says when [`ClassicGroup::handle_timeout`] wants to be called.
//!
//! Knows nothing of offsets, other groups, tasks or the protocol's encodings. Next: `join.rs` (who
//! gets in), `rebalance.rs` (how a generation comes to be), `member.rs`.

mod join;
mod member;
mod rebalance;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use self::member::Member;
use crate::error::ErrorCode;
use crate::groups::record::{GroupMetadata, MemberMetadata};

/// How long a member that just joined without having an id may stay silent: it cannot heartbeat
/// before its first join is answered. Kafka's constant.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// Protocol type of groups whose metadata are consumer subscriptions.
const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members; offsets may be kept.
    Empty,
    /// Waiting for the members to (re)join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// Deleted.
    Dead,
}

impl GroupState {
    /// Kafka's name of the state, as in ListGroups and DescribeGroups.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// Names a request that waits for its answer; unique within the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestToken(pub u64);

/// An assignment strategy a member offers, with the member's metadata for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Name, for example `range`.
    pub name: String,
    /// Opaque to the broker, except for the topics of consumer subscriptions.
    pub metadata: Bytes,
}

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Empty for a member that has none yet.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`, shown by DescribeGroups.
    pub client_id: String,
    /// The peer's address, shown by DescribeGroups.
    pub client_host: String,
    /// How long the member may stay silent.
    pub session_timeout_ms: i32,
    /// How long the group waits for the member in a rebalance.
    pub rebalance_timeout_ms: i32,
    /// For example `consumer`.
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// v4+: a member without an id is told its id first (KIP-394).
    pub needs_known_member_id: bool,
    /// v9+: the client understands `skip_assignment` (KIP-814).
    pub knows_skip_assignment: bool,
    /// The id given if the member needs one: randomness is an argument.
    pub fresh_member_id: String,
}

/// Answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// -1 on error.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The strategy chosen for this generation.
    pub protocol_name: Option<String>,
    /// Member id of the leader; empty on error.
    pub leader: String,
    /// The leader need not assign: the group keeps its assignment (KIP-814).
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: String,
    /// All members with their metadata; only for the leader.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A refusal.
    #[must_use]
    pub fn error(error: ErrorCode, member_id: &str) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A SyncGroup request.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Generation the member joined.
    pub generation: i32,
    /// v5+: checked when present.
    pub protocol_type: Option<String>,
    /// v5+: checked when present.
    pub protocol_name: Option<String>,
    /// Only the leader's count: (member id, assignment).
    pub assignments: Vec<(String, Bytes)>,
}

/// Answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReply {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The strategy of this generation.
    pub protocol_name: Option<String>,
    /// The member's share; empty on error.
    pub assignment: Bytes,
}

impl SyncReply {
    /// A refusal.
    #[must_use]
    pub const fn error(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

/// An answer that became due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a JoinGroup.
    Join(JoinReply),
    /// To a SyncGroup.
    Sync(SyncReply),
}

/// What a change asks of the world.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Answers that became due, each to the request of its token.
    pub replies: Vec<(RequestToken, Reply)>,
    /// The group as it must be durable before the answers are sent.
    pub record: Option<GroupMetadata>,
}

impl Effects {
    fn join(&mut self, token: RequestToken, reply: JoinReply) {
        self.replies.push((token, Reply::Join(reply)));
    }

    fn sync(&mut self, token: RequestToken, reply: SyncReply) {
        self.replies.push((token, Reply::Sync(reply)));
    }
}

/// Settings of the state machine.
#[derive(Debug, Clone, Copy)]
pub struct ClassicConfig {
    /// How long an empty group waits for more members before its first generation.
    pub initial_rebalance_delay_ms: i32,
    /// Members a group may have.
    pub size_max: usize,
}

/// One member as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Member id.
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Peer address.
    pub client_host: String,
    /// Metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// One member as another coordinator of its group takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// Member id.
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Peer address.
    pub client_host: String,
    /// How long it may stay silent.
    pub session_timeout_ms: i32,
    /// How long the group waits for it.
    pub rebalance_timeout_ms: i32,
    /// What it offers, in its order of preference.
    pub protocols: Vec<Protocol>,
    /// Its share of the generation.
    pub assignment: Bytes,
    /// Whether that is what it has: between join and sync nobody has a share.
    pub is_assigned: bool,
}

/// When the join phase ends though not everybody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JoinPhase {
    /// First rebalance of an empty group: collects members for a moment, longer while they come.
    Initial {
        deadline_ms: i64,
        remaining_ms: i64,
        member_added: bool,
    },
    /// Later rebalances: over as soon as every member rejoined.
    Rejoin { deadline_ms: i64 },
}

/// Members of the generation that have not fetched their assignment yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SyncPhase {
    deadline_ms: i64,
    missing: BTreeSet<String>,
}

/// A classic consumer group.
#[derive(Debug)]
pub struct ClassicGroup {
    config: ClassicConfig,
    state: GroupState,
    state_since_ms: i64,
    generation: i32,
    protocol_type: Option<String>,
    protocol_name: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Instance id to member id.
    static_members: BTreeMap<String, String>,
    /// Ids given out by MEMBER_ID_REQUIRED, each until its deadline.
    pending_members: BTreeMap<String, i64>,
    join_phase: Option<JoinPhase>,
    sync_phase: Option<SyncPhase>,
    /// Topics of all members of a consumer group; `None` when they cannot be known.
    subscribed_topics: Option<BTreeSet<String>>,
}

impl ClassicGroup {
    /// An empty group of generation 0.
    #[must_use]
    pub const fn new(config: ClassicConfig, now_ms: i64) -> Self {
        Self {
            config,
            state: GroupState::Empty,
            state_since_ms: now_ms,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            join_phase: None,
            sync_phase: None,
            subscribed_topics: None,
        }
    }

    /// The group its last record describes: stable with the members' sessions starting now, or empty.
    #[must_use]
    pub fn restore(config: ClassicConfig, metadata: &GroupMetadata, now_ms: i64) -> Self {
        let mut group = Self::new(config, now_ms);
        group.generation = metadata.generation;
        group.protocol_type =
            Some(metadata.protocol_type.clone()).filter(|protocol_type| !protocol_type.is_empty());
        group.protocol_name.clone_from(&metadata.protocol_name);
        if metadata.state_since_ms >= 0 {
            group.state_since_ms = metadata.state_since_ms;
        }
        for member in &metadata.members {
            if let Some(instance_id) = &member.instance_id {
                group
                    .static_members
                    .insert(instance_id.clone(), member.id.clone());
            }
            let protocol_name = metadata.protocol_name.as_deref().unwrap_or_default();
            group.members.insert(
                member.id.clone(),
                Member::restore(member, protocol_name, now_ms),
            );
        }
        // A leader that is not a member could never sync: the first member takes its place.
        group.leader = metadata
            .leader
            .clone()
            .filter(|leader| group.members.contains_key(leader))
            .or_else(|| group.members.keys().next().cloned());
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// The group as its record.
    #[must_use]
    pub fn metadata(&self) -> GroupMetadata {
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self
                .members
                .iter()
                .map(|(id, member)| MemberMetadata {
                    id: id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.metadata(self.protocol_name.as_deref()),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        }
    }

    /// Where the group is in its life.
    #[must_use]
    pub const fn state(&self) -> GroupState {
        self.state
    }

    /// Since when it is in this state.
    #[must_use]
    pub const fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    /// Number of the current generation, from 1; 0 before the first.
    #[must_use]
    pub const fn generation(&self) -> i32 {
        self.generation
    }

    /// `None` for a group that only ever committed offsets (a simple group).
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The strategy of the current generation.
    #[must_use]
    pub fn protocol_name(&self) -> Option<&str> {
        self.protocol_name.as_deref()
    }

    /// Whether anybody is or may soon be a member.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !self.members.is_empty() || !self.pending_members.is_empty()
    }

    /// Whether the members' consumer subscriptions name the topic. `None` when that cannot be known
    /// (another protocol type, or metadata that is no subscription).
    #[must_use]
    pub fn subscribes_to(&self, topic: &str) -> Option<bool> {
        self.subscribed_topics
            .as_ref()
            .map(|topics| topics.contains(topic))
    }

    /// Whether the group speaks the consumer protocol.
    #[must_use]
    pub fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Members as DescribeGroups shows them, sorted by id.
    #[must_use]
    pub fn describe_members(&self) -> Vec<MemberDescription> {
        let stable = self.state == GroupState::Stable;
        self.members
            .iter()
            .map(|(id, member)| MemberDescription {
                id: id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: if stable {
                    member.metadata(self.protocol_name.as_deref())
                } else {
                    Bytes::new()
                },
                assignment: if stable {
                    member.assignment.clone()
                } else {
                    Bytes::new()
                },
            })
            .collect()
    }

    /// When [`Self::handle_timeout`] is due; calling it earlier does no harm.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let sessions = self.members.values().filter_map(Member::deadline_ms);
        let pending = self.pending_members.values().copied();
        let join = self.join_phase.map(|phase| match phase {
            JoinPhase::Initial { deadline_ms, .. } | JoinPhase::Rejoin { deadline_ms } => {
                deadline_ms
            }
        });
        let sync = self.sync_phase.as_ref().map(|phase| phase.deadline_ms);
        sessions.chain(pending).chain(join).chain(sync).min()
    }

    /// Heartbeat: NONE, REBALANCE_IN_PROGRESS while members are to rejoin, or a fence.
    #[must_use]
    pub fn handle_heartbeat(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        if let Err(error) = self.check_generation(member_id, instance_id, generation) {
            return error;
        }
        self.touch(member_id, now_ms);
        match self.state {
            GroupState::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
            // A heartbeat between join and sync says nothing new to the member.
            GroupState::CompletingRebalance | GroupState::Stable => ErrorCode::NONE,
            GroupState::Empty | GroupState::Dead => ErrorCode::UNKNOWN_MEMBER_ID,
        }
    }

    /// Whether offsets may be committed by this member (or by nobody: generation < 0).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION; REBALANCE_IN_PROGRESS between join
    /// and sync, when the member's partitions are already somebody else's.
    pub fn check_commit(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        // A consumer that assigns partitions by itself, or an administrator resetting offsets.
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.check_generation(member_id, instance_id, generation)?;
        self.touch(member_id, now_ms);
        if self.state == GroupState::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// Whether offsets may be committed as part of a transaction. As [`Self::check_commit`], but a
    /// producer from before KIP-447 does not say which member it is, and a rebalance does not stand
    /// in the way: the transaction is fenced by its producer's epoch.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
    pub fn check_transactional_commit(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        let says_nothing = member_id.is_empty() && instance_id.is_none();
        if generation < 0 && (self.state == GroupState::Empty || says_nothing) {
            return Ok(());
        }
        self.check_generation(member_id, instance_id, generation)?;
        self.touch(member_id, now_ms);
        Ok(())
    }

    /// The members, for another coordinator of the group.
    #[must_use]
    pub fn hand_over(&self) -> Vec<HandedOver> {
        let members = self.members.iter();
        members
            .map(|(id, member)| HandedOver {
                id: id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: member.protocols.clone(),
                assignment: member.assignment.clone(),
                is_assigned: self.state != GroupState::CompletingRebalance,
            })
            .collect()
    }

    /// Answers all that wait: the group is somebody else's, to whom they are to join again.
    pub fn dismiss(&mut self) -> Effects {
        let mut effects = Effects::default();
        for (id, member) in &mut self.members {
            if let Some(token) = member.awaiting_join.take() {
                let reply = JoinReply::error(ErrorCode::REBALANCE_IN_PROGRESS, id);
                effects.join(token, reply);
            }
            if let Some(token) = member.awaiting_sync.take() {
                effects.sync(token, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS));
            }
        }
        effects
    }

    /// Has the members join again.
    pub fn rebalance(&mut self, now_ms: i64) -> Effects {
        let mut effects = Effects::default();
        self.rebalance_or_try_complete(now_ms, &mut effects);
        effects
    }

    /// Marks the group deleted.
    pub fn mark_dead(&mut self, now_ms: i64) {
        assert!(
            self.members.is_empty(),
            "a group with members is not deleted"
        );
        self.pending_members.clear();
        self.enter(GroupState::Dead, now_ms);
    }

    /// Fences: is it a member, under this instance id?
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if current != member_id => {
                    return Err(ErrorCode::FENCED_INSTANCE_ID);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
    }

    fn check_generation(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance_id)?;
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::ILLEGAL_GENERATION)
        }
    }

    fn touch(&mut self, member_id: &str, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.restart_session(now_ms);
        }
    }

    fn enter(&mut self, state: GroupState, now_ms: i64) {
        self.state = state;
        self.state_since_ms = now_ms;
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Union of the topics in the members' subscriptions.
    fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        if !self.is_consumer_group() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref());
            topics.extend(member::subscription_topics(&metadata)?);
        }
        Some(topics)
    }
}
