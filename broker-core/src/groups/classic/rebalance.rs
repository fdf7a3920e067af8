//! How a generation comes to be: the join phase, the sync phase, and what time does to members.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    ClassicGroup, Effects, GroupState, JoinPhase, JoinReply, Reply, RequestToken, SyncPhase,
    SyncReply, SyncRequest,
};
use crate::error::ErrorCode;

impl ClassicGroup {
    /// SyncGroup: waits for the leader's assignment, brings it, or fetches what is there.
    pub fn handle_sync(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        request: SyncRequest,
    ) -> Effects {
        let mut effects = Effects::default();
        let member_id = request.member_id.as_str();
        let instance_id = request.instance_id.as_deref();
        let mut check = self.check_generation(member_id, instance_id, request.generation);
        if check.is_ok()
            && (differs(request.protocol_type.as_deref(), self.protocol_type())
                || differs(request.protocol_name.as_deref(), self.protocol_name()))
        {
            check = Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if let Err(error) = check {
            effects.sync(token, SyncReply::error(error));
            return effects;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                effects.sync(token, SyncReply::error(ErrorCode::UNKNOWN_MEMBER_ID));
            }
            GroupState::PreparingRebalance => {
                effects.sync(token, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS));
            }
            GroupState::CompletingRebalance => {
                self.member_synced(member_id);
                if let Some(member) = self.members.get_mut(member_id)
                    && let Some(superseded) = member.awaiting_sync.replace(token)
                {
                    let reply = SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS);
                    effects.sync(superseded, reply);
                }
                if self.is_leader(member_id) {
                    self.assign(now_ms, request.assignments, &mut effects);
                }
            }
            GroupState::Stable => {
                self.member_synced(member_id);
                self.touch(member_id, now_ms);
                effects.sync(token, self.assignment_reply(member_id));
            }
        }
        effects
    }

    /// The record of `effects` could not be written: its answers become errors that make clients
    /// look for the coordinator again, and an assignment nobody can rely on is dropped.
    pub fn handle_write_failure(&mut self, now_ms: i64, effects: &mut Effects) {
        effects.record = None;
        for (_, reply) in &mut effects.replies {
            match reply {
                Reply::Join(join) if join.error == ErrorCode::NONE => {
                    *join = JoinReply::error(ErrorCode::COORDINATOR_NOT_AVAILABLE, &join.member_id);
                }
                Reply::Sync(sync) if sync.error == ErrorCode::NONE => {
                    *sync = SyncReply::error(ErrorCode::COORDINATOR_NOT_AVAILABLE);
                }
                Reply::Join(_) | Reply::Sync(_) => {}
            }
        }
        if self.state == GroupState::Stable {
            self.prepare_rebalance(now_ms, effects);
        }
    }

    /// Does what is due by `now_ms`.
    pub fn handle_timeout(&mut self, now_ms: i64) -> Effects {
        let mut effects = Effects::default();
        let pending_count = self.pending_members.len();
        self.pending_members
            .retain(|_, deadline_ms| *deadline_ms > now_ms);
        if self.pending_members.len() != pending_count {
            self.try_complete_join(now_ms, &mut effects);
        }

        let expired: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.deadline_ms().is_some_and(|due| due <= now_ms))
            .map(|(id, _)| id.clone())
            .collect();
        let unsynced = self
            .sync_phase
            .take_if(|phase| phase.deadline_ms <= now_ms)
            .map(|phase| phase.missing)
            .unwrap_or_default();
        let mut removed = false;
        for id in expired.iter().chain(&unsynced) {
            removed |= self.remove_member(id, &mut effects);
        }
        if removed {
            self.rebalance_or_try_complete(now_ms, &mut effects);
        }

        match self.join_phase {
            Some(JoinPhase::Initial {
                deadline_ms,
                remaining_ms,
                member_added,
            }) if deadline_ms <= now_ms => {
                if member_added && remaining_ms > 0 {
                    let delay_ms =
                        i64::from(self.config.initial_rebalance_delay_ms).min(remaining_ms);
                    self.join_phase = Some(JoinPhase::Initial {
                        deadline_ms: now_ms.saturating_add(delay_ms),
                        remaining_ms: remaining_ms.saturating_sub(delay_ms),
                        member_added: false,
                    });
                } else {
                    self.complete_join(now_ms, &mut effects);
                }
            }
            Some(JoinPhase::Rejoin { deadline_ms }) if deadline_ms <= now_ms => {
                self.complete_join(now_ms, &mut effects);
            }
            Some(_) | None => {}
        }
        effects
    }

    /// A member came or went, or offers something else.
    pub(super) fn rebalance_or_try_complete(&mut self, now_ms: i64, effects: &mut Effects) {
        match self.state {
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(now_ms, effects);
            }
            GroupState::PreparingRebalance => self.try_complete_join(now_ms, effects),
            GroupState::Dead => {}
        }
    }

    /// Takes a member out and answers what it waits for. Whether it was there.
    pub(super) fn remove_member(&mut self, member_id: &str, effects: &mut Effects) -> bool {
        let Some(member) = self.members.remove(member_id) else {
            return false;
        };
        if let Some(token) = member.awaiting_join {
            let reply = JoinReply::error(ErrorCode::UNKNOWN_MEMBER_ID, member_id);
            effects.join(token, reply);
        }
        if let Some(token) = member.awaiting_sync {
            effects.sync(token, SyncReply::error(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id).map(String::as_str) == Some(member_id)
        {
            self.static_members.remove(instance_id);
        }
        self.member_synced(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        true
    }

    pub(super) fn awaiting_join_count(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.awaiting_join.is_some())
            .count()
    }

    /// Starts a join phase.
    fn prepare_rebalance(&mut self, now_ms: i64, effects: &mut Effects) {
        for member in self.members.values_mut() {
            if let Some(token) = member.awaiting_sync.take() {
                effects.sync(token, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS));
                member.restart_session(now_ms);
            }
        }
        self.sync_phase = None;
        let starts = self.state == GroupState::Empty;
        self.enter(GroupState::PreparingRebalance, now_ms);
        let rebalance_timeout_ms = self.rebalance_timeout_ms();
        let delay_ms = i64::from(self.config.initial_rebalance_delay_ms.max(0));
        if starts && delay_ms > 0 {
            self.join_phase = Some(JoinPhase::Initial {
                deadline_ms: now_ms.saturating_add(delay_ms),
                remaining_ms: rebalance_timeout_ms.saturating_sub(delay_ms).max(0),
                member_added: false,
            });
        } else if starts {
            self.complete_join(now_ms, effects);
        } else {
            self.join_phase = Some(JoinPhase::Rejoin {
                deadline_ms: now_ms.saturating_add(rebalance_timeout_ms),
            });
            self.try_complete_join(now_ms, effects);
        }
    }

    pub(super) fn try_complete_join(&mut self, now_ms: i64, effects: &mut Effects) {
        // The first generation waits its delay out even when everybody known is there.
        let rejoins = matches!(self.join_phase, Some(JoinPhase::Rejoin { .. }));
        if rejoins
            && self.pending_members.is_empty()
            && self.awaiting_join_count() == self.members.len()
        {
            self.complete_join(now_ms, effects);
        }
    }

    /// Ends the join phase with those that came.
    fn complete_join(&mut self, now_ms: i64, effects: &mut Effects) {
        let absent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in &absent {
            self.remove_member(id, effects);
        }
        // Static members may be away; but somebody present has to lead.
        if !self.members.is_empty() && !self.elect_present_leader() {
            self.join_phase = Some(JoinPhase::Rejoin {
                deadline_ms: now_ms.saturating_add(self.rebalance_timeout_ms()),
            });
            return;
        }
        self.join_phase = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.protocol_name = None;
            self.leader = None;
            self.enter(GroupState::Empty, now_ms);
            self.subscribed_topics = self.compute_subscribed_topics();
            effects.record = Some(self.metadata());
            return;
        }
        self.protocol_name = self.select_protocol();
        assert!(
            self.protocol_name.is_some(),
            "a member is admitted only with a protocol all support"
        );
        self.enter(GroupState::CompletingRebalance, now_ms);
        self.subscribed_topics = self.compute_subscribed_topics();
        self.sync_phase = Some(SyncPhase {
            deadline_ms: now_ms.saturating_add(self.rebalance_timeout_ms()),
            missing: BTreeSet::new(),
        });
        let mut waiting: Vec<(String, RequestToken)> = Vec::new();
        for (id, member) in &mut self.members {
            member.assignment = Bytes::new();
            // A static member that is away stays until its session ends.
            if let Some(token) = member.awaiting_join.take() {
                member.start_generation(now_ms);
                waiting.push((id.clone(), token));
            }
        }
        if let Some(phase) = &mut self.sync_phase {
            phase.missing = waiting.iter().map(|(id, _)| id.clone()).collect();
        }
        for (id, token) in waiting {
            effects.join(token, self.generation_reply(&id));
        }
    }

    /// Keeps the leader when it is present, else names the first member that is.
    fn elect_present_leader(&mut self) -> bool {
        let present = |id: &String| {
            self.members
                .get(id)
                .is_some_and(|member| member.awaiting_join.is_some())
        };
        if self.leader.as_ref().is_some_and(present) {
            return true;
        }
        let next = self.members.keys().find(|id| present(id)).cloned();
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    /// Takes the leader's assignment and hands it out.
    fn assign(&mut self, now_ms: i64, assignments: Vec<(String, Bytes)>, effects: &mut Effects) {
        let mut shares: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            // Who is missing in the leader's list has nothing to do.
            member.assignment = shares.remove(id).unwrap_or_default();
        }
        self.enter(GroupState::Stable, now_ms);
        let waiting: Vec<(String, RequestToken)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| {
                let token = member.awaiting_sync.take()?;
                member.restart_session(now_ms);
                Some((id.clone(), token))
            })
            .collect();
        for (id, token) in waiting {
            effects.sync(token, self.assignment_reply(&id));
        }
        effects.record = Some(self.metadata());
    }

    fn assignment_reply(&self, member_id: &str) -> SyncReply {
        SyncReply {
            error: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    fn member_synced(&mut self, member_id: &str) {
        if let Some(phase) = &mut self.sync_phase {
            phase.missing.remove(member_id);
            if phase.missing.is_empty() {
                self.sync_phase = None;
            }
        }
    }

    /// The longest any member asks the group to wait for it.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms.max(0)))
            .max()
            .unwrap_or(0)
    }
}

fn differs(claimed: Option<&str>, actual: Option<&str>) -> bool {
    claimed.is_some_and(|claimed| Some(claimed) != actual)
}
