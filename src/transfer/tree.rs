//! A registry as a tree of plain files that diffs well: one schema a file, and a manifest with one
//! fact a line.
//!
//! ```text
//! registry.json                      {"format": 1, "facts": [ one a line ]}
//! default/orders-value/1.avsc        a schema, under the first version that is it
//! .ctx/orders-value/1.proto
//! ```
//!
//! JSON texts are laid out on lines where that loses nothing; the manifest says so, and reading lays
//! them back on one. Other texts are there byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use registry::QualifiedSubject;
use registry::transfer::Facts;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::commands::http::segment;

const MANIFEST: &str = "registry.json";
const FORMAT: i64 = 1;

/// Why a tree was not written or read.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A file cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder holds something else.
    #[error("{0} is not empty and holds no export: choose another folder")]
    Foreign(PathBuf),
}

fn file_error(path: &Path, reason: impl ToString) -> TreeError {
    TreeError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Writes the tree, over an earlier export if there is one; the number of schema files.
///
/// # Errors
/// When the folder holds something else, or a file cannot be written.
pub fn write(facts: &Facts, folder: &Path) -> Result<usize, TreeError> {
    let before = files_of_earlier_export(folder)?;
    let values: Vec<Value> = facts.values().collect();
    let names = file_names(&values);
    let mut lines = Vec::new();
    let mut written = BTreeSet::new();
    for value in values {
        let Value::Object(mut fact) = value else {
            continue;
        };
        if let Some(name) = names.get(&place(&fact))
            && fact["fact"] == "schema"
        {
            let text = fact.remove("text").unwrap_or_default();
            let text = text.as_str().unwrap_or_default();
            let laid_out = laid_out(text, &fact["format"]);
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|error| file_error(parent, error))?;
            }
            let content = laid_out.as_deref().unwrap_or(text);
            std::fs::write(&path, content).map_err(|error| file_error(&path, error))?;
            fact.insert("file".to_owned(), json!(name));
            if laid_out.is_some() {
                fact.insert("laidOut".to_owned(), json!(true));
            }
            written.insert(name.clone());
        }
        // What says nothing makes noise in a diff.
        fact.retain(|_, value| !value.is_null() && *value != json!([]));
        lines.push(format!("    {}", Value::Object(fact)));
    }
    for gone in before.difference(&written) {
        remove(folder, gone)?;
    }
    let text = format!(
        "{{\n  \"format\": {FORMAT},\n  \"facts\": [\n{}\n  ]\n}}\n",
        lines.join(",\n")
    );
    let manifest = folder.join(MANIFEST);
    std::fs::create_dir_all(folder).map_err(|error| file_error(folder, error))?;
    std::fs::write(&manifest, text).map_err(|error| file_error(&manifest, error))?;
    Ok(written.len())
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// When a file is missing, or the manifest is of another format.
pub fn read(folder: &Path) -> Result<Facts, TreeError> {
    let path = folder.join(MANIFEST);
    let wrong = |reason: String| file_error(&path, reason);
    let mut facts = Facts::default();
    for value in manifest(&path)? {
        let Value::Object(mut fact) = value else {
            return Err(wrong("a fact is not an object".to_owned()));
        };
        if let Some(name) = fact.remove("file") {
            let name = name.as_str().unwrap_or_default();
            let file = inside(folder, name)
                .ok_or_else(|| wrong(format!("{name:?} does not name a file of this folder")))?;
            let mut text =
                std::fs::read_to_string(&file).map_err(|error| file_error(&file, error))?;
            if fact.remove("laidOut") == Some(json!(true)) {
                let tree: Value =
                    serde_json::from_str(&text).map_err(|error| file_error(&file, error))?;
                text = tree.to_string();
            }
            fact.insert("text".to_owned(), json!(text));
        }
        facts.add_value(&Value::Object(fact)).map_err(wrong)?;
    }
    Ok(facts)
}

fn manifest(path: &Path) -> Result<Vec<Value>, TreeError> {
    let text = std::fs::read_to_string(path).map_err(|error| file_error(path, error))?;
    let mut tree: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| file_error(path, error))?;
    if tree.get("format") != Some(&json!(FORMAT)) {
        return Err(file_error(path, format!("its format is not {FORMAT}")));
    }
    match tree.remove("facts") {
        Some(Value::Array(facts)) => Ok(facts),
        _ => Err(file_error(path, "it has no facts")),
    }
}

/// Schema files that the last export into the folder wrote.
fn files_of_earlier_export(folder: &Path) -> Result<BTreeSet<String>, TreeError> {
    let path = folder.join(MANIFEST);
    if path.exists() {
        let facts = manifest(&path)?;
        let names = facts.iter().filter_map(|fact| fact["file"].as_str());
        return Ok(names.map(str::to_owned).collect());
    }
    let is_empty = match std::fs::read_dir(folder) {
        // A checkout has its own folder in there.
        Ok(entries) => entries
            .filter_map(Result::ok)
            .all(|entry| entry.file_name().to_string_lossy().starts_with(".git")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(file_error(folder, error)),
    };
    if is_empty {
        Ok(BTreeSet::new())
    } else {
        Err(TreeError::Foreign(folder.to_owned()))
    }
}

/// Removes a file of an earlier export, and folders that it leaves empty.
fn remove(folder: &Path, name: &str) -> Result<(), TreeError> {
    let Some(path) = inside(folder, name) else {
        return Ok(());
    };
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(&path, error)),
    }
    let mut parent = path.parent();
    while let Some(empty) = parent.filter(|parent| *parent != folder) {
        if std::fs::remove_dir(empty).is_err() {
            break;
        }
        parent = empty.parent();
    }
    Ok(())
}

/// The path of a name in a manifest, which must stay below the folder.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let relative = Path::new(name);
    let is_plain = relative
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    (is_plain && !name.is_empty()).then(|| folder.join(relative))
}

type Place = (String, i64);

fn place(fact: &Map<String, Value>) -> Place {
    let context = match (fact["fact"].as_str(), fact.get("subject")) {
        (Some("version"), Some(Value::String(subject))) => {
            QualifiedSubject::parse(subject).context.to_owned()
        }
        _ => fact
            .get("context")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    };
    let id = fact.get("id").and_then(Value::as_i64).unwrap_or(-1);
    (context, id)
}

/// A name for each schema: the first version that is it, else its id.
fn file_names(values: &[Value]) -> BTreeMap<Place, String> {
    let mut formats: BTreeMap<Place, &str> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for fact in values.iter().filter_map(Value::as_object) {
        if fact["fact"] == "schema" {
            let extension = match fact["format"].as_str() {
                Some("AVRO") => "avsc",
                Some("PROTOBUF") => "proto",
                _ => "json",
            };
            formats.insert(place(fact), extension);
        }
    }
    for fact in values.iter().filter_map(Value::as_object) {
        let place = place(fact);
        let Some(extension) = formats.get(&place) else {
            continue;
        };
        if fact["fact"] == "version" && !names.contains_key(&place) {
            let subject = fact["subject"].as_str().unwrap_or_default();
            let bare = QualifiedSubject::parse(subject).subject;
            let name = format!(
                "{}/{}/{}.{extension}",
                folder_of(&place.0),
                file_segment(bare),
                fact["version"]
            );
            names.insert(place, name);
        }
    }
    for (place, extension) in formats {
        names
            .entry(place.clone())
            .or_insert_with(|| format!("{}/id-{}.{extension}", folder_of(&place.0), place.1));
    }
    names
}

fn folder_of(context: &str) -> String {
    if context == "." {
        "default".to_owned()
    } else {
        file_segment(context)
    }
}

/// One file name: percent-encoded, never empty, `.` or `..`.
fn file_segment(text: &str) -> String {
    match text {
        "" => "%".to_owned(),
        text if text.bytes().all(|byte| byte == b'.') => "%2E".repeat(text.len()),
        text => segment(text),
    }
}

/// The text on lines, when laying it back gives the very same text.
fn laid_out(text: &str, format: &Value) -> Option<String> {
    if format == "PROTOBUF" {
        return None;
    }
    let tree: Value = serde_json::from_str(text).ok()?;
    let pretty = serde_json::to_string_pretty(&tree).ok()? + "\n";
    let back = serde_json::from_str::<Value>(&pretty).ok()?.to_string();
    (back == text && pretty.trim_end() != text).then_some(pretty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(values: &[Value]) -> Facts {
        let mut facts = Facts::default();
        for value in values {
            facts.add_value(value).unwrap();
        }
        facts
    }

    fn schema(context: &str, id: i32, format: &str, text: &str) -> Value {
        json!({"fact": "schema", "context": context, "id": id, "format": format, "text": text,
               "guid": format!("00000000-0000-0000-0000-{id:012}"), "references": [],
               "metadata": null, "ruleSet": null})
    }

    fn version(subject: &str, version: i32, id: i32) -> Value {
        json!({"fact": "version", "subject": subject, "version": version, "id": id,
               "deleted": false, "registeredMs": 5})
    }

    fn some_facts() -> Facts {
        facts(&[
            schema(
                ".",
                1,
                "AVRO",
                r#"{"type":"record","name":"A","fields":[]}"#,
            ),
            schema(".", 2, "AVRO", r#""int""#),
            schema(".", 3, "JSON", r#"{"a":1.0,"b": 1e3}"#),
            schema(".c", 1, "PROTOBUF", "syntax = \"proto3\";\n"),
            schema(".c", 9, "AVRO", r#"{"type":"int","doc":"ü"}"#),
            version("a/b", 1, 1),
            version("z", 1, 1),
            version("..", 1, 2),
            version("j", 1, 3),
            version(":.c:p", 1, 1),
            json!({"fact": "ids", "context": ".", "highWater": 7}),
            json!({"fact": "mode", "subject": "", "mode": "READONLY"}),
        ])
    }

    #[test]
    fn a_tree_reads_back_as_it_was_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let facts = some_facts();
        assert_eq!(write(&facts, folder.path()).unwrap(), 5);
        for name in [
            "default/a%2Fb/1.avsc",
            "default/%2E%2E/1.avsc",
            "default/j/1.json",
            ".c/p/1.proto",
            ".c/id-9.avsc",
        ] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        let read = read(folder.path()).unwrap();
        assert_eq!(facts.missing_in(&read), Vec::<String>::new());
        assert_eq!(read.missing_in(&facts), Vec::<String>::new());
        let record = std::fs::read_to_string(folder.path().join("default/a%2Fb/1.avsc")).unwrap();
        assert!(record.lines().count() > 3, "{record}");
        // Numbers that would not come back as they were keep the text on one line.
        let raw = std::fs::read_to_string(folder.path().join("default/j/1.json")).unwrap();
        assert_eq!(raw, r#"{"a":1.0,"b": 1e3}"#);
    }

    #[test]
    fn an_export_replaces_the_one_before_and_nothing_else() {
        let folder = tempfile::TempDir::new().unwrap();
        write(&some_facts(), folder.path()).unwrap();
        let own = folder.path().join("default/README");
        std::fs::write(&own, "mine").unwrap();
        let fewer = facts(&[schema(".", 2, "AVRO", r#""int""#), version("..", 1, 2)]);
        assert_eq!(write(&fewer, folder.path()).unwrap(), 1);
        assert!(own.exists());
        assert!(!folder.path().join("default/a%2Fb").exists());
        assert_eq!(read(folder.path()).unwrap().len(), 2);

        let other = tempfile::TempDir::new().unwrap();
        std::fs::write(other.path().join("x"), "").unwrap();
        assert!(matches!(
            write(&fewer, other.path()),
            Err(TreeError::Foreign(_))
        ));
    }

    #[test]
    fn a_manifest_names_files_of_its_folder_only() {
        let folder = tempfile::TempDir::new().unwrap();
        for name in ["../x", "/etc/passwd", "a/../../x", ""] {
            let mut fact = schema(".", 1, "AVRO", "");
            fact["file"] = json!(name);
            let manifest = json!({"format": 1, "facts": [fact]}).to_string();
            std::fs::write(folder.path().join(MANIFEST), manifest).unwrap();
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("does not name a file"), "{name}: {error}");
        }
    }
}
