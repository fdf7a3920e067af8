//! `/mode…`: what may be done with a subject, a context, everything.

use axum::http::Method;
use serde_json::{Value, json};

use super::Answer;
use super::dto::bad;
use super::extract::Call;
use crate::error::RegistryError;
use crate::json;
use crate::model::Mode;
use crate::subject_name::normalize;

const INVALID: RegistryError = RegistryError::InvalidMode(
    "Invalid mode. Valid values are READWRITE, READONLY, IMPORT and FORWARD.",
);

pub(super) async fn serve(
    call: &Call<'_>,
    subject: &str,
    method: &Method,
) -> Result<Answer, RegistryError> {
    let subject = normalize(subject);
    let query = call.query;
    let value = match *method {
        Method::PUT => put(call, subject).await?,
        Method::DELETE => {
            let recursive = query.flag("recursive");
            let mode = call
                .registry
                .delete_mode(subject, recursive, call.actor.clone())
                .await?;
            mode.map_or_else(|| json!({}), |mode| json!({ "mode": mode.name() }))
        }
        _ => {
            let mode = call
                .registry
                .mode(&subject, query.flag("defaultToGlobal"))?;
            json!({ "mode": mode.name() })
        }
    };
    Ok(Answer::Value(value))
}

/// Echoes the request as it came, so that a client sees its own spelling.
async fn put(call: &Call<'_>, subject: String) -> Result<Value, RegistryError> {
    let body = call.object()?;
    if !body.contains_key("mode") {
        return Err(INVALID);
    }
    let name = json::text(&body, "mode").map_err(bad)?;
    let mode = match &name {
        None => None,
        Some(name) => Some(Mode::from_name(name).ok_or(INVALID)?),
    };
    let force = call.query.flag("force");
    call.registry
        .put_mode(subject, mode, force, call.actor.clone())
        .await?;
    Ok(json!({ "mode": name }))
}
