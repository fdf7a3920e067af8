//! Search, timeline, what-if on delete, and lint of what is stored.

use serde_formats::compatibility::CompatibilityPolicy;
use serde_json::{Map, Value, json};

use super::super::Answer;
use super::super::extract::{self, Call};
use super::check::{SelectedRules, compared_value, difference_value, findings_value, levels_value};
use crate::error::RegistryError;
use crate::impact::Impact;
use crate::lint;
use crate::model::Policy;
use crate::search::{self, Hit, HitKind};
use crate::service::read::find_version;
use crate::service::scope::config_in_scope;
use crate::subject_name::normalize;
use crate::timeline::{self, Entry};

/// Hits answered unless `limit` says otherwise, and at most.
const HITS: (usize, usize) = (50, 1_000);
/// Versions of a timeline.
const ENTRIES: (usize, usize) = (20, 100);

/// `limit`, from 1 to the most; anything else is an error that says so.
fn limit(call: &Call<'_>, (usual, most): (usize, usize)) -> Result<usize, RegistryError> {
    let Some(text) = call.query.get("limit") else {
        return Ok(usual);
    };
    match text.parse::<usize>() {
        Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(RegistryError::BadRequest(format!(
            "`limit` is {text}, not a number from 1 to {most}"
        ))),
    }
}

pub(super) async fn search(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let text = call.query.get("q").unwrap_or("").trim();
    if text.is_empty() {
        return Err(RegistryError::BadRequest(
            "`q` is missing: the words to search for".to_owned(),
        ));
    }
    let mut query = search::Query::new(text, limit(call, HITS)?);
    query.all_versions = call.query.flag("allVersions");
    query.kind = match call.query.get("kind") {
        None => None,
        Some(name) => Some(HitKind::from_name(name).ok_or_else(|| {
            RegistryError::BadRequest(format!("`kind` is {name}, not subject, type, field or doc"))
        })?),
    };
    let (hits, truncated) = call
        .registry
        .compute(true, move |registry| {
            Ok(search::search(&registry.snapshot(), &query))
        })
        .await?;
    let hits: Vec<Value> = hits.into_iter().map(hit_value).collect();
    Ok(Answer::Value(
        json!({ "hits": hits, "truncated": truncated }),
    ))
}

fn hit_value(hit: Hit) -> Value {
    let mut object = Map::new();
    object.insert("kind".to_owned(), json!(hit.kind.name()));
    object.insert("subject".to_owned(), json!(hit.subject));
    object.insert("version".to_owned(), json!(hit.version.0));
    object.insert("id".to_owned(), json!(hit.id));
    if !hit.place.is_empty() {
        object.insert("place".to_owned(), json!(hit.place));
    }
    object.insert("type".to_owned(), json!(hit.type_name));
    if let Some(doc) = hit.doc {
        object.insert("doc".to_owned(), json!(doc));
    }
    Value::Object(object)
}

pub(super) async fn timeline(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let subject = normalize(subject);
    let limit = limit(call, ENTRIES)?;
    let changes = call.registry.changes_of(&subject, CHANGES_MAX).await;
    let changes = changes.map_err(|error| RegistryError::Unavailable(error.to_string()))?;
    let shown = subject.clone();
    let entries = call
        .registry
        .compute(true, move |registry| {
            let snapshot = registry.snapshot();
            let Some(image) = snapshot.subject(&subject) else {
                return Err(RegistryError::SubjectNotFound(subject));
            };
            let config = config_in_scope(&snapshot, &subject);
            let policy = config
                .compatibility_policy
                .map_or(CompatibilityPolicy::Strict, Policy::comparison);
            let entries = timeline::timeline(image, policy, limit);
            Ok(entries.iter().map(entry_value).collect::<Vec<Value>>())
        })
        .await?;
    let events: Vec<Value> = changes
        .into_iter()
        .map(|row| {
            json!({
                "epoch": row.epoch,
                "at_ms": row.at_ms,
                "actor": row.actor,
                "operation": row.operation,
                "before": row.before,
                "after": row.after,
            })
        })
        .collect();
    Ok(Answer::Value(json!({
        "subject": shown,
        "versions": entries,
        "events": events,
    })))
}

/// Newest changes of a subject told in its timeline.
const CHANGES_MAX: u32 = 200;

fn entry_value(entry: &Entry<'_>) -> Value {
    let schema = &entry.image.schema;
    let mut object = Map::new();
    object.insert("version".to_owned(), json!(entry.version.0));
    object.insert("id".to_owned(), json!(schema.id.0));
    object.insert("guid".to_owned(), json!(schema.guid.to_string()));
    object.insert("schemaType".to_owned(), json!(schema.format.name()));
    object.insert("registered_ms".to_owned(), json!(entry.image.registered_ms));
    object.insert("deleted".to_owned(), json!(entry.image.deleted));
    object.insert("last_used_ms".to_owned(), json!(schema.last_used_ms()));
    object.insert(
        "previous".to_owned(),
        json!(entry.previous.map(|version| version.0)),
    );
    let changes = entry.changes.iter().map(|change| {
        json!({
            "path": change.path,
            "what": change.what,
            "before": change.before,
            "after": change.after,
        })
    });
    object.insert("changes".to_owned(), changes.collect());
    if let Some(verdicts) = &entry.verdicts {
        object.insert(
            "levels".to_owned(),
            levels_value(verdicts, entry.all_compared),
        );
        object.insert("compared".to_owned(), compared_value(verdicts));
        // Those against the version before; older ones show in their own entries.
        let newest = verdicts.compared.first();
        let differences = verdicts
            .differences
            .iter()
            .filter(|difference| Some(&difference.version) == newest);
        object.insert(
            "differences".to_owned(),
            differences.map(difference_value).collect(),
        );
    }
    Value::Object(object)
}

pub(super) fn delete_impact(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let selector = call
        .query
        .get("version")
        .map(extract::version)
        .transpose()?;
    let impact = call.registry.delete_impact(&normalize(subject), selector)?;
    Ok(Answer::Value(impact_value(&impact)))
}

fn impact_value(impact: &Impact) -> Value {
    let verdict = |refused: &Option<RegistryError>| match refused {
        None => json!({ "allowed": true }),
        Some(error) => json!({
            "allowed": false,
            "error_code": error.codes().1,
            "message": error.to_string(),
        }),
    };
    let versions: Vec<Value> = impact
        .versions
        .iter()
        .map(|version| {
            json!({
                "version": version.version.0,
                "id": version.id,
                "deleted": version.deleted,
                "also_in": version.also_in,
                "last_used_ms": version.last_used_ms,
            })
        })
        .collect();
    let referrers: Vec<Value> = impact
        .referrers
        .iter()
        .map(|referrer| {
            json!({
                "subject": referrer.subject,
                "version": referrer.version.0,
                "id": referrer.id,
                "deleted": referrer.deleted,
                "distance": referrer.distance,
            })
        })
        .collect();
    let topics: Vec<Value> = impact
        .topics
        .iter()
        .map(|topic| json!({ "topic": topic.topic, "part": topic.part, "mode": topic.mode }))
        .collect();
    json!({
        "subject": impact.subject,
        "soft": verdict(&impact.refused),
        "permanent": verdict(&impact.permanently_refused),
        "subject_goes": impact.subject_goes,
        "versions": versions,
        "referenced_by": referrers,
        "topics": topics,
    })
}

pub(super) fn lint_version(
    call: &Call<'_>,
    subject: &str,
    version: &str,
) -> Result<Answer, RegistryError> {
    let selector = extract::version(version)?;
    let rules = SelectedRules::of(call.query)?;
    let snapshot = call.registry.snapshot();
    let deleted = call.query.flag("deleted");
    let (name, version, image) = find_version(&snapshot, &normalize(subject), selector, deleted)?;
    let parsed = image
        .schema
        .parsed()
        .map_err(|error| RegistryError::InvalidSchema(error.to_string()))?;
    let findings = lint::lint(parsed, |rule| rules.selects(rule));
    Ok(Answer::Value(json!({
        "subject": name,
        "version": version.0,
        "findings": findings_value(&findings),
    })))
}

pub(super) fn lint_rules() -> Answer {
    let rules = lint::RULES.iter().map(|rule| {
        let formats: Vec<&str> = rule.formats.iter().map(|format| format.name()).collect();
        json!({ "id": rule.id, "formats": formats, "summary": rule.summary })
    });
    Answer::Value(rules.collect())
}
