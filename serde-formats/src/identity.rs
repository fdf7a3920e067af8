//! Content identity: the MD5 that makes two registrations the same schema, read as the GUID.
//!
//! Everything is hashed without separators: the text, then each reference, then metadata, then the
//! rule set, the last two behind a marker byte so that "empty" and "absent" differ. The schema
//! type is not hashed: one text under two types is one identity, as in the reference.
//!
//! Source: Confluent Schema Registry, `Schema.updateHash` and the like of its entities.

use md5::{Digest, Md5};
use uuid::Uuid;

/// What is hashed of one reference: name, subject and resolved version.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceIdentity<'a> {
    /// Name used in the schema text.
    pub name: &'a str,
    /// Subject it is registered under.
    pub subject: &'a str,
    /// Resolved version.
    pub version: i32,
}

/// What is hashed of metadata. Order does not matter: the hash sorts.
#[derive(Debug, Clone, Default)]
pub struct MetadataIdentity<'a> {
    /// Tags by path.
    pub tags: Vec<(&'a str, Vec<&'a str>)>,
    /// Properties.
    pub properties: Vec<(&'a str, &'a str)>,
    /// Names of sensitive properties.
    pub sensitive: Vec<&'a str>,
}

/// What is hashed of one rule. Absent members are skipped, except kind and mode.
#[derive(Debug, Clone, Default)]
pub struct RuleIdentity<'a> {
    /// Name.
    pub name: Option<&'a str>,
    /// Documentation.
    pub doc: Option<&'a str>,
    /// `TRANSFORM` (when absent) or `CONDITION`.
    pub kind: Option<&'a str>,
    /// `WRITEREAD` when absent.
    pub mode: Option<&'a str>,
    /// Rule executor type.
    pub rule_type: Option<&'a str>,
    /// Tags the rule applies to, in any order.
    pub tags: Vec<&'a str>,
    /// Parameters, in any order.
    pub params: Vec<(&'a str, &'a str)>,
    /// Expression.
    pub expr: Option<&'a str>,
    /// Action on success.
    pub on_success: Option<&'a str>,
    /// Action on failure.
    pub on_failure: Option<&'a str>,
    /// Whether the rule is switched off.
    pub is_disabled: bool,
}

/// What is hashed of a rule set.
#[derive(Debug, Clone, Default)]
pub struct RuleSetIdentity<'a> {
    /// Migration rules, in order.
    pub migration_rules: Vec<RuleIdentity<'a>>,
    /// Domain rules, in order.
    pub domain_rules: Vec<RuleIdentity<'a>>,
    /// Encoding rules, in order.
    pub encoding_rules: Vec<RuleIdentity<'a>>,
    /// Where the rules take effect.
    pub enable_at: Option<&'a str>,
}

/// The GUID of a schema without metadata and rule set.
#[must_use]
pub fn guid(schema: &str, references: &[ReferenceIdentity<'_>]) -> Uuid {
    IdentityHasher::new(schema, references).finish()
}

/// The GUID of a schema with everything that counts. `None` and an empty value differ.
#[must_use]
pub fn full_guid(
    schema: &str,
    references: &[ReferenceIdentity<'_>],
    metadata: Option<&MetadataIdentity<'_>>,
    rule_set: Option<&RuleSetIdentity<'_>>,
) -> Uuid {
    let mut hasher = IdentityHasher::new(schema, references);
    if let Some(metadata) = metadata {
        hasher.metadata(metadata);
    }
    if let Some(rule_set) = rule_set {
        hasher.rule_set(rule_set);
    }
    hasher.finish()
}

/// Feeds the hash part by part; [`full_guid`] is the usual way.
#[derive(Debug, Clone)]
pub struct IdentityHasher(Md5);

/// Stands before metadata, before a rule set, and behind a disabled rule.
const MARKER: [u8; 1] = [1];

impl IdentityHasher {
    /// Starts with the text and references.
    #[must_use]
    pub fn new(schema: &str, references: &[ReferenceIdentity<'_>]) -> Self {
        let mut md5 = Md5::new();
        md5.update(schema.as_bytes());
        for reference in references {
            md5.update(reference.name.as_bytes());
            md5.update(reference.subject.as_bytes());
            md5.update(reference.version.to_be_bytes());
        }
        Self(md5)
    }

    /// Adds raw bytes: a marker (`0x01`) or a field's UTF-8.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds metadata; after the references, before the rule set.
    pub fn metadata(&mut self, metadata: &MetadataIdentity<'_>) {
        self.update(&MARKER);
        let mut tags: Vec<_> = metadata.tags.iter().collect();
        tags.sort_by_key(|(path, _)| *path);
        for (path, values) in tags {
            self.update(path.as_bytes());
            self.sorted(values);
        }
        self.sorted_pairs(&metadata.properties);
        self.sorted(&metadata.sensitive);
    }

    /// Adds a rule set; last.
    pub fn rule_set(&mut self, rules: &RuleSetIdentity<'_>) {
        self.update(&MARKER);
        let lists = [
            &rules.migration_rules,
            &rules.domain_rules,
            &rules.encoding_rules,
        ];
        for rule in lists.into_iter().flatten() {
            self.rule(rule);
        }
        self.text(rules.enable_at);
    }

    fn rule(&mut self, rule: &RuleIdentity<'_>) {
        self.text(rule.name);
        self.text(rule.doc);
        self.text(rule.kind.or(Some("TRANSFORM")));
        self.text(rule.mode.or(Some("WRITEREAD")));
        self.text(rule.rule_type);
        self.sorted(&rule.tags);
        self.sorted_pairs(&rule.params);
        self.text(rule.expr);
        self.text(rule.on_success);
        self.text(rule.on_failure);
        if rule.is_disabled {
            self.update(&MARKER);
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.update(text.unwrap_or_default().as_bytes());
    }

    fn sorted(&mut self, values: &[&str]) {
        let mut values = values.to_vec();
        values.sort_unstable();
        values.dedup();
        for value in values {
            self.update(value.as_bytes());
        }
    }

    fn sorted_pairs(&mut self, pairs: &[(&str, &str)]) {
        let mut pairs = pairs.to_vec();
        pairs.sort_by_key(|(key, _)| *key);
        for (key, value) in pairs {
            self.update(key.as_bytes());
            self.update(value.as_bytes());
        }
    }

    /// The GUID: the sixteen bytes as they are, no version or variant bits set.
    #[must_use]
    pub fn finish(&mut self) -> Uuid {
        let bytes: [u8; 16] = self.0.finalize_reset().into();
        Uuid::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn guid_is_the_md5_of_the_text() {
        let schema = r#"{"type":"record","name":"User","fields":[{"name":"id","type":"long"}]}"#;
        assert_eq!(
            guid(schema, &[]).to_string(),
            "4c50402c-8fb5-ffa0-c5da-e3c2f5d26e1b"
        );
    }

    #[test]
    fn absent_and_empty_differ_and_order_does_not() {
        let empty = MetadataIdentity::default();
        let rules = RuleSetIdentity::default();
        let all = [
            full_guid("\"int\"", &[], None, None),
            full_guid("\"int\"", &[], Some(&empty), None),
            full_guid("\"int\"", &[], Some(&empty), Some(&rules)),
        ];
        assert_eq!(all[0], guid("\"int\"", &[]));
        assert!(all[0] != all[1] && all[1] != all[2]);
        let one = MetadataIdentity {
            properties: vec![("a", "1"), ("b", "2")],
            ..MetadataIdentity::default()
        };
        let other = MetadataIdentity {
            properties: vec![("b", "2"), ("a", "1")],
            ..MetadataIdentity::default()
        };
        assert_eq!(
            full_guid("x", &[], Some(&one), None),
            full_guid("x", &[], Some(&other), None)
        );
    }

    fn strings(value: &Value) -> Vec<&str> {
        value
            .as_array()
            .map(|items| items.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    fn pairs(value: &Value) -> Vec<(&str, &str)> {
        value
            .as_object()
            .map(|entries| {
                entries
                    .iter()
                    .map(|(k, v)| (k.as_str(), v.as_str().unwrap()))
                    .collect()
            })
            .unwrap_or_default()
    }

    fn rules(value: &Value) -> Vec<RuleIdentity<'_>> {
        let Some(items) = value.as_array() else {
            return Vec::new();
        };
        items
            .iter()
            .map(|rule| RuleIdentity {
                name: rule["name"].as_str(),
                doc: rule["doc"].as_str(),
                kind: rule["kind"].as_str(),
                mode: rule["mode"].as_str(),
                rule_type: rule["type"].as_str(),
                tags: strings(&rule["tags"]),
                params: pairs(&rule["params"]),
                expr: rule["expr"].as_str(),
                on_success: rule["onSuccess"].as_str(),
                on_failure: rule["onFailure"].as_str(),
                is_disabled: rule["disabled"].as_bool().unwrap_or(false),
            })
            .collect()
    }

    #[test]
    fn recorded_identities() {
        let cases = crate::avro::conformance_cases("csr-guid-md5/cases.jsonl");
        for case in &cases {
            let references: Vec<ReferenceIdentity<'_>> = case["references"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| ReferenceIdentity {
                    name: r["name"].as_str().unwrap(),
                    subject: r["subject"].as_str().unwrap(),
                    version: i32::try_from(r["version"].as_i64().unwrap()).unwrap(),
                })
                .collect();
            let metadata = case["metadata"].as_object().map(|m| MetadataIdentity {
                tags: m
                    .get("tags")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k.as_str(), strings(v)))
                    .collect(),
                properties: m.get("properties").map(pairs).unwrap_or_default(),
                sensitive: m.get("sensitive").map(strings).unwrap_or_default(),
            });
            let rule_set = case["ruleSet"].as_object().map(|r| {
                let list = |key| r.get(key).map(rules).unwrap_or_default();
                RuleSetIdentity {
                    migration_rules: list("migrationRules"),
                    domain_rules: list("domainRules"),
                    encoding_rules: list("encodingRules"),
                    enable_at: r.get("enableAt").and_then(Value::as_str),
                }
            });
            let ours = full_guid(
                case["schema"].as_str().unwrap(),
                &references,
                metadata.as_ref(),
                rule_set.as_ref(),
            );
            assert_eq!(
                ours.to_string(),
                case["expected"]["guid"].as_str().unwrap(),
                "{}",
                case["id"]
            );
        }
        eprintln!("csr-guid-md5: {} cases agree", cases.len());
    }
}
