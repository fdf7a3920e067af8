//! Which quota a client has: pure, changed only by setting and removing.

use std::collections::BTreeMap;

/// What a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// Bytes of produce requests a second.
    ProducerByteRate,
    /// Bytes of fetch responses a second.
    ConsumerByteRate,
    /// Time that requests take of the broker's threads: 100 is one thread all the time.
    RequestPercentage,
}

/// All kinds.
pub const QUOTA_KINDS: [QuotaKind; 3] = [
    QuotaKind::ProducerByteRate,
    QuotaKind::ConsumerByteRate,
    QuotaKind::RequestPercentage,
];

impl QuotaKind {
    /// Its config's name in Kafka.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        QUOTA_KINDS.into_iter().find(|kind| kind.name() == name)
    }
}

/// One half of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityName {
    /// Every one that has no quota of its own.
    Default,
    /// That one.
    Named(String),
}

/// Whom a quota is for: a user, a client id, or a client id of a user. Never neither.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity {
    /// The user.
    pub user: Option<EntityName>,
    /// The client id.
    pub client_id: Option<EntityName>,
}

/// Whose use of something is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Consumer {
    pub(crate) user: Option<Box<str>>,
    pub(crate) client_id: Option<Box<str>>,
}

/// The quota in force for a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quota {
    /// A second.
    pub(crate) limit: f64,
    pub(crate) consumer: Consumer,
}

/// All quotas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuotaTable(BTreeMap<QuotaEntity, BTreeMap<QuotaKind, f64>>);

impl QuotaTable {
    /// Sets a quota, or removes it.
    pub(crate) fn set(&mut self, entity: &QuotaEntity, kind: QuotaKind, limit: Option<f64>) {
        let limits = self.0.entry(entity.clone()).or_default();
        match limit {
            Some(limit) => {
                limits.insert(kind, limit);
            }
            None => {
                limits.remove(&kind);
            }
        }
        if limits.is_empty() {
            self.0.remove(entity);
        }
    }

    /// Every entity with quotas, and these.
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<QuotaKind, f64>)> {
        self.0.iter()
    }

    /// How many entities have quotas.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no quota at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anyone has a quota of that kind.
    pub(crate) fn has(&self, kind: QuotaKind) -> bool {
        self.0.values().any(|limits| limits.contains_key(&kind))
    }

    /// The quota of a client: of those that fit it the most special one, in Kafka's order. A quota
    /// for a user counts all its clients together; one for a client id all users together; a
    /// default counts each of those that it is for by itself.
    pub(crate) fn find(&self, kind: QuotaKind, user: &str, client_id: &str) -> Option<Quota> {
        if self.0.is_empty() {
            return None;
        }
        let default = || Some(EntityName::Default);
        let named = |name: &str| Some(EntityName::Named(name.to_owned()));
        let candidates = [
            (named(user), named(client_id)),
            (named(user), default()),
            (named(user), None),
            (default(), named(client_id)),
            (default(), default()),
            (default(), None),
            (None, named(client_id)),
            (None, default()),
        ];
        candidates.into_iter().find_map(|(of_user, of_client)| {
            let consumer = Consumer {
                user: of_user.is_some().then(|| user.into()),
                client_id: of_client.is_some().then(|| client_id.into()),
            };
            let entity = QuotaEntity {
                user: of_user,
                client_id: of_client,
            };
            let limit = *self.0.get(&entity)?.get(&kind)?;
            Some(Quota { limit, consumer })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<EntityName> {
        match text {
            "-" => None,
            "*" => Some(EntityName::Default),
            name => Some(EntityName::Named(name.to_owned())),
        }
    }

    fn table(rows: &[(&str, &str, f64)]) -> QuotaTable {
        let mut table = QuotaTable::default();
        for (user, client_id, limit) in rows {
            let entity = QuotaEntity {
                user: name(user),
                client_id: name(client_id),
            };
            table.set(&entity, QuotaKind::ProducerByteRate, Some(*limit));
        }
        table
    }

    #[test]
    fn the_most_special_quota_counts() {
        // Least special first: each further row takes over.
        let rows = [
            ("-", "*", 1.0),
            ("-", "c", 2.0),
            ("*", "-", 3.0),
            ("*", "*", 4.0),
            ("*", "c", 5.0),
            ("u", "-", 6.0),
            ("u", "*", 7.0),
            ("u", "c", 8.0),
        ];
        for count in 1..=rows.len() {
            let table = table(&rows[..count]);
            let found = table.find(QuotaKind::ProducerByteRate, "u", "c");
            let (user, client_id, limit) = rows[count - 1];
            let expected = Quota {
                limit,
                consumer: Consumer {
                    user: (user != "-").then(|| "u".into()),
                    client_id: (client_id != "-").then(|| "c".into()),
                },
            };
            assert_eq!(found, Some(expected), "{:?}", rows[count - 1]);
        }
    }

    #[test]
    fn what_does_not_fit_does_not_count() {
        let mut table = table(&[("other", "-", 1.0), ("-", "other", 2.0)]);
        assert_eq!(table.find(QuotaKind::ProducerByteRate, "u", "c"), None);
        let found = table.find(QuotaKind::ConsumerByteRate, "other", "c");
        assert_eq!(found, None, "of another kind");
        assert_eq!(
            (table.len(), table.has(QuotaKind::ConsumerByteRate)),
            (2, false)
        );
        for entity in table.clone().iter().map(|(entity, _)| entity) {
            table.set(entity, QuotaKind::ProducerByteRate, None);
        }
        assert!(table.is_empty());
    }
}
