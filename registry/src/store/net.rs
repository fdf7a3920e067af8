//! What a run of change sets leaves in the tables: one row per key, whatever happened on the way.
//!
//! Pure. Many writers share a transaction; their rows go to the database in a few statements of
//! many rows instead of a few statements each.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::association::Association;
use crate::change::{Change, ChangeSet};
use crate::model::{Mode, SubjectConfig};
use crate::snapshot::RegisteredSchema;

/// Rows by primary key. Removals are written first: a key that is in both was removed and put again.
#[derive(Debug, Default)]
pub(super) struct Net<'c> {
    pub(super) removed_schemas: BTreeSet<(&'c str, i32)>,
    pub(super) schemas: BTreeMap<(&'c str, i32), &'c RegisteredSchema>,
    pub(super) removed_versions: BTreeSet<(&'c str, i32)>,
    pub(super) versions: BTreeMap<(&'c str, i32), VersionRow>,
    /// None removes the row; so below.
    pub(super) configs: BTreeMap<&'c str, Option<&'c SubjectConfig>>,
    pub(super) modes: BTreeMap<&'c str, Option<Mode>>,
    pub(super) associations: BTreeMap<Uuid, Option<&'c Association>>,
    pub(super) contexts: BTreeMap<&'c str, ContextRow>,
}

/// What a version's row says beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VersionRow {
    pub(super) id: i32,
    pub(super) deleted: bool,
    pub(super) registered_ms: i64,
}

/// What changes in a context's row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ContextRow {
    pub(super) recorded: Option<bool>,
    pub(super) high_water: Option<i32>,
}

impl<'c> Net<'c> {
    pub(super) fn of(sets: &'c [ChangeSet]) -> Self {
        let mut net = Self::default();
        for change in sets.iter().flat_map(|set| &set.changes) {
            net.add(change);
        }
        net
    }

    fn add(&mut self, change: &'c Change) {
        match change {
            Change::PutSchema(schema) => {
                let key = (schema.context.as_str(), schema.id.0);
                self.schemas.insert(key, schema);
            }
            Change::RemoveSchema { context, id } => {
                self.schemas.remove(&(context.as_str(), id.0));
                self.removed_schemas.insert((context, id.0));
            }
            Change::PutVersion {
                subject,
                version,
                id,
                deleted,
                registered_ms,
            } => {
                let row = VersionRow {
                    id: id.0,
                    deleted: *deleted,
                    registered_ms: *registered_ms,
                };
                self.versions.insert((subject, version.0), row);
            }
            Change::RemoveVersion { subject, version } => {
                self.versions.remove(&(subject.as_str(), version.0));
                self.removed_versions.insert((subject, version.0));
            }
            Change::PutConfig { subject, config } => {
                self.configs.insert(subject, config.as_deref());
            }
            Change::PutMode { subject, mode } => {
                self.modes.insert(subject, *mode);
            }
            Change::PutAssociation(association) => {
                self.associations
                    .insert(association.guid, Some(association));
            }
            Change::RemoveAssociation(guid) => {
                self.associations.insert(*guid, None);
            }
            Change::RecordContext { context, recorded } => {
                self.contexts.entry(context).or_default().recorded = Some(*recorded);
            }
            Change::RaiseIds {
                context,
                high_water,
            } => {
                let row = self.contexts.entry(context).or_default();
                row.high_water = row.high_water.max(Some(high_water.0));
            }
        }
    }
}

/// Cuts rows into runs of few lengths, so that few statements are prepared however many rows come,
/// and a group of writers costs few round trips: eight statements a table at the most.
pub(super) fn runs<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = RUN_LENGTHS
            .into_iter()
            .find(|length| *length <= rows.len())?;
        let (run, rest) = rows.split_at(length);
        rows = rest;
        Some(run)
    })
}

/// SQLite binds at most 32,766 values a statement.
const RUN_LENGTHS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Audit;
    use crate::model::{SchemaId, Version};

    fn set(changes: Vec<Change>) -> ChangeSet {
        ChangeSet {
            changes,
            audit: Audit {
                actor: "a".into(),
                operation: "register",
                subject: String::new(),
                before: None,
                after: None,
            },
            at_ms: 0,
        }
    }

    fn put(version: i32, deleted: bool) -> Change {
        Change::PutVersion {
            subject: "s".into(),
            version: Version(version),
            id: SchemaId(1),
            deleted,
            registered_ms: 7,
        }
    }

    fn remove(version: i32) -> Change {
        Change::RemoveVersion {
            subject: "s".into(),
            version: Version(version),
        }
    }

    fn raise(id: i32) -> Change {
        Change::RaiseIds {
            context: ".".into(),
            high_water: SchemaId(id),
        }
    }

    /// Changes, one set each; removed versions; rows put.
    type Case<'a> = (Vec<Change>, &'a [i32], &'a [(i32, VersionRow)]);

    #[test]
    fn the_last_fact_about_a_key_counts() {
        let row = |deleted| VersionRow {
            id: 1,
            deleted,
            registered_ms: 7,
        };
        let cases: [Case<'_>; 4] = [
            (vec![put(1, false), put(1, true)], &[], &[(1, row(true))]),
            (vec![put(1, false), remove(1)], &[1], &[]),
            (vec![remove(1), put(1, false)], &[1], &[(1, row(false))]),
            (vec![put(2, false), remove(1)], &[1], &[(2, row(false))]),
        ];
        for (changes, removed, kept) in cases {
            let sets: Vec<ChangeSet> = changes
                .into_iter()
                .map(|change| set(vec![change]))
                .collect();
            let net = Net::of(&sets);
            let removed_found: Vec<i32> = net.removed_versions.iter().map(|key| key.1).collect();
            let kept_found: Vec<(i32, VersionRow)> = net
                .versions
                .iter()
                .map(|(key, row)| (key.1, *row))
                .collect();
            assert_eq!(
                (removed_found.as_slice(), kept_found.as_slice()),
                (removed, kept)
            );
        }
    }

    #[test]
    fn ids_of_a_context_only_rise() {
        let sets = [set(vec![raise(3), raise(9)]), set(vec![raise(5)])];
        let net = Net::of(&sets);
        assert_eq!(net.contexts["."].high_water, Some(9));
    }

    #[test]
    fn runs_cover_all_rows_in_few_lengths() {
        let rows: Vec<usize> = (0..146).collect();
        let lengths: Vec<usize> = runs(&rows).map(<[usize]>::len).collect();
        assert_eq!(lengths, [128, 16, 2]);
        assert_eq!(runs(&rows).flatten().count(), 146);
        assert_eq!(runs::<u8>(&[]).count(), 0);
    }
}
