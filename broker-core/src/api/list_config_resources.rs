//! ListConfigResources, key 74, versions 0 and 1.
//!
//! v0 client metrics alone, as ListClientMetricsResources (KIP-1000); v1 any type (KIP-1142).

use std::sync::Arc;

use kafka_wire::list_config_resources_response::ConfigResource;
use kafka_wire::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::{
    RESOURCE_BROKER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP, RESOURCE_TOPIC, RequestContext,
    blocking, text,
};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::Topics;
use crate::wire;

/// What can be asked for: topics, brokers, client metrics, loggers of brokers, groups. Loggers have
/// no configs here.
const TYPES: [i8; 5] = [
    RESOURCE_TOPIC,
    RESOURCE_BROKER,
    RESOURCE_CLIENT_METRICS,
    8,
    RESOURCE_GROUP,
];

/// Lists what has configs; no types mean all.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let asked = &request.resource_types;
    let wants = |kind: i8| match context.version {
        0 => kind == RESOURCE_CLIENT_METRICS,
        _ => asked.is_empty() || asked.contains(&kind),
    };
    let refused = match context.authorize(broker, Operation::DescribeConfigs, Resource::Cluster) {
        Err(denied) => Some(denied),
        Ok(()) if asked.iter().any(|kind| !TYPES.contains(kind)) => {
            Some(ErrorCode::UNSUPPORTED_VERSION)
        }
        Ok(()) => None,
    };
    if let Some(code) = refused {
        return wire!(ListConfigResourcesResponse { error_code: code.0 });
    }
    let mut config_resources = Vec::new();
    let mut list = |kind: i8, name: &str| {
        config_resources.push(wire!(ConfigResource {
            resource_type: kind,
            resource_name: text(name),
        }));
    };
    if wants(RESOURCE_TOPIC) {
        for topic in broker.topics.list() {
            list(RESOURCE_TOPIC, topic.name.as_str());
        }
    }
    if wants(RESOURCE_BROKER) {
        list(RESOURCE_BROKER, &broker.config.node_id.to_string());
    }
    for (kind, names) in [
        (
            RESOURCE_CLIENT_METRICS,
            Topics::list_client_metrics as fn(&Topics) -> Vec<String>,
        ),
        (RESOURCE_GROUP, Topics::list_group_configs),
    ] {
        if wants(kind) {
            let topics = Arc::clone(&broker.topics);
            // A change that is being made durable holds the list meanwhile.
            let names = blocking(move || Ok(names(&topics))).await;
            for name in names.unwrap_or_default() {
                list(kind, &name);
            }
        }
    }
    wire!(ListConfigResourcesResponse { config_resources })
}
