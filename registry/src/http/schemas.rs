//! `/schemas…`: listings, and reads by id and by GUID.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Answer;
use super::associations::association_value;
use super::dto::{Showing, content_entity, listed_entity};
use super::extract::{Call, Query, schema_id};
use super::subjects::{LIST_MAX, stamp_of};
use crate::association::{Association, AssociationFilter, Lifecycle};
use crate::error::RegistryError;
use crate::model::SchemaId;
use crate::service::associations::sorted;
use crate::service::candidate::Stamp;
use crate::service::read::{ById, SubjectPrefix, find_by_id};
use crate::snapshot::{SchemaImage, Snapshot};

/// Longest page of whole schemas: the reference's default.
const SCHEMAS_MAX: usize = 1000;

fn not_found(shown: &str) -> RegistryError {
    RegistryError::SchemaIdNotFound(shown.to_owned())
}

/// `GET /schemas`.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let query = call.query;
    let prefix = SubjectPrefix::parse(query.get("subjectPrefix").unwrap_or(""));
    let (deleted, latest_only) = (query.flag("deleted"), query.flag("latestOnly"));
    let rule_type = query.get("ruleType").filter(|name| !name.is_empty());
    let aliases = if query.flag("aliases") {
        aliases_by_target(&snapshot, prefix)
    } else {
        BTreeMap::new()
    };
    let by_association = ByAssociation::of_query(query)?;
    let showing = Showing::default();
    let rows = snapshot
        .subjects()
        .iter()
        .filter(|name| prefix.selects(name) || aliases.contains_key(name.as_ref()))
        .filter_map(|name| {
            Some((
                name,
                snapshot.subject(name)?,
                by_association.of(&snapshot, name)?,
            ))
        })
        .flat_map(|(name, image, associations)| {
            let newest = image
                .versions()
                .filter(|(_, image)| deleted || !image.deleted)
                .map(|(version, _)| version)
                .next_back();
            image
                .versions()
                .filter(move |(version, image)| {
                    (deleted || !image.deleted) && (!latest_only || Some(*version) == newest)
                })
                .map(move |(version, image)| (name, version, image, associations.clone()))
        })
        .filter(|(_, _, image, _)| {
            rule_type.is_none_or(|wanted| {
                let rules = image.schema.rule_set.as_ref();
                rules.is_some_and(|set| set.rules().any(|r| r.rule_type.as_deref() == Some(wanted)))
            })
        });
    let page = query.page(rows, SCHEMAS_MAX)?;
    let none = Vec::new();
    let entities = page
        .into_iter()
        .map(|(name, version, image, associations)| {
            let aliases = aliases.get(name.as_ref()).unwrap_or(&none);
            let stamp = Some(stamp_of(image));
            let associations = associations.iter().map(|one| association_value(one));
            listed_entity(name, version, &image.schema, showing, stamp, aliases)
                .values("associations", associations.collect())
                .build()
        });
    Ok(Answer::Value(entities.collect()))
}

/// Which subjects a listing shows for their associations.
struct ByAssociation {
    /// Absent when the query does not speak of associations.
    filter: Option<AssociationFilter>,
    lifecycles: Vec<Lifecycle>,
    /// `lifecycle=NONE`: subjects without a matching association.
    unassociated: bool,
}

impl ByAssociation {
    fn of_query(query: &Query) -> Result<Self, RegistryError> {
        let resource_type = query.get("resourceType");
        let types: Vec<String> = query.all("associationType").map(str::to_owned).collect();
        let mut lifecycles = Vec::new();
        let (mut unassociated, mut any_lifecycle) = (false, false);
        for name in query.all("lifecycle") {
            any_lifecycle = true;
            if name == "NONE" {
                unassociated = true;
            } else {
                lifecycles.push(Lifecycle::from_name(name).ok_or(RegistryError::NotFound)?);
            }
        }
        let asked = resource_type.is_some() || !types.is_empty() || any_lifecycle;
        Ok(Self {
            filter: asked.then(|| AssociationFilter {
                resource_type: resource_type.map(str::to_owned),
                types,
                lifecycle: None,
            }),
            lifecycles,
            unassociated,
        })
    }

    /// The associations to show with a subject; none when the subject is not to be shown.
    fn of(&self, snapshot: &Snapshot, subject: &str) -> Option<Vec<Arc<Association>>> {
        let Some(filter) = &self.filter else {
            return Some(Vec::new());
        };
        let mut found = sorted(snapshot.associations_of_subject(subject).iter(), filter);
        if found.is_empty() {
            return self.unassociated.then(Vec::new);
        }
        if self.unassociated || !self.lifecycles.is_empty() {
            found.retain(|one| self.lifecycles.contains(&one.lifecycle));
        }
        (!found.is_empty()).then_some(found)
    }
}

/// Aliases that the prefix selects, by the subject they point at.
fn aliases_by_target(
    snapshot: &Snapshot,
    prefix: SubjectPrefix<'_>,
) -> BTreeMap<String, Vec<String>> {
    let mut targets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, _) in snapshot.configs() {
        if prefix.selects(name)
            && let Some(target) = snapshot.alias_target(name)
        {
            targets.entry(target).or_default().insert(name.clone());
        }
    }
    targets
        .into_iter()
        .map(|(target, names)| (target, names.into_iter().collect()))
        .collect()
}

/// `GET /schemas/ids/{id}`: what every consumer asks once per schema.
pub(super) fn by_id(call: &Call<'_>, id: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let showing = Showing::of(call.query).with_tags(call.query);
    let subject = call.query.get("subject");
    let found = find_by_id(&snapshot, schema_id(id)?, subject).ok_or_else(|| not_found(id))?;
    let with_max_id = call.query.flag("fetchMaxId");
    if found.is_representative && showing.is_plain() && !with_max_id {
        let answer = found.image.answer.get_or_init(|| {
            let value = entity_of(&snapshot, &found, showing, None);
            Bytes::from(value.to_string())
        });
        return Ok(Answer::Bytes(answer.clone()));
    }
    let max_id = with_max_id.then(|| snapshot.id_high_water(&found.image.schema.context));
    Ok(Answer::Value(entity_of(&snapshot, &found, showing, max_id)))
}

fn entity_of(
    snapshot: &Snapshot,
    found: &ById<'_>,
    showing: Showing<'_>,
    max_id: Option<i32>,
) -> Value {
    let stamp = stamp(snapshot, found.subject, found.version);
    let shown_use = Some((found.subject, found.version));
    content_entity(shown_use, &found.image.schema, showing, max_id, stamp)
}

fn stamp(snapshot: &Snapshot, subject: &str, version: crate::model::Version) -> Option<Stamp> {
    let image = snapshot.subject(subject)?.version(version)?;
    Some(stamp_of(image))
}

/// `GET /schemas/ids/{id}/schema`: the text itself. The reference answers 500 for an unknown id;
/// here it is the 404 of its neighbours.
pub(super) fn text_by_id(call: &Call<'_>, id: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let subject = call.query.get("subject");
    let found = find_by_id(&snapshot, schema_id(id)?, subject).ok_or_else(|| not_found(id))?;
    let text = Showing::of(call.query).text(&found.image.schema);
    Ok(Answer::Bytes(text.into()))
}

fn image_by_id<'s>(
    snapshot: &'s Snapshot,
    call: &Call<'_>,
    id: SchemaId,
) -> Result<&'s SchemaImage, RegistryError> {
    find_by_id(snapshot, id, call.query.get("subject"))
        .map(|found| found.image)
        .ok_or(RegistryError::SchemaNotFound)
}

/// `GET /schemas/ids/{id}/subjects`.
pub(super) fn subjects_by_id(call: &Call<'_>, id: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let image = image_by_id(&snapshot, call, schema_id(id)?)?;
    let deleted = call.query.flag("deleted");
    let mut names: Vec<&str> = image
        .uses
        .iter()
        .filter(|(name, version)| deleted || !snapshot.is_deleted(name, *version))
        .map(|(name, _)| name.as_ref())
        .collect();
    names.dedup();
    let page = call
        .query
        .page(names.into_iter().map(Value::from), LIST_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

/// `GET /schemas/ids/{id}/versions`.
pub(super) fn versions_by_id(call: &Call<'_>, id: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let image = image_by_id(&snapshot, call, schema_id(id)?)?;
    let deleted = call.query.flag("deleted");
    let pairs = image
        .uses
        .iter()
        .filter(|(name, version)| deleted || !snapshot.is_deleted(name, *version))
        .map(|(name, version)| json!({ "subject": name.as_ref(), "version": version.0 }));
    let page = call.query.page(pairs, LIST_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

/// `GET /schemas/guids/{guid}`: the default context first.
pub(super) fn by_guid(call: &Call<'_>, text: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let guid = Uuid::parse_str(text).map_err(|_| not_found(text))?;
    let schema = std::iter::once(".")
        .chain(snapshot.contexts())
        .find_map(|context| snapshot.schema_by_guid(context, guid))
        .ok_or_else(|| not_found(text))?;
    let stamp = snapshot
        .any_subject_of(&schema.context, schema.id)
        .and_then(|(subject, version)| stamp(&snapshot, subject, version));
    let showing = Showing::of(call.query);
    Ok(Answer::Value(content_entity(
        None, schema, showing, None, stamp,
    )))
}

/// `GET /schemas/guids/{guid}/ids`: empty for an unknown one.
pub(super) fn ids_by_guid(call: &Call<'_>, text: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let Ok(guid) = Uuid::parse_str(text) else {
        return Ok(Answer::Value(json!([])));
    };
    let mut found: Vec<(&str, i32)> = snapshot
        .contexts()
        .flat_map(|context| {
            let ids = snapshot.ids_by_guid(context, guid);
            ids.iter().map(move |id| (context, id.0))
        })
        .collect();
    found.sort_unstable();
    let values = found
        .into_iter()
        .map(|(context, id)| json!({ "context": context, "id": id }));
    Ok(Answer::Value(values.collect()))
}
