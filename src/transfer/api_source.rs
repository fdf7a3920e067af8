//! What a registry with Confluent's API shows of itself, through that API alone.
//!
//! Only what releases of several makers answer alike is asked: listings, versions, settings and modes.
//! What no answer shows (settings of subjects that never had a version, ids of schemas deleted for
//! good past the highest one) is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use registry::transfer::Facts;
use registry::{QualifiedSubject, SchemaId};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::commands::http::{HttpError, RegistryClient, segment};

/// Why reading stopped.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Questions asked at once.
const AT_ONCE: usize = 8;

/// Versions and associations answered at once: the reference's limit.
const PAGE: usize = 1_000;

/// Places that answer settings and a mode whether or not any are stored there.
pub const ALWAYS_ANSWERED: [&str; 2] = ["", ":.__GLOBAL:"];

/// Reads all that the API shows.
///
/// # Errors
/// When the registry cannot be reached, or answers what makes no sense.
pub async fn read(registry: &Arc<RegistryClient>) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    let versions = match list_versions(registry, true).await? {
        Some(all) => {
            let live = list_versions(registry, false).await?.unwrap_or_default();
            let live: BTreeSet<_> = live.iter().map(place).collect();
            let is_deleted = |entity: &Entity| !live.contains(&place(entity));
            all.into_iter()
                .map(|entity| (is_deleted(&entity), entity))
                .collect()
        }
        None => read_subjects(registry).await?,
    };
    let mut scopes: BTreeSet<String> = ALWAYS_ANSWERED.map(str::to_owned).into();
    let mut an_id_of: BTreeMap<String, i64> = BTreeMap::new();
    for (deleted, entity) in &versions {
        facts.add_entity(entity, *deleted)?;
        let (subject, _) = place(entity);
        let context = QualifiedSubject::parse(&subject).context.to_owned();
        if let Some(id) = entity.get("id").and_then(Value::as_i64) {
            an_id_of.insert(context, id);
        }
        scopes.insert(subject);
    }
    // Releases before contexts have none to tell.
    let contexts = found(registry.get("/contexts").await)?.unwrap_or_default();
    for context in texts(&contexts)
        .into_iter()
        .filter(|context| context != ".")
    {
        scopes.insert(format!(":{context}:"));
    }
    for scope in all_of(registry, scopes, read_scope).await? {
        scope.add_to(&mut facts)?;
    }
    for (context, id) in an_id_of {
        if let Some(highest) = highest_id(registry, &context, id).await? {
            facts.raise_ids(&context, highest);
        }
    }
    read_associations(registry, &mut facts).await?;
    Ok(facts)
}

/// Reads only the places that always answer.
///
/// # Errors
/// As [`read`].
pub async fn read_always_answered(registry: &Arc<RegistryClient>) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    let scopes = ALWAYS_ANSWERED.map(str::to_owned);
    for scope in all_of(registry, scopes, read_scope).await? {
        scope.add_to(&mut facts)?;
    }
    Ok(facts)
}

/// A version as the API shows it.
type Entity = Map<String, Value>;

fn place(entity: &Entity) -> (String, i64) {
    let subject = entity.get("subject").and_then(Value::as_str);
    let version = entity.get("version").and_then(Value::as_i64);
    (subject.unwrap_or_default().to_owned(), version.unwrap_or(0))
}

/// Every version in one listing, which aliases do not bend; none where there is no such listing.
async fn list_versions(
    registry: &RegistryClient,
    deleted: bool,
) -> Result<Option<Vec<Entity>>, Failure> {
    let mut all = Vec::new();
    loop {
        let path = format!(
            "/schemas?subjectPrefix=:*:&deleted={deleted}&offset={}&limit={PAGE}",
            all.len()
        );
        let Some(page) = found(registry.get(&path).await)? else {
            return Ok(None);
        };
        let Value::Array(page) = page else {
            return Err(format!("{path} did not answer a list").into());
        };
        let count = page.len();
        for entity in page {
            match entity {
                Value::Object(entity) => all.push(entity),
                _ => return Err(format!("{path} lists what is no version").into()),
            }
        }
        // Some list everything at once, whatever the limit.
        if count != PAGE {
            return Ok(Some(all));
        }
    }
}

/// Every version, subject by subject, with whether it is soft-deleted.
async fn read_subjects(registry: &Arc<RegistryClient>) -> Result<Vec<(bool, Entity)>, Failure> {
    let listed = registry
        .get("/subjects?subjectPrefix=:*:&deleted=true")
        .await?;
    let read = all_of(registry, texts(&listed), read_subject).await?;
    Ok(read.into_iter().flatten().collect())
}

async fn read_subject(
    registry: Arc<RegistryClient>,
    subject: String,
) -> Result<Vec<(bool, Entity)>, Failure> {
    let path = format!("/subjects/{}/versions", segment(&subject));
    let all = registry.get(&format!("{path}?deleted=true")).await?;
    // A subject without live versions is not found.
    let live = numbers(&found(registry.get(&path).await)?.unwrap_or_default());
    let mut versions = Vec::new();
    for version in numbers(&all) {
        let entity = registry
            .get(&format!("{path}/{version}?deleted=true"))
            .await?;
        let Value::Object(entity) = entity else {
            return Err(format!("{subject} version {version} is not an object").into());
        };
        versions.push((!live.contains(&version), entity));
    }
    Ok(versions)
}

/// Settings and mode of a subject, a context or the top level.
struct Scope {
    name: String,
    config: Option<Map<String, Value>>,
    mode: Option<String>,
}

impl Scope {
    fn add_to(self, facts: &mut Facts) -> Result<(), String> {
        if let Some(config) = &self.config {
            facts.add_config(&self.name, config)?;
        }
        if let Some(mode) = &self.mode {
            facts.add_mode(&self.name, mode)?;
        }
        Ok(())
    }
}

async fn read_scope(registry: Arc<RegistryClient>, name: String) -> Result<Scope, Failure> {
    let path = |what: &str| match name.as_str() {
        "" => format!("/{what}"),
        name => format!("/{what}/{}", segment(name)),
    };
    let config = match found(registry.get(&path("config")).await)? {
        Some(Value::Object(config)) => Some(config),
        _ => None,
    };
    let mode = found(registry.get(&path("mode")).await)?;
    let mode = mode.and_then(|mode| mode["mode"].as_str().map(str::to_owned));
    Ok(Scope { name, config, mode })
}

/// The highest id ever given out in the context of `id`, where the registry tells.
async fn highest_id(
    registry: &RegistryClient,
    context: &str,
    id: i64,
) -> Result<Option<SchemaId>, Failure> {
    let mut path = format!("/schemas/ids/{id}?fetchMaxId=true");
    if context != "." {
        path.push_str(&format!("&subject={}", segment(&format!(":{context}:"))));
    }
    let told = found(registry.get(&path).await)?.unwrap_or_default();
    let highest = told["maxId"].as_i64().and_then(|id| i32::try_from(id).ok());
    Ok(highest.map(SchemaId))
}

async fn read_associations(registry: &RegistryClient, facts: &mut Facts) -> Result<(), Failure> {
    for offset in (0..).step_by(PAGE) {
        let path = format!("/associations/resources/-/-?offset={offset}&limit={PAGE}");
        let Some(Value::Array(page)) = found(registry.get(&path).await)? else {
            return Ok(());
        };
        for association in &page {
            let object = association
                .as_object()
                .ok_or("an association is not an object")?;
            facts.add_association(object)?;
        }
        if page.len() < PAGE {
            break;
        }
    }
    Ok(())
}

/// Asks one question about each name, a few at once; the answers come in no order.
async fn all_of<T, F, Answered>(
    registry: &Arc<RegistryClient>,
    names: impl IntoIterator<Item = String>,
    ask: F,
) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Fn(Arc<RegistryClient>, String) -> Answered,
    Answered: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let mut waiting = names.into_iter();
    let mut asked = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some(name) = waiting.next()
        {
            asked.spawn(ask(Arc::clone(registry), name));
        }
        match asked.join_next().await {
            Some(answer) => {
                answers.push(answer.map_err(|error| Failure::from(error.to_string()))??);
            }
            None => return Ok(answers),
        }
    }
}

/// None where the registry says that there is nothing.
fn found(answer: Result<Value, HttpError>) -> Result<Option<Value>, HttpError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(HttpError::Refused {
            status: 404 | 405, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn numbers(list: &Value) -> Vec<i64> {
    let numbers = list.as_array().into_iter().flatten();
    numbers.filter_map(Value::as_i64).collect()
}
