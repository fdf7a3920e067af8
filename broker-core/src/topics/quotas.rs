//! Client quotas in the metadata log.

use std::sync::Arc;

use super::catalog::MetadataRecord;
use super::{TopicError, Topics};
use crate::error::ErrorCode;
use crate::quotas::{EntityName, QuotaEntity, QuotaKind, Quotas};

/// Entities with quotas: more than anyone writes down by hand.
const ENTITIES_MAX: usize = 10_000;

/// Longest name of a user, client id or address in a quota, in bytes.
const NAME_BYTES_MAX: usize = 1024;

impl Topics {
    /// The quotas, and what clients used of them.
    #[must_use]
    pub fn quotas(&self) -> Arc<Quotas> {
        Arc::clone(&self.quotas)
    }

    /// Sets quotas of an entity (`Some`) and removes others (`None`): all or none; they are in
    /// force when it returns.
    ///
    /// # Errors
    /// INVALID_REQUEST, KAFKA_STORAGE_ERROR.
    pub fn change_quotas(
        &self,
        entity: &QuotaEntity,
        limits: &[(QuotaKind, Option<f64>)],
        validate_only: bool,
    ) -> Result<(), TopicError> {
        let mut changing = self.changing.lock();
        check(entity, limits)?;
        let known = changing
            .catalog
            .quotas
            .iter()
            .any(|(known, _)| known == entity);
        if !known && changing.catalog.quotas.len() >= ENTITIES_MAX {
            return Err(TopicError::new(
                ErrorCode::INVALID_REQUEST,
                format!("there are {ENTITIES_MAX} entities with quotas already"),
            ));
        }
        if validate_only || limits.is_empty() {
            return Ok(());
        }
        let records = limits
            .iter()
            .map(|(kind, limit)| MetadataRecord::QuotaChanged {
                entity: entity.clone(),
                kind: *kind,
                limit: *limit,
            });
        self.record_all(&mut changing, &records.collect::<Vec<_>>())?;
        self.quotas.replace(changing.catalog.quotas.clone());
        tracing::info!(?entity, ?limits, "client quotas changed");
        Ok(())
    }

    /// Puts what the metadata log says in force.
    pub(super) fn restore_quotas(&self) {
        let changing = self.changing.lock();
        self.quotas.replace(changing.catalog.quotas.clone());
    }
}

fn check(entity: &QuotaEntity, limits: &[(QuotaKind, Option<f64>)]) -> Result<(), TopicError> {
    let refuse = |why: String| Err(TopicError::new(ErrorCode::INVALID_REQUEST, why));
    let names = [&entity.user, &entity.client_id, &entity.ip];
    let is_address = entity.ip.is_some();
    let is_client = entity.user.is_some() || entity.client_id.is_some();
    if is_address == is_client {
        return refuse("a quota is for a user, a client id, or both, or for an address".to_owned());
    }
    for name in names.into_iter().flatten() {
        if let EntityName::Named(name) = name
            && (name.is_empty() || name.len() > NAME_BYTES_MAX)
        {
            return refuse(format!(
                "a name has 1 to {NAME_BYTES_MAX} bytes, not {}",
                name.len()
            ));
        }
    }
    for (kind, limit) in limits {
        let name = kind.name();
        if kind.is_for_addresses() != is_address {
            let whom = if is_address {
                "addresses"
            } else {
                "users and client ids"
            };
            return refuse(format!("there is no quota {name} for {whom}"));
        }
        let Some(limit) = limit else { continue };
        if !limit.is_finite() || *limit <= 0.0 {
            return refuse(format!("quota {name} must be larger than 0, not {limit}"));
        }
        if kind.is_whole() && limit.fract() != 0.0 {
            return refuse(format!("quota {name} is a whole number, not {limit}"));
        }
    }
    Ok(())
}
