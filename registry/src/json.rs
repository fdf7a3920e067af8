//! The JSON shapes of metadata, rule sets and settings, shared by HTTP bodies and stored rows.
//!
//! Reading is as lenient as the reference's: unknown keys are ignored, the last of two equal keys
//! wins, scalars become text where text is wanted. Bodies are depth-limited by the parser.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::{CompatibilityLevel, Metadata, Policy, Rule, RuleSet, SubjectConfig};

/// A value of the wrong kind; the text names key and kind.
#[derive(Debug)]
pub(crate) struct Mismatch(pub(crate) String);

pub(crate) type JsonObject = Map<String, Value>;

/// Text, or a scalar that reads as text; null and absent are none.
pub(crate) fn text(object: &JsonObject, key: &str) -> Result<Option<String>, Mismatch> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Bool(value)) => Ok(Some(value.to_string())),
        Some(Value::Number(value)) => Ok(Some(value.to_string())),
        Some(Value::Array(_) | Value::Object(_)) => Err(wrong_kind(key, "String")),
    }
}

/// A 32-bit integer, or text that reads as one.
pub(crate) fn int(object: &JsonObject, key: &str) -> Result<Option<i32>, Mismatch> {
    let parsed = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64().and_then(|n| i32::try_from(n).ok()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    parsed.map(Some).ok_or_else(|| wrong_kind(key, "Integer"))
}

/// A boolean, or text that reads as one, case aside.
pub(crate) fn boolean(object: &JsonObject, key: &str) -> Result<Option<bool>, Mismatch> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(wrong_kind(key, "Boolean")),
    }
}

/// An array; null and absent are empty.
pub(crate) fn array<'a>(object: &'a JsonObject, key: &str) -> Result<&'a [Value], Mismatch> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(wrong_kind(key, "List")),
    }
}

/// An object; null and absent are none.
pub(crate) fn object<'a>(
    parent: &'a JsonObject,
    key: &str,
) -> Result<Option<&'a JsonObject>, Mismatch> {
    match parent.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(wrong_kind(key, "Object")),
    }
}

fn wrong_kind(key: &str, kind: &str) -> Mismatch {
    Mismatch(format!("Cannot deserialize value of `{key}` as `{kind}`"))
}

/// Texts, or scalars that read as text.
pub(crate) fn texts(object: &JsonObject, key: &str) -> Result<Vec<String>, Mismatch> {
    array(object, key)?
        .iter()
        .map(|item| scalar_text(item, key))
        .collect()
}

fn text_set(object: &JsonObject, key: &str) -> Result<BTreeSet<String>, Mismatch> {
    array(object, key)?
        .iter()
        .map(|item| scalar_text(item, key))
        .collect()
}

fn text_map(parent: &JsonObject, key: &str) -> Result<BTreeMap<String, String>, Mismatch> {
    let Some(object) = object(parent, key)? else {
        return Ok(BTreeMap::new());
    };
    object
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| Ok((name.clone(), scalar_text(value, key)?)))
        .collect()
}

fn scalar_text(value: &Value, key: &str) -> Result<String, Mismatch> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(value) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(wrong_kind(key, "String")),
    }
}

pub(crate) fn metadata(parent: &JsonObject, key: &str) -> Result<Option<Metadata>, Mismatch> {
    let Some(object) = object(parent, key)? else {
        return Ok(None);
    };
    let mut tags = BTreeMap::new();
    if let Some(by_path) = self::object(object, "tags")? {
        for path in by_path.keys() {
            tags.insert(path.clone(), text_set(by_path, path)?);
        }
    }
    Ok(Some(Metadata {
        tags,
        properties: text_map(object, "properties")?,
        sensitive: text_set(object, "sensitive")?,
    }))
}

pub(crate) fn rule_set(parent: &JsonObject, key: &str) -> Result<Option<RuleSet>, Mismatch> {
    let Some(object) = object(parent, key)? else {
        return Ok(None);
    };
    Ok(Some(RuleSet {
        migration_rules: rules(object, "migrationRules")?,
        domain_rules: rules(object, "domainRules")?,
        encoding_rules: rules(object, "encodingRules")?,
        enable_at: text(object, "enableAt")?,
    }))
}

fn rules(object: &JsonObject, key: &str) -> Result<Vec<Rule>, Mismatch> {
    array(object, key)?
        .iter()
        .map(|item| {
            let rule = item.as_object().ok_or_else(|| wrong_kind(key, "Rule"))?;
            Ok(Rule {
                name: text(rule, "name")?,
                doc: text(rule, "doc")?,
                kind: text(rule, "kind")?.unwrap_or_else(|| "TRANSFORM".to_owned()),
                mode: text(rule, "mode")?.unwrap_or_else(|| "WRITEREAD".to_owned()),
                rule_type: text(rule, "type")?,
                tags: text_set(rule, "tags")?,
                params: text_map(rule, "params")?,
                expr: text(rule, "expr")?,
                on_success: text(rule, "onSuccess")?,
                on_failure: text(rule, "onFailure")?,
                disabled: boolean(rule, "disabled")?.unwrap_or(false),
            })
        })
        .collect()
}

pub(crate) fn metadata_value(metadata: &Metadata) -> Value {
    let mut object = Map::new();
    if !metadata.tags.is_empty() {
        let tags = metadata
            .tags
            .iter()
            .map(|(path, tags)| (path.clone(), texts_value(tags)))
            .collect();
        object.insert("tags".to_owned(), Value::Object(tags));
    }
    if !metadata.properties.is_empty() {
        object.insert("properties".to_owned(), map_value(&metadata.properties));
    }
    if !metadata.sensitive.is_empty() {
        object.insert("sensitive".to_owned(), texts_value(&metadata.sensitive));
    }
    Value::Object(object)
}

pub(crate) fn rule_set_value(rule_set: &RuleSet) -> Value {
    let mut object = Map::new();
    for (key, rules) in [
        ("migrationRules", &rule_set.migration_rules),
        ("domainRules", &rule_set.domain_rules),
        ("encodingRules", &rule_set.encoding_rules),
    ] {
        if !rules.is_empty() {
            let values = rules.iter().map(rule_value).collect();
            object.insert(key.to_owned(), Value::Array(values));
        }
    }
    put_text(&mut object, "enableAt", rule_set.enable_at.as_deref());
    Value::Object(object)
}

fn rule_value(rule: &Rule) -> Value {
    let mut object = Map::new();
    put_text(&mut object, "name", rule.name.as_deref());
    put_text(&mut object, "doc", rule.doc.as_deref());
    put_text(&mut object, "kind", Some(&rule.kind));
    put_text(&mut object, "mode", Some(&rule.mode));
    put_text(&mut object, "type", rule.rule_type.as_deref());
    if !rule.tags.is_empty() {
        object.insert("tags".to_owned(), texts_value(&rule.tags));
    }
    if !rule.params.is_empty() {
        object.insert("params".to_owned(), map_value(&rule.params));
    }
    put_text(&mut object, "expr", rule.expr.as_deref());
    put_text(&mut object, "onSuccess", rule.on_success.as_deref());
    put_text(&mut object, "onFailure", rule.on_failure.as_deref());
    object.insert("disabled".to_owned(), Value::Bool(rule.disabled));
    Value::Object(object)
}

fn texts_value(texts: &BTreeSet<String>) -> Value {
    Value::Array(texts.iter().cloned().map(Value::String).collect())
}

fn map_value(map: &BTreeMap<String, String>) -> Value {
    Value::Object(
        map.iter()
            .map(|(key, value)| (key.clone(), Value::String(value.clone())))
            .collect(),
    )
}

pub(crate) fn put_text(object: &mut JsonObject, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}

fn put_bool(object: &mut JsonObject, key: &str, value: Option<bool>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), Value::Bool(value));
    }
}

/// `level_key` is `compatibility` in PUT answers and `compatibilityLevel` elsewhere.
pub(crate) fn config_value(config: &SubjectConfig, level_key: &str) -> Value {
    let mut object = Map::new();
    put_text(&mut object, "alias", config.alias.as_deref());
    put_text(
        &mut object,
        "aliasForDeks",
        config.alias_for_deks.as_deref(),
    );
    put_bool(&mut object, "normalize", config.normalize);
    put_bool(&mut object, "validateFields", config.validate_fields);
    put_bool(
        &mut object,
        "validateNewSchemas",
        config.validate_new_schemas,
    );
    put_bool(&mut object, "validateRules", config.validate_rules);
    put_text(
        &mut object,
        level_key,
        config.compatibility.map(CompatibilityLevel::name),
    );
    put_text(
        &mut object,
        "compatibilityPolicy",
        config.compatibility_policy.map(Policy::name),
    );
    put_text(
        &mut object,
        "compatibilityGroup",
        config.compatibility_group.as_deref(),
    );
    for (key, metadata) in [
        ("defaultMetadata", &config.default_metadata),
        ("overrideMetadata", &config.override_metadata),
    ] {
        if let Some(metadata) = metadata {
            object.insert(key.to_owned(), metadata_value(metadata));
        }
    }
    for (key, rules) in [
        ("defaultRuleSet", &config.default_rule_set),
        ("overrideRuleSet", &config.override_rule_set),
    ] {
        if let Some(rules) = rules {
            object.insert(key.to_owned(), rule_set_value(rules));
        }
    }
    Value::Object(object)
}

/// What a PUT of settings does to one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update<T> {
    Keep,
    Clear,
    Set(T),
}

impl<T> Update<T> {
    /// Applies the update to what is stored.
    pub(crate) fn apply(self, stored: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *stored = None,
            Self::Set(value) => *stored = Some(value),
        }
    }

    fn read(
        object: &JsonObject,
        key: &str,
        read: impl FnOnce(&JsonObject, &str) -> Result<Option<T>, Mismatch>,
    ) -> Result<Self, Mismatch> {
        if !object.contains_key(key) {
            return Ok(Self::Keep);
        }
        Ok(read(object, key)?.map_or(Self::Clear, Self::Set))
    }
}

/// Merges a PUT body into what is stored: absent keeps, null clears. The level's name is left to
/// the caller, because an unknown one has its own error.
pub(crate) fn merge_config(
    stored: &mut SubjectConfig,
    body: &JsonObject,
    level_key: &str,
) -> Result<Update<String>, Mismatch> {
    Update::read(body, "alias", text)?.apply(&mut stored.alias);
    Update::read(body, "aliasForDeks", text)?.apply(&mut stored.alias_for_deks);
    Update::read(body, "normalize", boolean)?.apply(&mut stored.normalize);
    Update::read(body, "validateFields", boolean)?.apply(&mut stored.validate_fields);
    Update::read(body, "validateNewSchemas", boolean)?.apply(&mut stored.validate_new_schemas);
    Update::read(body, "validateRules", boolean)?.apply(&mut stored.validate_rules);
    Update::read(body, "compatibilityPolicy", |object, key| {
        // An unknown policy is ignored, which clears it: the reference does so.
        Ok(text(object, key)?.as_deref().and_then(Policy::from_name))
    })?
    .apply(&mut stored.compatibility_policy);
    Update::read(body, "compatibilityGroup", text)?.apply(&mut stored.compatibility_group);
    Update::read(body, "defaultMetadata", metadata)?.apply(&mut stored.default_metadata);
    Update::read(body, "overrideMetadata", metadata)?.apply(&mut stored.override_metadata);
    Update::read(body, "defaultRuleSet", rule_set)?.apply(&mut stored.default_rule_set);
    Update::read(body, "overrideRuleSet", rule_set)?.apply(&mut stored.override_rule_set);
    Update::read(body, level_key, text)
}

/// Reads a stored settings row.
pub(crate) fn stored_config(object: &JsonObject) -> Result<SubjectConfig, Mismatch> {
    let mut config = SubjectConfig::default();
    if let Update::Set(level) = merge_config(&mut config, object, "compatibilityLevel")? {
        config.compatibility = CompatibilityLevel::from_name(&level);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reference, content_guid};

    fn object_of(value: &Value) -> JsonObject {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn scalars_read_as_the_reference_reads_them() {
        let object = object_of(&serde_json::json!({
            "t": 5, "i": "7", "b": "TRUE", "n": null, "l": [1], "big": 2_147_483_648_i64
        }));
        assert_eq!(text(&object, "t").unwrap().as_deref(), Some("5"));
        assert_eq!(int(&object, "i").unwrap(), Some(7));
        assert_eq!(boolean(&object, "b").unwrap(), Some(true));
        assert_eq!(text(&object, "n").unwrap(), None);
        assert_eq!(text(&object, "missing").unwrap(), None);
        assert!(text(&object, "l").is_err());
        assert!(int(&object, "big").is_err());
        assert!(int(&object, "b").is_err());
    }

    #[test]
    fn a_put_merges_and_null_clears() {
        let mut config = SubjectConfig::default();
        for (body, expected) in [
            (
                serde_json::json!({"alias": "a", "normalize": true, "compatibilityPolicy": "lenient"}),
                serde_json::json!({"alias": "a", "normalize": true, "compatibilityPolicy": "LENIENT"}),
            ),
            (
                serde_json::json!({"alias": null}),
                serde_json::json!({"normalize": true, "compatibilityPolicy": "LENIENT"}),
            ),
            (
                serde_json::json!({"compatibilityPolicy": "bogus"}),
                serde_json::json!({"normalize": true}),
            ),
        ] {
            merge_config(&mut config, &object_of(&body), "compatibility").unwrap();
            assert_eq!(config_value(&config, "compatibility"), expected, "{body}");
            assert_eq!(stored_config(&object_of(&expected)).unwrap(), config);
        }
    }

    /// Vectors of the reference: text, references, metadata and rule sets in all combinations.
    #[test]
    fn content_identity_is_the_references() {
        let root = std::env::var("ASSAY_CONFORMANCE").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned()
        });
        let Ok(cases) = std::fs::read_to_string(format!("{root}/csr-guid-md5/cases.jsonl")) else {
            println!("skipped: no recorded cases in {root}");
            return;
        };
        let mut count = 0;
        for line in cases.lines() {
            let case: JsonObject = serde_json::from_str(line).unwrap();
            let references: Vec<Reference> = array(&case, "references")
                .unwrap()
                .iter()
                .map(|reference| Reference {
                    name: reference["name"].as_str().unwrap().to_owned(),
                    subject: reference["subject"].as_str().unwrap().to_owned(),
                    version: int(reference.as_object().unwrap(), "version")
                        .unwrap()
                        .unwrap(),
                })
                .collect();
            let guid = content_guid(
                case["schema"].as_str().unwrap(),
                &references,
                metadata(&case, "metadata").unwrap().as_ref(),
                rule_set(&case, "ruleSet").unwrap().as_ref(),
            );
            let expected = case["expected"]["guid"].as_str().unwrap();
            assert_eq!(guid.to_string(), expected, "{}", case["id"]);
            count += 1;
        }
        assert_eq!(count, 24);
    }
}
