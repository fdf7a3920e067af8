//! The seam: all that the broker knows of schemas.
//!
//! The decision is pure, the wait is explicit, and the retry loop is the caller's
//! (`api/produce.rs`). Implemented outside this crate; [`NoValidation`] accepts everything.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use crate::ids::{PartitionIndex, TopicId, TopicName};
use crate::records::BatchView;

/// What the validator may know of a topic. Immutable: a config change makes a new one.
pub struct TopicSettings {
    /// The topic's name.
    pub name: TopicName,
    /// The topic's id.
    pub id: TopicId,
    /// Explicitly set topic configs (names as in DescribeConfigs), validation keys included.
    pub properties: BTreeMap<String, String>,
    /// What the validator compiled from `properties`, made once per settings object.
    pub compiled: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for TopicSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicSettings")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("properties", &self.properties)
            .finish_non_exhaustive()
    }
}

/// Who sent the batch, for the rejection log.
#[derive(Debug, Clone)]
pub struct RequestOrigin<'a> {
    /// `client.id` of the request header.
    pub client_id: &'a str,
    /// Software name and version from ApiVersions (KIP-511), empty when not sent.
    pub client_software: &'a str,
    /// The peer.
    pub address: SocketAddr,
    /// Partition the batch is for.
    pub partition: PartitionIndex,
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Index of the record in the batch, from 0; ascending and unique in a rejection.
    pub batch_index: i32,
    /// Text for the producer; `None` past the limit on texts.
    pub message: Option<String>,
}

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Every refused record, ascending by index.
    pub errors: Vec<RecordError>,
    /// One self-sufficient line for the partition's `error_message`.
    pub message: String,
}

/// What an [`Verdict::Accepted`] depends on: checked again under the partition lock.
pub struct Receipt {
    /// Registry epoch the verdict was reached at.
    pub epoch: u64,
    /// The validator's own facts (the distinct ids and subjects used).
    pub facts: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What must be fetched before a verdict is possible.
pub struct Wanted(pub Box<dyn Any + Send>);

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wanted")
    }
}

/// The registry cannot be asked now: the client shall retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// The judgement of one batch.
#[derive(Debug)]
pub enum Verdict {
    /// Every record may be stored, as long as the receipt still holds.
    Accepted(Receipt),
    /// No record of the batch may be stored.
    Rejected(Rejection),
    /// The validator must wait for something first.
    Unresolved(Wanted),
}

/// The type of a topic config, as DescribeConfigs reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Floating point.
    Double,
    /// Comma-separated texts.
    List,
}

/// A topic config that the validator understands.
#[derive(Debug, Clone, Copy)]
pub struct TopicConfigKey {
    /// The name, for example `confluent.value.schema.validation`.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The value in force when it is not set.
    pub default: &'static str,
    /// One sentence for DescribeConfigs.
    pub documentation: &'static str,
}

/// A future that the trait can name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Judges records. Called on the produce path of the embedded broker and the gateway alike.
pub trait RecordValidator: Send + Sync + fmt::Debug + 'static {
    /// CPU only, never waits: judges every record of `batch` against one snapshot.
    fn validate(
        &self,
        topic: &TopicSettings,
        batch: &BatchView<'_>,
        origin: &RequestOrigin<'_>,
    ) -> Verdict;

    /// Called under the partition lock: does an earlier verdict still hold? O(distinct ids).
    fn still_holds(&self, topic: &TopicSettings, receipt: &Receipt) -> bool;

    /// The only waiting part: fetch what [`Verdict::Unresolved`] asked for.
    fn resolve(&self, wanted: Wanted) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// The topic configs this validator understands, for CreateTopics and DescribeConfigs.
    fn config_keys(&self) -> &'static [TopicConfigKey];

    /// Whether these topic properties make sense together.
    ///
    /// # Errors
    /// A text naming the offending keys, answered as INVALID_CONFIG.
    fn check_properties(&self, properties: &BTreeMap<String, String>) -> Result<(), String>;
}

/// Accepts every record: a plain Kafka broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoValidation;

impl RecordValidator for NoValidation {
    fn validate(
        &self,
        _topic: &TopicSettings,
        _batch: &BatchView<'_>,
        _origin: &RequestOrigin<'_>,
    ) -> Verdict {
        Verdict::Accepted(Receipt {
            epoch: 0,
            facts: None,
        })
    }

    fn still_holds(&self, _topic: &TopicSettings, _receipt: &Receipt) -> bool {
        true
    }

    fn resolve(&self, _wanted: Wanted) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async { Ok(()) })
    }

    fn config_keys(&self) -> &'static [TopicConfigKey] {
        &[]
    }

    fn check_properties(&self, _properties: &BTreeMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}
