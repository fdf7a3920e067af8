//! Catalogue of topics. Stub, replaced by its owner: the signatures are fixed.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::error::ErrorCode;
use crate::ids::*;
use crate::partition::Partition;
use crate::validation::{ConfigType, TopicSettings};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub struct Topic {
    pub name: TopicName,
    pub id: TopicId,
    pub internal: bool,
}
impl Topic {
    pub fn partitions(&self) -> Arc<Vec<Arc<Partition>>> {
        todo!()
    }
    pub fn partition(&self, _index: PartitionIndex) -> Option<Arc<Partition>> {
        todo!()
    }
    pub fn settings(&self) -> Arc<TopicSettings> {
        todo!()
    }
    /// `max.message.bytes` and the like in force (see `config::TopicConfig`).
    pub fn config(&self) -> Arc<TopicConfig> {
        todo!()
    }
}
/// Topic configs in force, parsed.
#[derive(Debug, Clone)]
pub struct TopicConfig {
    pub max_message_bytes: i32,
    pub compacted: bool,
    pub log_append_time: bool,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub segment_bytes: i32,
}

#[derive(Debug, Clone)]
pub struct TopicError {
    pub code: ErrorCode,
    pub message: String,
}

#[derive(Debug, Clone)]
pub struct NewTopic {
    pub name: String,
    /** -1 = broker default */
    pub partitions: i32,
    /** -1 = default; > 1 is INVALID_REPLICATION_FACTOR */
    pub replication_factor: i16,
    pub configs: BTreeMap<String, String>,
    pub internal: bool,
}

/// One row of DescribeConfigs.
#[derive(Debug, Clone)]
pub struct ConfigEntry {
    pub name: String,
    pub value: String,
    pub kind: ConfigType,
    pub documentation: &'static str,
    /** set on the topic itself */
    pub is_dynamic: bool,
    pub default: String,
}

#[derive(Debug, Clone)]
pub enum ConfigOp {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// All topics. Reads are lock-free snapshots; changes block on disk (call from a blocking thread) and are durable when they return.
#[derive(Debug)]
pub struct Topics;
impl Topics {
    pub fn get(&self, _name: &str) -> Option<Arc<Topic>> {
        todo!()
    }
    pub fn get_by_id(&self, _id: TopicId) -> Option<Arc<Topic>> {
        todo!()
    }
    /// Sorted by name.
    pub fn list(&self) -> Vec<Arc<Topic>> {
        todo!()
    }
    pub fn create(
        &self,
        _topic: &NewTopic,
        _validate_only: bool,
    ) -> Result<Arc<Topic>, TopicError> {
        todo!()
    }
    pub fn delete(&self, _name: &str) -> Result<(), TopicError> {
        todo!()
    }
    pub fn add_partitions(
        &self,
        _name: &str,
        _total: i32,
        _validate_only: bool,
    ) -> Result<(), TopicError> {
        todo!()
    }
    pub fn describe_configs(&self, _name: &str) -> Result<Vec<ConfigEntry>, TopicError> {
        todo!()
    }
    /// Incremental change (IncrementalAlterConfigs).
    pub fn alter_configs(
        &self,
        _name: &str,
        _ops: &[(String, ConfigOp)],
        _validate_only: bool,
    ) -> Result<(), TopicError> {
        todo!()
    }
    /// Replaces all (AlterConfigs).
    pub fn replace_configs(
        &self,
        _name: &str,
        _configs: &BTreeMap<String, String>,
        _validate_only: bool,
    ) -> Result<(), TopicError> {
        todo!()
    }
}
