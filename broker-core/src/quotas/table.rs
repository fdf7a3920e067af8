//! Which quota a client has: pure, changed only by setting and removing.

use core::net::IpAddr;
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
    /// Partitions made or removed a second (KIP-599).
    ControllerMutationRate,
    /// Connections a second from an address (KIP-612).
    ConnectionCreationRate,
}

/// All kinds.
pub const QUOTA_KINDS: [QuotaKind; 5] = [
    QuotaKind::ProducerByteRate,
    QuotaKind::ConsumerByteRate,
    QuotaKind::RequestPercentage,
    QuotaKind::ControllerMutationRate,
    QuotaKind::ConnectionCreationRate,
];

impl QuotaKind {
    /// Its config's name in Kafka.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
            Self::ControllerMutationRate => "controller_mutation_rate",
            Self::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        QUOTA_KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is for addresses; all others are for users and client ids.
    #[must_use]
    pub const fn is_for_addresses(self) -> bool {
        matches!(self, Self::ConnectionCreationRate)
    }

    /// Whether its limit is a whole number.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        match self {
            Self::ProducerByteRate | Self::ConsumerByteRate | Self::ConnectionCreationRate => true,
            Self::RequestPercentage | Self::ControllerMutationRate => false,
        }
    }
}

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityName {
    /// Every one that has no quota of its own.
    Default,
    /// That one.
    Named(String),
}

/// Whom a quota is for: a user, a client id, a client id of a user, or an address. Never none of
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity {
    /// The user.
    pub user: Option<EntityName>,
    /// The client id.
    pub client_id: Option<EntityName>,
    /// The address, as [`IpAddr`] writes it.
    pub ip: Option<EntityName>,
}

/// Whose use of something is counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Consumer {
    pub(crate) user: Option<Box<str>>,
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) address: Option<IpAddr>,
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
                address: None,
            };
            let entity = QuotaEntity {
                user: of_user,
                client_id: of_client,
                ip: None,
            };
            let limit = *self.0.get(&entity)?.get(&kind)?;
            Some(Quota { limit, consumer })
        })
    }

    /// The quota of an address: its own, else the default, which counts each address by itself.
    pub(crate) fn find_address(&self, kind: QuotaKind, address: IpAddr) -> Option<Quota> {
        if self.0.is_empty() {
            return None;
        }
        let address = address.to_canonical();
        let names = [EntityName::Named(address.to_string()), EntityName::Default];
        let limit = names.into_iter().find_map(|name| {
            let entity = QuotaEntity {
                ip: Some(name),
                ..QuotaEntity::default()
            };
            self.0.get(&entity)?.get(&kind).copied()
        })?;
        let consumer = Consumer {
            address: Some(address),
            ..Consumer::default()
        };
        Some(Quota { limit, consumer })
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
                ip: None,
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
                    address: None,
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

    #[test]
    fn an_address_has_its_own_quota_or_the_default() {
        let kind = QuotaKind::ConnectionCreationRate;
        let mut table = table(&[("*", "-", 1.0)]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(table.find_address(kind, address("10.0.0.1")), None);
        for (text, limit) in [("*", 5.0), ("10.0.0.1", 7.0)] {
            let entity = QuotaEntity {
                ip: name(text),
                ..QuotaEntity::default()
            };
            table.set(&entity, kind, Some(limit));
        }
        for (text, counted_as, limit) in [
            ("10.0.0.1", "10.0.0.1", 7.0),
            ("::ffff:10.0.0.1", "10.0.0.1", 7.0),
            ("10.0.0.2", "10.0.0.2", 5.0),
            ("fe80::1", "fe80::1", 5.0),
        ] {
            let found = table.find_address(kind, address(text)).unwrap();
            assert_eq!(found.limit, limit, "{text}");
            assert_eq!(found.consumer.address, Some(address(counted_as)), "{text}");
        }
    }
}
