//! `GET /v1/export` and `POST /v1/import`: the registry as facts.

use serde_json::{Value, json};

use super::super::Answer;
use super::super::dto::bad;
use super::super::extract::Call;
use crate::error::RegistryError;
use crate::json;
use crate::transfer::Facts;

/// What the lists of facts say they are; raised when an older release could not read them.
const FORMAT: i32 = 1;

pub(super) async fn export(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let value = call
        .registry
        .compute(true, |registry| {
            let snapshot = registry.snapshot();
            let facts: Vec<Value> = Facts::of(&snapshot).values().collect();
            Ok(json!({ "format": FORMAT, "epoch": snapshot.epoch(), "facts": facts }))
        })
        .await?;
    Ok(Answer::Value(value))
}

pub(super) async fn import(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let body = call.object()?;
    let format = json::int(&body, "format").map_err(bad)?;
    if format.is_some_and(|format| format != FORMAT) {
        return Err(RegistryError::BadRequest(format!(
            "`format` is not {FORMAT}, the one known here"
        )));
    }
    let mut facts = Facts::default();
    for value in json::array(&body, "facts").map_err(bad)? {
        facts.add_value(value).map_err(RegistryError::BadRequest)?;
    }
    let imported = call.registry.import(facts, call.actor.clone()).await?;
    Ok(Answer::Value(json!({
        "written": imported.written,
        "present": imported.present,
    })))
}
