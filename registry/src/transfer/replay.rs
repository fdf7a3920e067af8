//! The `_schemas` topic of Confluent's registry, replayed into facts.
//!
//! Pure: records go in by offset, facts come out at the end. Source: the record formats and replay
//! rules of Confluent's `KafkaStoreMessageHandler` and in-memory store. What does not parse is passed
//! over and counted, as the reference does.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::Facts;
use crate::association::{Association, AssociationType, Lifecycle};
use crate::change::Change;
use crate::json::{self, JsonObject};
use crate::model::SchemaId;
use crate::subject_name::{QualifiedSubject, normalize};

/// The state after the records so far.
#[derive(Debug, Default)]
pub struct Replay {
    versions: BTreeMap<(String, i32), Stored>,
    /// The text that an id is bound to in a context, and how many versions use it.
    ids: HashMap<(String, i32), (String, usize)>,
    high_water: BTreeMap<String, i32>,
    contexts: BTreeMap<String, bool>,
    configs: BTreeMap<String, JsonObject>,
    modes: BTreeMap<String, String>,
    associations: BTreeMap<String, (Association, i64)>,
    /// Records that were not understood, or bind an id to a second text.
    pub passed_over: usize,
}

#[derive(Debug)]
struct Stored {
    entity: JsonObject,
    id: i32,
    deleted: bool,
}

impl Replay {
    /// Applies one record; `timestamp_ms` is the record's.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64) {
        let applied = key
            .and_then(|key| serde_json::from_slice::<JsonObject>(key).ok())
            .and_then(|key| {
                let value = match value {
                    None => None,
                    Some(value) => Some(serde_json::from_slice::<Option<JsonObject>>(value).ok()?),
                };
                self.apply_record(&key, value.flatten(), timestamp_ms)
            });
        if applied.is_none() {
            self.passed_over += 1;
        }
    }

    /// None for what is not understood.
    fn apply_record(
        &mut self,
        key: &JsonObject,
        value: Option<JsonObject>,
        timestamp_ms: i64,
    ) -> Option<()> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let subject = normalize(text("subject").unwrap_or(""));
        match text("keytype")? {
            "SCHEMA" => {
                let version = json::int(key, "version").ok()??;
                match value {
                    None => self.remove(&(subject, version)),
                    Some(entity) => self.put(subject, version, entity, timestamp_ms)?,
                }
            }
            "CONFIG" => match value {
                None => drop(self.configs.remove(&subject)),
                Some(config) => drop(self.configs.insert(subject, config)),
            },
            "MODE" => match value {
                None => drop(self.modes.remove(&subject)),
                Some(mode) => {
                    let mode = json::text(&mode, "mode").ok()??;
                    self.modes.insert(subject, mode);
                }
            },
            "DELETE_SUBJECT" => {
                let upto = json::int(&value?, "version").ok()??;
                for (_, stored) in self
                    .versions
                    .range_mut((subject.clone(), i32::MIN)..=(subject, upto))
                {
                    stored.deleted = true;
                }
            }
            "CLEAR_SUBJECT" => self.clear(&subject),
            "CONTEXT" => {
                let context = text("context")?.to_owned();
                self.contexts.insert(context, value.is_some());
            }
            "ASSOC" => self.associate(key, value, timestamp_ms)?,
            "NOOP" => {}
            _ => return None,
        }
        Some(())
    }

    /// None when the record is no version, or binds its id to a second text.
    fn put(
        &mut self,
        subject: String,
        version: i32,
        mut entity: JsonObject,
        timestamp_ms: i64,
    ) -> Option<()> {
        let id = json::int(&entity, "id").ok()??;
        let text = json::text(&entity, "schema").ok()??;
        let context = QualifiedSubject::parse(&subject).context.to_owned();
        let high_water = self.high_water.entry(context.clone()).or_insert(0);
        *high_water = (*high_water).max(id);
        let place = (context, id);
        if self
            .ids
            .get(&place)
            .is_some_and(|(bound, _)| *bound != text)
        {
            return None;
        }
        let at = (subject, version);
        self.remove(&at);
        self.ids.entry(place).or_insert((text, 0)).1 += 1;
        let deleted = json::boolean(&entity, "deleted")
            .ok()
            .flatten()
            .unwrap_or(false);
        // The key names the version; the record's time is its time.
        entity.insert("subject".to_owned(), Value::from(at.0.clone()));
        entity.insert("version".to_owned(), Value::from(version));
        entity.insert("ts".to_owned(), Value::from(timestamp_ms));
        entity.remove("guid");
        self.versions.insert(
            at,
            Stored {
                entity,
                id,
                deleted,
            },
        );
        Some(())
    }

    fn remove(&mut self, at: &(String, i32)) {
        let Some(stored) = self.versions.remove(at) else {
            return;
        };
        let context = QualifiedSubject::parse(&at.0).context.to_owned();
        let place = (context, stored.id);
        if let Some((_, uses)) = self.ids.get_mut(&place) {
            *uses -= 1;
            if *uses == 0 {
                self.ids.remove(&place);
            }
        }
    }

    /// Drops soft-deleted versions of a subject, of a context (`:.ctx:`), or of everything.
    fn clear(&mut self, scope: &str) {
        let scope_name = QualifiedSubject::parse(scope);
        let concerns = |subject: &str| {
            scope.is_empty()
                || subject == scope
                || (scope_name.subject.is_empty()
                    && QualifiedSubject::parse(subject).context == scope_name.context)
        };
        let gone: Vec<(String, i32)> = self
            .versions
            .iter()
            .filter(|((subject, _), stored)| stored.deleted && concerns(subject))
            .map(|(at, _)| at.clone())
            .collect();
        for at in gone {
            self.remove(&at);
        }
    }

    fn associate(
        &mut self,
        key: &JsonObject,
        value: Option<JsonObject>,
        timestamp_ms: i64,
    ) -> Option<()> {
        let name = |field: &str| key.get(field).and_then(Value::as_str).unwrap_or("");
        let place = [
            "resourceNamespace",
            "resourceName",
            "resourceType",
            "associationType",
            "subject",
        ]
        .map(name)
        .join("\n");
        let Some(value) = value else {
            self.associations.remove(&place);
            return Some(());
        };
        let text = |field: &str| json::text(&value, field).ok().flatten();
        let association = Association {
            guid: Uuid::parse_str(&text("guid")?).ok()?,
            subject: normalize(&text("subject")?),
            resource_name: text("resourceName")?,
            resource_namespace: text("resourceNamespace")?,
            resource_id: text("resourceId")?,
            association_type: AssociationType::from_name(&text("associationType")?.to_lowercase())?,
            lifecycle: Lifecycle::from_name(&text("lifecycle")?.to_uppercase())?,
            frozen: json::boolean(&value, "frozen")
                .ok()
                .flatten()
                .unwrap_or(false),
            created_ms: timestamp_ms,
            updated_ms: timestamp_ms,
        };
        let created = self.associations.get(&place).map(|(_, created)| *created);
        let created = created.unwrap_or(timestamp_ms);
        self.associations.insert(place, (association, created));
        Some(())
    }

    /// The facts, and how many records could not be told as facts.
    #[must_use]
    pub fn finish(self) -> (Facts, usize) {
        let mut facts = Facts::default();
        let mut passed_over = self.passed_over;
        for stored in self.versions.values() {
            if facts.add_entity(&stored.entity, stored.deleted).is_err() {
                passed_over += 1;
            }
        }
        for (context, id) in self.high_water {
            facts.raise_ids(&context, SchemaId(id));
        }
        for (context, recorded) in self.contexts {
            if recorded && context != "." {
                facts.put(Change::RecordContext { context, recorded });
            }
        }
        for (subject, config) in &self.configs {
            if facts.add_config(subject, config).is_err() {
                passed_over += 1;
            }
        }
        for (subject, mode) in &self.modes {
            if facts.add_mode(subject, mode).is_err() {
                passed_over += 1;
            }
        }
        for (mut association, created_ms) in self.associations.into_values() {
            association.created_ms = created_ms;
            facts.put(Change::PutAssociation(association.into()));
        }
        (facts, passed_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Records as `key value` lines; `-` is a tombstone. The facts as short lines.
    fn check(records: &[(Value, Value)], passed_over: usize, expected: &[&str]) {
        let mut replay = Replay::default();
        for ((key, value), timestamp) in records.iter().zip(100..) {
            let value = (!value.is_null()).then(|| value.to_string().into_bytes());
            replay.apply(
                Some(key.to_string().as_bytes()),
                value.as_deref(),
                timestamp,
            );
        }
        let (facts, passed) = replay.finish();
        let shown: Vec<String> = facts
            .values()
            .map(|fact| {
                let text = |key: &str| fact[key].as_str().unwrap_or_default().to_owned();
                match fact["fact"].as_str().unwrap() {
                    "schema" => {
                        format!("schema {} {} {}", text("context"), fact["id"], text("text"))
                    }
                    "version" => format!(
                        "{} v{} id {} {}{}",
                        text("subject"),
                        fact["version"],
                        fact["id"],
                        fact["registeredMs"],
                        if fact["deleted"] == json!(true) {
                            " deleted"
                        } else {
                            ""
                        }
                    ),
                    "ids" => format!("ids {} {}", text("context"), fact["highWater"]),
                    "context" => format!("context {}", text("context")),
                    "config" => format!("config {} {}", text("subject"), fact["config"]),
                    "mode" => format!("mode {} {}", text("subject"), text("mode")),
                    other => format!(
                        "{other} {} {} {}",
                        text("subject"),
                        fact["createdMs"],
                        fact["updatedMs"]
                    ),
                }
            })
            .collect();
        assert_eq!(shown, expected);
        assert_eq!(passed, passed_over);
    }

    fn key(subject: &str, version: i32) -> Value {
        json!({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1})
    }

    fn value(subject: &str, version: i32, id: i32, schema: &str, deleted: bool) -> Value {
        json!({"subject": subject, "version": version, "id": id, "schema": schema, "deleted": deleted})
    }

    fn other(keytype: &str, subject: &str) -> Value {
        json!({"keytype": keytype, "subject": subject, "magic": 0})
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_a_tombstone_removes() {
        check(
            &[
                (key("s", 1), value("s", 1, 1, "\"int\"", false)),
                (key("s", 2), value("s", 2, 2, "\"long\"", false)),
                (key("s", 1), value("s", 1, 1, "\"int\"", true)),
                (key("t", 1), value("t", 1, 7, "\"bytes\"", false)),
                (key("t", 1), Value::Null),
            ],
            0,
            &[
                "ids . 7",
                "schema . 1 \"int\"",
                "schema . 2 \"long\"",
                "s v1 id 1 102 deleted",
                "s v2 id 2 101",
            ],
        );
    }

    #[test]
    fn an_id_stays_with_its_first_text() {
        check(
            &[
                (key("s", 1), value("s", 1, 1, "\"int\"", false)),
                (key("t", 1), value("t", 1, 1, "\"long\"", false)),
                (key("u", 1), value("u", 1, 1, "\"int\"", false)),
                // Another context counts for itself.
                (key(":.c:s", 1), value(":.c:s", 1, 1, "\"long\"", false)),
            ],
            1,
            &[
                "context .c",
                "ids . 1",
                "ids .c 1",
                "schema . 1 \"int\"",
                "schema .c 1 \"long\"",
                ":.c:s v1 id 1 103",
                "s v1 id 1 100",
                "u v1 id 1 102",
            ],
        );
    }

    #[test]
    fn subject_deletes_apply_to_what_is_there_then() {
        check(
            &[
                (key("s", 1), value("s", 1, 1, "\"int\"", false)),
                (key("s", 2), value("s", 2, 2, "\"long\"", false)),
                (
                    other("DELETE_SUBJECT", "s"),
                    json!({"subject": "s", "version": 2}),
                ),
                (key("s", 3), value("s", 3, 1, "\"int\"", false)),
                (key("t", 1), value("t", 1, 3, "\"bytes\"", true)),
                (other("CLEAR_SUBJECT", "t"), json!({"subject": "t"})),
            ],
            0,
            &[
                "ids . 3",
                "schema . 1 \"int\"",
                "schema . 2 \"long\"",
                "s v1 id 1 100 deleted",
                "s v2 id 2 101 deleted",
                "s v3 id 1 103",
            ],
        );
    }

    #[test]
    fn settings_modes_contexts_and_associations() {
        let assoc = json!({"keytype": "ASSOC", "tenant": "default", "resourceName": "t",
            "resourceNamespace": "n", "resourceType": "topic", "associationType": "value",
            "subject": "s", "magic": 0});
        let stored = json!({"guid": "00000000-0000-0000-0000-000000000007", "resourceName": "t",
            "resourceNamespace": "n", "resourceId": "r", "resourceType": "topic",
            "associationType": "value", "subject": "s", "lifecycle": "WEAK", "frozen": false});
        check(
            &[
                (
                    json!({"keytype": "CONFIG", "magic": 0}),
                    json!({"compatibilityLevel": "FULL"}),
                ),
                (
                    other("CONFIG", "s"),
                    json!({"compatibilityLevel": "NONE", "normalize": true}),
                ),
                (other("MODE", ":.c:"), json!({"mode": "IMPORT"})),
                (other("MODE", "gone"), json!({"mode": "READONLY"})),
                (other("MODE", "gone"), Value::Null),
                (
                    json!({"keytype": "CONTEXT", "tenant": "default", "context": ".c", "magic": 0}),
                    json!({"tenant": "default", "context": ".c"}),
                ),
                (json!({"keytype": "NOOP", "magic": 0}), Value::Null),
                (json!({"keytype": "NEWER"}), json!({})),
                (assoc.clone(), stored.clone()),
                (assoc, stored),
            ],
            1,
            &[
                "context .c",
                r#"config  {"compatibilityLevel":"FULL"}"#,
                r#"config s {"normalize":true,"compatibilityLevel":"NONE"}"#,
                "mode :.c: IMPORT",
                "association s 108 109",
            ],
        );
    }

    #[test]
    fn garbage_is_passed_over() {
        let mut replay = Replay::default();
        replay.apply(None, None, 0);
        replay.apply(Some(b"{"), None, 0);
        replay.apply(
            Some(br#"{"keytype":"SCHEMA","subject":"s","version":1}"#),
            Some(b"x"),
            0,
        );
        replay.apply(
            Some(br#"{"keytype":"SCHEMA","subject":"s","version":1}"#),
            Some(b"{}"),
            0,
        );
        assert_eq!(replay.finish().1, 4);
    }
}
