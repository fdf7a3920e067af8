//! AlterConfigs, key 33, versions 0 to 2: replaces all configs of a topic (superseded by
//! IncrementalAlterConfigs, still sent by older clients). v2 flexible.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::alter_configs_request::AlterConfigsResource;
use kafka_wire::alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{AlterConfigsRequest, AlterConfigsResponse};

use super::incremental_alter_configs::require_topic;
use super::{blocking, code_and_message, refuse};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::TopicError;
use crate::wire;

/// Replaces the configs of each resource; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::new();
    for asked in request.resources {
        let resource_type = asked.resource_type;
        let resource_name = asked.resource_name.clone();
        let outcome = replace(broker, asked, request.validate_only).await;
        let (error_code, error_message) = code_and_message(&outcome);
        responses.push(wire!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name,
        }));
    }
    wire!(AlterConfigsResponse { responses })
}

async fn replace(
    broker: &Arc<Broker>,
    asked: AlterConfigsResource,
    validate_only: bool,
) -> Result<(), TopicError> {
    require_topic(asked.resource_type)?;
    let mut configs = BTreeMap::new();
    for config in asked.configs {
        let Some(value) = config.value else {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("config {} has no value", config.name),
            );
        };
        configs.insert(config.name.into_string(), value.into_string());
    }
    let topics = Arc::clone(&broker.topics);
    let name = asked.resource_name.into_string();
    blocking(move || topics.replace_configs(&name, &configs, validate_only)).await
}
