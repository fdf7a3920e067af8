//! Members of consumer groups (KIP-848): heartbeats, and what is shown of their groups.

use super::storage::Records;
use super::{Changes, ConsumerGroup, Group, GroupCoordinator, Inner, Slot};
use crate::error::ErrorCode;
use crate::groups::classic::ClassicGroup;
use crate::groups::consumer::{
    ConsumerGroupState, Heartbeat, HeartbeatReply, JOIN_EPOCH, LEAVE_EPOCH, MemberDescription,
    Refusal, TopicFacts, TopicView,
};
use crate::groups::record::STRING_BYTES_MAX;
use crate::topics::Topics;

/// What a member may subscribe to, in bytes of names: its record has to fit a batch.
const SUBSCRIPTION_BYTES_MAX: usize = 256 * 1024;

/// One consumer group as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupDescription {
    /// Where it is in its life.
    pub state: ConsumerGroupState,
    /// Its group epoch.
    pub epoch: i32,
    /// Group epoch that the targets are of.
    pub assignment_epoch: i32,
    /// Name of its assignor.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

impl TopicView for Topics {
    fn version(&self) -> u64 {
        Self::version(self)
    }

    fn find(&self, name: &str) -> Option<TopicFacts> {
        let topic = self.get(name)?;
        Some(TopicFacts {
            id: topic.id,
            partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        })
    }

    fn names(&self) -> Vec<String> {
        // Internal ones too, as in Kafka: whoever does not want them says so in the expression.
        let topics = self.list().into_iter();
        topics.map(|topic| topic.name.to_string()).collect()
    }
}

impl GroupCoordinator {
    /// ConsumerGroupHeartbeat, joining and leaving included: returns when what it says is durable.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND when there is no such group to stay in, or one whose members cannot be taken
    /// over; those of [`ConsumerGroup::heartbeat`] and [`ConsumerGroup::leave`]; INVALID_REQUEST
    /// for a subscription that is too long; COORDINATOR_NOT_AVAILABLE when the log does not take it.
    pub async fn consumer_heartbeat(
        &self,
        group_id: &str,
        request: Heartbeat,
    ) -> Result<HeartbeatReply, Refusal> {
        check_storable(&request)?;
        let answered = if request.member_epoch == JOIN_EPOCH {
            self.with_new_group(group_id, |slot, inner| {
                let answered = self.consumer_join(slot, inner, &request);
                self.forget_if_vacant(slot, inner);
                answered
            })
        } else {
            let missing = || not_found(group_id, "there is no such group");
            self.with_group(group_id, |slot, inner| {
                self.consumer_stay(slot, inner, &request)
            })
            .unwrap_or_else(|| Err(missing()))
        };
        let (reply, written) = answered?;
        let durable = self.log.durable(group_id, written).await;
        durable.map_err(unwritten)?;
        Ok(reply)
    }

    /// One consumer group; `None` when there is none of that id.
    #[must_use]
    pub fn describe_consumer(&self, group_id: &str) -> Option<ConsumerGroupDescription> {
        let described = self.with_group(group_id, |_, inner| match &inner.group {
            Group::Classic(_) => None,
            Group::Consumer(group) => Some(ConsumerGroupDescription {
                state: group.state(),
                epoch: group.epoch(),
                assignment_epoch: group.assignment_epoch(),
                assignor: group.assignor(&self.config.consumer).name(),
                members: group.describe_members(),
            }),
        });
        described.flatten()
    }

    /// Fences the members of a consumer group that were silent for too long.
    pub(super) fn consumer_timeout(&self, slot: &Slot, inner: &mut Inner, now_ms: i64) {
        if let Group::Consumer(group) = &mut inner.group {
            let topics = self.topics.as_ref();
            let config = self.consumer_config(&slot.id);
            let changes = group.handle_timeout(now_ms, topics, &config);
            let left = !changes.applied.is_empty();
            if let Err(error) = self.write_changes(slot, inner, changes, now_ms) {
                tracing::warn!(group = %slot.id, error = error.name(),
                    "the end of a member's session could not be written");
            } else if left {
                self.turn_classic_if_left(slot, inner, now_ms);
            }
            self.schedule(&slot.id, inner);
        }
    }

    /// A group whose last member of the consumer protocol has gone is the others' again, unless
    /// groups do not change so.
    pub(super) fn turn_classic_if_left(&self, slot: &Slot, inner: &mut Inner, now_ms: i64) {
        let Group::Consumer(group) = &inner.group else {
            return;
        };
        if !group.is_left_to_classic_members() || !self.config.migration.downgrades() {
            return;
        }
        let metadata = group.to_classic(now_ms, self.topics.as_ref());
        let mut records = Records::new(&slot.id);
        let written = records
            .changes(&group.tombstones())
            .and_then(|()| records.metadata(Some(&metadata)))
            .and_then(|()| self.append(inner, records, now_ms));
        if let Err(error) = written {
            // Its members are served as they were; the next one that leaves brings us here again.
            tracing::warn!(group = %slot.id, error = error.name(),
                "a group stays with the consumer protocol");
            return;
        }
        let mut classic = ClassicGroup::restore(self.classic_config(), &metadata, now_ms);
        let effects = classic.rebalance(now_ms);
        inner.stored = Some(metadata);
        inner.group = Group::Classic(classic);
        self.settle(slot, inner, effects, now_ms);
    }

    fn consumer_join(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        request: &Heartbeat,
    ) -> Result<Answered, Refusal> {
        let Group::Classic(classic) = &inner.group else {
            return self.consumer_stay(slot, inner, request);
        };
        // Members of the classic protocol that stay are served by the group that this becomes.
        let now_ms = self.clock.now_ms();
        let (topics, config) = (self.topics.as_ref(), self.consumer_config(&slot.id));
        let mut group = ConsumerGroup::default();
        let mut taken_over = Vec::new();
        let members = classic.hand_over();
        if !members.is_empty() {
            if !self.config.migration.upgrades() {
                return Err(not_found(&slot.id, "it speaks the classic protocol"));
            }
            if !classic.is_consumer_group() {
                return Err(not_found(&slot.id, "its members are no consumers"));
            }
            let generation = classic.generation();
            group = ConsumerGroup::from_classic(now_ms, generation, &members, topics, &config)?;
            taken_over = group.snapshot();
        }
        let (reply, changes) = group.heartbeat(now_ms, request, topics, &config)?;
        let mut records = Records::new(&slot.id);
        let written = (|| {
            if inner.stored.is_some() {
                records.metadata(None)?;
            }
            records.changes(&taken_over)?;
            records.changes(&changes.applied)?;
            self.append(inner, records, now_ms)
        })();
        written.map_err(unwritten)?;
        inner.stored = None;
        let before = std::mem::replace(&mut inner.group, Group::Consumer(group));
        if let Group::Classic(mut classic) = before {
            let effects = classic.dismiss();
            self.settle(slot, inner, effects, now_ms);
        }
        Ok((reply, inner.written))
    }

    fn consumer_stay(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        request: &Heartbeat,
    ) -> Result<Answered, Refusal> {
        let now_ms = self.clock.now_ms();
        let topics = self.topics.as_ref();
        let Group::Consumer(group) = &mut inner.group else {
            return Err(not_found(&slot.id, "it speaks the classic protocol"));
        };
        let (reply, changes) = if request.member_epoch <= LEAVE_EPOCH {
            let instance_id = request.instance_id.as_deref();
            group.leave(
                &request.member_id,
                instance_id,
                request.member_epoch,
                topics,
            )?
        } else {
            let config = self.consumer_config(&slot.id);
            group.heartbeat(now_ms, request, topics, &config)?
        };
        let changed = !changes.applied.is_empty();
        let written = self.write_changes(slot, inner, changes, now_ms);
        written.map_err(unwritten)?;
        if request.member_epoch == LEAVE_EPOCH {
            self.turn_classic_if_left(slot, inner, now_ms);
        }
        // A heartbeat that changes nothing only moves deadlines back: the heap's time stays good.
        if changed || inner.scheduled_ms.is_none() {
            self.schedule(&slot.id, inner);
        }
        Ok((reply, inner.written))
    }

    /// Writes what a consumer group did, or takes it back.
    pub(super) fn write_changes(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        changes: Changes,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let mut records = Records::new(&slot.id);
        let written = records
            .changes(&changes.applied)
            .and_then(|()| self.append(inner, records, now_ms));
        if written.is_err()
            && let Group::Consumer(group) = &mut inner.group
        {
            group.undo(changes);
        }
        written
    }
}

/// A reply, and the record that must be durable before it is sent.
type Answered = (HeartbeatReply, Option<crate::ids::Offset>);

fn check_storable(request: &Heartbeat) -> Result<(), Refusal> {
    let texts = [
        Some(&request.member_id),
        Some(&request.client_id),
        request.instance_id.as_ref(),
        request.rack_id.as_ref(),
        request.regex.as_ref(),
    ];
    let mut texts = texts.into_iter().flatten();
    let names = request.topics.iter().flatten();
    let subscription_bytes: usize = names.map(String::len).sum();
    if texts.all(|text| text.len() <= STRING_BYTES_MAX)
        && subscription_bytes <= SUBSCRIPTION_BYTES_MAX
    {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::INVALID_REQUEST,
        format!(
            "a member's ids may have {STRING_BYTES_MAX} bytes and its topics' names \
             {SUBSCRIPTION_BYTES_MAX} in all"
        ),
    ))
}

fn not_found(group_id: &str, why: &str) -> Refusal {
    Refusal::new(
        ErrorCode::GROUP_ID_NOT_FOUND,
        format!("no consumer group {group_id}: {why}"),
    )
}

fn unwritten(error: ErrorCode) -> Refusal {
    Refusal::new(error, "the change could not be written")
}
