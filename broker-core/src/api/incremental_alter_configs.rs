//! IncrementalAlterConfigs, key 44, versions 0 and 1 (KIP-339): sets, deletes, appends to and
//! subtracts from single configs of a topic or of the broker. v1 flexible.

use std::sync::Arc;

use kafka_wire::incremental_alter_configs_request::AlterableConfig;
use kafka_wire::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::config_resource::{change, check_distinct, required};
use super::{RequestContext, code_and_message, refuse};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::{ConfigChange, ConfigOp, TopicError};
use crate::wire;

/// Changes the configs of each resource; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    for asked in request.resources {
        let resource = (asked.resource_type, asked.resource_name.as_str());
        let wanted = operations(asked.configs);
        let outcome = change(broker, context, resource, wanted, request.validate_only).await;
        let (error_code, error_message) = code_and_message(&outcome);
        responses.push(wire!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
        }));
    }
    wire!(IncrementalAlterConfigsResponse { responses })
}

fn operations(configs: Vec<AlterableConfig>) -> Result<ConfigChange, TopicError> {
    check_distinct(configs.iter().map(|config| config.name.as_str()))?;
    let operations: Result<_, _> = configs.into_iter().map(operation).collect();
    operations.map(ConfigChange::Alter)
}

fn operation(config: AlterableConfig) -> Result<(String, ConfigOp), TopicError> {
    let name = config.name.into_string();
    let value = config.value.map(|value| value.into_string());
    let operation = match config.config_operation {
        0 => ConfigOp::Set(required(&name, value)?),
        1 => ConfigOp::Delete,
        2 => ConfigOp::Append(required(&name, value)?),
        3 => ConfigOp::Subtract(required(&name, value)?),
        other => {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("operation {other} on config {name} is unknown"),
            );
        }
    };
    Ok((name, operation))
}
