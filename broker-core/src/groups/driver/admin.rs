//! What administrators ask: which groups there are, what they do, and that they be deleted.

use super::storage::Records;
use super::{GroupCoordinator, Inner, Slot};
use crate::error::ErrorCode;
use crate::groups::classic::{GroupState, MemberDescription};
use crate::groups::group::{Group, GroupType};
use crate::ids::Offset;

/// One group as ListGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// Group id.
    pub id: String,
    /// Which protocol it speaks.
    pub group_type: GroupType,
    /// Empty for a simple group.
    pub protocol_type: String,
    /// Kafka's name of where it is in its life.
    pub state: &'static str,
}

/// One classic group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Where it is in its life.
    pub state: GroupState,
    /// Empty for a simple group.
    pub protocol_type: String,
    /// The chosen strategy; empty unless the group is stable.
    pub protocol_name: String,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

impl GroupCoordinator {
    /// All groups, sorted by id.
    #[must_use]
    pub fn list(&self) -> Vec<GroupSummary> {
        let mut groups: Vec<GroupSummary> = self
            .slots()
            .iter()
            .filter_map(|slot| {
                let inner = slot.inner.lock();
                (!inner.removed).then(|| GroupSummary {
                    id: slot.id.to_string(),
                    protocol_type: inner.group.protocol_type().unwrap_or_default().to_owned(),
                    group_type: inner.group.group_type(),
                    state: inner.group.state_name(),
                })
            })
            .collect();
        groups.sort_by(|left, right| left.id.cmp(&right.id));
        groups
    }

    /// One classic group; `None` when there is none of that id.
    #[must_use]
    pub fn describe(&self, group_id: &str) -> Option<GroupDescription> {
        let described = self.with_group(group_id, |_, inner| {
            let Group::Classic(group) = &inner.group else {
                return None;
            };
            let protocol_name = match group.state() {
                GroupState::Stable => group.protocol_name().unwrap_or_default(),
                GroupState::Empty
                | GroupState::PreparingRebalance
                | GroupState::CompletingRebalance
                | GroupState::Dead => "",
            };
            Some(GroupDescription {
                state: group.state(),
                protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
                protocol_name: protocol_name.to_owned(),
                members: group.describe_members(),
            })
        });
        described.flatten()
    }

    /// DeleteGroups of one group: NONE, GROUP_ID_NOT_FOUND or NON_EMPTY_GROUP.
    pub async fn delete(&self, group_id: &str) -> ErrorCode {
        let now_ms = self.clock.now_ms();
        let deleted = self.with_group(group_id, |slot, inner| {
            if !inner.group.is_empty() {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            self.remove_group(slot, inner, now_ms)
        });
        let result = match deleted {
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(Err(error)) => Err(error),
            Some(Ok(written)) => self.log.durable(group_id, written).await,
        };
        result.err().unwrap_or(ErrorCode::NONE)
    }

    /// Deletes offsets whose retention is over, and groups with nothing left.
    pub fn expire(&self) {
        let now_ms = self.clock.now_ms();
        let retention_ms = i64::from(self.config.offsets_retention_minutes).saturating_mul(60_000);
        for slot in self.slots() {
            let mut inner = slot.inner.lock();
            if inner.removed {
                continue;
            }
            let expired = inner.offsets.expired(&inner.group, retention_ms, now_ms);
            let result = self.remove_offsets(&slot, &mut inner, &expired, now_ms);
            let result = result.and_then(|()| {
                let over = inner.group.is_empty() && inner.offsets.is_empty();
                if over && !inner.removed {
                    self.remove_group(&slot, &mut inner, now_ms)?;
                }
                Ok(())
            });
            if let Err(error) = result {
                tracing::warn!(group = %slot.id, error = error.name(), "expiry could not be written");
            }
        }
    }

    /// Writes tombstones for everything and takes the group out of the map.
    fn remove_group(
        &self,
        slot: &Slot,
        inner: &mut Inner,
        now_ms: i64,
    ) -> Result<Option<Offset>, ErrorCode> {
        let mut records = Records::new(&slot.id);
        for (topic, partition) in inner.offsets.all() {
            records.offset(&topic, partition, None)?;
        }
        if inner.stored.is_some() {
            records.metadata(None)?;
        }
        if let Group::Consumer(group) = &inner.group {
            records.changes(&group.tombstones())?;
        }
        self.append(inner, records, now_ms)?;
        if let Group::Classic(group) = &mut inner.group {
            group.mark_dead(now_ms);
        }
        self.take_out(slot, inner);
        Ok(inner.written)
    }
}
