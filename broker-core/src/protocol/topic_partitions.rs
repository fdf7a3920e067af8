//! The list of topics, each with a list of something for its partitions, that Produce and Fetch
//! messages have in common.

use uuid::Uuid;

use super::reader::{Malformed, Reader};
use super::writer::Writer;

/// Vectors start no larger than this, whatever count the peer announces.
const CAPACITY_MAX: usize = 64;

/// One topic of a message, with what the message says of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitions<P> {
    /// Empty in versions with topic ids.
    pub name: String,
    /// Nil in versions without.
    pub id: Uuid,
    /// In the order of the message.
    pub partitions: Vec<P>,
}

/// How a version of a message writes the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// With compact lengths and tagged fields (KIP-482).
    pub(super) flexible: bool,
    /// With topic ids in the place of names (KIP-516).
    pub(super) topic_ids: bool,
}

impl<P> TopicPartitions<P> {
    /// Reads the list; a partition takes at least `partition_bytes_min`.
    pub(super) fn decode_list<'a>(
        reader: &mut Reader<'a>,
        layout: Layout,
        partition_bytes_min: usize,
        mut decode: impl FnMut(&mut Reader<'a>) -> Result<P, Malformed>,
    ) -> Result<Vec<Self>, Malformed> {
        let Layout {
            flexible,
            topic_ids,
        } = layout;
        let topic_bytes_min = if topic_ids { 17 } else { 2 };
        let topics_count = reader.count(flexible, topic_bytes_min)?;
        let mut topics = Vec::with_capacity(topics_count.min(CAPACITY_MAX));
        for _ in 0..topics_count {
            let (name, id) = if topic_ids {
                (String::new(), reader.uuid()?)
            } else {
                (reader.string(flexible)?.to_owned(), Uuid::nil())
            };
            let partitions_count = reader.count(flexible, partition_bytes_min)?;
            let mut partitions = Vec::with_capacity(partitions_count.min(CAPACITY_MAX));
            for _ in 0..partitions_count {
                partitions.push(decode(reader)?);
            }
            reader.skip_tags(flexible)?;
            topics.push(Self {
                name,
                id,
                partitions,
            });
        }
        Ok(topics)
    }

    /// Writes the list.
    pub(super) fn encode_list(
        topics: &[Self],
        writer: &mut Writer,
        layout: Layout,
        mut encode: impl FnMut(&P, &mut Writer),
    ) {
        let Layout {
            flexible,
            topic_ids,
        } = layout;
        writer.count(flexible, topics.len());
        for topic in topics {
            if topic_ids {
                writer.uuid(topic.id);
            } else {
                writer.string(flexible, &topic.name);
            }
            writer.count(flexible, topic.partitions.len());
            for partition in &topic.partitions {
                encode(partition, writer);
            }
            writer.no_tags(flexible);
        }
    }
}
