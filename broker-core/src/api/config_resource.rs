//! What DescribeConfigs, AlterConfigs and IncrementalAlterConfigs have in common: the resources
//! that have configs, and changing these.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    RESOURCE_BROKER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP, RESOURCE_TOPIC, RequestContext,
    blocking, refuse,
};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::{BrokerScope, ConfigChange, TopicError};

/// Something that has configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigResource {
    /// A topic by name.
    Topic(String),
    /// All brokers (the empty name), or this one.
    Broker(BrokerScope),
    /// A subscription to metrics of clients.
    ClientMetrics(String),
    /// A consumer group by id, whether or not it is there.
    Group(String),
}

impl ConfigResource {
    /// The resource of that type and name, if the principal may do `operation` on it.
    pub(super) fn find(
        broker: &Broker,
        context: &RequestContext,
        operation: Operation,
        (kind, name): (i8, &str),
    ) -> Result<Self, TopicError> {
        match kind {
            RESOURCE_TOPIC => {
                context.authorize_change(broker, operation, Resource::Topic(name))?;
                Ok(Self::Topic(name.to_owned()))
            }
            RESOURCE_BROKER => {
                context.authorize_change(broker, operation, Resource::Cluster)?;
                let node_id = broker.config.node_id;
                if name.is_empty() {
                    Ok(Self::Broker(BrokerScope::Cluster))
                } else if name == node_id.to_string() {
                    Ok(Self::Broker(BrokerScope::Node))
                } else {
                    refuse(
                        ErrorCode::INVALID_REQUEST,
                        format!("broker {name} is unknown: this is {node_id}"),
                    )
                }
            }
            RESOURCE_CLIENT_METRICS => {
                context.authorize_change(broker, operation, Resource::Cluster)?;
                Ok(Self::ClientMetrics(name.to_owned()))
            }
            RESOURCE_GROUP => {
                context.authorize_change(broker, operation, Resource::Group(name))?;
                Ok(Self::Group(name.to_owned()))
            }
            other => refuse(
                ErrorCode::INVALID_REQUEST,
                format!("configs of resource type {other} are not supported"),
            ),
        }
    }
}

/// Makes a change of a resource's configs, named `names`, or only says whether it could be made.
pub(super) async fn change(
    broker: &Arc<Broker>,
    context: &RequestContext,
    resource: (i8, &str),
    change: Result<ConfigChange, TopicError>,
    validate_only: bool,
) -> Result<(), TopicError> {
    let resource = ConfigResource::find(broker, context, Operation::AlterConfigs, resource)?;
    let change = change?;
    let (topics, groups) = (Arc::clone(&broker.topics), Arc::clone(&broker.groups));
    blocking(move || match resource {
        ConfigResource::Topic(name) => topics.change_configs(&name, &change, validate_only),
        ConfigResource::Broker(scope) => {
            topics.change_broker_configs(scope, &change, validate_only)
        }
        ConfigResource::ClientMetrics(name) => {
            topics.change_client_metrics(&name, &change, validate_only)
        }
        ConfigResource::Group(name) => groups.change_configs(&name, &change, validate_only),
    })
    .await
}

/// Refuses a config that is named twice.
pub(super) fn check_distinct<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), TopicError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("config {name} is altered more than once"),
            );
        }
    }
    Ok(())
}

/// The value of a config, which a change must have.
pub(super) fn required<T: Into<String>>(
    name: &str,
    value: Option<T>,
) -> Result<String, TopicError> {
    match value {
        Some(value) => Ok(value.into()),
        None => refuse(
            ErrorCode::INVALID_REQUEST,
            format!("config {name} has no value"),
        ),
    }
}
