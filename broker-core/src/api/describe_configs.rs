//! DescribeConfigs, key 32, versions 1 to 4.
//!
//! v1 sources and synonyms (KIP-226); v3 types and documentation (KIP-569); v4 flexible. Topics and
//! the one broker, whose settings come from its start but for broker-wide values of topic configs.

mod broker;

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::config_resource::ConfigResource;
use super::{RequestContext, text};
use crate::authorization::Operation;
use crate::broker::Broker;
use crate::topics::{BrokerScope, ConfigEntry, ConfigSource, TopicError};
use crate::validation::ConfigType;
use crate::wire;

/// Describes each resource; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request
        .resources
        .into_iter()
        .map(|asked| {
            let outcome = describe(broker, context, &asked);
            let mut result = wire!(DescribeConfigsResult {
                resource_type: asked.resource_type,
                resource_name: asked.resource_name,
                error_message: None,
            });
            match outcome {
                Ok(mut configs) => {
                    if let Some(keys) = asked.configuration_keys {
                        let keys: BTreeSet<&str> = keys.iter().map(|key| key.as_str()).collect();
                        configs.retain(|config| keys.contains(config.name.as_str()));
                    }
                    for config in &mut configs {
                        if !request.include_documentation {
                            config.documentation = None;
                        }
                        if !request.include_synonyms {
                            config.synonyms.clear();
                        }
                    }
                    result.configs = configs;
                }
                Err(error) => {
                    result.error_code = error.code.0;
                    result.error_message = Some(text(&error.message));
                }
            }
            result
        })
        .collect();
    wire!(DescribeConfigsResponse { results })
}

fn describe(
    broker: &Broker,
    context: &RequestContext,
    asked: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, TopicError> {
    let asked = (asked.resource_type, asked.resource_name.as_str());
    let operation = Operation::DescribeConfigs;
    Ok(
        match ConfigResource::find(broker, context, operation, asked)? {
            ConfigResource::Topic(name) => {
                let entries = broker.topics.describe_configs(&name)?;
                entries.iter().map(describe_entry).collect()
            }
            ConfigResource::ClientMetrics(name) => {
                let entries = broker.topics.describe_client_metrics(&name);
                entries.iter().map(describe_entry).collect()
            }
            ConfigResource::Group(name) => {
                let entries = broker.groups.describe_configs(&name);
                entries.iter().map(describe_entry).collect()
            }
            // What is set for all brokers, and nothing else.
            ConfigResource::Broker(BrokerScope::Cluster) => {
                let mut entries = broker.topics.describe_broker_configs();
                for entry in &mut entries {
                    entry
                        .synonyms
                        .retain(|synonym| synonym.source == ConfigSource::Cluster);
                    if let Some(set) = entry.synonyms.first() {
                        entry.value.clone_from(&set.value);
                        entry.source = set.source;
                    }
                }
                entries.retain(|entry| !entry.synonyms.is_empty());
                entries.iter().map(describe_entry).collect()
            }
            ConfigResource::Broker(BrokerScope::Node) => {
                let entries = broker.topics.describe_broker_configs();
                let mut entries: Vec<_> = entries.iter().map(describe_entry).collect();
                entries.extend(broker::entries(&broker.config));
                entries.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
                entries
            }
        },
    )
}

fn describe_entry(entry: &ConfigEntry) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.iter().map(|synonym| {
        wire!(DescribeConfigsSynonym {
            name: text(synonym.name),
            value: Some(text(&synonym.value)),
            source: synonym.source as i8,
        })
    });
    wire!(DescribeConfigsResourceResult {
        name: text(entry.name),
        value: Some(text(&entry.value)),
        config_source: entry.source as i8,
        synonyms: synonyms.collect(),
        config_type: config_type(entry.kind),
        documentation: Some(text(entry.documentation)),
    })
}

/// The number of a type in KIP-569.
const fn config_type(kind: ConfigType) -> i8 {
    match kind {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
    }
}
