//! Who gets in and what a heartbeat does: subscription, group epoch, target, the member's next step.

use std::collections::{BTreeMap, BTreeSet};

use super::assignor::{self, MemberSpec, TopicSpec};
use super::change::{GroupEpoch, partitions};
use super::reconcile::Step;
use super::topics::{TopicView, compile, matching, metadata_hash};
use super::{
    Assignment, Change, Changes, ConsumerConfig, ConsumerGroup, CurrentAssignment, Deadlines,
    Heartbeat, HeartbeatReply, JOIN_EPOCH, MemberState, Refusal, STATIC_LEAVE_EPOCH, Subscription,
};
use crate::error::ErrorCode;
use crate::ids::TopicId;

/// How a heartbeat finds its member.
pub(super) enum Found {
    Member,
    Joins,
    /// A static member comes back under another member id.
    Replaces(String),
}

impl ConsumerGroup {
    /// A heartbeat: lets the member in, takes over what it says, computes a new target when there is
    /// a reason to, and answers the member's next step.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID,
    /// GROUP_MAX_SIZE_REACHED, UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION; nothing changed then.
    pub fn heartbeat(
        &mut self,
        now_ms: i64,
        request: &Heartbeat,
        topics: &dyn TopicView,
        config: &ConsumerConfig,
    ) -> Result<(HeartbeatReply, Changes), Refusal> {
        let id = request.member_id.as_str();
        check_assignor(request, config)?;
        let found = self.find(request, config)?;
        let pattern = request.regex.as_ref().filter(|regex| !regex.is_empty());
        if let Some(pattern) = pattern.filter(|pattern| !self.regexes.contains_key(*pattern)) {
            compile(pattern)?;
        }

        let mut changes = Changes::default();
        if let Found::Replaces(old_id) = &found {
            self.replace(old_id, id, &mut changes);
        }
        let joins = matches!(found, Found::Joins);
        let resubscribed = self.subscribe(request, joins, &mut changes);
        self.raise_epoch_if_due(resubscribed, topics, &mut changes);
        self.assign_if_due(topics, config, &mut changes);
        let moved = self.reconcile(
            id,
            request.owned.as_ref(),
            resubscribed,
            topics,
            &mut changes,
        );
        self.extend_session(now_ms, id, moved, config);

        let current = self.members.get(id).map(|member| &member.current);
        let current = current.cloned().unwrap_or_default();
        // A member that tells all of itself may have lost what it was told.
        let tells_all = request.member_epoch == JOIN_EPOCH
            || request.rebalance_timeout_ms.is_some()
                && (request.topics.is_some() || request.regex.is_some())
                && request.owned.is_some();
        let reply = HeartbeatReply {
            member_epoch: current.epoch,
            assignment: (tells_all || moved).then_some(current.assigned),
        };
        Ok((reply, changes))
    }

    /// A member leaves: for good, or, if it is static, for a while
    /// ([`STATIC_LEAVE_EPOCH`]) in which it keeps its partitions.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        member_epoch: i32,
        topics: &dyn TopicView,
    ) -> Result<(HeartbeatReply, Changes), Refusal> {
        self.check_identity(member_id, instance_id)?;
        let mut changes = Changes::default();
        if member_epoch == STATIC_LEAVE_EPOCH
            && let Some(member) = self.members.get(member_id)
        {
            // It has stopped reading, so what it was to give up is given up.
            let away = CurrentAssignment {
                epoch: STATIC_LEAVE_EPOCH,
                previous_epoch: member.current.epoch,
                state: MemberState::Stable,
                assigned: member.current.assigned.clone(),
                revoking: Assignment::new(),
            };
            let change = Change::Current(member_id.to_owned(), Some(Box::new(away)));
            self.change(change, &mut changes);
            if let Some(deadlines) = self.deadlines.get_mut(member_id) {
                deadlines.act_ms = None;
            }
        } else {
            self.remove_members(&[member_id.to_owned()], topics, &mut changes);
        }
        let reply = HeartbeatReply {
            member_epoch,
            assignment: None,
        };
        Ok((reply, changes))
    }

    /// Does what is due by `now_ms`: members that were silent or do not give up their partitions go.
    pub fn handle_timeout(
        &mut self,
        now_ms: i64,
        topics: &dyn TopicView,
        config: &ConsumerConfig,
    ) -> Changes {
        let members = &self.members;
        self.deadlines.retain(|id, _| members.contains_key(id));
        let mut due: Vec<String> = Vec::new();
        let again_ms = now_ms.saturating_add(i64::from(config.session_timeout_ms));
        for (id, deadlines) in &mut self.deadlines {
            if deadlines.due_ms() <= now_ms {
                due.push(id.clone());
                // In case its removal cannot be written.
                *deadlines = Deadlines {
                    session_ms: again_ms,
                    act_ms: None,
                };
            }
        }
        let mut changes = Changes::default();
        if !due.is_empty() {
            self.remove_members(&due, topics, &mut changes);
        }
        changes
    }

    /// Finds the member or lets it in.
    fn find(&self, request: &Heartbeat, config: &ConsumerConfig) -> Result<Found, Refusal> {
        let id = request.member_id.as_str();
        if request.member_epoch != JOIN_EPOCH {
            self.check_identity(id, request.instance_id.as_deref())?;
            self.check_epoch(request)?;
            return Ok(Found::Member);
        }
        let instance_id = request.instance_id.as_ref();
        if let Some((instance_id, holder)) =
            instance_id.and_then(|instance_id| self.static_members.get_key_value(instance_id))
        {
            let away = self
                .members
                .get(holder)
                .is_some_and(|member| member.current.epoch == STATIC_LEAVE_EPOCH);
            return match (away, holder == id) {
                (true, true) | (false, true) => Ok(Found::Member),
                (true, false) => Ok(Found::Replaces(holder.clone())),
                (false, false) => Err(Refusal::new(
                    ErrorCode::UNRELEASED_INSTANCE_ID,
                    format!("instance id {instance_id} is in use by member {holder}"),
                )),
            };
        }
        if self.members.contains_key(id) {
            return Ok(Found::Member);
        }
        if self.members.len() >= config.size_max {
            return Err(Refusal::new(
                ErrorCode::GROUP_MAX_SIZE_REACHED,
                format!("the group has {} members already", self.members.len()),
            ));
        }
        Ok(Found::Joins)
    }

    /// Is it a member, under this instance id?
    pub(super) fn check_identity(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), Refusal> {
        let unknown = |text: String| Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, text));
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return unknown(format!("instance id {instance_id} is unknown")),
                Some(holder) if holder != member_id => {
                    return Err(Refusal::new(
                        ErrorCode::FENCED_INSTANCE_ID,
                        format!("instance id {instance_id} was taken over by member {holder}"),
                    ));
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            unknown(format!("{member_id} is not a member of the group"))
        }
    }

    fn check_epoch(&self, request: &Heartbeat) -> Result<(), Refusal> {
        let Some(member) = self.members.get(&request.member_id) else {
            return Ok(());
        };
        let current = &member.current;
        let claimed = request.member_epoch;
        // The answer that raised the epoch was lost; what the member has is part of what it may.
        let lost_answer = claimed == current.previous_epoch
            && request.owned.as_ref().is_some_and(|owned| {
                partitions(owned).all(|(topic, index)| {
                    let assigned = current.assigned.get(&topic);
                    assigned.is_some_and(|indexes| indexes.contains(&index))
                })
            });
        if claimed == current.epoch || claimed < current.epoch && lost_answer {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::FENCED_MEMBER_EPOCH,
            format!(
                "member epoch {claimed} is not the member's, {}: it must give up its partitions and \
                 join again",
                current.epoch
            ),
        ))
    }

    /// A static member is back under another id: it has what it had before.
    pub(super) fn replace(&mut self, old_id: &str, new_id: &str, changes: &mut Changes) {
        let Some(member) = self.members.get(old_id).cloned() else {
            return;
        };
        for tombstone in removal(old_id) {
            self.change(tombstone, changes);
        }
        let subscription = Box::new(member.subscription);
        self.change(
            Change::Member(new_id.to_owned(), Some(subscription)),
            changes,
        );
        self.change(
            Change::Target(new_id.to_owned(), Some(member.target)),
            changes,
        );
        let current = Box::new(CurrentAssignment {
            assigned: member.current.assigned,
            ..CurrentAssignment::default()
        });
        self.change(Change::Current(new_id.to_owned(), Some(current)), changes);
    }

    /// Takes over what the member says of itself; whether it subscribes to something else.
    fn subscribe(&mut self, request: &Heartbeat, joins: bool, changes: &mut Changes) -> bool {
        let before = self.members.get(&request.member_id);
        let before = before.map(|member| &member.subscription);
        if before.is_some_and(|before| request.says_nothing_new(before)) {
            return false;
        }
        let mut updated = before.cloned().unwrap_or_default();
        updated.client_id.clone_from(&request.client_id);
        updated.client_host.clone_from(&request.client_host);
        if let Some(instance_id) = &request.instance_id {
            updated.instance_id = Some(instance_id.clone());
        }
        if let Some(rack_id) = &request.rack_id {
            updated.rack_id = Some(rack_id.clone());
        }
        if let Some(timeout_ms) = request.rebalance_timeout_ms {
            updated.rebalance_timeout_ms = timeout_ms;
        }
        if let Some(topics) = &request.topics {
            updated.topics.clone_from(topics);
        }
        if let Some(regex) = &request.regex {
            updated.regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
        }
        if let Some(assignor) = &request.assignor {
            updated.assignor = Some(assignor.clone());
        }
        updated.classic = None;
        let same_topics = before
            .is_some_and(|before| before.topics == updated.topics && before.regex == updated.regex);
        if before != Some(&updated) {
            let change = Change::Member(request.member_id.clone(), Some(Box::new(updated)));
            self.change(change, changes);
        }
        joins || !same_topics
    }

    /// Begins a group epoch when a subscription or what is subscribed to has changed.
    pub(super) fn raise_epoch_if_due(
        &mut self,
        resubscribed: bool,
        topics: &dyn TopicView,
        changes: &mut Changes,
    ) {
        let version = topics.version();
        let topics_moved = self.topics_version != Some(version);
        if !resubscribed && !topics_moved && self.epoch > 0 {
            return;
        }
        self.resolve_regexes(topics_moved, topics);
        let metadata_hash = self.metadata_hash(topics);
        if resubscribed || self.epoch == 0 || metadata_hash != self.metadata_hash {
            self.raise_epoch(metadata_hash, changes);
        }
        self.topics_version = Some(version);
    }

    fn raise_epoch(&mut self, metadata_hash: i64, changes: &mut Changes) {
        let epoch = GroupEpoch {
            epoch: self.epoch.saturating_add(1),
            metadata_hash,
        };
        self.change(Change::Epoch(Some(epoch)), changes);
    }

    /// Forgets the regular expressions that nobody uses, and matches those that are new, or all
    /// when the topics have moved.
    pub(super) fn resolve_regexes(&mut self, topics_moved: bool, topics: &dyn TopicView) {
        let members = self.members.values();
        let used: BTreeSet<String> = members
            .filter_map(|member| member.subscription.regex.clone())
            .collect();
        self.regexes.retain(|pattern, _| used.contains(pattern));
        for pattern in used {
            if topics_moved || !self.regexes.contains_key(&pattern) {
                // It was compiled before it was let in; one of another release may match nothing.
                let compiled = compile(&pattern);
                let matched = compiled.map(|regex| matching(&regex, topics));
                self.regexes.insert(pattern, matched.unwrap_or_default());
            }
        }
    }

    pub(super) fn metadata_hash(&self, topics: &dyn TopicView) -> i64 {
        let members = self.members.values();
        let names: BTreeSet<&str> = members
            .flat_map(|member| self.topics_of(&member.subscription))
            .collect();
        metadata_hash(names.into_iter(), topics)
    }

    /// Computes the targets of a group epoch that has none yet.
    pub(super) fn assign_if_due(
        &mut self,
        topics: &dyn TopicView,
        config: &ConsumerConfig,
        changes: &mut Changes,
    ) {
        if self.epoch <= self.assignment_epoch {
            return;
        }
        let targets = self.targets(topics, config);
        for (id, target) in targets {
            let same = self.members.get(&id).is_some_and(|m| m.target == target);
            if !same {
                self.change(Change::Target(id, Some(target)), changes);
            }
        }
        self.change(Change::AssignmentEpoch(Some(self.epoch)), changes);
    }

    fn targets(
        &self,
        topics: &dyn TopicView,
        config: &ConsumerConfig,
    ) -> Vec<(String, Assignment)> {
        let mut specs: BTreeMap<&str, TopicSpec> = BTreeMap::new();
        for member in self.members.values() {
            for name in self.topics_of(&member.subscription) {
                if !specs.contains_key(name)
                    && let Some(facts) = topics.find(name)
                {
                    specs.insert(name, TopicSpec::new(facts));
                }
            }
        }
        let indexes: BTreeMap<&str, usize> = specs.keys().copied().zip(0..).collect();
        let specs: Vec<TopicSpec> = specs.into_values().collect();
        let members: Vec<MemberSpec<'_>> = self
            .members
            .iter()
            .map(|(id, member)| MemberSpec {
                name: member.subscription.instance_id.as_deref().unwrap_or(id),
                topics: self
                    .topics_of(&member.subscription)
                    .into_iter()
                    .filter_map(|name| indexes.get(name).copied())
                    .collect(),
                previous: &member.target,
            })
            .collect();
        let targets = assignor::assign(self.assignor(config), &members, &specs);
        self.members.keys().cloned().zip(targets).collect()
    }

    /// Lets the member do its next step; whether it has other partitions now.
    pub(super) fn reconcile(
        &mut self,
        id: &str,
        owned: Option<&Assignment>,
        resubscribed: bool,
        topics: &dyn TopicView,
        changes: &mut Changes,
    ) -> bool {
        let Some(member) = self.members.get(id) else {
            return false;
        };
        if !resubscribed && member.current.is_reconciled_to(self.assignment_epoch) {
            return false;
        }
        let subscribed: BTreeSet<TopicId> = self
            .topics_of(&member.subscription)
            .into_iter()
            .filter_map(|name| topics.find(name).map(|facts| facts.id))
            .collect();
        let is_held = |topic: TopicId, index: i32| {
            let owner = self.owners.get(&(topic, index));
            owner.is_some_and(|owner| owner != id)
        };
        let next = member.current.next(&Step {
            assignment_epoch: self.assignment_epoch,
            target: &member.target,
            subscribed: &subscribed,
            owned,
            is_held: &is_held,
        });
        let moved = next.assigned != member.current.assigned;
        if next != member.current {
            self.change(
                Change::Current(id.to_owned(), Some(Box::new(next))),
                changes,
            );
        }
        moved
    }

    fn extend_session(&mut self, now_ms: i64, id: &str, moved: bool, config: &ConsumerConfig) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let session_ms = now_ms.saturating_add(i64::from(config.session_timeout_ms));
        let running = self.deadlines.get(id).and_then(|d| d.act_ms);
        let act_ms = match member.revocation_deadline_ms(now_ms) {
            // Being told the same again gives no more time.
            Some(fresh_ms) if moved => Some(fresh_ms),
            Some(fresh_ms) => running.or(Some(fresh_ms)),
            None => None,
        };
        self.deadlines
            .insert(id.to_owned(), Deadlines { session_ms, act_ms });
    }

    pub(super) fn remove_members(
        &mut self,
        ids: &[String],
        topics: &dyn TopicView,
        changes: &mut Changes,
    ) {
        for id in ids {
            for tombstone in removal(id) {
                self.change(tombstone, changes);
            }
        }
        self.resolve_regexes(false, topics);
        let metadata_hash = self.metadata_hash(topics);
        self.raise_epoch(metadata_hash, changes);
    }
}

impl Heartbeat {
    fn says_nothing_new(&self, before: &Subscription) -> bool {
        self.rack_id.is_none()
            && self.rebalance_timeout_ms.is_none()
            && self.topics.is_none()
            && self.regex.is_none()
            && self.assignor.is_none()
            && self.client_id == before.client_id
            && self.client_host == before.client_host
            && self.instance_id == before.instance_id
            && before.classic.is_none()
    }
}

fn check_assignor(request: &Heartbeat, config: &ConsumerConfig) -> Result<(), Refusal> {
    let Some(name) = &request.assignor else {
        return Ok(());
    };
    let names: Vec<&str> = config.assignors.iter().map(|known| known.name()).collect();
    if names.contains(&name.as_str()) {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::UNSUPPORTED_ASSIGNOR,
        format!(
            "assignor {name} is not supported, only {}",
            names.join(", ")
        ),
    ))
}

/// A member's records go before the member itself.
fn removal(id: &str) -> [Change; 3] {
    [
        Change::Current(id.to_owned(), None),
        Change::Target(id.to_owned(), None),
        Change::Member(id.to_owned(), None),
    ]
}
