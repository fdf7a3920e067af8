//! Fetch, key 1, versions 4 to 18.
//!
//! v4 isolation level; v5 log start offset; v7 sessions (KIP-227); v9 leader epoch (KIP-320); v11
//! rack (KIP-392); v12 flexible, last fetched epoch; v13 topic ids (KIP-516); v15 replica state,
//! v17 directory ids and v18 the follower's high watermark (KIP-1166) concern brokers only.
//!
//! Records go into the response by reference: see [`Writer::records`].

use bytes::Bytes;

use super::reader::{Malformed, Reader};
use super::topic_partitions::{Layout, TopicPartitions};
use super::writer::Writer;
use crate::error::ErrorCode;

const FLEXIBLE_FROM: i16 = 12;
const TOPIC_IDS_FROM: i16 = 13;

const fn layout(version: i16) -> Layout {
    Layout {
        flexible: version >= FLEXIBLE_FROM,
        topic_ids: version >= TOPIC_IDS_FROM,
    }
}

/// A Fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Answer as soon as this much is there, in bytes.
    pub min_bytes: i32,
    /// Soft limit of the whole answer, in bytes.
    pub max_bytes: i32,
    /// 0 read uncommitted, 1 read committed.
    pub isolation_level: i8,
    /// 0 when the client asks outside a session.
    pub session_id: i32,
    /// -1 no session, 0 a new one, above 0 the next in a session.
    pub session_epoch: i32,
    /// In the order of the request.
    pub topics: Vec<FetchTopic>,
    /// Topics to drop from a session.
    pub forgotten: Vec<ForgottenTopic>,
    /// Where the consumer is.
    pub rack_id: String,
}

impl Default for FetchRequest {
    fn default() -> Self {
        Self {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: i32::MAX,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: Vec::new(),
            forgotten: Vec::new(),
            rack_id: String::new(),
        }
    }
}

/// One topic of a Fetch request.
pub type FetchTopic = TopicPartitions<FetchPartition>;

/// One partition of a Fetch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// Index of the partition.
    pub index: i32,
    /// Leader epoch the client knows; -1 unknown. From v9.
    pub current_leader_epoch: i32,
    /// First offset wanted.
    pub fetch_offset: i64,
    /// Epoch of the last record the client has; -1 unknown. From v12.
    pub last_fetched_epoch: i32,
    /// Followers only; -1 from consumers.
    pub log_start_offset: i64,
    /// Soft limit for this partition, in bytes.
    pub max_bytes: i32,
}

/// Partitions to drop from a session, by index.
pub type ForgottenTopic = TopicPartitions<i32>;

impl FetchRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(body: &[u8], version: i16) -> Result<Self, Malformed> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body);
        if version < 15 {
            // The replica id: consumers send -1, and there are no followers here.
            reader.i32()?;
        }
        let mut request = Self {
            max_wait_ms: reader.i32()?,
            min_bytes: reader.i32()?,
            max_bytes: reader.i32()?,
            isolation_level: reader.i8()?,
            ..Self::default()
        };
        if version >= 7 {
            request.session_id = reader.i32()?;
            request.session_epoch = reader.i32()?;
        }
        request.topics = FetchTopic::decode_list(&mut reader, layout(version), 16, |reader| {
            FetchPartition::decode(reader, version, flexible)
        })?;
        if version >= 7 {
            request.forgotten =
                ForgottenTopic::decode_list(&mut reader, layout(version), 4, |reader| {
                    reader.i32()
                })?;
        }
        if version >= 11 {
            reader.string(flexible)?.clone_into(&mut request.rack_id);
        }
        reader.skip_tags(flexible)?;
        Ok(request)
    }

    /// Encodes a body.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        let flexible = version >= FLEXIBLE_FROM;
        if version < 15 {
            writer.i32(-1);
        }
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.i8(self.isolation_level);
        if version >= 7 {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        }
        FetchTopic::encode_list(
            &self.topics,
            writer,
            layout(version),
            |partition, writer| {
                partition.encode(writer, version, flexible);
            },
        );
        if version >= 7 {
            ForgottenTopic::encode_list(
                &self.forgotten,
                writer,
                layout(version),
                |partition, writer| writer.i32(*partition),
            );
        }
        if version >= 11 {
            writer.string(flexible, &self.rack_id);
        }
        writer.no_tags(flexible);
    }
}

impl FetchPartition {
    fn decode(reader: &mut Reader<'_>, version: i16, flexible: bool) -> Result<Self, Malformed> {
        let partition = Self {
            index: reader.i32()?,
            current_leader_epoch: if version >= 9 { reader.i32()? } else { -1 },
            fetch_offset: reader.i64()?,
            last_fetched_epoch: if version >= 12 { reader.i32()? } else { -1 },
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            max_bytes: reader.i32()?,
        };
        reader.skip_tags(flexible)?;
        Ok(partition)
    }

    fn encode(&self, writer: &mut Writer, version: i16, flexible: bool) {
        writer.i32(self.index);
        if version >= 9 {
            writer.i32(self.current_leader_epoch);
        }
        writer.i64(self.fetch_offset);
        if version >= 12 {
            writer.i32(self.last_fetched_epoch);
        }
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        writer.i32(self.max_bytes);
        writer.no_tags(flexible);
    }
}

/// A Fetch response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchResponse {
    /// How long the client was throttled, in milliseconds.
    pub throttle_time_ms: i32,
    /// Error of the whole request. From v7.
    pub error: ErrorCode,
    /// 0 refuses a session. From v7.
    pub session_id: i32,
    /// In the order of the request.
    pub topics: Vec<FetchTopicResponse>,
}

/// One topic of a Fetch response.
pub type FetchTopicResponse = TopicPartitions<FetchPartitionResponse>;

/// One partition of a Fetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartitionResponse {
    /// Index of the partition.
    pub index: i32,
    /// NONE, or why there are no records.
    pub error: ErrorCode,
    /// -1 when not known.
    pub high_watermark: i64,
    /// -1 when not known.
    pub last_stable_offset: i64,
    /// -1 when not known. From v5.
    pub log_start_offset: i64,
    /// (producer id, first offset), ascending by offset; `None` unless read committed.
    pub aborted: Option<Vec<(i64, i64)>>,
    /// (epoch, end offset) when the client's log diverges from ours. From v12.
    pub diverging_epoch: Option<(i32, i64)>,
    /// Whole batches, contiguous.
    pub records: Vec<Bytes>,
}

impl FetchPartitionResponse {
    /// An answer without records.
    #[must_use]
    pub const fn failed(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: None,
            diverging_epoch: None,
            records: Vec::new(),
        }
    }

    fn encode(&self, writer: &mut Writer, version: i16, flexible: bool) {
        writer.i32(self.index);
        writer.i16(self.error.0);
        writer.i64(self.high_watermark);
        writer.i64(self.last_stable_offset);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        match &self.aborted {
            None => writer.null(flexible),
            Some(aborted) => {
                writer.count(flexible, aborted.len());
                for (producer_id, first_offset) in aborted {
                    writer.i64(*producer_id);
                    writer.i64(*first_offset);
                    writer.no_tags(flexible);
                }
            }
        }
        if version >= 11 {
            // No other replica to prefer.
            writer.i32(-1);
        }
        writer.records(flexible, &self.records);
        match self.diverging_epoch {
            Some((epoch, end_offset)) if flexible => {
                writer.unsigned_varint(1);
                writer.unsigned_varint(0);
                writer.unsigned_varint(4 + 8 + 1);
                writer.i32(epoch);
                writer.i64(end_offset);
                writer.no_tags(true);
            }
            _ => writer.no_tags(flexible),
        }
    }

    fn decode(
        reader: &mut Reader<'_>,
        body: &Bytes,
        version: i16,
        flexible: bool,
    ) -> Result<Self, Malformed> {
        let mut partition = Self {
            index: reader.i32()?,
            error: ErrorCode(reader.i16()?),
            high_watermark: reader.i64()?,
            last_stable_offset: reader.i64()?,
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            aborted: None,
            diverging_epoch: None,
            records: Vec::new(),
        };
        if let Some(count) = reader.nullable_count(flexible, 16)? {
            let mut aborted = Vec::new();
            for _ in 0..count {
                aborted.push((reader.i64()?, reader.i64()?));
                reader.skip_tags(flexible)?;
            }
            partition.aborted = Some(aborted);
        }
        if version >= 11 {
            reader.i32()?;
        }
        if let Some(range) = reader.nullable_bytes(flexible)?
            && !range.is_empty()
        {
            partition.records.push(body.slice(range));
        }
        let mut diverging_epoch = None;
        reader.tags(flexible, |tag, field| {
            if tag == 0 {
                diverging_epoch = Some((field.i32()?, field.i64()?));
            }
            Ok(())
        })?;
        partition.diverging_epoch = diverging_epoch;
        Ok(partition)
    }
}

impl FetchResponse {
    /// Encodes a body; the records are spliced in by reference.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        let flexible = version >= FLEXIBLE_FROM;
        writer.i32(self.throttle_time_ms);
        if version >= 7 {
            writer.i16(self.error.0);
            writer.i32(self.session_id);
        }
        let topics = &self.topics;
        FetchTopicResponse::encode_list(topics, writer, layout(version), |partition, writer| {
            partition.encode(writer, version, flexible);
        });
        writer.no_tags(flexible);
    }

    /// Decodes a body; records are slices of it.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(body: &Bytes, version: i16) -> Result<Self, Malformed> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body);
        let mut response = Self {
            throttle_time_ms: reader.i32()?,
            ..Self::default()
        };
        if version >= 7 {
            response.error = ErrorCode(reader.i16()?);
            response.session_id = reader.i32()?;
        }
        response.topics =
            FetchTopicResponse::decode_list(&mut reader, layout(version), 22, |reader| {
                FetchPartitionResponse::decode(reader, body, version, flexible)
            })?;
        reader.skip_tags(flexible)?;
        reader.finish()?;
        Ok(response)
    }
}
