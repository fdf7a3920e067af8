//! DescribeClientQuotas, key 48, versions 0 and 1 (KIP-546). v1 flexible.

use std::net::IpAddr;
use std::sync::Arc;

use kafka_wire::describe_client_quotas_request::ComponentData;
use kafka_wire::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_wire::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::alter_client_quotas::{ENTITY_CLIENT_ID, ENTITY_IP, ENTITY_USER};
use super::{RequestContext, code_and_message, refuse, text};
use crate::authorization::{Operation, Resource};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::quotas::{EntityName, QuotaEntity};
use crate::topics::TopicError;
use crate::wire;

/// What one half of an entity must be for it to be shown.
enum Match {
    Exactly(EntityName),
    /// Whatever, but there.
    Any,
}

impl Match {
    fn fits(&self, name: Option<&EntityName>) -> bool {
        match (self, name) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Exactly(wanted), Some(name)) => wanted == name,
        }
    }
}

/// Which entities are asked for.
#[derive(Default)]
struct Filter {
    user: Option<Match>,
    client_id: Option<Match>,
    ip: Option<Match>,
    /// Nothing beyond what is named.
    strict: bool,
}

impl Filter {
    fn fits(&self, entity: &QuotaEntity) -> bool {
        let half = |wanted: &Option<Match>, name: Option<&EntityName>| match wanted {
            Some(wanted) => wanted.fits(name),
            None => !self.strict || name.is_none(),
        };
        half(&self.user, entity.user.as_ref())
            && half(&self.client_id, entity.client_id.as_ref())
            && half(&self.ip, entity.ip.as_ref())
    }
}

/// Answers the quotas of the entities that fit.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = context
        .authorize_change(broker, Operation::DescribeConfigs, Resource::Cluster)
        .and_then(|()| filter(request.components, request.strict));
    let (error_code, error_message) = code_and_message(&filter);
    let entries = filter.ok().map(|filter| {
        let table = broker.topics.quotas().table();
        let fitting = table.iter().filter(|(entity, _)| filter.fits(entity));
        fitting
            .map(|(entity, limits)| {
                let values = limits.iter().map(|(kind, limit)| {
                    wire!(ValueData {
                        key: text(kind.name()),
                        value: *limit,
                    })
                });
                wire!(EntryData {
                    entity: halves(entity),
                    values: values.collect(),
                })
            })
            .collect()
    });
    wire!(DescribeClientQuotasResponse {
        error_code,
        error_message,
        entries,
    })
}

fn halves(entity: &QuotaEntity) -> Vec<EntityData> {
    let halves = [
        (ENTITY_USER, &entity.user),
        (ENTITY_CLIENT_ID, &entity.client_id),
        (ENTITY_IP, &entity.ip),
    ];
    let named = halves.into_iter().filter_map(|(kind, name)| {
        let name = name.as_ref()?;
        Some(wire!(EntityData {
            entity_type: text(kind),
            entity_name: match name {
                EntityName::Default => None,
                EntityName::Named(name) => Some(text(name)),
            },
        }))
    });
    named.collect()
}

fn filter(components: Vec<ComponentData>, strict: bool) -> Result<Filter, TopicError> {
    let mut filter = Filter {
        strict,
        ..Filter::default()
    };
    for component in components {
        let wanted = match (component.match_type, component.match_) {
            (0, Some(name)) => Match::Exactly(EntityName::Named(name.into_string())),
            (1, None) => Match::Exactly(EntityName::Default),
            (2, None) => Match::Any,
            (kind, _) => {
                return refuse(
                    ErrorCode::INVALID_REQUEST,
                    format!("match type {kind} is unknown, or does not go with its name"),
                );
            }
        };
        let half = match component.entity_type.as_str() {
            ENTITY_USER => &mut filter.user,
            ENTITY_CLIENT_ID => &mut filter.client_id,
            ENTITY_IP => &mut filter.ip,
            other => {
                return refuse(
                    ErrorCode::INVALID_REQUEST,
                    format!("entity type {other:?} is unknown"),
                );
            }
        };
        if half.replace(wanted).is_some() {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                format!("entity type {} is named twice", component.entity_type),
            );
        }
    }
    if let Some(Match::Exactly(EntityName::Named(name))) = &mut filter.ip
        && let Ok(address) = name.parse::<IpAddr>()
    {
        *name = address.to_canonical().to_string();
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_choose_as_kafka_does() {
        let named = |name: &str| Some(EntityName::Named(name.to_owned()));
        let default = Some(EntityName::Default);
        let entities = [
            ("u", named("u"), None, None),
            ("u+c", named("u"), named("c"), None),
            ("*", default.clone(), None, None),
            ("c", None, named("c"), None),
            ("*c", None, default.clone(), None),
            ("ip", None, None, named("10.0.0.1")),
            ("*ip", None, None, default),
        ];
        let component = |entity_type: &str, match_type, name: Option<&str>| {
            wire!(ComponentData {
                entity_type: entity_type.into(),
                match_type,
                match_: name.map(Into::into),
            })
        };
        let cases = [
            (vec![], false, "u u+c * c *c ip *ip"),
            (vec![], true, ""),
            (vec![component("user", 0, Some("u"))], false, "u u+c"),
            (vec![component("user", 0, Some("u"))], true, "u"),
            (vec![component("user", 1, None)], false, "*"),
            (vec![component("user", 2, None)], false, "u u+c *"),
            (vec![component("client-id", 2, None)], true, "c *c"),
            (
                vec![
                    component("user", 2, None),
                    component("client-id", 0, Some("c")),
                ],
                true,
                "u+c",
            ),
            (vec![component("ip", 2, None)], false, "ip *ip"),
            (vec![component("ip", 1, None)], true, "*ip"),
            (
                vec![component("ip", 0, Some("::ffff:10.0.0.1"))],
                true,
                "ip",
            ),
            (
                vec![component("ip", 2, None), component("user", 2, None)],
                false,
                "",
            ),
        ];
        for (components, strict, expected) in cases {
            let filter = filter(components.clone(), strict).map_err(|error| error.message);
            let filter = filter.unwrap();
            let found = entities.iter().filter(|(_, user, client_id, ip)| {
                filter.fits(&QuotaEntity {
                    user: user.clone(),
                    client_id: client_id.clone(),
                    ip: ip.clone(),
                })
            });
            let found: Vec<&str> = found.map(|(name, ..)| *name).collect();
            assert_eq!(found.join(" "), expected, "{components:?} strict {strict}");
        }
        for refused in [
            vec![component("group", 2, None)],
            vec![component("user", 0, None)],
            vec![component("user", 3, None)],
            vec![component("user", 2, None), component("user", 2, None)],
        ] {
            assert!(filter(refused, false).is_err());
        }
    }
}
