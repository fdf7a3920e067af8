//! IncrementalAlterConfigs, key 44, versions 0 and 1 (KIP-339): sets, deletes, appends to and
//! subtracts from single configs of a topic. v1 flexible.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{RESOURCE_BROKER, RESOURCE_TOPIC, blocking, code_and_message, refuse};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::{ConfigOp, TopicError};
use crate::wire;

/// Changes the configs of each resource; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    for asked in request.resources {
        let resource_type = asked.resource_type;
        let resource_name = asked.resource_name.clone();
        let outcome = alter(broker, asked, request.validate_only).await;
        let (error_code, error_message) = code_and_message(&outcome);
        responses.push(wire!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        }));
    }
    wire!(IncrementalAlterConfigsResponse { responses })
}

/// Only topics have configs that can change while the broker runs.
pub(super) fn require_topic(resource_type: i8) -> Result<(), TopicError> {
    match resource_type {
        RESOURCE_TOPIC => Ok(()),
        RESOURCE_BROKER => refuse(
            ErrorCode::INVALID_REQUEST,
            "broker configs are read when the broker starts and cannot be altered",
        ),
        other => refuse(
            ErrorCode::INVALID_REQUEST,
            format!("configs of resource type {other} are not supported"),
        ),
    }
}

async fn alter(
    broker: &Arc<Broker>,
    asked: AlterConfigsResource,
    validate_only: bool,
) -> Result<(), TopicError> {
    require_topic(asked.resource_type)?;
    let mut names = BTreeSet::new();
    let mut operations = Vec::new();
    for config in asked.configs {
        if !names.insert(config.name.clone()) {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("config {} is altered more than once", config.name),
            );
        }
        operations.push(operation(config)?);
    }
    let topics = Arc::clone(&broker.topics);
    let name = asked.resource_name.into_string();
    blocking(move || topics.alter_configs(&name, &operations, validate_only)).await
}

fn operation(config: AlterableConfig) -> Result<(String, ConfigOp), TopicError> {
    let name = config.name.into_string();
    let operation = match (config.config_operation, config.value) {
        (1, _) => ConfigOp::Delete,
        (0, Some(value)) => ConfigOp::Set(value.into_string()),
        (2, Some(value)) => ConfigOp::Append(value.into_string()),
        (3, Some(value)) => ConfigOp::Subtract(value.into_string()),
        (0 | 2 | 3, None) => {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("config {name} has no value"),
            );
        }
        (other, _) => {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("operation {other} on config {name} is unknown"),
            );
        }
    };
    Ok((name, operation))
}
