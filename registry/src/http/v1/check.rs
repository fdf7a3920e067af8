//! `POST /v1/schemas/check` and `/lint`: what would happen to a schema, at every level at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_formats::ParsedSchema;
use serde_formats::witness::{Evidence, Outcome};
use serde_json::{Map, Value, json};

use super::super::Answer;
use super::super::dto::{bad, schema_request};
use super::super::extract::{Call, Query};
use crate::error::RegistryError;
use crate::json;
use crate::lint::{self, Finding};
use crate::model::{CompatibilityLevel, Policy, SchemaRequest, Version};
use crate::service::Registry;
use crate::service::candidate::{Candidate, Reading};
use crate::service::scope::config_in_scope;
use crate::subject_name::normalize;
use crate::verdicts::{Difference, Verdicts, Warning};

/// Earlier versions that one check looks at.
const COMPARED_MAX: usize = 1_000;

/// A check as it was asked.
struct Asked {
    /// Whose live versions come before; `None` when the request brings them.
    subject: Option<String>,
    request: SchemaRequest,
    /// Oldest first.
    against: Vec<SchemaRequest>,
    policy: Option<Policy>,
    normalize: bool,
}

pub(super) async fn check(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let body = call.object()?;
    let against = json::array(&body, "against").map_err(bad)?;
    let against = against.iter().map(|earlier| match earlier {
        Value::Object(earlier) => schema_request(earlier),
        _ => Err(RegistryError::BadRequest(
            "`against` holds something else than schema objects".to_owned(),
        )),
    });
    let policy = match json::text(&body, "compatibilityPolicy").map_err(bad)? {
        None => None,
        Some(name) => Some(Policy::from_name(&name).ok_or_else(|| {
            RegistryError::BadRequest(format!(
                "`compatibilityPolicy` is {name}, not STRICT, LENIENT or LOGICAL"
            ))
        })?),
    };
    let asked = Asked {
        subject: json::text(&body, "subject")
            .map_err(bad)?
            .map(|name| normalize(&name)),
        request: schema_request(&body)?,
        against: against.collect::<Result<_, _>>()?,
        policy,
        normalize: call.query.flag("normalize"),
    };
    if asked.subject.is_some() && !asked.against.is_empty() {
        return Err(RegistryError::BadRequest(
            "give `subject` or `against`, not both".to_owned(),
        ));
    }
    let rules = SelectedRules::of(call.query)?;
    let value = call
        .registry
        .compute(true, move |registry| judge(registry, &asked, &rules))
        .await?;
    Ok(Answer::Value(value))
}

fn judge(
    registry: &Registry,
    asked: &Asked,
    rules: &SelectedRules,
) -> Result<Value, RegistryError> {
    let snapshot = registry.snapshot();
    let subject = asked.subject.as_deref().unwrap_or("");
    let config = config_in_scope(&snapshot, subject);
    let level = config
        .compatibility
        .unwrap_or(registry.inner.defaults.level);
    let policy = asked
        .policy
        .or(config.compatibility_policy)
        .unwrap_or(Policy::Strict);
    let mut answer = Map::new();
    if let Some(subject) = &asked.subject {
        answer.insert("subject".to_owned(), json!(subject));
        answer.insert("level".to_owned(), json!(level.name()));
    }
    let reading = Reading {
        normalize: asked.normalize || config.normalize.unwrap_or(false),
        as_new: config.validate_new_schemas.unwrap_or(true),
        validate_fields: config.validate_fields.unwrap_or(false),
        strict_references: registry.inner.defaults.strict_reference_versions,
        keep_unreadable: false,
    };
    if asked.request.text.trim().is_empty() {
        return Err(RegistryError::InvalidSchema("Empty schema".to_owned()));
    }
    let candidate = match Candidate::read(&snapshot, subject, &asked.request, reading) {
        Ok(candidate) => candidate,
        Err(RegistryError::InvalidSchema(message)) => {
            answer.insert("is_valid".to_owned(), json!(false));
            answer.insert("message".to_owned(), json!(message));
            return Ok(Value::Object(answer));
        }
        Err(error) => return Err(error),
    };
    answer.insert("is_valid".to_owned(), json!(true));
    answer.insert("guid".to_owned(), json!(candidate.guid.to_string()));
    let group = config.compatibility_group.as_deref();
    let group_of =
        |metadata: Option<&crate::model::Metadata>| metadata?.properties.get(group?).cloned();
    let mut earlier: Vec<(Version, Arc<ParsedSchema>)> = Vec::new();
    let unreadable = |version: Version, reason: &dyn std::fmt::Display| {
        RegistryError::InvalidSchema(format!("version {} does not parse: {reason}", version.0))
    };
    if asked.subject.is_some() {
        let image = snapshot.subject(subject);
        let live = image.into_iter().flat_map(|image| image.live().rev());
        let live = live.filter(|(_, stored)| {
            group.is_none()
                || group_of(stored.schema.metadata.as_ref())
                    == group_of(candidate.metadata.as_ref())
        });
        for (version, stored) in live.take(COMPARED_MAX) {
            let parsed = stored
                .schema
                .parsed()
                .map_err(|error| unreadable(version, error))?;
            earlier.push((version, Arc::clone(parsed)));
        }
        let found = registry.check_compatibility(subject, None, &asked.request, asked.normalize)?;
        answer.insert("is_compatible".to_owned(), json!(found.is_empty()));
        answer.insert("messages".to_owned(), json!(found));
    } else {
        let existing = Reading {
            as_new: false,
            validate_fields: false,
            ..reading
        };
        for (request, version) in asked
            .against
            .iter()
            .zip((1..).map(Version))
            .take(COMPARED_MAX)
        {
            let read = Candidate::read(&snapshot, subject, request, existing)?;
            earlier.insert(0, (version, Arc::clone(read.parsed()?)));
        }
    }
    let verdicts = Verdicts::of(candidate.parsed()?, &earlier, policy.comparison());
    answer.insert("levels".to_owned(), levels_value(&verdicts, true));
    answer.insert("compared".to_owned(), compared_value(&verdicts));
    answer.insert(
        "differences".to_owned(),
        verdicts.differences.iter().map(difference_value).collect(),
    );
    answer.insert(
        "caveats".to_owned(),
        verdicts.warnings.iter().map(warning_value).collect(),
    );
    let findings = lint::lint(candidate.parsed()?, |rule| rules.selects(rule));
    answer.insert("lint".to_owned(), findings_value(&findings));
    Ok(Value::Object(answer))
}

pub(super) async fn lint(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let request = schema_request(&call.object()?)?;
    let rules = SelectedRules::of(call.query)?;
    let reading = Reading {
        normalize: false,
        as_new: false,
        validate_fields: false,
        strict_references: false,
        keep_unreadable: false,
    };
    let findings = call
        .registry
        .compute(true, move |registry| {
            if request.text.trim().is_empty() {
                return Err(RegistryError::InvalidSchema("Empty schema".to_owned()));
            }
            let candidate = Candidate::read(&registry.snapshot(), "", &request, reading)?;
            Ok(lint::lint(candidate.parsed()?, |rule| rules.selects(rule)))
        })
        .await?;
    Ok(Answer::Value(
        json!({ "findings": findings_value(&findings) }),
    ))
}

/// Rules by `rule` (only these) and `except`, both repeatable.
#[derive(Debug)]
pub(super) struct SelectedRules {
    only: BTreeSet<String>,
    except: BTreeSet<String>,
}

impl SelectedRules {
    pub(super) fn of(query: &Query) -> Result<Self, RegistryError> {
        let named = |key: &str| -> Result<BTreeSet<String>, RegistryError> {
            query
                .all(key)
                .map(|id| match lint::rule(id) {
                    Some(rule) => Ok(rule.id.to_owned()),
                    None => Err(RegistryError::BadRequest(format!(
                        "`{id}` is not a lint rule; GET /v1/lint/rules lists them"
                    ))),
                })
                .collect()
        };
        Ok(Self {
            only: named("rule")?,
            except: named("except")?,
        })
    }

    pub(super) fn selects(&self, rule: &lint::Rule) -> bool {
        (self.only.is_empty() || self.only.contains(rule.id)) && !self.except.contains(rule.id)
    }
}

pub(super) fn findings_value(findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|finding| {
            json!({
                "rule": finding.rule,
                "place": finding.place,
                "message": finding.message,
            })
        })
        .collect()
}

/// Every level with its verdict; without `all_compared` the transitive ones are unknown.
pub(super) fn levels_value(verdicts: &Verdicts, all_compared: bool) -> Value {
    let levels = CompatibilityLevel::ALL.into_iter().map(|level| {
        let known = all_compared || !level.is_transitive();
        let verdict = known.then(|| verdicts.is_compatible(level));
        (level.name().to_owned(), json!(verdict))
    });
    Value::Object(levels.collect())
}

pub(super) fn compared_value(verdicts: &Verdicts) -> Value {
    verdicts
        .compared
        .iter()
        .map(|version| json!(version.0))
        .collect()
}

pub(super) fn difference_value(difference: &Difference) -> Value {
    let mut object = Map::new();
    let found = &difference.found;
    object.insert("version".to_owned(), json!(difference.version.0));
    object.insert("direction".to_owned(), json!(difference.direction.name()));
    object.insert("type".to_owned(), json!(found.kind));
    object.insert("path".to_owned(), json!(found.path));
    object.insert("message".to_owned(), json!(difference.message));
    if let Some(evidence) = &difference.evidence {
        object.insert("evidence".to_owned(), evidence_value(evidence));
    }
    Value::Object(object)
}

fn warning_value(warning: &Warning) -> Value {
    let mut object = Map::new();
    let caveat = &warning.caveat;
    object.insert("version".to_owned(), json!(warning.version.0));
    object.insert("direction".to_owned(), json!(warning.direction.name()));
    object.insert("effect".to_owned(), json!(caveat.effect.name()));
    object.insert("type".to_owned(), json!(caveat.kind));
    object.insert("path".to_owned(), json!(caveat.path));
    object.insert("reason".to_owned(), json!(caveat.reason));
    if let Some(evidence) = &warning.evidence {
        object.insert("evidence".to_owned(), evidence_value(evidence));
    }
    Value::Object(object)
}

fn evidence_value(evidence: &Evidence) -> Value {
    match evidence {
        Evidence::Breaks(witness) => {
            let outcome = match &witness.outcome {
                Outcome::Refused { path, reason } => {
                    json!({ "reader": "refuses", "path": path, "reason": reason })
                }
                Outcome::Misread {
                    path,
                    written,
                    read,
                } => {
                    json!({ "reader": "misreads", "path": path, "written": written, "read": read })
                }
            };
            json!({
                "kind": evidence.label(),
                "record": witness.json,
                "payload_hex": hex(&witness.payload),
                "message_indexes": witness.indexes,
                "outcome": outcome,
            })
        }
        Evidence::Convention { reason } | Evidence::NotFound { reason } => {
            json!({ "kind": evidence.label(), "reason": reason })
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
