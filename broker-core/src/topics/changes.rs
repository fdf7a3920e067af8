//! Creating, deleting and altering topics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use uuid::Uuid;

use super::catalog::{MetadataRecord, TopicEntry};
use super::config::Properties;
use super::{
    Changing, ConfigChange, NewTopic, PARTITIONS_MAX, Published, Topic, TopicError, Topics,
};
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, PartitionIndex, TopicId, TopicName};
use crate::log::{Shutdown, Start, partition_directory, save_topic_id};
use crate::partition::{Partition, TopicState};
use crate::threads;
use crate::validation::TopicSettings;

impl Topics {
    /// Creates a topic; with `validate_only` answers what would be created, whose partitions are
    /// offline.
    ///
    /// # Errors
    /// INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS,
    /// INVALID_REPLICATION_FACTOR, INVALID_CONFIG, KAFKA_STORAGE_ERROR.
    pub fn create(&self, topic: &NewTopic, validate_only: bool) -> Result<Arc<Topic>, TopicError> {
        let mut changing = self.changing.lock();
        let name = self.check_name(&topic.name)?;
        let partitions = match topic.partitions {
            -1 => self.default_partitions,
            partitions => partitions,
        };
        if partitions <= 0 {
            return Err(TopicError::new(
                ErrorCode::INVALID_PARTITIONS,
                format!("number of partitions must be larger than 0, not {partitions}"),
            ));
        }
        check_total(&changing, partitions)?;
        if !matches!(topic.replication_factor, -1 | 1) {
            return Err(TopicError::new(
                ErrorCode::INVALID_REPLICATION_FACTOR,
                format!(
                    "replication factor {} is not possible on a single node: use 1 or -1",
                    topic.replication_factor
                ),
            ));
        }
        self.check_properties(&topic.configs)?;
        let entry = TopicEntry {
            id: TopicId(Uuid::new_v4()),
            name: topic.name.clone(),
            partitions,
            internal: topic.internal,
            configs: topic.configs.clone(),
        };
        let made = self.topic(&entry, name);
        if validate_only {
            made.partitions.store(Arc::new(
                (0..partitions)
                    .map(|index| {
                        let index = PartitionIndex(index);
                        Partition::planned(&self.context, &made.state, index)
                    })
                    .collect(),
            ));
            return Ok(Arc::new(made));
        }
        // Directories first: what the log does not know of is removed at the next start.
        self.make_partitions(&made, 0, partitions)?;
        self.record(&mut changing, MetadataRecord::TopicCreated(entry))?;
        let made = Arc::new(made);
        self.publish(|published| published.insert(&made));
        // Whoever asked for it tells the operator who and why.
        tracing::debug!(topic = %made.name, partitions, "topic created");
        Ok(made)
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR.
    pub fn delete(&self, name: &str) -> Result<(), TopicError> {
        let mut changing = self.changing.lock();
        let topic = self.known(name)?;
        self.record(&mut changing, MetadataRecord::TopicDeleted(topic.id))?;
        self.publish(|published| {
            published.by_name.remove(&topic.name);
            published.by_id.remove(&topic.id);
        });
        let partitions = topic.partitions();
        let storage = self.context.storage.as_ref();
        for partition in partitions.iter() {
            partition.retire();
            let index = partition.index().0;
            let from = partition_directory(&self.directory, name, index);
            let away = self.directory.join(deleted_directory(topic.id, index));
            // Out of the way before the name can be taken again; what fails is removed at the
            // next start, as the log says that the topic is gone.
            let removed = storage
                .rename(&from, &away)
                .and_then(|()| storage.remove(&away));
            if let Err(error) = removed {
                tracing::warn!(topic = name, partition = index, %error, "files not removed yet");
            }
        }
        if let Err(error) = storage.sync_dir(&self.directory) {
            tracing::warn!(topic = name, %error, "removal not synced yet");
        }
        tracing::info!(topic = name, "topic deleted");
        Ok(())
    }

    /// Raises the number of partitions to `total`.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, KAFKA_STORAGE_ERROR.
    pub fn add_partitions(
        &self,
        name: &str,
        total: i32,
        validate_only: bool,
    ) -> Result<(), TopicError> {
        let mut changing = self.changing.lock();
        let topic = self.known(name)?;
        let existing = i32::try_from(topic.partitions.load().len()).unwrap_or(i32::MAX);
        if total <= existing {
            return Err(TopicError::new(
                ErrorCode::INVALID_PARTITIONS,
                format!("topic {name} has {existing} partitions, which is not less than {total}"),
            ));
        }
        check_total(&changing, total - existing)?;
        if validate_only {
            return Ok(());
        }
        let before = topic.partitions();
        self.make_partitions(&topic, existing, total)?;
        let record = MetadataRecord::PartitionsAdded {
            id: topic.id,
            total,
        };
        if let Err(error) = self.record(&mut changing, record) {
            topic.partitions.store(before);
            return Err(error);
        }
        self.version.fetch_add(1, Ordering::Release);
        tracing::info!(topic = name, partitions = total, "partitions added");
        Ok(())
    }

    /// Changes configs of a topic: all or none.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, KAFKA_STORAGE_ERROR.
    pub fn change_configs(
        &self,
        name: &str,
        change: &ConfigChange,
        validate_only: bool,
    ) -> Result<(), TopicError> {
        let mut changing = self.changing.lock();
        let topic = self.known(name)?;
        let table = self.table.load();
        let altered = match change {
            ConfigChange::Replace(configs) => Ok(configs.clone()),
            ConfigChange::Alter(ops) => table.alter(&topic.settings().properties, ops),
        };
        let properties = altered.map_err(|why| TopicError::new(ErrorCode::INVALID_CONFIG, why))?;
        self.check_properties(&properties)?;
        if validate_only || properties == topic.settings().properties {
            return Ok(());
        }
        let record = MetadataRecord::ConfigsChanged {
            id: topic.id,
            configs: properties.clone(),
        };
        self.record(&mut changing, record)?;
        topic.state.config.store(Arc::new(table.parse(&properties)));
        topic.state.settings.store(Arc::new(TopicSettings {
            name: topic.name.clone(),
            id: topic.id,
            properties,
            compiled: std::sync::OnceLock::new(),
        }));
        tracing::info!(topic = name, "configs changed");
        Ok(())
    }

    /// Takes `count` producer ids that nobody has had or will have; answers the first.
    ///
    /// # Errors
    /// A text when they could not be made durable.
    pub(crate) fn reserve_producer_ids(&self, count: i64) -> Result<i64, String> {
        let mut changing = self.changing.lock();
        let first = changing.catalog.next_producer_id;
        let next = first.saturating_add(count);
        self.record(&mut changing, MetadataRecord::ProducerIdsReserved { next })
            .map_err(|error| error.message)?;
        Ok(first)
    }

    /// Makes a change durable, then applies it.
    pub(super) fn record(
        &self,
        changing: &mut Changing,
        record: MetadataRecord,
    ) -> Result<(), TopicError> {
        self.record_all(changing, &[record])
    }

    /// Makes changes durable, all or none, then applies them.
    pub(super) fn record_all(
        &self,
        changing: &mut Changing,
        records: &[MetadataRecord],
    ) -> Result<(), TopicError> {
        changing
            .store
            .append(records, self.clock.now_ms())
            .map_err(|why| TopicError::new(ErrorCode::KAFKA_STORAGE_ERROR, why))?;
        for record in records {
            changing.catalog.apply(record);
        }
        Ok(())
    }

    fn publish(&self, change: impl FnOnce(&mut Published)) {
        let mut published = Published::clone(&self.published.load());
        change(&mut published);
        self.published.store(Arc::new(published));
        self.version.fetch_add(1, Ordering::Release);
    }

    fn check_name(&self, name: &str) -> Result<TopicName, TopicError> {
        let Some(legal) = TopicName::new(name) else {
            return Err(TopicError::new(
                ErrorCode::INVALID_TOPIC_EXCEPTION,
                format!(
                    "topic name {name:?} is not 1 to 249 ASCII letters, digits, '.', '_' and '-'"
                ),
            ));
        };
        if self.get(name).is_some() {
            return Err(TopicError::new(
                ErrorCode::TOPIC_ALREADY_EXISTS,
                format!("Topic '{name}' already exists."),
            ));
        }
        // As Kafka: names that differ in '.' and '_' alone would share a metric.
        if name.contains(['.', '_']) {
            let published = self.published.load();
            let same = |other: &str| other.replace('.', "_") == name.replace('.', "_");
            if let Some(other) = published.by_name.keys().find(|other| same(other.as_str())) {
                return Err(TopicError::new(
                    ErrorCode::INVALID_TOPIC_EXCEPTION,
                    format!("topic name {name} collides with {other}"),
                ));
            }
        }
        Ok(legal)
    }

    fn check_properties(&self, properties: &Properties) -> Result<(), TopicError> {
        self.table
            .load()
            .check(properties)
            .and_then(|()| self.validator.check_properties(properties))
            .map_err(|why| TopicError::new(ErrorCode::INVALID_CONFIG, why))
    }

    /// A topic without partitions yet.
    pub(super) fn topic(&self, entry: &TopicEntry, name: TopicName) -> Topic {
        let settings = TopicSettings {
            name: name.clone(),
            id: entry.id,
            properties: entry.configs.clone(),
            compiled: std::sync::OnceLock::new(),
        };
        Topic {
            name,
            id: entry.id,
            internal: entry.internal,
            state: Arc::new(TopicState {
                settings: ArcSwap::from_pointee(settings),
                config: ArcSwap::from_pointee(self.table.load().parse(&entry.configs)),
            }),
            partitions: ArcSwap::default(),
        }
    }

    /// Makes directories and logs for the partitions `from..until` and adds them to the topic.
    fn make_partitions(&self, topic: &Topic, from: i32, until: i32) -> Result<(), TopicError> {
        let storage = self.context.storage.as_ref();
        let start = Start {
            shutdown: Shutdown::Clean,
            epoch_floor: LeaderEpoch(0),
            now_ms: self.clock.now_ms(),
        };
        let indexes: Vec<i32> = (from..until).collect();
        let made = threads::each(&indexes, |&index| {
            let directory = partition_directory(&self.directory, topic.name.as_str(), index);
            let made = storage
                .remove(&directory)
                .and_then(|()| storage.create_dir(&directory))
                .and_then(|()| save_topic_id(topic.id, storage, &directory));
            made.map_err(|error| {
                let shown = directory.display();
                tracing::error!(directory = %shown, %error, "partition not created");
                TopicError::new(
                    ErrorCode::KAFKA_STORAGE_ERROR,
                    format!("partition {index} could not be created: {error}"),
                )
            })?;
            let (context, index) = (&self.context, PartitionIndex(index));
            let partition = Partition::open(context, &topic.state, index, directory, start);
            Ok(partition)
        });
        let mut partitions = Vec::clone(&topic.partitions.load());
        partitions.extend(made.into_iter().collect::<Result<Vec<_>, _>>()?);
        partitions.sort_unstable_by_key(|partition| partition.index());
        storage
            .sync_dir(&self.directory)
            .map_err(|error| TopicError::new(ErrorCode::KAFKA_STORAGE_ERROR, error.to_string()))?;
        topic.partitions.store(Arc::new(partitions));
        Ok(())
    }
}

impl Published {
    pub(super) fn insert(&mut self, topic: &Arc<Topic>) {
        self.by_name.insert(topic.name.clone(), Arc::clone(topic));
        self.by_id.insert(topic.id, Arc::clone(topic));
    }
}

fn check_total(changing: &Changing, more: i32) -> Result<(), TopicError> {
    let total = changing.catalog.partitions_count() + i64::from(more);
    if total > PARTITIONS_MAX {
        return Err(TopicError::new(
            ErrorCode::INVALID_PARTITIONS,
            format!("{total} partitions in all would be more than {PARTITIONS_MAX}"),
        ));
    }
    Ok(())
}

/// Where the files of a deleted topic wait for their removal. Shorter than any topic's name may
/// be, whose directory a suffix could make too long for the file system.
pub(super) fn deleted_directory(id: TopicId, index: i32) -> String {
    format!("{}-{index}{DELETED_SUFFIX}", id.0.simple())
}

pub(crate) const DELETED_SUFFIX: &str = ".deleted";
