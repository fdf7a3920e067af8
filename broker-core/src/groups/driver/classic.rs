//! Members of classic groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::storage::Records;
use super::{Answer, GroupCoordinator, Inner, Slot};
use crate::error::ErrorCode;
use crate::groups::classic::{
    ClassicGroup, Effects, JoinReply, JoinRequest, Reply, RequestToken, SyncReply, SyncRequest,
};
use crate::groups::group::Group;
use crate::groups::record::STRING_BYTES_MAX;

impl GroupCoordinator {
    /// JoinGroup: returns when the rebalance is complete.
    pub async fn join(&self, group_id: &str, request: JoinRequest) -> JoinReply {
        let member_id = request.member_id.clone();
        if let Err(error) = self.check_join(&request) {
            return JoinReply::error(error, &member_id);
        }
        let now_ms = self.clock.now_ms();
        let join = |slot: &Slot, inner: &mut Inner| {
            if !inner.group.has_members() {
                self.turn_classic(slot, inner, &request, now_ms)?;
            }
            let (token, receiver) = self.wait(inner);
            let effects = match &mut inner.group {
                Group::Classic(group) => group.handle_join(now_ms, token, request),
                Group::Consumer(_) => {
                    let reply = self.join_consumer_group(slot, inner, &request, now_ms)?;
                    Effects {
                        replies: vec![(token, Reply::Join(reply))],
                        record: None,
                    }
                }
            };
            self.settle(slot, inner, effects, now_ms);
            Ok(receiver)
        };
        // A member that has an id has it from a group that is no longer there.
        let receiver = if member_id.is_empty() {
            self.with_new_group(group_id, join)
        } else {
            let unknown = Err(ErrorCode::UNKNOWN_MEMBER_ID);
            self.with_group(group_id, join).unwrap_or(unknown)
        };
        let receiver = match receiver {
            Ok(receiver) => receiver,
            Err(error) => return JoinReply::error(error, &member_id),
        };
        match self.answer(group_id, receiver).await {
            Ok(Reply::Join(reply)) => reply,
            Ok(Reply::Sync(_)) => JoinReply::error(ErrorCode::UNKNOWN_SERVER_ERROR, &member_id),
            Err(error) => JoinReply::error(error, &member_id),
        }
    }

    /// SyncGroup: returns when the leader's assignment is there and durable.
    pub async fn sync(&self, group_id: &str, request: SyncRequest) -> SyncReply {
        let now_ms = self.clock.now_ms();
        let receiver = self.with_group(group_id, |slot, inner| {
            let (token, receiver) = self.wait(inner);
            let effects = match &mut inner.group {
                Group::Classic(group) => group.handle_sync(now_ms, token, request),
                Group::Consumer(group) => {
                    let reply = group.classic_sync(now_ms, &request, self.topics.as_ref());
                    Effects {
                        replies: vec![(token, Reply::Sync(reply))],
                        record: None,
                    }
                }
            };
            self.settle(slot, inner, effects, now_ms);
            receiver
        });
        let Some(receiver) = receiver else {
            return SyncReply::error(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        match self.answer(group_id, receiver).await {
            Ok(Reply::Sync(reply)) => reply,
            Ok(Reply::Join(_)) => SyncReply::error(ErrorCode::UNKNOWN_SERVER_ERROR),
            Err(error) => SyncReply::error(error),
        }
    }

    /// Heartbeat.
    #[must_use]
    pub fn heartbeat(
        &self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        let now_ms = self.clock.now_ms();
        self.with_group(group_id, |slot, inner| match &mut inner.group {
            // Only moves deadlines back: the heap's time stays good.
            Group::Classic(group) => {
                group.handle_heartbeat(now_ms, member_id, instance_id, generation)
            }
            Group::Consumer(group) => {
                let topics = self.topics.as_ref();
                let (beaten, changes) =
                    group.classic_heartbeat(now_ms, member_id, instance_id, generation, topics);
                // Nothing that could not be written is told: it is only asked to join.
                if let Err(error) = self.write_changes(slot, inner, changes, now_ms) {
                    return error;
                }
                self.schedule(&slot.id, inner);
                beaten
            }
        })
        .unwrap_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// LeaveGroup of (member id, instance id) pairs: one error each.
    pub async fn leave(&self, group_id: &str, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let now_ms = self.clock.now_ms();
        let left = self.with_group(group_id, |slot, inner| {
            let Group::Classic(group) = &mut inner.group else {
                let errors = members
                    .iter()
                    .map(|(id, instance_id)| {
                        self.leave_consumer_group(slot, inner, (id, *instance_id), now_ms)
                            .err()
                            .unwrap_or_default()
                    })
                    .collect();
                return (errors, inner.written);
            };
            let mut effects = Effects::default();
            let errors: Vec<ErrorCode> = members
                .iter()
                .map(|(member_id, instance_id)| {
                    group.handle_leave(now_ms, member_id, *instance_id, &mut effects)
                })
                .collect();
            self.settle(slot, inner, effects, now_ms);
            (errors, inner.written)
        });
        match left {
            None => vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()],
            Some((errors, written)) => match self.log.durable(group_id, written).await {
                Ok(()) => errors,
                Err(error) => vec![error; members.len()],
            },
        }
    }

    /// A member of the classic protocol comes to a group in which nobody is left: the group begins
    /// anew as one of the classic protocol.
    fn turn_classic(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        request: &JoinRequest,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let Group::Consumer(group) = &inner.group else {
            return Ok(());
        };
        if !request.member_id.is_empty() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let mut records = Records::new(&slot.id);
        if group.exists() {
            records.changes(&group.tombstones())?;
        }
        self.append(inner, records, now_ms)?;
        inner.group = Group::Classic(ClassicGroup::new(self.classic_config(), now_ms));
        Ok(())
    }

    /// A member of the classic protocol joins a group of the other.
    fn join_consumer_group(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        request: &JoinRequest,
        now_ms: i64,
    ) -> Result<JoinReply, ErrorCode> {
        let Group::Consumer(group) = &mut inner.group else {
            return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        };
        let (topics, config) = (self.topics.as_ref(), self.consumer_config(&slot.id));
        let (reply, changes) = group.classic_join(now_ms, request, topics, &config)?;
        self.write_changes(slot, inner, changes, now_ms)?;
        Ok(reply)
    }

    fn leave_consumer_group(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        (member_id, instance_id): (&str, Option<&str>),
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let Group::Consumer(group) = &mut inner.group else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        let topics = self.topics.as_ref();
        let changes = group.classic_leave(member_id, instance_id, topics)?;
        self.write_changes(slot, inner, changes, now_ms)
    }

    fn check_join(&self, request: &JoinRequest) -> Result<(), ErrorCode> {
        let timeouts = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        if !timeouts.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        let names = request.protocols.iter().map(|protocol| &protocol.name);
        let storable = names
            .chain([&request.protocol_type, &request.client_id])
            .chain(&request.instance_id)
            .all(|text| text.len() <= STRING_BYTES_MAX)
            && request.fresh_member_id.len() <= STRING_BYTES_MAX;
        if storable {
            Ok(())
        } else {
            Err(ErrorCode::INVALID_REQUEST)
        }
    }

    fn wait(&self, inner: &mut Inner) -> (RequestToken, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let token = RequestToken(inner.next_token);
        inner.next_token += 1;
        // After the shutdown the sender is dropped at once, which the receiver understands.
        if !self.closed.load(Ordering::Acquire) {
            inner.waiting.insert(token, sender);
        }
        (token, receiver)
    }

    async fn answer(
        &self,
        group_id: &str,
        receiver: oneshot::Receiver<Answer>,
    ) -> Result<Reply, ErrorCode> {
        let answer = receiver
            .await
            .map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        self.log.durable(group_id, answer.depends_on).await?;
        Ok(answer.reply)
    }
}
