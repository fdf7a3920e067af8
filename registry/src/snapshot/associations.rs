//! The associations of an image, found by subject, by topic name and by resource id.

use std::sync::Arc;

use uuid::Uuid;

use super::Snapshot;
use super::sharded::Sharded;
use crate::association::{Association, AssociationType};

impl Snapshot {
    /// All associations, in no order.
    pub fn associations(&self) -> impl Iterator<Item = &Arc<Association>> {
        self.associations.iter()
    }

    /// Associations of exactly this subject, in no order.
    #[must_use]
    pub fn associations_of_subject(&self, subject: &str) -> &[Arc<Association>] {
        self.associations.of_subject(subject)
    }

    /// Associations of the topics with this name, whatever their namespace, in no order.
    #[must_use]
    pub fn associations_of_name(&self, resource_name: &str) -> &[Arc<Association>] {
        self.associations.of_name(resource_name)
    }

    /// Associations of the topic with this id, in no order.
    #[must_use]
    pub fn associations_of_id(&self, resource_id: &str) -> &[Arc<Association>] {
        self.associations.of_id(resource_id)
    }

    /// The subject that the topic's keys or values are associated with. Of several (topics of one
    /// name in several namespaces) the one of the first namespace by name.
    #[must_use]
    pub fn associated_subject(&self, topic: &str, part: AssociationType) -> Option<&str> {
        if self.associations.is_empty() {
            return None;
        }
        self.associations
            .of_name(topic)
            .iter()
            .filter(|association| association.association_type == part)
            .min_by(|a, b| a.sort_key().cmp(&b.sort_key()))
            .map(|association| association.subject.as_str())
    }
}

/// Associations under one name, in no order.
type Group = Arc<Vec<Arc<Association>>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Associations {
    by_guid: Sharded<Uuid, Arc<Association>>,
    by_subject: Sharded<String, Group>,
    by_name: Sharded<String, Group>,
    by_id: Sharded<String, Group>,
    count: usize,
}

impl Associations {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn of_subject(&self, subject: &str) -> &[Arc<Association>] {
        members(&self.by_subject, subject)
    }

    pub(super) fn of_name(&self, name: &str) -> &[Arc<Association>] {
        members(&self.by_name, name)
    }

    pub(super) fn of_id(&self, id: &str) -> &[Arc<Association>] {
        members(&self.by_id, id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Association>> {
        self.by_guid.iter().map(|(_, association)| association)
    }

    /// Adds the association, or replaces the one of its GUID.
    pub(super) fn put(&mut self, association: &Arc<Association>) {
        self.remove(association.guid);
        self.by_guid
            .insert(association.guid, Arc::clone(association));
        add(&mut self.by_subject, &association.subject, association);
        add(&mut self.by_name, &association.resource_name, association);
        add(&mut self.by_id, &association.resource_id, association);
        self.count += 1;
    }

    pub(super) fn remove(&mut self, guid: Uuid) {
        let Some(old) = self.by_guid.get(&guid).cloned() else {
            return;
        };
        self.by_guid.remove(&guid);
        drop_from(&mut self.by_subject, &old.subject, guid);
        drop_from(&mut self.by_name, &old.resource_name, guid);
        drop_from(&mut self.by_id, &old.resource_id, guid);
        self.count -= 1;
    }
}

fn members<'a>(groups: &'a Sharded<String, Group>, name: &str) -> &'a [Arc<Association>] {
    groups.get(name).map_or(&[], |group| group.as_slice())
}

fn add(groups: &mut Sharded<String, Group>, name: &str, association: &Arc<Association>) {
    match groups.get_mut(name) {
        Some(group) => Arc::make_mut(group).push(Arc::clone(association)),
        None => groups.insert(name.to_owned(), Arc::new(vec![Arc::clone(association)])),
    }
}

fn drop_from(groups: &mut Sharded<String, Group>, name: &str, guid: Uuid) {
    let Some(group) = groups.get_mut(name) else {
        return;
    };
    let group = Arc::make_mut(group);
    group.retain(|association| association.guid != guid);
    if group.is_empty() {
        groups.remove(name);
    }
}
