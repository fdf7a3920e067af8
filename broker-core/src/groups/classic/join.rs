//! Who gets into a group: JoinGroup and LeaveGroup.

use std::collections::BTreeSet;

use super::member::Member;
use super::{
    ClassicGroup, Effects, GroupState, JoinPhase, JoinReply, JoinRequest, JoinedMember,
    RequestToken, SyncReply,
};
use crate::error::ErrorCode;

impl ClassicGroup {
    /// JoinGroup. The answer comes now, or when the rebalance completes.
    pub fn handle_join(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        request: JoinRequest,
    ) -> Effects {
        let mut effects = Effects::default();
        if self.state == GroupState::Dead {
            let reply = JoinReply::error(ErrorCode::COORDINATOR_NOT_AVAILABLE, &request.member_id);
            effects.join(token, reply);
        } else if !self.accepts(&request) {
            let reply = JoinReply::error(ErrorCode::GROUP_MAX_SIZE_REACHED, &request.member_id);
            if self.members.contains_key(&request.member_id) {
                self.remove_member(&request.member_id, &mut effects);
                self.rebalance_or_try_complete(now_ms, &mut effects);
            }
            effects.join(token, reply);
        } else if !self.speaks_our_protocols(&request) {
            let reply =
                JoinReply::error(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, &request.member_id);
            effects.join(token, reply);
        } else if request.member_id.is_empty() {
            self.join_without_id(now_ms, token, request, &mut effects);
        } else {
            self.join_with_id(now_ms, token, request, &mut effects);
        }
        effects
    }

    /// LeaveGroup of one member, by member id, or by instance id with an empty member id (v3+).
    #[must_use]
    pub fn handle_leave(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        effects: &mut Effects,
    ) -> ErrorCode {
        if self.state == GroupState::Dead {
            return ErrorCode::COORDINATOR_NOT_AVAILABLE;
        }
        if instance_id.is_none() && self.pending_members.remove(member_id).is_some() {
            self.try_complete_join(now_ms, effects);
            return ErrorCode::NONE;
        }
        let leaving = match instance_id {
            Some(instance_id) if member_id.is_empty() => {
                match self.static_members.get(instance_id) {
                    Some(current) => current.clone(),
                    None => return ErrorCode::UNKNOWN_MEMBER_ID,
                }
            }
            _ => match self.check_member(member_id, instance_id) {
                Ok(()) => member_id.to_owned(),
                Err(error) => return error,
            },
        };
        self.remove_member(&leaving, effects);
        self.rebalance_or_try_complete(now_ms, effects);
        ErrorCode::NONE
    }

    fn join_without_id(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        request: JoinRequest,
        effects: &mut Effects,
    ) {
        let member_id = request.fresh_member_id.clone();
        let replaced = request
            .instance_id
            .as_ref()
            .and_then(|instance_id| self.static_members.get(instance_id).cloned());
        if let Some(old_id) = replaced {
            self.replace_static_member(now_ms, token, request, &old_id, effects);
        } else if request.instance_id.is_none() && request.needs_known_member_id {
            let deadline_ms = now_ms.saturating_add(i64::from(request.session_timeout_ms));
            self.pending_members.insert(member_id.clone(), deadline_ms);
            let reply = JoinReply::error(ErrorCode::MEMBER_ID_REQUIRED, &member_id);
            effects.join(token, reply);
        } else {
            self.add_member(now_ms, token, request, member_id, effects);
        }
    }

    fn join_with_id(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        request: JoinRequest,
        effects: &mut Effects,
    ) {
        let member_id = request.member_id.clone();
        if request.instance_id.is_none() && self.pending_members.contains_key(&member_id) {
            self.add_member(now_ms, token, request, member_id, effects);
            return;
        }
        if let Err(error) = self.check_member(&member_id, request.instance_id.as_deref()) {
            effects.join(token, JoinReply::error(error, &member_id));
            return;
        }
        let unchanged = self
            .members
            .get(&member_id)
            .is_some_and(|member| member.offers(&request.protocols));
        let keeps_generation = match self.state {
            // The member lost the answer of this generation's join.
            GroupState::CompletingRebalance => unchanged,
            // A leader rejoins because it wants to assign anew.
            GroupState::Stable => unchanged && !self.is_leader(&member_id),
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => false,
        };
        if keeps_generation {
            self.touch(&member_id, now_ms);
            effects.join(token, self.generation_reply(&member_id));
            return;
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            member.update(request);
            if let Some(superseded) = member.awaiting_join.replace(token) {
                let reply = JoinReply::error(ErrorCode::REBALANCE_IN_PROGRESS, &member_id);
                effects.join(superseded, reply);
            }
        }
        self.rebalance_or_try_complete(now_ms, effects);
    }

    fn add_member(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        request: JoinRequest,
        member_id: String,
        effects: &mut Effects,
    ) {
        self.pending_members.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance_id) = &request.instance_id {
            self.static_members
                .insert(instance_id.clone(), member_id.clone());
        }
        if let Some(JoinPhase::Initial { member_added, .. }) = &mut self.join_phase {
            *member_added = true;
        }
        if self.leader.is_none() {
            self.leader = Some(member_id.clone());
        }
        let previous = self
            .members
            .insert(member_id, Member::new(request, token, now_ms));
        assert!(previous.is_none(), "a member is added once");
        self.rebalance_or_try_complete(now_ms, effects);
    }

    /// A static member came back under a new id (KIP-345): the old id is fenced. While the chosen
    /// protocol stays the same the group keeps its generation and the member its assignment.
    fn replace_static_member(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        request: JoinRequest,
        old_id: &str,
        effects: &mut Effects,
    ) {
        let Some(mut member) = self.members.remove(old_id) else {
            return;
        };
        let new_id = request.fresh_member_id.clone();
        let knows_skip_assignment = request.knows_skip_assignment;
        let old_leader = self.leader.clone().unwrap_or_default();
        if let Some(waiting) = member.awaiting_join.take() {
            let reply = JoinReply::error(ErrorCode::FENCED_INSTANCE_ID, old_id);
            effects.join(waiting, reply);
        }
        if let Some(waiting) = member.awaiting_sync.take() {
            effects.sync(waiting, SyncReply::error(ErrorCode::FENCED_INSTANCE_ID));
        }
        if let Some(instance_id) = &request.instance_id {
            self.static_members
                .insert(instance_id.clone(), new_id.clone());
        }
        member.update(request);
        member.start_generation(now_ms);
        self.members.insert(new_id.clone(), member);
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if let Some(phase) = &mut self.sync_phase
            && phase.missing.remove(old_id)
        {
            phase.missing.insert(new_id.clone());
        }

        let keeps_protocol = self.state == GroupState::Stable
            && self.protocol_name.is_some()
            && self.select_protocol() == self.protocol_name;
        if !keeps_protocol {
            if let Some(member) = self.members.get_mut(&new_id) {
                member.awaiting_join = Some(token);
            }
            self.rebalance_or_try_complete(now_ms, effects);
            return;
        }
        let leads = self.is_leader(&new_id);
        let mut reply = self.generation_reply(&new_id);
        if leads && knows_skip_assignment {
            reply.skip_assignment = true;
        } else if leads {
            // A client older than KIP-814 would assign: named after its old id, the leader is
            // somebody else to it.
            reply.leader = old_leader;
            reply.members = Vec::new();
        }
        effects.join(token, reply);
        effects.record = Some(self.metadata());
    }

    /// The current generation as the answer to a join.
    pub(super) fn generation_reply(&self, member_id: &str) -> JoinReply {
        let members = if self.is_leader(member_id) {
            self.members
                .iter()
                .map(|(id, member)| JoinedMember {
                    id: id.clone(),
                    instance_id: member.instance_id.clone(),
                    metadata: member.metadata(self.protocol_name.as_deref()),
                })
                .collect()
        } else {
            Vec::new()
        };
        JoinReply {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }

    /// Whether there is room (`group.max.size`). In a rebalance the first to rejoin stay.
    fn accepts(&self, request: &JoinRequest) -> bool {
        let member = self.members.get(&request.member_id);
        let replaces = request
            .instance_id
            .as_ref()
            .is_some_and(|instance_id| self.static_members.contains_key(instance_id));
        match (self.state, member) {
            (GroupState::PreparingRebalance, Some(member)) => {
                member.awaiting_join.is_some() || self.awaiting_join_count() < self.config.size_max
            }
            (_, Some(_)) => true,
            (_, None) if replaces => true,
            (_, None) if self.pending_members.contains_key(&request.member_id) => {
                self.members.len() < self.config.size_max
            }
            // Ids given out count as members, or asking for ids would grow the group without limit.
            (_, None) => {
                self.members
                    .len()
                    .saturating_add(self.pending_members.len())
                    < self.config.size_max
            }
        }
    }

    fn speaks_our_protocols(&self, request: &JoinRequest) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        // What the member itself offered before does not bind it.
        let own_id = request
            .instance_id
            .as_ref()
            .and_then(|instance_id| self.static_members.get(instance_id))
            .unwrap_or(&request.member_id);
        let supported_by_others = |name: &str| {
            self.members
                .iter()
                .all(|(id, member)| id == own_id || member.supports(name))
        };
        self.members.is_empty()
            || self.protocol_type.as_deref() == Some(request.protocol_type.as_str())
                && request
                    .protocols
                    .iter()
                    .any(|protocol| supported_by_others(&protocol.name))
    }

    /// The protocol all members support that most of them prefer among those; on a tie the one the
    /// leader prefers. `None` when there are no members, or nothing in common.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let first = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .or_else(|| self.members.values().next())?;
        let candidates: Vec<&str> = first
            .protocols
            .iter()
            .map(|protocol| protocol.name.as_str())
            .filter(|name| self.members.values().all(|member| member.supports(name)))
            .collect();
        let lookup: BTreeSet<&str> = candidates.iter().copied().collect();
        let votes = |name: &str| {
            self.members
                .values()
                .filter(|member| {
                    member
                        .protocols
                        .iter()
                        .find(|protocol| lookup.contains(protocol.name.as_str()))
                        .is_some_and(|vote| vote.name == name)
                })
                .count()
        };
        let mut best: Option<(usize, &str)> = None;
        for name in candidates {
            let count = votes(name);
            if best.is_none_or(|(most, _)| count > most) {
                best = Some((count, name));
            }
        }
        best.map(|(_, name)| name.to_owned())
    }
}
