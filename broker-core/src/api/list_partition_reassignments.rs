//! ListPartitionReassignments, key 46, version 0 (KIP-455): with one broker none is ever under way.

use std::sync::Arc;

use kafka_wire::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{RequestContext, code_and_message};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::wire;

/// Answers an empty list.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let allowed = context.authorize_change(broker, Operation::Describe, Resource::Cluster);
    let (error_code, error_message) = code_and_message(&allowed);
    wire!(ListPartitionReassignmentsResponse {
        error_code,
        error_message,
    })
}
