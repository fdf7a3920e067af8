//! The broker behind one handle. Stub, replaced by its owner: the signatures are fixed.
#![expect(clippy::todo, missing_docs, reason = "stub")]
use crate::clock::Clock;
use crate::groups::{GroupConfig, GroupCoordinator};
use crate::ids::*;
use crate::topics::Topics;
use crate::validation::RecordValidator;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /** acks=all is answered after an fdatasync that covers it */
    GroupFsync,
    /** after the page-cache write, as Kafka's default */
    Os,
}

/// Everything configurable about the broker; defaults as Kafka's where Kafka has them.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    pub data_dir: PathBuf,
    pub node_id: i32,
    /// Host and port in Metadata and FindCoordinator.
    pub advertised_host: String,
    pub advertised_port: i32,
    pub auto_create_topics: bool,
    pub default_partitions: i32,
    pub durability: Durability,
    pub socket_request_bytes_max: usize,
    /// Bytes of requests held in memory by all connections together; past it connections stop reading.
    pub request_memory_bytes_max: usize,
    pub connections_max: usize,
    pub groups: GroupConfig,
    /// Broker-wide defaults of topic configs (`log.retention.ms` and the like under their topic names).
    pub topic_defaults: std::collections::BTreeMap<String, String>,
    pub clock: Clock,
}

#[derive(Debug)]
pub struct Broker {
    pub config: BrokerConfig,
    pub cluster_id: String,
    pub topics: Arc<Topics>,
    pub groups: Arc<GroupCoordinator>,
    pub validator: Arc<dyn RecordValidator>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

impl Broker {
    /// Locks the data directory, checks its format number, recovers every partition, starts the sync and housekeeping threads. Blocks on disk.
    pub fn open(
        _config: BrokerConfig,
        _validator: Arc<dyn RecordValidator>,
    ) -> Result<Arc<Self>, OpenError> {
        todo!()
    }
    /// Fresh (producer id, epoch 0); ids are durable before they are answered.
    pub fn new_producer_id(&self) -> Result<ProducerId, OpenError> {
        todo!()
    }
    /// Syncs everything, writes the clean-shutdown mark, releases the lock. Blocks on disk.
    pub fn close(&self) -> Result<(), OpenError> {
        todo!()
    }
}
