//! Members of the classic protocol in a group that the broker assigns, and groups that change from
//! one protocol to the other while they are used (KIP-848, "Online upgrade and downgrade").
//!
//! To such a member its epoch is the generation. It joins without waiting for others, never leads,
//! and learns from its heartbeats when there is a next step for it: it joins again, says what it
//! still owns, and syncs what it may have.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::change::GroupEpoch;
use super::embedded::{ClassicSubscription, NamedPartitions, read_assignment, write_assignment};
use super::heartbeat::Found;
use super::topics::TopicView;
use super::{
    Assignment, Change, Changes, ConsumerConfig, ConsumerGroup, CurrentAssignment, Deadlines,
    MemberState, Refusal, Subscription,
};
use crate::error::ErrorCode;
use crate::groups::classic::{
    HandedOver, JoinReply, JoinRequest, Protocol, SyncReply, SyncRequest,
};
use crate::groups::record::{GroupMetadata, MemberMetadata};

/// Protocol type of groups whose members are consumers.
const PROTOCOL_TYPE: &str = "consumer";

/// How a member of the classic protocol joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// How long it may stay silent.
    pub session_timeout_ms: i32,
    /// What it offers, in its order of preference.
    pub protocols: Vec<Protocol>,
}

impl ConsumerGroup {
    /// A classic group goes on as one that the broker assigns: every member has what it had.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND when the members are no consumers, or their assignor keeps data of its own
    /// in the assignments.
    pub fn from_classic(
        now_ms: i64,
        generation: i32,
        members: &[HandedOver],
        topics: &dyn TopicView,
        config: &ConsumerConfig,
    ) -> Result<Self, Refusal> {
        let refused = |why: &str| {
            let text = format!("the classic group cannot become a consumer group: {why}");
            Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text)
        };
        let mut group = Self::default();
        let mut taken: BTreeSet<(crate::ids::TopicId, i32)> = BTreeSet::new();
        for member in members {
            let said = read_protocols(&member.protocols)
                .ok_or_else(|| refused("a member's subscription is no consumer's"))?;
            let (mut named, user_data) = read_assignment(&member.assignment)
                .map_err(|_| refused("a member's assignment is no consumer's"))?;
            if user_data {
                return Err(refused("its assignor keeps data of its own"));
            }
            if !member.is_assigned {
                // Between two generations; what it still reads is what it said when it joined.
                named = said.owned.clone();
            }
            let mut assigned = to_ids(&named, topics);
            for (topic, indexes) in &mut assigned {
                indexes.retain(|index| taken.insert((*topic, *index)));
            }
            let id = &member.id;
            let subscription = Subscription {
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                classic: Some(ClassicMember {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
                topics: said.topics,
                rack_id: said.rack_id,
                ..Subscription::default()
            };
            let current = CurrentAssignment {
                epoch: generation,
                previous_epoch: generation,
                assigned: assigned.clone(),
                ..CurrentAssignment::default()
            };
            for change in [
                Change::Member(id.clone(), Some(Box::new(subscription))),
                Change::Target(id.clone(), Some(assigned)),
                Change::Current(id.clone(), Some(Box::new(current))),
            ] {
                let _nothing_before = group.apply(change);
            }
        }
        let _nothing_before = group.apply(Change::Epoch(Some(GroupEpoch {
            epoch: generation,
            metadata_hash: group.metadata_hash(topics),
        })));
        let _nothing_before = group.apply(Change::AssignmentEpoch(Some(generation)));
        group.restore(now_ms, topics, config);
        Ok(group)
    }

    /// Whether there are members, none of which speaks the consumer protocol.
    #[must_use]
    pub fn is_left_to_classic_members(&self) -> bool {
        let mut members = self.members.values();
        !self.members.is_empty() && members.all(|member| member.subscription.classic.is_some())
    }

    /// The group as a classic one, in which its members have what they have here.
    #[must_use]
    pub fn to_classic(&self, now_ms: i64, topics: &dyn TopicView) -> GroupMetadata {
        let offered = |subscription: &Subscription, name: &str| {
            let classic = subscription.classic.as_ref();
            let mut protocols = classic.into_iter().flat_map(|classic| &classic.protocols);
            protocols.find(|protocol| protocol.name == name).cloned()
        };
        let first = self.members.values().next();
        let first = first.and_then(|member| member.subscription.classic.as_ref());
        let mut names = first.into_iter().flat_map(|classic| &classic.protocols);
        let chosen = names.find(|protocol| {
            let mut members = self.members.values();
            members.all(|member| offered(&member.subscription, &protocol.name).is_some())
        });
        let chosen = chosen.map(|protocol| protocol.name.clone());
        let members = self.members.iter().map(|(id, member)| {
            let subscription = &member.subscription;
            let protocol = chosen.as_ref().and_then(|name| offered(subscription, name));
            let classic = subscription.classic.as_ref();
            MemberMetadata {
                id: id.clone(),
                instance_id: subscription.instance_id.clone(),
                client_id: subscription.client_id.clone(),
                client_host: subscription.client_host.clone(),
                rebalance_timeout_ms: subscription.rebalance_timeout_ms,
                session_timeout_ms: classic.map_or(0, |classic| classic.session_timeout_ms),
                subscription: protocol
                    .map(|protocol| protocol.metadata)
                    .unwrap_or_default(),
                assignment: self.classic_assignment(id, topics),
            }
        });
        GroupMetadata {
            protocol_type: PROTOCOL_TYPE.to_owned(),
            generation: self.epoch,
            leader: self.members.keys().next().cloned(),
            state_since_ms: now_ms,
            members: members.collect(),
            protocol_name: chosen,
        }
    }

    /// JoinGroup of a member of the classic protocol: answered at once.
    ///
    /// # Errors
    /// INCONSISTENT_GROUP_PROTOCOL, GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID;
    /// nothing changed then.
    pub fn classic_join(
        &mut self,
        now_ms: i64,
        request: &JoinRequest,
        topics: &dyn TopicView,
        config: &ConsumerConfig,
    ) -> Result<(JoinReply, Changes), ErrorCode> {
        let said = Some(&request.protocols)
            .filter(|protocols| self.speaks(request.protocol_type.as_str(), protocols))
            .and_then(|protocols| read_protocols(protocols))
            .ok_or(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)?;
        let found = self.find_classic(request, config)?;
        // Its session is over: others may have what it still reads. It has to give all up first.
        if matches!(found, Found::Joins) && !said.owned.is_empty() && !request.member_id.is_empty()
        {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if request.member_id.is_empty() && request.needs_known_member_id {
            let id = &request.fresh_member_id;
            let reply = JoinReply::error(ErrorCode::MEMBER_ID_REQUIRED, id);
            return Ok((reply, Changes::default()));
        }
        let id = match request.member_id.as_str() {
            "" => request.fresh_member_id.clone(),
            id => id.to_owned(),
        };
        let mut changes = Changes::default();
        if let Found::Replaces(old_id) = &found {
            self.replace(old_id, &id, &mut changes);
        }
        let owned = to_ids(&said.owned, topics);
        let subscription = Subscription {
            instance_id: request.instance_id.clone(),
            rack_id: said.rack_id,
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            topics: said.topics,
            regex: None,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            assignor: None,
            classic: Some(ClassicMember {
                session_timeout_ms: request.session_timeout_ms,
                protocols: request.protocols.clone(),
            }),
        };
        let before = self.members.get(&id).map(|member| &member.subscription);
        let resubscribed = before.is_none_or(|before| {
            before.topics != subscription.topics || before.regex != subscription.regex
        });
        if before != Some(&subscription) {
            let change = Change::Member(id.clone(), Some(Box::new(subscription)));
            self.change(change, &mut changes);
        }
        self.raise_epoch_if_due(resubscribed, topics, &mut changes);
        self.assign_if_due(topics, config, &mut changes);
        self.reconcile(&id, Some(&owned), resubscribed, topics, &mut changes);
        // It has to sync within the time that it may take for a rebalance.
        let act_ms = now_ms.saturating_add(i64::from(request.rebalance_timeout_ms.max(0)));
        let session_ms = now_ms.saturating_add(i64::from(request.session_timeout_ms));
        let deadlines = Deadlines {
            session_ms,
            act_ms: Some(act_ms),
        };
        self.deadlines.insert(id.clone(), deadlines);
        let epoch = self.members.get(&id).map_or(0, |m| m.current.epoch);
        let protocol = request.protocols.first();
        let reply = JoinReply {
            error: ErrorCode::NONE,
            generation: epoch,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: protocol.map(|protocol| protocol.name.clone()),
            leader: String::new(),
            skip_assignment: false,
            member_id: id,
            members: Vec::new(),
        };
        Ok((reply, changes))
    }

    /// SyncGroup of a member of the classic protocol: what it may have.
    pub fn classic_sync(
        &mut self,
        now_ms: i64,
        request: &SyncRequest,
        topics: &dyn TopicView,
    ) -> SyncReply {
        let id = request.member_id.as_str();
        let checked = self.check_classic(id, request.instance_id.as_deref(), request.generation);
        if let Err(error) = checked {
            return SyncReply::error(error);
        }
        let protocol_name = self.classic_protocol(id);
        let claims = |claimed: &Option<String>, actual: Option<&str>| {
            claimed
                .as_deref()
                .is_none_or(|claimed| Some(claimed) == actual)
        };
        if !claims(&request.protocol_type, Some(PROTOCOL_TYPE))
            || !claims(&request.protocol_name, protocol_name.as_deref())
        {
            return SyncReply::error(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.has_newer_epoch_for(id) {
            return SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.touch_classic(now_ms, id, None);
        SyncReply {
            error: ErrorCode::NONE,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name,
            assignment: self.classic_assignment(id, topics),
        }
    }

    /// Heartbeat of a member of the classic protocol: REBALANCE_IN_PROGRESS when there is a next step
    /// for it to join for.
    pub fn classic_heartbeat(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        topics: &dyn TopicView,
    ) -> (ErrorCode, Changes) {
        let mut changes = Changes::default();
        if let Err(error) = self.check_classic(member_id, instance_id, generation) {
            return (error, changes);
        }
        self.raise_epoch_if_due(false, topics, &mut changes);
        (self.next_step_of_classic(now_ms, member_id), changes)
    }

    fn next_step_of_classic(&mut self, now_ms: i64, member_id: &str) -> ErrorCode {
        let Some(member) = self.members.get(member_id) else {
            return ErrorCode::UNKNOWN_MEMBER_ID;
        };
        let current = &member.current;
        let joins_again = current.epoch < self.epoch
            || match current.state {
                MemberState::Revoking => true,
                MemberState::Waiting => !self.waits_for_others(member_id),
                MemberState::Stable | MemberState::Unknown => false,
            };
        let timeout_ms = i64::from(member.subscription.rebalance_timeout_ms.max(0));
        let told_ms = joins_again.then(|| now_ms.saturating_add(timeout_ms));
        // Reporting gives no more time for what it was told before.
        let running_ms = self.deadlines.get(member_id).and_then(|d| d.act_ms);
        self.touch_classic(now_ms, member_id, running_ms.or(told_ms));
        if joins_again {
            ErrorCode::REBALANCE_IN_PROGRESS
        } else {
            ErrorCode::NONE
        }
    }

    /// LeaveGroup of a member of the classic protocol, by member id, or by instance id with an empty
    /// member id.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, also for a member of the consumer protocol; FENCED_INSTANCE_ID.
    pub fn classic_leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        topics: &dyn TopicView,
    ) -> Result<Changes, ErrorCode> {
        let by_instance = instance_id.and_then(|instance_id| self.static_members.get(instance_id));
        let id = match by_instance {
            Some(holder) if member_id.is_empty() => holder.clone(),
            Some(_) | None => member_id.to_owned(),
        };
        self.check_identity(&id, instance_id)
            .map_err(|refusal| refusal.code)?;
        if self.classic_member(&id).is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let mut changes = Changes::default();
        self.remove_members(&[id], topics, &mut changes);
        Ok(changes)
    }

    fn find_classic(
        &self,
        request: &JoinRequest,
        config: &ConsumerConfig,
    ) -> Result<Found, ErrorCode> {
        let id = request.member_id.as_str();
        let holder = request.instance_id.as_ref();
        let holder = holder.map(|instance_id| self.static_members.get(instance_id));
        match holder {
            Some(Some(holder)) if holder == id => return Ok(Found::Member),
            Some(Some(holder)) if id.is_empty() => return Ok(Found::Replaces(holder.clone())),
            Some(Some(_)) => return Err(ErrorCode::FENCED_INSTANCE_ID),
            Some(None) if !id.is_empty() => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(None) | None => {}
        }
        if self.members.contains_key(id) {
            Ok(Found::Member)
        } else if self.members.len() >= config.size_max {
            Err(ErrorCode::GROUP_MAX_SIZE_REACHED)
        } else {
            Ok(Found::Joins)
        }
    }

    /// Whether a member that offers these protocols has one in common with all that have any.
    fn speaks(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        let others = || {
            let members = self.members.values();
            members.filter_map(|member| member.subscription.classic.as_ref())
        };
        protocol_type == PROTOCOL_TYPE
            && protocols.iter().any(|offered| {
                others().all(|other| other.protocols.iter().any(|p| p.name == offered.name))
            })
    }

    fn check_classic(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.check_identity(member_id, instance_id)
            .map_err(|refusal| refusal.code)?;
        if self.classic_member(member_id).is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let epoch = self.members.get(member_id).map(|m| m.current.epoch);
        if epoch == Some(generation) {
            Ok(())
        } else {
            Err(ErrorCode::ILLEGAL_GENERATION)
        }
    }

    /// Whether the group went on, and the member is not busy giving something up.
    fn has_newer_epoch_for(&self, member_id: &str) -> bool {
        self.members.get(member_id).is_some_and(|member| {
            member.current.epoch < self.epoch && member.current.state != MemberState::Revoking
        })
    }

    /// Whether something of the member's target is still with others.
    fn waits_for_others(&self, member_id: &str) -> bool {
        let target = self.members.get(member_id).map(|member| &member.target);
        target.is_some_and(|target| {
            super::change::partitions(target).any(|partition| {
                let owner = self.owners.get(&partition);
                owner.is_some_and(|owner| owner != member_id)
            })
        })
    }

    fn classic_member(&self, member_id: &str) -> Option<&ClassicMember> {
        self.members.get(member_id)?.subscription.classic.as_ref()
    }

    fn classic_protocol(&self, member_id: &str) -> Option<String> {
        let protocol = self.classic_member(member_id)?.protocols.first()?;
        Some(protocol.name.clone())
    }

    /// The member is there, and has something to do until then.
    fn touch_classic(&mut self, now_ms: i64, member_id: &str, act_ms: Option<i64>) {
        let Some(classic) = self.classic_member(member_id) else {
            return;
        };
        let session_ms = now_ms.saturating_add(i64::from(classic.session_timeout_ms));
        let deadlines = Deadlines { session_ms, act_ms };
        self.deadlines.insert(member_id.to_owned(), deadlines);
    }

    /// What a member has, as it reads it.
    fn classic_assignment(&self, member_id: &str, topics: &dyn TopicView) -> Bytes {
        let Some(member) = self.members.get(member_id) else {
            return Bytes::new();
        };
        let protocols = member.subscription.classic.as_ref();
        let version = protocols
            .and_then(|classic| read_protocols(&classic.protocols))
            .map_or(0, |said| said.version);
        let named: NamedPartitions = self
            .topics_of(&member.subscription)
            .into_iter()
            .filter_map(|name| {
                let indexes = member.current.assigned.get(&topics.find(name)?.id)?;
                Some((name.to_owned(), indexes.clone()))
            })
            .collect();
        Bytes::from(write_assignment(version, &named))
    }
}

/// All protocols of a member say the same of its subscription.
fn read_protocols(protocols: &[Protocol]) -> Option<ClassicSubscription> {
    ClassicSubscription::read(&protocols.first()?.metadata).ok()
}

/// Topics that do not exist are left out.
fn to_ids(named: &NamedPartitions, topics: &dyn TopicView) -> Assignment {
    let named = named.iter();
    named
        .filter_map(|(name, indexes)| Some((topics.find(name)?.id, indexes.clone())))
        .collect()
}
