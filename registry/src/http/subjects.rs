//! `/subjects…`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Answer;
use super::dto::{Showing, registered_entity, schema_request, tag_request, version_entity};
use super::extract::{self, Call};
use crate::error::RegistryError;
use crate::service::Registry;
use crate::service::candidate::Stamp;
use crate::service::read::{SubjectPrefix, find_version, is_visible};
use crate::service::register::{HEAVY_TEXT_BYTES, RegisterOptions};
use crate::snapshot::VersionImage;
use crate::subject_name::normalize;

/// Longest list of names or versions: the reference's default, which is no limit.
pub(super) const LIST_MAX: usize = i32::MAX as usize;

pub(super) fn stamp_of(image: &VersionImage) -> Stamp {
    Stamp {
        registered_ms: image.registered_ms,
        deleted: image.deleted,
    }
}

pub(super) fn list(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let prefix = SubjectPrefix::parse(call.query.get("subjectPrefix").unwrap_or(":*:"));
    let (deleted, deleted_only) = (call.query.flag("deleted"), call.query.flag("deletedOnly"));
    let names = snapshot.subjects().iter().filter(|name| {
        let is_live = is_visible(&snapshot, name, false);
        let wanted = if deleted_only {
            !is_live
        } else {
            deleted || is_live
        };
        wanted && prefix.selects(name)
    });
    let page = call
        .query
        .page(names.map(|name| Value::from(name.as_ref())), LIST_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

pub(super) async fn look_up(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let request = schema_request(&call.object()?)?;
    let (normalized, deleted) = (call.query.flag("normalize"), call.query.flag("deleted"));
    let subject = normalize(subject);
    let heavy = request.text.len() > HEAVY_TEXT_BYTES;
    let found = call
        .registry
        .compute(heavy, move |registry| {
            registry.look_up(&subject, &request, normalized, deleted)
        })
        .await?;
    Ok(Answer::Value(version_entity(
        &found.subject,
        found.version,
        &found.schema,
        Showing::of(call.query),
        found.stamp,
        &[],
    )))
}

pub(super) async fn delete(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let versions = call
        .registry
        .delete_subject(
            normalize(subject),
            call.query.flag("permanent"),
            call.actor.clone(),
        )
        .await?;
    let numbers = versions.iter().map(|version| Value::from(version.0));
    Ok(Answer::Value(numbers.collect()))
}

pub(super) fn by_metadata(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let subject = normalize(subject);
    // Keys and values are paired by position; a key without a value asks for nothing.
    let wanted: BTreeMap<&str, &str> = call.query.all("key").zip(call.query.all("value")).collect();
    let deleted = call.query.flag("deleted");
    let (version, image) = Registry::version_with_metadata(&snapshot, &subject, &wanted, deleted)?;
    Ok(Answer::Value(version_entity(
        &subject,
        version,
        &image.schema,
        Showing::of(call.query),
        Some(stamp_of(image)),
        &[],
    )))
}

pub(super) fn versions(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let subject = normalize(subject);
    let (deleted, deleted_only) = (call.query.flag("deleted"), call.query.flag("deletedOnly"));
    let as_negative = call.query.flag("deletedAsNegative");
    if !is_visible(&snapshot, &subject, deleted || deleted_only) {
        return Err(RegistryError::SubjectNotFound(subject));
    }
    let numbers = snapshot
        .subject(&subject)
        .into_iter()
        .flat_map(|image| image.versions())
        .filter(|(_, image)| match (as_negative, deleted_only) {
            (true, _) => true,
            (false, true) => image.deleted,
            (false, false) => deleted || !image.deleted,
        })
        .map(|(version, image)| {
            let shown = if as_negative && image.deleted {
                -version.0
            } else {
                version.0
            };
            Value::from(shown)
        });
    let page = call.query.page(numbers, LIST_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

pub(super) async fn register(call: &Call<'_>, subject: &str) -> Result<Answer, RegistryError> {
    let request = schema_request(&call.object()?)?;
    let options = RegisterOptions {
        normalize: call.query.flag("normalize"),
        force: call.query.flag("force"),
    };
    let registered = call
        .registry
        .register(subject.to_owned(), request, options, call.actor.clone())
        .await?;
    Ok(Answer::Value(registered_entity(
        registered.version,
        &registered.schema,
        Showing::of(call.query),
        registered.stamp,
    )))
}

/// Registers the version once more with other inline tags, metadata or rules.
pub(super) async fn tags(
    call: &Call<'_>,
    subject: &str,
    version: &str,
) -> Result<Answer, RegistryError> {
    let selector = extract::version(version)?;
    let request = tag_request(&call.object()?)?;
    let registered = call
        .registry
        .modify_tags(subject.to_owned(), selector, request, call.actor.clone())
        .await?;
    Ok(Answer::Value(registered_entity(
        registered.version,
        &registered.schema,
        Showing::default(),
        registered.stamp,
    )))
}

pub(super) fn version(
    call: &Call<'_>,
    subject: &str,
    version: &str,
) -> Result<Answer, RegistryError> {
    let selector = extract::version(version)?;
    let snapshot = call.registry.snapshot();
    let deleted = call.query.flag("deleted");
    let (name, version, image) = find_version(&snapshot, &normalize(subject), selector, deleted)?;
    Ok(Answer::Value(version_entity(
        &name,
        version,
        &image.schema,
        Showing::of(call.query).with_tags(call.query),
        Some(stamp_of(image)),
        &[],
    )))
}

pub(super) fn version_text(
    call: &Call<'_>,
    subject: &str,
    version: &str,
) -> Result<Answer, RegistryError> {
    let selector = extract::version(version)?;
    let snapshot = call.registry.snapshot();
    let deleted = call.query.flag("deleted");
    let (_, _, image) = find_version(&snapshot, &normalize(subject), selector, deleted)?;
    let text = Showing::of(call.query).text(&image.schema);
    Ok(Answer::Bytes(text.into()))
}

pub(super) fn referenced_by(
    call: &Call<'_>,
    subject: &str,
    version: &str,
) -> Result<Answer, RegistryError> {
    let selector = extract::version(version)?;
    let snapshot = call.registry.snapshot();
    let subject = normalize(subject);
    let Some(image) = snapshot.subject(&subject) else {
        return Err(RegistryError::SubjectNotFound(subject));
    };
    let (version, _) = selector
        .select(image)
        .ok_or_else(|| RegistryError::VersionNotFound(selector.shown()))?;
    let deleted = call.query.flag("deleted");
    let mut referrers: Vec<_> = snapshot
        .referrers(&subject, version)
        .filter(|(context, id)| {
            snapshot.schema_image(context, *id).is_some_and(|image| {
                let mut uses = image.uses.iter();
                uses.any(|(user, number)| deleted || !snapshot.is_deleted(user, *number))
            })
        })
        .collect();
    referrers.sort_unstable();
    referrers.dedup();
    let ids = referrers.iter().map(|(_, id)| Value::from(id.0));
    let page = call.query.page(ids, LIST_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

pub(super) async fn delete_version(
    call: &Call<'_>,
    subject: &str,
    version: &str,
) -> Result<Answer, RegistryError> {
    let deleted = call
        .registry
        .delete_version(
            normalize(subject),
            extract::version(version)?,
            call.query.flag("permanent"),
            call.actor.clone(),
        )
        .await?;
    Ok(Answer::Value(Value::from(deleted.0)))
}
