//! Topic configs in force, parsed: what a log and the checks of a produced batch need.

/// Topic configs in force, parsed. Names and defaults are in the table of `topics::config`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `max.message.bytes`: largest batch, in bytes.
    pub max_message_bytes: i32,
    /// `cleanup.policy` contains `compact`.
    pub compacted: bool,
    /// `cleanup.policy` contains `delete`: retention applies.
    pub delete_old: bool,
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `segment.bytes`.
    pub segment_bytes: i32,
    /// `segment.ms`: age at which the active segment is rolled.
    pub segment_ms: i64,
    /// `retention.ms`; -1 keeps for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is no limit.
    pub retention_bytes: i64,
    /// `index.interval.bytes`: log bytes between two index entries.
    pub index_interval_bytes: i32,
    /// `flush.messages`: records after which a sync is asked for.
    pub flush_messages: i64,
    /// `min.compaction.lag.ms`: records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: records older than this are compacted whatever the share.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: share of uncompacted bytes that makes compaction worth while.
    pub min_cleanable_dirty_ratio: f64,
    /// `delete.retention.ms`: how long tombstones are kept after they were first compacted.
    pub delete_retention_ms: i64,
    /// `compression.type`, as text; `producer` keeps what was sent.
    pub compression_type: String,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_588,
            compacted: false,
            delete_old: true,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            index_interval_bytes: 4096,
            flush_messages: i64::MAX,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            delete_retention_ms: 86_400_000,
            compression_type: "producer".to_owned(),
        }
    }
}
