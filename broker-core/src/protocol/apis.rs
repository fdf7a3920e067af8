//! The one table of APIs: key, name, versions, first flexible version.
//!
//! Source: the message definitions of Apache Kafka 4.1; minimums follow KIP-896.

/// One API of the Kafka protocol as this broker offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The API key.
    pub key: i16,
    /// Kafka's name of the API.
    pub name: &'static str,
    /// Lowest version that ApiVersions advertises.
    pub advertised_min: i16,
    /// Lowest version that is answered.
    pub min: i16,
    /// Highest version advertised and answered.
    pub max: i16,
    /// First version with compact lengths and tagged fields (KIP-482); [`NEVER`] when none is.
    pub flexible_from: i16,
}

/// No version is flexible.
pub const NEVER: i16 = i16::MAX;

impl Api {
    const fn new(key: i16, name: &'static str, min: i16, max: i16, flexible_from: i16) -> Self {
        Self {
            key,
            name,
            advertised_min: min,
            min,
            max,
            flexible_from,
        }
    }

    /// Whether `version` is answered.
    #[must_use]
    pub const fn serves(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether it is advertised only while someone wants metrics of clients.
    #[must_use]
    pub const fn is_telemetry(&self) -> bool {
        matches!(self.key, GET_TELEMETRY_SUBSCRIPTIONS | PUSH_TELEMETRY)
    }

    /// Whether `version` uses compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// Key of Produce.
pub const PRODUCE: i16 = 0;
/// Key of Fetch.
pub const FETCH: i16 = 1;
/// Key of JoinGroup.
pub const JOIN_GROUP: i16 = 11;
/// Key of SyncGroup.
pub const SYNC_GROUP: i16 = 14;
/// Key of ApiVersions.
pub const API_VERSIONS: i16 = 18;

/// Key of GetTelemetrySubscriptions.
pub const GET_TELEMETRY_SUBSCRIPTIONS: i16 = 71;
/// Key of PushTelemetry.
pub const PUSH_TELEMETRY: i16 = 72;

/// Every API offered, ascending by key.
///
/// Produce advertises 0 although 0 to 2 are not answered: librdkafka before 2.11.1 sends gzip, lz4
/// and snappy batches uncompressed to a broker whose range does not include 0 (KAFKA-18659). The
/// telemetry APIs (71, 72) are advertised only while someone wants metrics of clients: these push as
/// soon as they see them.
pub const APIS: &[Api] = &[
    Api {
        advertised_min: 0,
        ..Api::new(PRODUCE, "Produce", 3, 13, 9)
    },
    Api::new(FETCH, "Fetch", 4, 18, 12),
    Api::new(2, "ListOffsets", 1, 10, 6),
    Api::new(3, "Metadata", 0, 13, 9),
    Api::new(8, "OffsetCommit", 2, 9, 8),
    Api::new(9, "OffsetFetch", 1, 9, 6),
    Api::new(10, "FindCoordinator", 0, 6, 3),
    Api::new(JOIN_GROUP, "JoinGroup", 0, 9, 6),
    Api::new(12, "Heartbeat", 0, 4, 4),
    Api::new(13, "LeaveGroup", 0, 5, 4),
    Api::new(SYNC_GROUP, "SyncGroup", 0, 5, 4),
    Api::new(15, "DescribeGroups", 0, 6, 5),
    Api::new(16, "ListGroups", 0, 5, 3),
    Api::new(API_VERSIONS, "ApiVersions", 0, 4, 3),
    Api::new(19, "CreateTopics", 2, 7, 5),
    Api::new(20, "DeleteTopics", 1, 6, 4),
    Api::new(21, "DeleteRecords", 0, 2, 2),
    Api::new(22, "InitProducerId", 0, 5, 2),
    Api::new(23, "OffsetForLeaderEpoch", 2, 4, 4),
    Api::new(24, "AddPartitionsToTxn", 0, 3, 3),
    Api::new(25, "AddOffsetsToTxn", 0, 4, 3),
    Api::new(26, "EndTxn", 0, 5, 3),
    Api::new(28, "TxnOffsetCommit", 0, 5, 3),
    Api::new(32, "DescribeConfigs", 1, 4, 4),
    Api::new(33, "AlterConfigs", 0, 2, 2),
    Api::new(34, "AlterReplicaLogDirs", 1, 2, 2),
    Api::new(35, "DescribeLogDirs", 1, 4, 2),
    Api::new(37, "CreatePartitions", 0, 3, 2),
    Api::new(42, "DeleteGroups", 0, 2, 2),
    Api::new(43, "ElectLeaders", 0, 2, 2),
    Api::new(44, "IncrementalAlterConfigs", 0, 1, 1),
    Api::new(45, "AlterPartitionReassignments", 0, 1, 0),
    Api::new(46, "ListPartitionReassignments", 0, 0, 0),
    Api::new(47, "OffsetDelete", 0, 0, NEVER),
    Api::new(48, "DescribeClientQuotas", 0, 1, 1),
    Api::new(49, "AlterClientQuotas", 0, 1, 1),
    Api::new(55, "DescribeQuorum", 0, 2, 0),
    Api::new(57, "UpdateFeatures", 0, 2, 0),
    Api::new(60, "DescribeCluster", 0, 2, 0),
    Api::new(61, "DescribeProducers", 0, 0, 0),
    Api::new(65, "DescribeTransactions", 0, 0, 0),
    Api::new(66, "ListTransactions", 0, 1, 0),
    Api::new(68, "ConsumerGroupHeartbeat", 0, 1, 0),
    Api::new(69, "ConsumerGroupDescribe", 0, 1, 0),
    Api::new(
        GET_TELEMETRY_SUBSCRIPTIONS,
        "GetTelemetrySubscriptions",
        0,
        0,
        0,
    ),
    Api::new(PUSH_TELEMETRY, "PushTelemetry", 0, 0, 0),
    Api::new(74, "ListConfigResources", 0, 1, 0),
    Api::new(75, "DescribeTopicPartitions", 0, 0, 0),
];

/// The API of `key`, when it is offered.
#[must_use]
pub fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_generated_codec() {
        for api in APIS {
            let generated = kafka_wire::API_DESCRIPTORS
                .iter()
                .find(|descriptor| descriptor.api_key.value() == api.key)
                .unwrap_or_else(|| panic!("no API of key {}", api.key));
            assert_eq!(
                generated.request.name,
                format!("{}Request", api.name),
                "key {}",
                api.key
            );
            let versions = generated.supported_versions;
            assert!(versions.min().value() <= api.min, "{}", api.name);
            assert!(versions.max().value() >= api.max, "{}", api.name);
            for version in api.min..=api.max {
                let flexible = generated
                    .flexible_versions
                    .is_some_and(|range| range.contains(kafka_wire_core::ApiVersion::new(version)));
                assert_eq!(
                    flexible,
                    api.is_flexible(version),
                    "{} v{version}",
                    api.name
                );
            }
        }
    }

    #[test]
    fn the_table_ascends_and_hides_what_is_not_built() {
        assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
        for absent in [4, 5, 6, 7, 17, 27, 36] {
            assert_eq!(find(absent), None, "key {absent}");
        }
        assert_eq!(find(PRODUCE).map(|api| api.advertised_min), Some(0));
        assert_eq!(find(PRODUCE).map(|api| api.serves(2)), Some(false));
    }
}
