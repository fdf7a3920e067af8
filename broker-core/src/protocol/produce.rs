//! Produce, key 0, versions 3 to 13.
//!
//! v3 record batch v2 and transactional id; v5 log start offset; v8 record errors (KIP-467); v9
//! flexible; v10 leader hints as tagged fields; v13 topic ids instead of names (KIP-516).
//!
//! Records stay where they were received: each partition gets its part of the frame as a
//! [`BytesMut`], so that the log can write offset and leader epoch in place.

use std::ops::Range;

use bytes::{Buf, BytesMut};

use super::reader::{Malformed, Reader};
use super::topic_partitions::{Layout, TopicPartitions};
use super::writer::Writer;
use crate::error::ErrorCode;

const FLEXIBLE_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 13;

const fn layout(version: i16) -> Layout {
    Layout {
        flexible: version >= FLEXIBLE_FROM,
        topic_ids: version >= TOPIC_IDS_FROM,
    }
}

/// A Produce request.
#[derive(Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    /// Set by transactional producers.
    pub transactional_id: Option<String>,
    /// 0, 1 or -1 (all).
    pub acks: i16,
    /// How long the broker may wait for durability, in milliseconds.
    pub timeout_ms: i32,
    /// In the order of the request.
    pub topics: Vec<ProduceTopic>,
}

/// One topic of a Produce request.
pub type ProduceTopic = TopicPartitions<ProducePartition>;

/// One partition of a Produce request.
#[derive(Debug, PartialEq, Eq)]
pub struct ProducePartition {
    /// Index of the partition.
    pub index: i32,
    /// The batch, a part of the frame.
    pub records: Option<BytesMut>,
}

impl ProduceRequest {
    /// Decodes a body, splitting the records off it without copying.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(mut body: BytesMut, version: i16) -> Result<Self, Malformed> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut ranges: Vec<Option<Range<usize>>> = Vec::new();
        let mut reader = Reader::new(&body);
        let transactional_id = reader.nullable_string(flexible)?.map(str::to_owned);
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let mut topics = ProduceTopic::decode_list(&mut reader, layout(version), 5, |reader| {
            let index = reader.i32()?;
            ranges.push(reader.nullable_bytes(flexible)?);
            reader.skip_tags(flexible)?;
            Ok(ProducePartition {
                index,
                records: None,
            })
        })?;
        reader.skip_tags(flexible)?;

        let mut taken = 0;
        let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for (partition, range) in partitions.zip(ranges) {
            if let Some(range) = range {
                body.advance(range.start - taken);
                partition.records = Some(body.split_to(range.len()));
                taken = range.end;
            }
        }
        Ok(Self {
            transactional_id,
            acks,
            timeout_ms,
            topics,
        })
    }

    /// Encodes a body.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        let flexible = version >= FLEXIBLE_FROM;
        writer.nullable_string(flexible, self.transactional_id.as_deref());
        writer.i16(self.acks);
        writer.i32(self.timeout_ms);
        ProduceTopic::encode_list(
            &self.topics,
            writer,
            layout(version),
            |partition, writer| {
                writer.i32(partition.index);
                match &partition.records {
                    Some(records) => {
                        writer.count(flexible, records.len());
                        writer.buffer().extend_from_slice(records);
                    }
                    None => writer.null(flexible),
                }
                writer.no_tags(flexible);
            },
        );
        writer.no_tags(flexible);
    }
}

/// A Produce response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProduceResponse {
    /// One entry per topic of the request, in its order.
    pub topics: Vec<ProduceTopicResponse>,
    /// How long the client was throttled, in milliseconds.
    pub throttle_time_ms: i32,
}

/// One topic of a Produce response.
pub type ProduceTopicResponse = TopicPartitions<ProducePartitionResponse>;

/// What became of one partition's batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartitionResponse {
    /// Index of the partition.
    pub index: i32,
    /// NONE when the batch is stored.
    pub error: ErrorCode,
    /// Offset of the first record; -1 on error.
    pub base_offset: i64,
    /// -1 unless the topic uses LogAppendTime.
    pub log_append_time_ms: i64,
    /// Log start offset; -1 when not known. From v5.
    pub log_start_offset: i64,
    /// Ascending by index: librdkafka reads them in one forward pass. From v8.
    pub record_errors: Vec<BatchIndexError>,
    /// One self-sufficient sentence. From v8.
    pub error_message: Option<String>,
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchIndexError {
    /// Index of the record in the batch, from 0.
    pub batch_index: i32,
    /// Why.
    pub message: Option<String>,
}

impl ProduceResponse {
    /// Encodes a body.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        let flexible = version >= FLEXIBLE_FROM;
        let topics = &self.topics;
        ProduceTopicResponse::encode_list(topics, writer, layout(version), |partition, writer| {
            partition.encode(writer, version, flexible);
        });
        writer.i32(self.throttle_time_ms);
        writer.no_tags(flexible);
    }

    /// Decodes a body.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(body: &[u8], version: i16) -> Result<Self, Malformed> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body);
        let topics =
            ProduceTopicResponse::decode_list(&mut reader, layout(version), 14, |reader| {
                ProducePartitionResponse::decode(reader, version, flexible)
            })?;
        let throttle_time_ms = reader.i32()?;
        reader.skip_tags(flexible)?;
        reader.finish()?;
        Ok(Self {
            topics,
            throttle_time_ms,
        })
    }
}

impl ProducePartitionResponse {
    fn encode(&self, writer: &mut Writer, version: i16, flexible: bool) {
        writer.i32(self.index);
        writer.i16(self.error.0);
        writer.i64(self.base_offset);
        writer.i64(self.log_append_time_ms);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        if version >= 8 {
            writer.count(flexible, self.record_errors.len());
            for error in &self.record_errors {
                writer.i32(error.batch_index);
                writer.nullable_string(flexible, error.message.as_deref());
                writer.no_tags(flexible);
            }
            writer.nullable_string(flexible, self.error_message.as_deref());
        }
        writer.no_tags(flexible);
    }

    fn decode(reader: &mut Reader<'_>, version: i16, flexible: bool) -> Result<Self, Malformed> {
        let mut partition = Self {
            index: reader.i32()?,
            error: ErrorCode(reader.i16()?),
            base_offset: reader.i64()?,
            log_append_time_ms: reader.i64()?,
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            record_errors: Vec::new(),
            error_message: None,
        };
        if version >= 8 {
            for _ in 0..reader.count(flexible, 5)? {
                partition.record_errors.push(BatchIndexError {
                    batch_index: reader.i32()?,
                    message: reader.nullable_string(flexible)?.map(str::to_owned),
                });
                reader.skip_tags(flexible)?;
            }
            partition.error_message = reader.nullable_string(flexible)?.map(str::to_owned);
        }
        reader.skip_tags(flexible)?;
        Ok(partition)
    }
}
