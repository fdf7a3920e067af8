//! The registry's nouns. Plain data: no SQL, HTTP, clock or task.
//!
//! Next: [`crate::subject_name`] for how names are read, [`crate::snapshot`] for how they hang
//! together.

use std::collections::{BTreeMap, BTreeSet};

use serde_formats::SchemaFormat;
use serde_formats::compatibility::CompatibilityPolicy;
use serde_formats::identity::{IdentityHasher, ReferenceIdentity};
use serde_formats::tags::TaggedEntity;
use uuid::Uuid;

/// Number of one schema content within one context; what framed records carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub i32);

/// Number of a schema within its subject, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub i32);

/// Qualified subject name as stored: `[:.ctx:]subject`, default context unprefixed.
pub type Subject = String;

/// `.` is the default context.
pub type Context = String;

/// A schema's pointer to another one, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Name used in the schema text: Avro full name, JSON `$ref` URI, Protobuf import path.
    pub name: String,
    /// Subject; without a context it means the referrer's context.
    pub subject: String,
    /// Version of that subject; -1 in a request means the latest, stored ones are resolved.
    pub version: i32,
}

/// Data about a schema that travels with it. A map that is absent differs from an empty one only
/// in the content hash, where both hash alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Path to tags.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// Free keys and values; `confluent:version` is set by the registry.
    pub properties: BTreeMap<String, String>,
    /// Keys of `properties` that hold secrets.
    pub sensitive: BTreeSet<String>,
}

/// Property that pins the version a schema was registered as.
pub const VERSION_PROPERTY: &str = "confluent:version";

impl Metadata {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.properties.is_empty() && self.sensitive.is_empty()
    }

    /// Both, the right one winning per key and property; tags and sensitive keys are united.
    #[must_use]
    pub fn merge(left: Option<&Self>, right: Option<&Self>) -> Option<Self> {
        let (left, right) = match (left, right) {
            (None, None) => return None,
            (Some(one), None) | (None, Some(one)) => return Some(one.clone()),
            (Some(left), Some(right)) => (left, right),
        };
        let mut merged = left.clone();
        for (path, tags) in &right.tags {
            let entry = merged.tags.entry(path.clone()).or_default();
            entry.extend(tags.iter().cloned());
        }
        for (key, value) in &right.properties {
            merged.properties.insert(key.clone(), value.clone());
        }
        merged.sensitive.extend(right.sensitive.iter().cloned());
        Some(merged)
    }

    /// The pinned version, if there is one.
    #[must_use]
    pub fn pinned_version(&self) -> Option<&str> {
        self.properties.get(VERSION_PROPERTY).map(String::as_str)
    }

    /// Without the pinned version.
    #[must_use]
    pub fn without_pinned_version(&self) -> Self {
        let mut copy = self.clone();
        copy.properties.remove(VERSION_PROPERTY);
        copy
    }
}

/// Rules that serializers execute; stored and returned, never executed here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Between versions.
    pub migration_rules: Vec<Rule>,
    /// On values.
    pub domain_rules: Vec<Rule>,
    /// On whole payloads, after encoding.
    pub encoding_rules: Vec<Rule>,
    /// Where the rules are executed, a name the serializers know.
    pub enable_at: Option<String>,
}

/// One rule of a rule set. `kind` and `mode` are always set: a request without them means
/// `TRANSFORM` and `WRITEREAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the field names are the JSON keys; serializers give them meaning"
)]
pub struct Rule {
    pub name: Option<String>,
    pub doc: Option<String>,
    pub kind: String,
    pub mode: String,
    pub rule_type: Option<String>,
    pub tags: BTreeSet<String>,
    pub params: BTreeMap<String, String>,
    pub expr: Option<String>,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    pub disabled: bool,
}

impl RuleSet {
    /// Every rule, in hash order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.migration_rules
            .iter()
            .chain(&self.domain_rules)
            .chain(&self.encoding_rules)
    }

    /// Without the rules of these names.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        let kept = |rules: &[Rule]| -> Vec<Rule> {
            rules
                .iter()
                .filter(|rule| rule.name.as_ref().is_none_or(|name| !names.contains(name)))
                .cloned()
                .collect()
        };
        Self {
            migration_rules: kept(&self.migration_rules),
            domain_rules: kept(&self.domain_rules),
            encoding_rules: kept(&self.encoding_rules),
            enable_at: self.enable_at.clone(),
        }
    }

    /// Both; a rule of the right one replaces one of the same name, others follow.
    #[must_use]
    pub fn merge(left: Option<&Self>, right: Option<&Self>) -> Option<Self> {
        let (left, right) = match (left, right) {
            (None, None) => return None,
            (Some(one), None) | (None, Some(one)) => return Some(one.clone()),
            (Some(left), Some(right)) => (left, right),
        };
        let merge_rules = |left: &[Rule], right: &[Rule]| -> Vec<Rule> {
            left.iter()
                .filter(|rule| !right.iter().any(|other| other.name == rule.name))
                .chain(right)
                .cloned()
                .collect()
        };
        Some(Self {
            migration_rules: merge_rules(&left.migration_rules, &right.migration_rules),
            domain_rules: merge_rules(&left.domain_rules, &right.domain_rules),
            encoding_rules: merge_rules(&left.encoding_rules, &right.encoding_rules),
            enable_at: right.enable_at.clone().or_else(|| left.enable_at.clone()),
        })
    }

    /// Checks names, types, modes and actions.
    ///
    /// # Errors
    /// The client-visible reason, in the reference's words.
    pub fn validate(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for rule in self.rules() {
            rule.validate()?;
            if let Some(name) = &rule.name
                && !names.insert(name.as_str())
            {
                return Err(format!("Found rule with duplicate name '{name}'"));
            }
        }
        let fits = |rules: &[Rule], modes: &[&str]| {
            rules.iter().all(|rule| modes.contains(&rule.mode.as_str()))
        };
        if !fits(&self.migration_rules, &["UPGRADE", "DOWNGRADE", "UPDOWN"]) {
            return Err("Migration rules can only be UPGRADE, DOWNGRADE, UPDOWN".to_owned());
        }
        if !fits(&self.domain_rules, &["WRITE", "READ", "WRITEREAD"]) {
            return Err("Domain rules can only be WRITE, READ, WRITEREAD".to_owned());
        }
        if !fits(&self.encoding_rules, &["WRITE", "READ", "WRITEREAD"]) {
            return Err("Encoding rules can only be WRITE, READ, WRITEREAD".to_owned());
        }
        Ok(())
    }
}

/// Longest rule name, in characters; Confluent's limit.
const RULE_NAME_CHARS_MAX: usize = 256;

impl Rule {
    fn validate(&self) -> Result<(), String> {
        let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) else {
            return Err("Missing rule name".to_owned());
        };
        if name.chars().count() > RULE_NAME_CHARS_MAX {
            return Err("Rule name too long".to_owned());
        }
        let mut chars = name.chars();
        if !chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') {
            return Err(format!("Illegal initial character in rule name: {name}"));
        }
        if !chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return Err(format!("Illegal character in rule name: {name}"));
        }
        if self.rule_type.as_deref().is_none_or(str::is_empty) {
            return Err("Missing rule type".to_owned());
        }
        if !matches!(self.kind.as_str(), "TRANSFORM" | "CONDITION") {
            return Err(format!("Invalid rule kind: {}", self.kind));
        }
        let pair = |action: &Option<String>| action.as_deref().is_some_and(|a| a.contains(','));
        if (pair(&self.on_success) || pair(&self.on_failure))
            && !matches!(self.mode.as_str(), "WRITEREAD" | "UPDOWN")
        {
            return Err(
                "Multiple actions can only be specified with WRITEREAD and UPDOWN".to_owned(),
            );
        }
        Ok(())
    }
}

/// How new schemas of a subject must relate to earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "Confluent's level names")]
pub enum CompatibilityLevel {
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl CompatibilityLevel {
    /// Weakest first.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// Confluent's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// The level of that name, case aside.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// Whether every earlier version counts, not only the latest.
    #[must_use]
    pub const fn is_transitive(self) -> bool {
        matches!(
            self,
            Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive
        )
    }

    /// Whether the new schema must read what earlier ones wrote.
    #[must_use]
    pub const fn is_backward(self) -> bool {
        matches!(
            self,
            Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive
        )
    }

    /// Whether earlier schemas must read what the new one writes.
    #[must_use]
    pub const fn is_forward(self) -> bool {
        matches!(
            self,
            Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive
        )
    }
}

/// What may be done with a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "Confluent's mode names")]
pub enum Mode {
    ReadWrite,
    ReadOnly,
    ReadOnlyOverride,
    Import,
    Forward,
}

impl Mode {
    const ALL: [Self; 5] = [
        Self::ReadWrite,
        Self::ReadOnly,
        Self::ReadOnlyOverride,
        Self::Import,
        Self::Forward,
    ];

    /// Confluent's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
            Self::Forward => "FORWARD",
        }
    }

    /// The mode of that name, case aside.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(name))
    }

    /// Whether schemas arrive with their ids and are taken as they are.
    #[must_use]
    pub const fn takes_ids(self) -> bool {
        matches!(self, Self::Import | Self::Forward)
    }

    /// Whether nothing may change.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadOnlyOverride)
    }
}

/// Confluent's `compatibilityPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The default.
    Strict,
    /// JSON Schema content models may open and close.
    Lenient,
    /// Table formats' checks; compared as `Strict` here.
    Logical,
}

impl Policy {
    /// Confluent's spelling.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "STRICT",
            Self::Lenient => "LENIENT",
            Self::Logical => "LOGICAL",
        }
    }

    /// The policy of that name, case aside.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Strict, Self::Lenient, Self::Logical]
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// What the comparison wants to know.
    #[must_use]
    pub const fn comparison(self) -> CompatibilityPolicy {
        match self {
            Self::Strict | Self::Logical => CompatibilityPolicy::Strict,
            Self::Lenient => CompatibilityPolicy::Lenient,
        }
    }
}

/// Settings stored for a subject, a context or the top level; absent means inherit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the field names are the JSON keys of PUT /config"
)]
pub struct SubjectConfig {
    pub alias: Option<String>,
    pub alias_for_deks: Option<String>,
    pub normalize: Option<bool>,
    pub validate_fields: Option<bool>,
    pub validate_new_schemas: Option<bool>,
    pub validate_rules: Option<bool>,
    pub compatibility: Option<CompatibilityLevel>,
    pub compatibility_policy: Option<Policy>,
    pub compatibility_group: Option<String>,
    pub default_metadata: Option<Metadata>,
    pub override_metadata: Option<Metadata>,
    pub default_rule_set: Option<RuleSet>,
    pub override_rule_set: Option<RuleSet>,
}

impl SubjectConfig {
    /// Whether registration must merge something into what is asked.
    #[must_use]
    pub const fn has_defaults_or_overrides(&self) -> bool {
        self.default_metadata.is_some()
            || self.override_metadata.is_some()
            || self.default_rule_set.is_some()
            || self.override_rule_set.is_some()
    }
}

/// The content identity, also the GUID: text, references (subjects as written, versions resolved),
/// metadata and rule set. Field order as in the reference's hash; the format is not hashed.
#[must_use]
pub fn content_guid(
    text: &str,
    references: &[Reference],
    metadata: Option<&Metadata>,
    rule_set: Option<&RuleSet>,
) -> Uuid {
    let identities: Vec<_> = references
        .iter()
        .map(|reference| ReferenceIdentity {
            name: &reference.name,
            subject: &reference.subject,
            version: reference.version,
        })
        .collect();
    let mut hasher = IdentityHasher::new(text, &identities);
    if let Some(metadata) = metadata {
        hasher.update(&[1]);
        for (path, tags) in &metadata.tags {
            hasher.update(path.as_bytes());
            for tag in tags {
                hasher.update(tag.as_bytes());
            }
        }
        for (key, value) in &metadata.properties {
            hasher.update(key.as_bytes());
            hasher.update(value.as_bytes());
        }
        for key in &metadata.sensitive {
            hasher.update(key.as_bytes());
        }
    }
    if let Some(rule_set) = rule_set {
        hasher.update(&[1]);
        for rule in rule_set.rules() {
            hash_rule(&mut hasher, rule);
        }
        if let Some(enable_at) = &rule_set.enable_at {
            hasher.update(enable_at.as_bytes());
        }
    }
    hasher.finish()
}

fn hash_rule(hasher: &mut IdentityHasher, rule: &Rule) {
    let mut text = |value: &Option<String>| {
        if let Some(value) = value {
            hasher.update(value.as_bytes());
        }
    };
    text(&rule.name);
    text(&rule.doc);
    hasher.update(rule.kind.as_bytes());
    hasher.update(rule.mode.as_bytes());
    if let Some(kind) = &rule.rule_type {
        hasher.update(kind.as_bytes());
    }
    for tag in &rule.tags {
        hasher.update(tag.as_bytes());
    }
    for (key, value) in &rule.params {
        hasher.update(key.as_bytes());
        hasher.update(value.as_bytes());
    }
    for value in [&rule.expr, &rule.on_success, &rule.on_failure]
        .into_iter()
        .flatten()
    {
        hasher.update(value.as_bytes());
    }
    if rule.disabled {
        hasher.update(&[1]);
    }
}

/// What a register, look-up or compatibility request brings.
#[derive(Debug, Clone, Default)]
pub struct SchemaRequest {
    /// The text; empty means "as before, with other metadata".
    pub text: String,
    /// `schemaType`; absent means Avro.
    pub format: Option<String>,
    /// As written.
    pub references: Vec<RequestedReference>,
    /// Absent differs from empty: absent inherits.
    pub metadata: Option<Metadata>,
    /// Absent inherits.
    pub rule_set: Option<RuleSet>,
    /// 0 any, -1 "compare with the latest only", otherwise exactly the next one.
    pub version: i32,
    /// Only where ids are taken from outside.
    pub id: Option<SchemaId>,
    /// Inline tags to write into the text first.
    pub tags_to_add: Vec<TaggedEntity>,
    /// Inline tags to take out of the text first.
    pub tags_to_remove: Vec<TaggedEntity>,
    /// Also write the latest version's inline tags into the text.
    pub propagate_tags: bool,
}

/// A reference before it is known to be complete.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in `Reference`")]
pub struct RequestedReference {
    pub name: Option<String>,
    pub subject: Option<String>,
    pub version: Option<i32>,
}

impl SchemaRequest {
    /// Whether inline tags are to be changed before anything else.
    #[must_use]
    pub fn changes_tags(&self) -> bool {
        !self.tags_to_add.is_empty() || !self.tags_to_remove.is_empty()
    }

    /// The format asked for.
    ///
    /// # Errors
    /// The unknown name; names are case-sensitive, as in the reference.
    pub fn schema_format(&self) -> Result<SchemaFormat, String> {
        match self.format.as_deref() {
            None | Some("") => Ok(SchemaFormat::Avro),
            Some(name) => SchemaFormat::from_name(name).ok_or_else(|| name.to_owned()),
        }
    }
}
