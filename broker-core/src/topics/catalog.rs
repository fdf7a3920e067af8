//! What the metadata log says there is: pure, changed only by applying a record.
//!
//! A record's value is a kind byte, a version byte, then fields: integers big-endian, texts and
//! counts after a u32.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::BrokerScope;
use super::config::Properties;
use crate::ids::TopicId;
use crate::quotas::{EntityName, QuotaEntity, QuotaKind, QuotaTable};

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MetadataRecord {
    TopicCreated(TopicEntry),
    TopicDeleted(TopicId),
    PartitionsAdded {
        id: TopicId,
        total: i32,
    },
    ConfigsChanged {
        id: TopicId,
        configs: Properties,
    },
    /// Every producer id below is given away or lost.
    ProducerIdsReserved {
        next: i64,
    },
    /// How often the broker started after an unclean end.
    UncleanStart {
        count: i32,
    },
    /// All configs set on the broker while it ran.
    BrokerConfigsChanged {
        scope: BrokerScope,
        configs: Properties,
    },
    /// A client quota is set, or removed.
    QuotaChanged {
        entity: QuotaEntity,
        kind: QuotaKind,
        limit: Option<f64>,
    },
    /// All configs of a client metrics resource; none when it is gone.
    ClientMetricsChanged {
        name: String,
        configs: Properties,
    },
    /// All configs of a group; none when they are the broker's.
    GroupConfigsChanged {
        group: String,
        configs: Properties,
    },
}

/// A topic as catalogued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicEntry {
    pub(crate) id: TopicId,
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) internal: bool,
    pub(crate) configs: Properties,
}

/// All topics, and what the broker counts for good.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Catalog {
    pub(crate) topics: BTreeMap<TopicId, TopicEntry>,
    pub(crate) next_producer_id: i64,
    pub(crate) unclean_starts: i32,
    /// By the broker's names of them.
    pub(crate) broker_configs: BTreeMap<BrokerScope, Properties>,
    pub(crate) quotas: QuotaTable,
    pub(crate) client_metrics: BTreeMap<String, Properties>,
    pub(crate) group_configs: BTreeMap<String, Properties>,
}

impl Catalog {
    /// Applies a change. One that speaks of an unknown topic changes nothing.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::TopicCreated(topic) => {
                self.topics.insert(topic.id, topic.clone());
            }
            MetadataRecord::TopicDeleted(id) => {
                self.topics.remove(id);
            }
            MetadataRecord::PartitionsAdded { id, total } => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.partitions = topic.partitions.max(*total);
                }
            }
            MetadataRecord::ConfigsChanged { id, configs } => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.configs.clone_from(configs);
                }
            }
            MetadataRecord::ProducerIdsReserved { next } => {
                self.next_producer_id = self.next_producer_id.max(*next);
            }
            MetadataRecord::UncleanStart { count } => {
                self.unclean_starts = self.unclean_starts.max(*count);
            }
            MetadataRecord::BrokerConfigsChanged { scope, configs } => {
                self.broker_configs.insert(*scope, configs.clone());
            }
            MetadataRecord::QuotaChanged {
                entity,
                kind,
                limit,
            } => self.quotas.set(entity, *kind, *limit),
            MetadataRecord::ClientMetricsChanged { name, configs } => {
                set_properties(&mut self.client_metrics, name, configs);
            }
            MetadataRecord::GroupConfigsChanged { group, configs } => {
                set_properties(&mut self.group_configs, group, configs);
            }
        }
    }

    /// The fewest records that make this catalog.
    pub(crate) fn records(&self) -> Vec<MetadataRecord> {
        let topics = self.topics.values().cloned();
        let mut records: Vec<_> = topics.map(MetadataRecord::TopicCreated).collect();
        records.push(MetadataRecord::ProducerIdsReserved {
            next: self.next_producer_id,
        });
        records.push(MetadataRecord::UncleanStart {
            count: self.unclean_starts,
        });
        let configs = self.broker_configs.iter();
        records.extend(
            configs.map(|(scope, configs)| MetadataRecord::BrokerConfigsChanged {
                scope: *scope,
                configs: configs.clone(),
            }),
        );
        for (entity, limits) in self.quotas.iter() {
            records.extend(
                limits
                    .iter()
                    .map(|(kind, limit)| MetadataRecord::QuotaChanged {
                        entity: entity.clone(),
                        kind: *kind,
                        limit: Some(*limit),
                    }),
            );
        }
        let resources = self.client_metrics.iter();
        records.extend(
            resources.map(|(name, configs)| MetadataRecord::ClientMetricsChanged {
                name: name.clone(),
                configs: configs.clone(),
            }),
        );
        let groups = self.group_configs.iter();
        records.extend(
            groups.map(|(group, configs)| MetadataRecord::GroupConfigsChanged {
                group: group.clone(),
                configs: configs.clone(),
            }),
        );
        records
    }

    pub(crate) fn partitions_count(&self) -> i64 {
        let topics = self.topics.values();
        topics.map(|topic| i64::from(topic.partitions)).sum()
    }
}

impl MetadataRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::TopicCreated(topic) => {
                out.extend_from_slice(&[1, VERSION]);
                out.extend_from_slice(topic.id.0.as_bytes());
                put_text(&mut out, &topic.name);
                out.extend_from_slice(&topic.partitions.to_be_bytes());
                out.push(u8::from(topic.internal));
                put_properties(&mut out, &topic.configs);
            }
            Self::TopicDeleted(id) => {
                out.extend_from_slice(&[2, VERSION]);
                out.extend_from_slice(id.0.as_bytes());
            }
            Self::PartitionsAdded { id, total } => {
                out.extend_from_slice(&[3, VERSION]);
                out.extend_from_slice(id.0.as_bytes());
                out.extend_from_slice(&total.to_be_bytes());
            }
            Self::ConfigsChanged { id, configs } => {
                out.extend_from_slice(&[4, VERSION]);
                out.extend_from_slice(id.0.as_bytes());
                put_properties(&mut out, configs);
            }
            Self::ProducerIdsReserved { next } => {
                out.extend_from_slice(&[5, VERSION]);
                out.extend_from_slice(&next.to_be_bytes());
            }
            Self::UncleanStart { count } => {
                out.extend_from_slice(&[6, VERSION]);
                out.extend_from_slice(&count.to_be_bytes());
            }
            Self::BrokerConfigsChanged { scope, configs } => {
                out.extend_from_slice(&[7, VERSION, scope.number()]);
                put_properties(&mut out, configs);
            }
            Self::QuotaChanged {
                entity,
                kind,
                limit,
            } => {
                // A kind of its own: releases before quotas by address read the other.
                if entity.ip.is_some() {
                    out.extend_from_slice(&[10, VERSION]);
                    put_entity_name(&mut out, entity.ip.as_ref());
                } else {
                    out.extend_from_slice(&[8, VERSION]);
                    put_entity_name(&mut out, entity.user.as_ref());
                    put_entity_name(&mut out, entity.client_id.as_ref());
                }
                put_text(&mut out, kind.name());
                match limit {
                    Some(limit) => {
                        out.push(1);
                        out.extend_from_slice(&limit.to_be_bytes());
                    }
                    None => out.push(0),
                }
            }
            Self::ClientMetricsChanged { name, configs } => {
                out.extend_from_slice(&[9, VERSION]);
                put_text(&mut out, name);
                put_properties(&mut out, configs);
            }
            Self::GroupConfigsChanged { group, configs } => {
                out.extend_from_slice(&[11, VERSION]);
                put_text(&mut out, group);
                put_properties(&mut out, configs);
            }
        }
        out
    }

    /// `None` when the bytes are no record of a known kind and version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes;
        let [kind, version] = take::<2>(&mut left)?;
        if version != VERSION {
            return None;
        }
        let record = match kind {
            1 => Self::TopicCreated(TopicEntry {
                id: take_id(&mut left)?,
                name: take_text(&mut left)?,
                partitions: i32::from_be_bytes(take(&mut left)?),
                internal: take::<1>(&mut left)? != [0],
                configs: take_properties(&mut left)?,
            }),
            2 => Self::TopicDeleted(take_id(&mut left)?),
            3 => Self::PartitionsAdded {
                id: take_id(&mut left)?,
                total: i32::from_be_bytes(take(&mut left)?),
            },
            4 => Self::ConfigsChanged {
                id: take_id(&mut left)?,
                configs: take_properties(&mut left)?,
            },
            5 => Self::ProducerIdsReserved {
                next: i64::from_be_bytes(take(&mut left)?),
            },
            6 => Self::UncleanStart {
                count: i32::from_be_bytes(take(&mut left)?),
            },
            7 => Self::BrokerConfigsChanged {
                scope: BrokerScope::from_number(take::<1>(&mut left)?[0])?,
                configs: take_properties(&mut left)?,
            },
            8 => take_quota(
                QuotaEntity {
                    user: take_entity_name(&mut left)?,
                    client_id: take_entity_name(&mut left)?,
                    ip: None,
                },
                &mut left,
            )?,
            9 => Self::ClientMetricsChanged {
                name: take_text(&mut left)?,
                configs: take_properties(&mut left)?,
            },
            10 => take_quota(
                QuotaEntity {
                    ip: take_entity_name(&mut left)?,
                    ..QuotaEntity::default()
                },
                &mut left,
            )?,
            11 => Self::GroupConfigsChanged {
                group: take_text(&mut left)?,
                configs: take_properties(&mut left)?,
            },
            _ => return None,
        };
        left.is_empty().then_some(record)
    }
}

/// None left means that the resource is gone.
fn set_properties(all: &mut BTreeMap<String, Properties>, name: &str, configs: &Properties) {
    if configs.is_empty() {
        all.remove(name);
    } else {
        all.insert(name.to_owned(), configs.clone());
    }
}

const VERSION: u8 = 1;

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_properties(out: &mut Vec<u8>, properties: &Properties) {
    let count = u32::try_from(properties.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for (name, value) in properties {
        put_text(out, name);
        put_text(out, value);
    }
}

/// 0 none, 1 the default, 2 a name.
fn put_entity_name(out: &mut Vec<u8>, name: Option<&EntityName>) {
    match name {
        None => out.push(0),
        Some(EntityName::Default) => out.push(1),
        Some(EntityName::Named(name)) => {
            out.push(2);
            put_text(out, name);
        }
    }
}

fn take_entity_name(left: &mut &[u8]) -> Option<Option<EntityName>> {
    Some(match take::<1>(left)? {
        [0] => None,
        [1] => Some(EntityName::Default),
        [2] => Some(EntityName::Named(take_text(left)?)),
        _ => return None,
    })
}

fn take_quota(entity: QuotaEntity, left: &mut &[u8]) -> Option<MetadataRecord> {
    Some(MetadataRecord::QuotaChanged {
        entity,
        kind: QuotaKind::from_name(&take_text(left)?)?,
        limit: match take::<1>(left)? {
            [0] => None,
            _ => Some(f64::from_be_bytes(take(left)?)),
        },
    })
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (found, rest) = left.split_first_chunk::<N>()?;
    *left = rest;
    Some(*found)
}

fn take_id(left: &mut &[u8]) -> Option<TopicId> {
    Some(TopicId(Uuid::from_bytes(take(left)?)))
}

fn take_text(left: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_be_bytes(take(left)?)).ok()?;
    let (text, rest) = left.split_at_checked(length)?;
    *left = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn take_properties(left: &mut &[u8]) -> Option<Properties> {
    let count = u32::from_be_bytes(take(left)?);
    let mut properties = Properties::new();
    for _ in 0..count {
        properties.insert(take_text(left)?, take_text(left)?);
    }
    Some(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_a_catalog_is_its_records() {
        let id = TopicId(Uuid::from_u128(7));
        let configs = Properties::from([("a".to_owned(), "b".to_owned())]);
        let quota = |user, client_id, limit| MetadataRecord::QuotaChanged {
            entity: QuotaEntity {
                user,
                client_id,
                ip: None,
            },
            kind: QuotaKind::ProducerByteRate,
            limit,
        };
        let quota_of_address = |ip| MetadataRecord::QuotaChanged {
            entity: QuotaEntity {
                ip,
                ..QuotaEntity::default()
            },
            kind: QuotaKind::ConnectionCreationRate,
            limit: Some(5.0),
        };
        let named = |name: &str| Some(EntityName::Named(name.to_owned()));
        let records = [
            MetadataRecord::TopicCreated(TopicEntry {
                id,
                name: "orders".to_owned(),
                partitions: 3,
                internal: false,
                configs: Properties::new(),
            }),
            MetadataRecord::PartitionsAdded { id, total: 5 },
            MetadataRecord::ConfigsChanged {
                id,
                configs: configs.clone(),
            },
            MetadataRecord::ProducerIdsReserved { next: 2000 },
            MetadataRecord::UncleanStart { count: 3 },
            MetadataRecord::BrokerConfigsChanged {
                scope: BrokerScope::Cluster,
                configs,
            },
            MetadataRecord::BrokerConfigsChanged {
                scope: BrokerScope::Node,
                configs: Properties::new(),
            },
            quota(named("u"), None, Some(1024.0)),
            quota(Some(EntityName::Default), named("c"), Some(0.5)),
            quota(None, Some(EntityName::Default), Some(1.0)),
            quota(named("u"), None, None),
            quota_of_address(named("10.0.0.1")),
            quota_of_address(Some(EntityName::Default)),
            MetadataRecord::ClientMetricsChanged {
                name: "m".to_owned(),
                configs: Properties::from([("metrics".to_owned(), "*".to_owned())]),
            },
            MetadataRecord::ClientMetricsChanged {
                name: "gone".to_owned(),
                configs: Properties::new(),
            },
            MetadataRecord::GroupConfigsChanged {
                group: "g".to_owned(),
                configs: Properties::from([("a".to_owned(), "b".to_owned())]),
            },
            MetadataRecord::GroupConfigsChanged {
                group: "usual".to_owned(),
                configs: Properties::new(),
            },
        ];
        let mut catalog = Catalog::default();
        for record in &records {
            let bytes = record.encode();
            assert_eq!(MetadataRecord::decode(&bytes).as_ref(), Some(record));
            for cut in 0..bytes.len() {
                assert_eq!(MetadataRecord::decode(&bytes[..cut]), None);
            }
            catalog.apply(record);
        }
        assert_eq!((catalog.partitions_count(), catalog.quotas.len()), (5, 4));
        let mut replayed = Catalog::default();
        catalog
            .records()
            .iter()
            .for_each(|record| replayed.apply(record));
        assert_eq!(replayed, catalog);
        catalog.apply(&MetadataRecord::TopicDeleted(id));
        assert_eq!(catalog.topics.len(), 0);
    }
}
