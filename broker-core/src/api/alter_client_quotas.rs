//! AlterClientQuotas, key 49, versions 0 and 1 (KIP-546). v1 flexible.
//!
//! Quotas are for users, client ids, and client ids of users, or for addresses (KIP-612), which are
//! written as numbers: a host's name would stand for one address today and for another tomorrow.

use std::net::IpAddr;
use std::sync::Arc;

use kafka_wire::alter_client_quotas_request as request;
use kafka_wire::alter_client_quotas_response::{EntityData, EntryData};
use kafka_wire::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::{RequestContext, blocking, code_and_message, refuse};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::quotas::{EntityName, QUOTA_KINDS, QuotaEntity, QuotaKind};
use crate::topics::TopicError;
use crate::wire;

/// Entity type of a user.
pub(super) const ENTITY_USER: &str = "user";
/// Entity type of a client id.
pub(super) const ENTITY_CLIENT_ID: &str = "client-id";
/// Entity type of an address.
pub(super) const ENTITY_IP: &str = "ip";

/// Changes the quotas of each entity; each succeeds or fails alone.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let allowed = context.authorize_change(broker, Operation::AlterConfigs, Resource::Cluster);
    let mut entries = Vec::new();
    for asked in request.entries {
        let outcome = match &allowed {
            Ok(()) => alter(broker, &asked, request.validate_only).await,
            Err(denied) => Err(denied.clone()),
        };
        let (error_code, error_message) = code_and_message(&outcome);
        let entity = asked.entity.into_iter().map(|half| {
            wire!(EntityData {
                entity_type: half.entity_type,
                entity_name: half.entity_name,
            })
        });
        entries.push(wire!(EntryData {
            error_code,
            error_message,
            entity: entity.collect(),
        }));
    }
    wire!(AlterClientQuotasResponse { entries })
}

async fn alter(
    broker: &Arc<Broker>,
    asked: &request::EntryData,
    validate_only: bool,
) -> Result<(), TopicError> {
    let entity = entity(&asked.entity)?;
    let limits = limits(&asked.ops)?;
    let topics = Arc::clone(&broker.topics);
    blocking(move || topics.change_quotas(&entity, &limits, validate_only)).await
}

fn entity(halves: &[request::EntityData]) -> Result<QuotaEntity, TopicError> {
    let mut entity = QuotaEntity::default();
    for half in halves {
        let place = match half.entity_type.as_str() {
            ENTITY_USER => &mut entity.user,
            ENTITY_CLIENT_ID => &mut entity.client_id,
            ENTITY_IP => &mut entity.ip,
            other => {
                return refuse(
                    ErrorCode::INVALID_REQUEST,
                    format!("quotas are for users, client ids and addresses, not for {other:?}"),
                );
            }
        };
        let name = half
            .entity_name
            .as_ref()
            .map_or(EntityName::Default, |name| {
                EntityName::Named(name.as_str().to_owned())
            });
        if place.replace(name).is_some() {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("entity type {} is named twice", half.entity_type),
            );
        }
    }
    if let Some(EntityName::Named(name)) = &mut entity.ip {
        let Ok(address) = name.parse::<IpAddr>() else {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("{name:?} is not an IP address"),
            );
        };
        *name = address.to_canonical().to_string();
    }
    Ok(entity)
}

fn limits(ops: &[request::OpData]) -> Result<Vec<(QuotaKind, Option<f64>)>, TopicError> {
    let mut limits: Vec<(QuotaKind, Option<f64>)> = Vec::new();
    for op in ops {
        let Some(kind) = QuotaKind::from_name(&op.key) else {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!(
                    "quota {:?} is unknown: there are {}",
                    op.key,
                    QUOTA_KINDS.map(QuotaKind::name).join(", ")
                ),
            );
        };
        if limits.iter().any(|(known, _)| *known == kind) {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("quota {} is altered more than once", kind.name()),
            );
        }
        limits.push((kind, (!op.remove).then_some(op.value)));
    }
    Ok(limits)
}
