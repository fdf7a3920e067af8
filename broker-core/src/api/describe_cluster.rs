//! DescribeCluster, key 60, versions 0 to 2 (KIP-700). v1 endpoint type (KIP-919); v2 fenced
//! brokers (KIP-1073).

use std::sync::Arc;

use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeClusterResponse};

use super::{RequestContext, text};
use crate::authorization::Resource;
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::wire;

/// Endpoint type of brokers; 2 would be controllers.
const ENDPOINT_BROKERS: i8 = 1;

/// Describes the cluster of one.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let config = &broker.config;
    if request.endpoint_type != ENDPOINT_BROKERS {
        return wire!(DescribeClusterResponse {
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some(text("only the endpoints of brokers can be described")),
        });
    }
    let mut response = wire!(DescribeClusterResponse {
        error_message: None,
        cluster_id: text(&broker.cluster_id),
        controller_id: config.node_id,
        brokers: vec![wire!(DescribeClusterBroker {
            broker_id: config.node_id,
            host: text(&config.advertised_host),
            port: config.advertised_port,
            rack: None,
        })],
    });
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations =
            context.allowed_operations(broker, Resource::Cluster);
    }
    response
}
