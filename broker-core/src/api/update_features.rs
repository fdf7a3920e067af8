//! UpdateFeatures, key 57, versions 0 to 2 (KIP-584).
//!
//! v1 kinds of downgrade, only validating (KIP-778); v2 one error for all (KIP-1022). The levels
//! are those of this release and are in force from the first start: to set them again succeeds,
//! to change them does not.

use std::sync::Arc;

use kafka_wire::update_features_request::FeatureUpdateKey;
use kafka_wire::update_features_response::UpdatableFeatureResult;
use kafka_wire::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::{RequestContext, code_and_message, refuse};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::protocol::api_versions::FEATURES;
use crate::topics::TopicError;
use crate::wire;

/// First version without a result for every feature.
const ONE_ERROR_FROM: i16 = 2;

/// Says of each feature whether it has the level asked for.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let allowed = context.authorize_change(broker, Operation::Alter, Resource::Cluster);
    let outcomes: Vec<_> = request.feature_updates.iter().map(update).collect();
    let whole = if context.version >= ONE_ERROR_FROM {
        let failed = outcomes.iter().find(|outcome| outcome.is_err());
        allowed.and_then(|()| failed.cloned().unwrap_or(Ok(())))
    } else {
        allowed
    };
    let (error_code, error_message) = code_and_message(&whole);
    let mut response = wire!(UpdateFeaturesResponse {
        error_code,
        error_message,
    });
    if context.version < ONE_ERROR_FROM && whole.is_ok() {
        let updates = request.feature_updates.into_iter().zip(outcomes);
        let results = updates.map(|(asked, outcome)| {
            let (error_code, error_message) = code_and_message(&outcome);
            wire!(UpdatableFeatureResult {
                feature: asked.feature,
                error_code,
                error_message,
            })
        });
        response.results = results.collect();
    }
    response
}

fn update(asked: &FeatureUpdateKey) -> Result<(), TopicError> {
    let name = asked.feature.as_str();
    match FEATURES.iter().find(|feature| feature.name == name) {
        None => refuse(
            ErrorCode::INVALID_UPDATE_VERSION,
            format!("feature {name} is not supported"),
        ),
        Some(feature) if feature.level == asked.max_version_level => Ok(()),
        Some(feature) => refuse(
            ErrorCode::INVALID_UPDATE_VERSION,
            format!(
                "feature {name} has level {} in this release and cannot be set to {}",
                feature.level, asked.max_version_level
            ),
        ),
    }
}
