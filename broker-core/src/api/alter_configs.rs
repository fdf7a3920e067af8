//! AlterConfigs, key 33, versions 0 to 2: replaces all configs of a topic or of the broker
//! (superseded by IncrementalAlterConfigs, still sent by older clients). v2 flexible.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::alter_configs_request::AlterableConfig;
use kafka_wire::alter_configs_response::AlterConfigsResourceResponse;
use kafka_wire::{AlterConfigsRequest, AlterConfigsResponse};

use super::config_resource::{change, check_distinct, required};
use super::{RequestContext, code_and_message};
use crate::broker::Broker;
use crate::topics::{ConfigChange, TopicError};
use crate::wire;

/// Replaces the configs of each resource; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::new();
    for asked in request.resources {
        let resource = (asked.resource_type, asked.resource_name.as_str());
        let wanted = replacement(asked.configs);
        let outcome = change(broker, context, resource, wanted, request.validate_only).await;
        let (error_code, error_message) = code_and_message(&outcome);
        responses.push(wire!(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
        }));
    }
    wire!(AlterConfigsResponse { responses })
}

fn replacement(configs: Vec<AlterableConfig>) -> Result<ConfigChange, TopicError> {
    check_distinct(configs.iter().map(|config| config.name.as_str()))?;
    let configs = configs.into_iter().map(|config| {
        let value = required(&config.name, config.value.map(|value| value.into_string()))?;
        Ok((config.name.into_string(), value))
    });
    let configs: Result<BTreeMap<_, _>, _> = configs.collect();
    configs.map(ConfigChange::Replace)
}
