//! `/associations…`: which subjects topics' keys and values belong to.
//!
//! Never a 405 here: serializers ask before they fall back to the topic's name, and take a 404 for
//! "no associations" and anything else for an error.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::Answer;
use super::dto::{Showing, bad, schema_request_in, version_entity};
use super::extract::Call;
use super::subjects::stamp_of;
use crate::association::{
    Association, AssociationDraft, AssociationFilter, Lifecycle, Resource, ResourceDraft,
    TOPIC_RESOURCE, invalid,
};
use crate::error::RegistryError;
use crate::json::{self, JsonObject, Mismatch, put_text};
use crate::service::associations::{Associated, Operation, Outcome, associations_named, sorted};
use crate::snapshot::Snapshot;
use crate::subject_name::normalize;

/// Longest page of associations: the reference's limit for schemas.
const ASSOCIATIONS_MAX: usize = 1000;

/// `GET /associations/subjects/{subject}`.
pub(super) fn of_subject(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let stored = snapshot.associations_of_subject(&normalize(subject));
    page(call, sorted(stored.iter(), &filter(call)?))
}

/// `GET /associations/resources/{namespace}/{name}`.
pub(super) fn of_name(
    call: &Call<'_>,
    namespace: &str,
    name: &str,
) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let found = associations_named(&snapshot, namespace, name, &filter(call)?);
    page(call, found)
}

/// `/associations/resources/{id}`: GET, PUT, DELETE.
pub(super) async fn resource(
    call: &Call<'_>,
    id: &str,
    method: &Method,
) -> Result<Answer, RegistryError> {
    match *method {
        Method::PUT => put(call, Some(id)).await,
        Method::DELETE => {
            call.registry
                .delete_associations(
                    id.to_owned(),
                    filter_without_lifecycle(call),
                    call.query.flag("cascadeLifecycle"),
                    call.query.flag("dryRun"),
                    call.actor.clone(),
                )
                .await?;
            Ok(Answer::Empty)
        }
        _ => {
            let snapshot = call.registry.snapshot();
            let stored = snapshot.associations_of_id(id);
            page(call, sorted(stored.iter(), &filter(call)?))
        }
    }
}

/// `POST /associations` creates; with a resource id in the path it is a PUT, which also updates.
pub(super) async fn put(call: &Call<'_>, id: Option<&str>) -> Result<Answer, RegistryError> {
    let body = call.object()?;
    let mut resource = resource_draft(&body).map_err(bad)?;
    if let Some(id) = id {
        match &resource.id {
            None => resource.id = Some(id.to_owned()),
            Some(named) if named != id => {
                return Err(invalid(
                    "resourceId",
                    "Resource ID in the path parameter does not match \
                     the resource ID in the request body",
                ));
            }
            Some(_) => {}
        }
    }
    let drafts = json::array(&body, "associations")
        .and_then(|items| items.iter().map(association_draft).collect())
        .map_err(bad)?;
    let outcome = call
        .registry
        .put_associations(
            context(call),
            resource,
            drafts,
            id.is_none(),
            call.query.flag("dryRun"),
            call.actor.clone(),
        )
        .await?;
    Ok(Answer::Value(outcome_value(&outcome)))
}

/// `POST /associations:batchGet`.
pub(super) fn batch_get(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let body = call.object()?;
    let snapshot = call.registry.snapshot();
    let with_schemas = call.query.flag("includeSchemas");
    let results = requests(&body)?
        .iter()
        .map(|request| {
            let request = request.as_object().ok_or_else(not_an_object)?;
            let found = get_one(&snapshot, request, with_schemas).map_err(bad)?;
            Ok(match found {
                Ok(result) => json!({ "result": result }),
                Err(text) => error_value(500, &format!("Error while getting associations: {text}")),
            })
        })
        .collect::<Result<Vec<Value>, RegistryError>>()?;
    Ok(Answer::Results(json!({ "results": results })))
}

fn get_one(
    snapshot: &Snapshot,
    request: &JsonObject,
    with_schemas: bool,
) -> Result<Result<Value, String>, Mismatch> {
    let mut resource = resource_draft(request)?;
    let named = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let filter = AssociationFilter {
        resource_type: resource
            .resource_type
            .clone()
            .filter(|name| !name.is_empty()),
        types: json::texts(request, "associationTypes")?,
        lifecycle: lifecycle(request)?,
    };
    let missing =
        |property: &str, detail: &str| Ok(Err(format!("property: {property}; detail: {detail}")));
    if !named(&resource.id) && !named(&resource.name) {
        return missing(
            "resourceId",
            "either resourceId or resourceName must be specified",
        );
    }
    if named(&resource.name) && !named(&resource.namespace) {
        return missing(
            "resourceNamespace",
            "resourceNamespace is required when resourceName is specified",
        );
    }
    let found = if named(&resource.id) {
        let id = resource.id.as_deref().unwrap_or("");
        sorted(snapshot.associations_of_id(id).iter(), &filter)
    } else {
        let namespace = resource.namespace.as_deref().unwrap_or("");
        let name = resource.name.as_deref().unwrap_or("");
        associations_named(snapshot, namespace, name, &filter)
    };
    if let Some(first) = found.first() {
        resource
            .name
            .get_or_insert_with(|| first.resource_name.clone());
        resource
            .namespace
            .get_or_insert_with(|| first.resource_namespace.clone());
        resource.id.get_or_insert_with(|| first.resource_id.clone());
    }
    let infos = found
        .iter()
        .map(|association| {
            let schema = with_schemas
                .then(|| latest_value(snapshot, &association.subject))
                .flatten();
            info_value(association, schema)
        })
        .collect();
    let shown = [&resource.name, &resource.namespace, &resource.id].map(Option::as_deref);
    Ok(Ok(response_value(shown, infos)))
}

fn latest_value(snapshot: &Snapshot, subject: &str) -> Option<Value> {
    let (version, image) = snapshot.subject(subject)?.latest()?;
    Some(version_entity(
        subject,
        version,
        &image.schema,
        Showing::default(),
        Some(stamp_of(image)),
        &[],
    ))
}

/// `POST /associations:batchMutate`: each topic by itself, all of its steps or none.
pub(super) async fn batch_mutate(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let body = call.object()?;
    let dry_run = call.query.flag("dryRun");
    let mut parsed = Vec::new();
    for request in requests(&body)? {
        let request = request.as_object().ok_or_else(not_an_object)?;
        let operations: Vec<Operation> = json::array(request, "associations")
            .and_then(|items| items.iter().map(operation).collect())
            .map_err(bad)?;
        parsed.push((resource_draft(request).map_err(bad)?, operations));
    }
    let mut results = Vec::new();
    for (resource, operations) in parsed {
        let outcome = call
            .registry
            .mutate_associations(
                context(call),
                resource,
                operations,
                dry_run,
                call.actor.clone(),
            )
            .await;
        results.push(match outcome {
            Ok(outcome) => json!({ "result": outcome_value(&outcome) }),
            // Within a batch the reference counts a bad schema as a bad association.
            Err(RegistryError::InvalidSchema(text)) => error_value(42212, &text),
            Err(error) => error_value(error.codes().1, &error.to_string()),
        });
    }
    Ok(Answer::Results(json!({ "results": results })))
}

fn requests(body: &JsonObject) -> Result<&[Value], RegistryError> {
    let requests = json::array(body, "requests").map_err(bad)?;
    if requests.is_empty() {
        return Err(invalid("requests", "cannot be null or empty"));
    }
    Ok(requests)
}

fn not_an_object() -> RegistryError {
    RegistryError::BadRequest("a request of a batch is not a JSON object".to_owned())
}

fn error_value(code: u32, message: &str) -> Value {
    json!({ "error": { "error_code": code, "message": message } })
}

/// Where unqualified subjects are: `/contexts/{ctx}/associations` says so too.
fn context(call: &Call<'_>) -> String {
    let asked = call.query.get("context").unwrap_or("");
    let asked = asked.strip_prefix(':').unwrap_or(asked);
    let asked = asked.strip_suffix(':').unwrap_or(asked);
    match asked {
        "" => ".".to_owned(),
        dotted if dotted.starts_with('.') => dotted.to_owned(),
        bare => format!(".{bare}"),
    }
}

fn filter(call: &Call<'_>) -> Result<AssociationFilter, RegistryError> {
    let lifecycle = match call.query.get("lifecycle") {
        None => None,
        Some(name) => Some(Lifecycle::from_name(name).ok_or(RegistryError::NotFound)?),
    };
    Ok(AssociationFilter {
        lifecycle,
        ..filter_without_lifecycle(call)
    })
}

fn filter_without_lifecycle(call: &Call<'_>) -> AssociationFilter {
    let resource_type = call.query.get("resourceType");
    AssociationFilter {
        resource_type: resource_type
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        types: call
            .query
            .all("associationType")
            .map(str::to_owned)
            .collect(),
        lifecycle: None,
    }
}

fn resource_draft(body: &JsonObject) -> Result<ResourceDraft, Mismatch> {
    Ok(ResourceDraft {
        name: json::text(body, "resourceName")?,
        namespace: json::text(body, "resourceNamespace")?,
        id: json::text(body, "resourceId")?,
        resource_type: json::text(body, "resourceType")?,
    })
}

fn association_draft(item: &Value) -> Result<AssociationDraft, Mismatch> {
    let Some(object) = item.as_object() else {
        return Err(Mismatch("an association is not an object".to_owned()));
    };
    let schema = json::object(object, "schema")?;
    Ok(AssociationDraft {
        subject: json::text(object, "subject")?,
        association_type: json::text(object, "associationType")?,
        lifecycle: lifecycle(object)?,
        frozen: json::boolean(object, "frozen")?,
        schema: schema.map(schema_request_in).transpose()?,
        normalize: json::boolean(object, "normalize")?.unwrap_or(false),
    })
}

fn lifecycle(object: &JsonObject) -> Result<Option<Lifecycle>, Mismatch> {
    match json::text(object, "lifecycle")? {
        None => Ok(None),
        Some(name) => Lifecycle::from_name(&name)
            .map(Some)
            .ok_or_else(|| Mismatch(format!("lifecycle {name} is neither STRONG nor WEAK"))),
    }
}

fn operation(item: &Value) -> Result<Operation, Mismatch> {
    let Some(object) = item.as_object() else {
        return Err(Mismatch("an operation is not an object".to_owned()));
    };
    let kind = json::text(object, "opType")?;
    Ok(match kind.as_deref() {
        Some(kind @ ("CREATE" | "UPSERT")) => Operation::Put {
            is_create: kind == "CREATE",
            draft: Box::new(association_draft(item)?),
        },
        Some("DELETE") => Operation::Delete {
            association_type: json::text(object, "associationType")?,
            cascade: json::boolean(object, "cascadeLifecycle")?.unwrap_or(false),
        },
        other => {
            let shown = other.unwrap_or("null");
            return Err(Mismatch(format!(
                "opType {shown} is none of CREATE, UPSERT, DELETE"
            )));
        }
    })
}

fn page(call: &Call<'_>, found: Vec<std::sync::Arc<Association>>) -> Result<Answer, RegistryError> {
    let values = found
        .iter()
        .map(|association| association_value(association));
    let page = call.query.page(values, ASSOCIATIONS_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

/// `frozen` is shown only where it is not what the lifecycle says.
fn put_frozen(object: &mut JsonObject, association: &Association) {
    if association.frozen != (association.lifecycle == Lifecycle::Strong) {
        object.insert("frozen".to_owned(), Value::Bool(association.frozen));
    }
}

/// A stored association as listings show it.
pub(super) fn association_value(association: &Association) -> Value {
    let mut object = Map::new();
    let guid = association.guid.to_string();
    for (key, text) in [
        ("subject", association.subject.as_str()),
        ("guid", &guid),
        ("resourceName", &association.resource_name),
        ("resourceNamespace", &association.resource_namespace),
        ("resourceId", &association.resource_id),
        ("resourceType", TOPIC_RESOURCE),
        ("associationType", association.association_type.name()),
        ("lifecycle", association.lifecycle.name()),
    ] {
        put_text(&mut object, key, Some(text));
    }
    put_frozen(&mut object, association);
    object.insert("createTs".to_owned(), Value::from(association.created_ms));
    object.insert("updateTs".to_owned(), Value::from(association.updated_ms));
    Value::Object(object)
}

fn info_value(association: &Association, schema: Option<Value>) -> Value {
    let mut object = Map::new();
    for (key, text) in [
        ("subject", association.subject.as_str()),
        ("associationType", association.association_type.name()),
        ("lifecycle", association.lifecycle.name()),
    ] {
        put_text(&mut object, key, Some(text));
    }
    put_frozen(&mut object, association);
    if let Some(schema) = schema {
        object.insert("schema".to_owned(), schema);
    }
    Value::Object(object)
}

fn outcome_value(outcome: &Outcome) -> Value {
    let Resource {
        name,
        namespace,
        id,
    } = &outcome.resource;
    let infos = outcome.associated.iter().map(associated_value).collect();
    response_value([Some(name), Some(namespace), id.as_deref()], infos)
}

fn associated_value((association, registered): &Associated) -> Value {
    let schema = registered.as_ref().map(|registered| {
        version_entity(
            &association.subject,
            registered.version,
            &registered.schema,
            Showing::default(),
            registered.stamp,
            &[],
        )
    });
    info_value(association, schema)
}

fn response_value([name, namespace, id]: [Option<&str>; 3], infos: Vec<Value>) -> Value {
    let mut object = Map::new();
    for (key, text) in [
        ("resourceName", name),
        ("resourceNamespace", namespace),
        ("resourceId", id),
        ("resourceType", Some(TOPIC_RESOURCE)),
    ] {
        put_text(&mut object, key, text.filter(|text| !text.is_empty()));
    }
    if !infos.is_empty() {
        object.insert("associations".to_owned(), Value::Array(infos));
    }
    Value::Object(object)
}
