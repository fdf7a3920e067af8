//! The associations of an image, found by subject, by topic name and by resource id.

use std::sync::Arc;

use uuid::Uuid;

use super::sharded::Sharded;
use crate::association::Association;

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
