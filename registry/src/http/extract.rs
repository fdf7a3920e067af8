//! Targets: decoding and rewriting of paths, reading of query parameters and path parts.
//!
//! `/contexts/{ctx}/…` pushes the context into the subject, then aliases are followed once. Source:
//! Confluent's `ContextFilter` and `AliasFilter`.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::error::RegistryError;
use crate::json::JsonObject;
use crate::limits::json_depth;
use crate::model::{SchemaId, Version};
use crate::service::Registry;
use crate::service::delete::VersionSelector;
use crate::snapshot::Snapshot;
use crate::subject_name::{context_prefix, normalize};

/// What an operation is handed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) registry: &'a Registry,
    pub(super) query: &'a Query,
    pub(super) body: &'a Bytes,
    pub(super) actor: String,
}

impl Call<'_> {
    /// The body as a JSON object. An empty body is none.
    pub(super) fn object(&self) -> Result<JsonObject, RegistryError> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Err(RegistryError::MissingBody);
        }
        let limits = self.registry.limits().values();
        let depth = json_depth(self.body);
        if depth > limits.json_depth_max {
            return Err(RegistryError::BodyTooDeep {
                depth,
                max: limits.json_depth_max,
            });
        }
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(object)) => {
                let text = object.get("schema").and_then(Value::as_str);
                if text.is_some_and(|text| text.len() > limits.schema_bytes_max) {
                    return Err(RegistryError::SchemaTooLarge);
                }
                Ok(object)
            }
            Ok(_) => Err(RegistryError::BadRequest(
                "the request body is not a JSON object".to_owned(),
            )),
            Err(error) => Err(RegistryError::BadRequest(error.to_string())),
        }
    }
}

/// A decoded path and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) segments: Vec<String>,
    pub(super) query: Query,
}

impl Target {
    /// Decodes, drops a trailing slash, rewrites contexts.
    pub(super) fn parse(path: &str, query: &str) -> Result<Self, RegistryError> {
        let mut segments: Vec<String> = path
            .trim_start_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        if segments.last().is_some_and(String::is_empty) {
            segments.pop();
        }
        let target = Self {
            segments,
            query: Query::parse(query),
        };
        if target.segments.len() >= 2 && target.segments.first().is_some_and(|s| s == "contexts") {
            target.in_context()
        } else {
            Ok(target)
        }
    }

    /// Drops `contexts/{ctx}` and qualifies what follows.
    fn in_context(mut self) -> Result<Self, RegistryError> {
        let name = self.segments.get(1).cloned().unwrap_or_default();
        let prefix = context_prefix(&context_name(&name)?);
        let rest = self.segments.split_off(2);
        if rest.is_empty() {
            // Only the context itself: nothing to rewrite but its spelling.
            let shown = if prefix.is_empty() {
                ":.:".to_owned()
            } else {
                prefix
            };
            self.segments = vec!["contexts".to_owned(), shown];
            return Ok(self);
        }
        self.segments = rest;
        let first = self.segments.first().cloned().unwrap_or_default();
        match (first.as_str(), self.segments.len()) {
            ("config" | "mode", 1) => self.segments.push(prefix.clone()),
            ("config" | "mode", _) => self.qualify_segment(1, &prefix),
            ("schemas", 1) | ("subjects", 1) => self.query.prefix("subjectPrefix", &prefix),
            ("schemas", _) if self.segments.get(1).is_some_and(|s| s == "ids") => {
                self.query.prefix("subject", &prefix);
            }
            (associations, _) if associations.starts_with("associations") => {
                self.query.set("context", prefix.clone());
                self.qualify_subject(&prefix);
            }
            _ => self.qualify_subject(&prefix),
        }
        Ok(self)
    }

    /// The segment after the first `subjects`.
    fn qualify_subject(&mut self, prefix: &str) {
        if let Some(at) = self.segments.iter().position(|s| s == "subjects") {
            self.qualify_segment(at + 1, prefix);
        }
    }

    fn qualify_segment(&mut self, at: usize, prefix: &str) {
        if let Some(segment) = self.segments.get_mut(at)
            && !is_qualified(segment)
        {
            segment.insert_str(0, prefix);
        }
    }

    /// Replaces subjects that are aliases, one hop; settings and modes of an alias stay its own.
    pub(super) fn through_aliases(mut self, snapshot: &Snapshot) -> Self {
        let first = self.segments.first().map(String::as_str);
        if !matches!(first, Some("config" | "mode"))
            && let Some(at) = self.segments.iter().position(|s| s == "subjects")
            && let Some(subject) = self.segments.get_mut(at + 1)
            && let Some(target) = snapshot.alias_target(&normalize(subject))
        {
            *subject = target;
        }
        if matches!(first_two(&self.segments), Some(("schemas", "ids")))
            && let Some(subject) = self.query.get("subject").map(str::to_owned)
            && let Some(target) = snapshot.alias_target(&normalize(&subject))
        {
            self.query.set("subject", target);
        }
        self
    }
}

fn first_two(segments: &[String]) -> Option<(&str, &str)> {
    Some((segments.first()?, segments.get(1)?))
}

fn is_qualified(subject: &str) -> bool {
    subject.starts_with(":.") || subject.starts_with(":*:")
}

/// `ctx`, `.ctx`, `:.ctx:` → `.ctx`.
fn context_name(name: &str) -> Result<String, RegistryError> {
    let bare = name.strip_prefix(':').unwrap_or(name);
    let bare = bare.strip_suffix(':').unwrap_or(bare);
    if bare.contains(':') {
        return Err(RegistryError::BadRequest(format!(
            "Context name '{name}' cannot contain a colon"
        )));
    }
    Ok(if bare.starts_with('.') {
        bare.to_owned()
    } else {
        format!(".{bare}")
    })
}

/// Decoded query parameters, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        Self(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Only "true", case aside, is true: Java's reading, and Python clients write `False`.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A 32-bit number; what does not read as one is an unknown resource to the reference.
    fn number(&self, key: &str) -> Result<Option<i32>, RegistryError> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| RegistryError::NotFound),
        }
    }

    /// Applies `offset` and `limit`; limits outside 1 to `limit_max` mean `limit_max`.
    pub(super) fn page<T>(
        &self,
        items: impl Iterator<Item = T>,
        limit_max: usize,
    ) -> Result<Vec<T>, RegistryError> {
        let offset = usize::try_from(self.number("offset")?.unwrap_or(0)).unwrap_or(0);
        let limit = self
            .number("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| (1..=limit_max).contains(limit))
            .unwrap_or(limit_max);
        Ok(items.skip(offset).take(limit).collect())
    }

    fn set(&mut self, key: &str, value: String) {
        self.0.retain(|(name, _)| name != key);
        self.0.push((key.to_owned(), value));
    }

    /// Puts a context in front of a value, which may be absent.
    fn prefix(&mut self, key: &str, prefix: &str) {
        let value = self.get(key).unwrap_or("").to_owned();
        if !is_qualified(&value) {
            self.set(key, format!("{prefix}{value}"));
        }
    }
}

/// `latest`, `-1` or a number from 1.
pub(super) fn version(text: &str) -> Result<VersionSelector, RegistryError> {
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("latest") || trimmed == "-1" {
        return Ok(VersionSelector::Latest);
    }
    match trimmed.parse() {
        Ok(number @ 1..) => Ok(VersionSelector::Number(Version(number))),
        Ok(_) | Err(_) => Err(RegistryError::InvalidVersion(text.to_owned())),
    }
}

/// A 32-bit id.
pub(super) fn schema_id(text: &str) -> Result<SchemaId, RegistryError> {
    text.parse()
        .map(SchemaId)
        .map_err(|_| RegistryError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, query: &str, expected: &str) {
        let target = Target::parse(path, query).unwrap();
        let pairs: Vec<String> = target
            .query
            .0
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let shown = format!("{}?{}", target.segments.join("|"), pairs.join("&"));
        assert_eq!(shown, expected, "{path}?{query}");
    }

    #[test]
    fn targets_are_decoded_and_rewritten() {
        check("/", "", "?");
        check("/config/", "", "config?");
        check("/subjects/a%2Fb/versions", "", "subjects|a/b|versions?");
        check(
            "/subjects/%3A.c%3As/versions/",
            "",
            "subjects|:.c:s|versions?",
        );
        check(
            "/subjects",
            "subjectPrefix=a+b&x",
            "subjects?subjectPrefix=a b&x=",
        );
        check("/contexts/.c/subjects", "", "subjects?subjectPrefix=:.c:");
        check(
            "/contexts/c/subjects/s/versions",
            "",
            "subjects|:.c:s|versions?",
        );
        check("/contexts/:.c:/subjects/s", "", "subjects|:.c:s?");
        check("/contexts/c/subjects/:.d:s", "", "subjects|:.d:s?");
        check("/contexts/./subjects/s", "", "subjects|s?");
        check("/contexts/c/schemas", "", "schemas?subjectPrefix=:.c:");
        check(
            "/contexts/c/schemas/ids/1",
            "subject=s",
            "schemas|ids|1?subject=:.c:s",
        );
        check(
            "/contexts/c/schemas/ids/1/subjects",
            "",
            "schemas|ids|1|subjects?subject=:.c:",
        );
        check("/contexts/c/config", "", "config|:.c:?");
        check("/contexts/c/config/s", "", "config|:.c:s?");
        check("/contexts/c/mode", "", "mode|:.c:?");
        check(
            "/contexts/c/compatibility/subjects/s/versions/1",
            "",
            "compatibility|subjects|:.c:s|versions|1?",
        );
        check(
            "/contexts/c/associations",
            "dryRun=true",
            "associations?dryRun=true&context=:.c:",
        );
        check(
            "/contexts/c/associations/subjects/s",
            "",
            "associations|subjects|:.c:s?context=:.c:",
        );
        check("/contexts/c", "", "contexts|:.c:?");
        check("/contexts", "", "contexts?");
    }

    #[test]
    fn a_context_name_holds_no_colon() {
        assert_eq!(
            Target::parse("/contexts/a:b/subjects", ""),
            Err(RegistryError::BadRequest(
                "Context name 'a:b' cannot contain a colon".into()
            ))
        );
    }

    #[test]
    fn flags_and_pages_read_like_the_reference() {
        let query = Query::parse("a=True&b=1&c=FALSE&d=false&d=true");
        let flags = ["a", "b", "c", "d", "e"].map(|key| query.flag(key));
        assert_eq!(flags, [true, false, false, false, false]);
        for (query, expected) in [
            ("", Ok(vec![0, 1, 2, 3])),
            ("offset=1&limit=2", Ok(vec![1, 2])),
            ("limit=0", Ok(vec![0, 1, 2, 3])),
            ("limit=-5", Ok(vec![0, 1, 2, 3])),
            ("offset=-1", Ok(vec![0, 1, 2, 3])),
            ("offset=9", Ok(vec![])),
            ("limit=5", Ok(vec![0, 1, 2, 3])),
            ("limit=2147483648", Err(RegistryError::NotFound)),
            ("limit=1.5", Err(RegistryError::NotFound)),
        ] {
            assert_eq!(Query::parse(query).page(0..9, 4), expected, "{query}");
        }
    }

    #[test]
    fn versions_are_latest_or_positive() {
        for (text, expected) in [
            ("latest", Some(-1)),
            ("LATEST", Some(-1)),
            ("-1", Some(-1)),
            (" 3 ", Some(3)),
            ("2147483647", Some(i32::MAX)),
            ("0", None),
            ("-2", None),
            ("2147483648", None),
            ("x", None),
        ] {
            let shown = version(text).ok().map(VersionSelector::shown);
            assert_eq!(shown, expected, "{text}");
        }
    }
}
