//! Moving a registry in and out: from another registry's API, from a `_schemas` topic, from and to
//! a tree of files.
//!
//! All of them speak in facts ([`registry::transfer::Facts`]); writing is `POST /v1/import`.

pub mod api_source;
pub mod topic_source;
pub mod tree;

use hyper::Method;
use registry::transfer::Facts;
use serde_json::{Value, json};

use crate::commands::http::{HttpError, RegistryClient};

/// One import request carries about this many bytes of facts, at most half of the server's usual
/// limit.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the requests of an import answered together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Facts written.
    pub written: u64,
    /// Facts that were there already.
    pub present: u64,
}

/// Writes the facts, in pieces: each piece is written as a whole, and repeating an import that broke
/// off continues it.
///
/// # Errors
/// When the registry cannot be reached, or a fact contradicts what it holds.
pub async fn import(registry: &RegistryClient, facts: &Facts) -> Result<Imported, HttpError> {
    let mut imported = Imported::default();
    let mut piece: Vec<Value> = Vec::new();
    let mut bytes = 0;
    for fact in facts.in_import_order() {
        let size = fact.to_string().len();
        if bytes + size > REQUEST_BYTES_MAX && !piece.is_empty() {
            send(registry, std::mem::take(&mut piece), &mut imported).await?;
            bytes = 0;
        }
        bytes += size;
        piece.push(fact);
    }
    if !piece.is_empty() {
        send(registry, piece, &mut imported).await?;
    }
    Ok(imported)
}

async fn send(
    registry: &RegistryClient,
    piece: Vec<Value>,
    imported: &mut Imported,
) -> Result<(), HttpError> {
    let body = json!({ "format": 1, "facts": piece });
    let answer = registry
        .call(Method::POST, "/v1/import", Some(&body))
        .await?;
    imported.written += answer["written"].as_u64().unwrap_or(0);
    imported.present += answer["present"].as_u64().unwrap_or(0);
    Ok(())
}

/// Everything that an Assay registry holds.
///
/// # Errors
/// When it cannot be reached, or answers what this release does not know.
pub async fn export(
    registry: &RegistryClient,
) -> Result<Facts, Box<dyn std::error::Error + Send + Sync>> {
    let answer = registry.get("/v1/export").await?;
    if answer["format"] != json!(1) {
        return Err(format!("the export has format {}, not 1", answer["format"]).into());
    }
    let mut facts = Facts::default();
    for value in answer["facts"].as_array().into_iter().flatten() {
        facts.add_value(value)?;
    }
    Ok(facts)
}
