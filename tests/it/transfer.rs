//! Moving in and out: import from an API, a topic and a tree; export; backup and restore.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use assay::client::KafkaClient;
use broker_core::records::{BatchBuilder, Compression};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Ran, Server, eventually, run};

fn call(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (status, answer) = server.request(method, path, &text);
    assert!(status < 300, "{method} {path}: {status} {answer}");
    serde_json::from_str(&answer).unwrap_or(Value::Null)
}

/// A registry with something of everything.
fn furnish(server: &Server) {
    let record = |fields: &str| {
        format!(r#"{{"type":"record","name":"Order","namespace":"shop","fields":[{fields}]}}"#)
    };
    let post = |subject: &str, body: Value| {
        call(
            server,
            "POST",
            &format!("/subjects/{subject}/versions"),
            &body,
        )
    };
    post("orders-value", json!({ "schema": record("") }));
    post(
        "orders-value",
        json!({
            "schema": record(r#"{"name":"id","type":"long","default":0}"#),
            "metadata": { "properties": { "owner": "sales" } },
        }),
    );
    post("copy-value", json!({ "schema": record("") }));
    post(
        "box-value",
        json!({
            "schema": r#"{"type":"record","name":"Box","fields":[{"name":"o","type":"shop.Order"}]}"#,
            "references": [{ "name": "shop.Order", "subject": "orders-value", "version": 1 }],
        }),
    );
    post(
        "json-value",
        json!({ "schemaType": "JSON", "schema": r#"{"type":"object","properties":{"a":{"type":"number","maximum":1.50}}}"# }),
    );
    post(
        "proto-value",
        json!({ "schemaType": "PROTOBUF", "schema": "syntax = \"proto3\"; message M { int32 a = 1; }" }),
    );
    post("%3A.c%3Aown%2Fvalue", json!({ "schema": "\"int\"" }));
    post("gone-value", json!({ "schema": "\"long\"" }));
    post("spent-value", json!({ "schema": "\"bytes\"" }));
    for path in [
        "/subjects/gone-value",
        "/subjects/copy-value/versions/1",
        "/subjects/spent-value",
        "/subjects/spent-value?permanent=true",
    ] {
        call(server, "DELETE", path, &Value::Null);
    }
    call(
        server,
        "PUT",
        "/config",
        &json!({ "compatibility": "FULL" }),
    );
    call(
        server,
        "PUT",
        "/config/orders-value",
        &json!({ "compatibility": "NONE", "normalize": true, "alias": "orders" }),
    );
    call(
        server,
        "PUT",
        "/config/%3A.c%3A",
        &json!({ "compatibility": "FORWARD" }),
    );
    call(
        server,
        "PUT",
        "/mode/json-value",
        &json!({ "mode": "READONLY" }),
    );
    call(
        server,
        "POST",
        "/associations",
        &json!({
            "resourceName": "boxes", "resourceNamespace": "lkc-1", "resourceId": "r-1",
            "associations": [{ "subject": "box-value", "associationType": "value" }],
        }),
    );
}

fn facts(server: &Server) -> Value {
    server.get_json("/v1/export")["facts"].take()
}

fn import(target: &Server, arguments: &[&str]) -> Ran {
    let mut all = vec!["import", "schemas"];
    all.extend(arguments);
    target.assay(&all, "")
}

#[test]
fn another_registry_is_taken_over_exactly_and_verified() {
    let source = Server::start();
    furnish(&source);
    let target = Server::start();
    let url = source.registry();
    let told = import(&target, &["--from", &url, "--verify"]).good();
    assert!(told.contains("verified: "), "{told}");
    assert_eq!(facts(&target), facts(&source));
    // Again: nothing to write.
    let again = import(&target, &["--from", &url, "--verify"]).good();
    assert!(again.contains(" 0 facts written"), "{again}");
    // Ids go on where the source's would.
    let next = json!({ "schema": "\"float\"" });
    let id = call(&target, "POST", "/subjects/next-value/versions", &next)["id"].clone();
    assert_eq!(id, json!(8));
    // What was not imported is told.
    call(
        &source,
        "PUT",
        "/config/box-value",
        &json!({ "compatibility": "FULL" }),
    );
    let (status, _) = target.request("PUT", "/mode/box-value", r#"{"mode":"READONLY"}"#);
    assert_eq!(status, 200);
    let told = import(&target, &["--from", &url, "--verify"]).good();
    assert!(told.contains("here only: "), "{told}");
}

#[test]
fn what_contradicts_is_refused_as_a_whole() {
    let (source, target) = (Server::start(), Server::start());
    for (server, schema) in [(&source, "\"int\""), (&target, "\"long\"")] {
        let body = json!({ "schema": schema });
        call(server, "POST", "/subjects/s/versions", &body);
    }
    let before = facts(&target);
    let refused = import(&target, &["--from", &source.registry()]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused
            .stderr
            .contains("schema 1 of context . is another one here"),
        "{}",
        refused.stderr
    );
    assert_eq!(facts(&target), before);
}

#[test]
fn a_schemas_topic_is_replayed_from_any_broker() {
    let source = Server::start();
    let registry = Server::start();
    source
        .assay(&["topic", "create", "_schemas", "--partitions", "1"], "")
        .good();
    let value = |subject: &str, version: i32, id: i32, schema: &str, deleted: bool| json!({ "subject": subject, "version": version, "id": id, "schema": schema, "deleted": deleted });
    let key = |subject: &str, version: i32| json!({ "keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1 });
    let records = [
        (json!({ "keytype": "NOOP", "magic": 0 }), Value::Null),
        (key("a", 1), value("a", 1, 1, "\"int\"", false)),
        (key("a", 2), value("a", 2, 2, "\"long\"", false)),
        // Id 2 is bound to another text already.
        (key("b", 1), value("b", 1, 2, "\"bytes\"", false)),
        (key(":.c:a", 1), value(":.c:a", 1, 1, "\"string\"", false)),
        (key("t", 1), value("t", 1, 9, "\"double\"", false)),
        (key("t", 1), Value::Null),
        (
            json!({ "keytype": "DELETE_SUBJECT", "subject": "a", "magic": 0 }),
            json!({ "subject": "a", "version": 1 }),
        ),
        (
            json!({ "keytype": "CONFIG", "subject": "a", "magic": 0 }),
            json!({ "compatibilityLevel": "FULL" }),
        ),
        (
            json!({ "keytype": "MODE", "subject": "", "magic": 0 }),
            json!({ "mode": "IMPORT" }),
        ),
    ];
    let mut batch = BatchBuilder::new(Compression::None, 1_000);
    for ((key, value), time) in records.iter().zip(1_000..) {
        let value = (!value.is_null()).then(|| value.to_string());
        let value = value.as_ref().map(String::as_bytes);
        batch.append(time, Some(key.to_string().as_bytes()), value, &[]);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stored = runtime.block_on(async {
        let mut client = KafkaClient::connect(&source.kafka)
            .await
            .expect("connected");
        client
            .produce("_schemas", 0, &batch.build(), -1)
            .await
            .expect("produced")
    });
    assert_eq!(stored.error.0, 0);
    let ran = run(
        Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["import", "schemas", "--from-topic", "--verify"])
            .env("KAFKA_BOOTSTRAP_SERVERS", &source.kafka)
            .env("SCHEMA_REGISTRY_URL", registry.registry()),
        "",
    );
    let told = ran.good();
    assert!(
        told.contains("read 10 records of _schemas, 1 passed over"),
        "{told}"
    );
    assert!(told.contains("verified: "), "{told}");
    let versions = |query: &str| registry.get_json(&format!("/subjects/a/versions{query}"));
    assert_eq!(versions(""), json!([2]));
    assert_eq!(versions("?deleted=true"), json!([1, 2]));
    assert_eq!(
        registry.get_json("/subjects/a/versions/2")["ts"],
        json!(1_002)
    );
    assert_eq!(
        registry.get_json("/schemas/ids/1?subject=:.c:")["schema"],
        json!("\"string\"")
    );
    assert_eq!(
        registry.get_json("/config/a")["compatibilityLevel"],
        json!("FULL")
    );
    assert_eq!(registry.get_json("/mode")["mode"], json!("IMPORT"));
    // The id of the schema that was deleted for good stays spent.
    call(
        &registry,
        "PUT",
        "/mode?force=true",
        &json!({ "mode": "READWRITE" }),
    );
    let next = json!({ "schema": "\"float\"" });
    assert_eq!(
        call(&registry, "POST", "/subjects/n/versions", &next)["id"],
        json!(10)
    );
}

/// Names and contents of a tree.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .expect("inside")
                    .display()
                    .to_string();
                found.push((name, std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_export_imports_back_to_the_identical_registry() {
    let source = Server::start();
    furnish(&source);
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    source
        .assay(&["export", "schemas", "--to", &path("one")], "")
        .good();
    let files = contents(&folder.path().join("one"));
    for name in [
        "registry.json",
        "default/orders-value/2.avsc",
        ".c/own%2Fvalue/1.avsc",
        "default/proto-value/1.proto",
    ] {
        assert!(
            files.iter().any(|(file, _)| file == name),
            "{name}: {files:?}"
        );
    }
    let target = Server::start();
    let told = import(&target, &["--from", &path("one"), "--verify"]).good();
    assert!(told.contains("verified: "), "{told}");
    assert_eq!(facts(&target), facts(&source));
    target
        .assay(&["export", "schemas", "--to", &path("two")], "")
        .good();
    assert_eq!(contents(&folder.path().join("two")), files);
    // A change is a small diff.
    let body = json!({ "schema": "\"string\"" });
    call(&source, "POST", "/subjects/new-value/versions", &body);
    source
        .assay(&["export", "schemas", "--to", &path("one")], "")
        .good();
    let changed: Vec<String> = contents(&folder.path().join("one"))
        .into_iter()
        .filter(|file| !files.contains(file))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(changed, ["default/new-value/1.avsc", "registry.json"]);
}

#[test]
fn a_backup_taken_under_load_restores_and_serves() {
    let server = Server::start();
    let schema =
        json!({ "schema": r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"# });
    call(&server, "POST", "/subjects/orders-value/versions", &schema);
    server
        .assay(
            &["topic", "create", "orders", "-c", "segment.bytes=2000"],
            "",
        )
        .good();
    let folder = TempDir::new().expect("a folder");
    let backup = folder.path().join("backup").display().to_string();
    let data = server.data.path().join("data").display().to_string();

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let (before, ran) = std::thread::scope(|scope| {
        let (server, stop, acknowledged) = (&server, &stop, &acknowledged);
        scope.spawn(move || {
            let lines: String = (0..50).map(|n| format!("{{\"a\": {n}}}\n")).collect();
            while !stop.load(Ordering::Acquire) {
                let arguments = ["produce", "orders", "--value-schema", "orders-value"];
                server.assay(&arguments, &lines).good();
                acknowledged.fetch_add(50, Ordering::Release);
            }
        });
        eventually("records are stored", || {
            acknowledged.load(Ordering::Acquire) >= 100
        });
        let before = acknowledged.load(Ordering::Acquire);
        let ran = server.assay(&["backup", "--data", &data, "--to", &backup], "");
        stop.store(true, Ordering::Release);
        (before, ran)
    });
    assert!(ran.good().starts_with("backed up "));

    let mut other = Server::start();
    other.terminate();
    let restored = other.data.path().join("data");
    std::fs::remove_dir_all(&restored).expect("removed");
    let restored = restored.display().to_string();
    let arguments = [
        "restore", "--from", &backup, "--data", &restored, "--verify",
    ];
    let told = other.assay(&arguments, "").good();
    assert!(told.contains("1 schema versions"), "{told}");
    other.spawn();
    let consumed = other.assay(&["consume", "orders", "--from", "beginning", "--exit"], "");
    let records = consumed.good().lines().count();
    assert!(records >= before, "{records} of at least {before}");
    assert_eq!(
        other.get_json("/subjects/orders-value/versions/1"),
        server.get_json("/subjects/orders-value/versions/1")
    );
    let produce = ["produce", "orders", "--value-schema", "orders-value"];
    other.assay(&produce, "{\"a\": 1}\n").good();
}

#[test]
fn a_damaged_backup_is_refused() {
    let mut server = Server::start();
    server.assay(&["topic", "create", "orders"], "").good();
    server.assay(&["produce", "orders", "--raw"], "x\n");
    server.terminate();
    let folder = TempDir::new().expect("a folder");
    let backup = folder.path().join("backup");
    let data = server.data.path().join("data").display().to_string();
    let to = backup.display().to_string();
    server
        .assay(&["backup", "--data", &data, "--to", &to], "")
        .good();
    let again = server.assay(&["backup", "--data", &data, "--to", &to], "");
    assert!(again.stderr.contains("not empty"), "{}", again.stderr);
    let meta = backup.join("meta");
    let log = std::fs::read_dir(&meta)
        .expect("meta")
        .next()
        .expect("a file")
        .expect("an entry")
        .path();
    let mut bytes = std::fs::read(&log).expect("read");
    bytes[30] ^= 1;
    std::fs::write(&log, bytes).expect("written");
    let target = folder.path().join("data").display().to_string();
    let refused = server.assay(&["restore", "--from", &to, "--data", &target], "");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("not the file that was backed up"),
        "{}",
        refused.stderr
    );
}
