//! The seam for security: who asks, for what, and whether they may.
//!
//! Every request carries a [`Principal`], and its handler asks the [`Authorizer`] once for every
//! resource that it names. Connections do not authenticate yet, so everyone is anonymous and may do
//! everything. Knows nothing of requests.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::error::ErrorCode;

/// Who a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// `User`, the one kind that Kafka knows.
    pub kind: Arc<str>,
    /// The name that authentication found.
    pub name: Arc<str>,
}

impl Principal {
    /// Whoever did not authenticate: Kafka's `User:ANONYMOUS`.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: Arc::from("User"),
            name: Arc::from("ANONYMOUS"),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// What is to be done with a resource. The numbers are those of Kafka's `AclOperation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Fetch records, commit offsets.
    Read = 3,
    /// Produce.
    Write = 4,
    /// Create topics.
    Create = 5,
    /// Delete topics, records, groups.
    Delete = 6,
    /// Add partitions, elect leaders, reassign, alter features.
    Alter = 7,
    /// See that it is there.
    Describe = 8,
    /// What brokers ask of each other.
    ClusterAction = 9,
    /// See configs.
    DescribeConfigs = 10,
    /// Change configs and quotas.
    AlterConfigs = 11,
    /// Get a producer id outside of transactions.
    IdempotentWrite = 12,
}

/// Operations on a topic, as DescribeTopics and Metadata show them (KIP-430).
const TOPIC_OPERATIONS: &[Operation] = &[
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Alter,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

/// Operations on the cluster.
const CLUSTER_OPERATIONS: &[Operation] = &[
    Operation::Create,
    Operation::Alter,
    Operation::Describe,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
];

/// Operations on a group.
const GROUP_OPERATIONS: &[Operation] = &[
    Operation::Read,
    Operation::Delete,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

/// Operations on a transactional id.
const TRANSACTIONAL_ID_OPERATIONS: &[Operation] = &[Operation::Write, Operation::Describe];

/// What a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource<'a> {
    /// The broker as a whole.
    Cluster,
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
}

impl Resource<'_> {
    /// What a client is told that may not.
    #[must_use]
    pub const fn denied(self) -> ErrorCode {
        match self {
            Self::Cluster => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            Self::Topic(_) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Self::Group(_) => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            Self::TransactionalId(_) => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        }
    }

    /// All that can be done with it.
    #[must_use]
    pub const fn operations(self) -> &'static [Operation] {
        match self {
            Self::Cluster => CLUSTER_OPERATIONS,
            Self::Topic(_) => TOPIC_OPERATIONS,
            Self::Group(_) => GROUP_OPERATIONS,
            Self::TransactionalId(_) => TRANSACTIONAL_ID_OPERATIONS,
        }
    }
}

/// Who asks, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// The address of its connection.
    pub host: IpAddr,
}

/// Decides who may do what.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether `asker` may do `operation` on `resource`. Called on the request's path, several
    /// times a request: answers from memory.
    fn allows(&self, asker: Asker<'_>, operation: Operation, resource: Resource<'_>) -> bool;
}

/// Everyone may do everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _asker: Asker<'_>, _operation: Operation, _resource: Resource<'_>) -> bool {
        true
    }
}

/// The operations that `asker` may do on `resource`, as a set of bits (KIP-430).
#[must_use]
pub fn allowed_operations(
    authorizer: &dyn Authorizer,
    asker: Asker<'_>,
    resource: Resource<'_>,
) -> i32 {
    let operations = resource.operations().iter();
    operations
        .filter(|operation| authorizer.allows(asker, **operation, resource))
        .fold(0, |bits, operation| bits | 1 << (*operation as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's own numbers, read off a broker without authorizer.
    #[test]
    fn operations_are_the_bits_of_kip_430() {
        let principal = Principal::anonymous();
        let asker = Asker {
            principal: &principal,
            host: IpAddr::from([127, 0, 0, 1]),
        };
        for (resource, expected) in [
            (Resource::Topic("t"), 0b1101_1111_1000),
            (Resource::Cluster, 0b1_1111_1010_0000),
            (Resource::Group("g"), 0b1101_0100_1000),
        ] {
            let bits = allowed_operations(&AllowAll, asker, resource);
            assert_eq!(bits, expected, "{resource:?}");
        }
        assert_eq!(principal.to_string(), "User:ANONYMOUS");
    }
}
