//! Backup and restore of a server whose registry is in PostgreSQL.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Server, eventually};
use crate::postgres::Postgres;

fn facts(server: &Server) -> Value {
    server.get_json("/v1/export")["facts"].take()
}

fn register(server: &Server, subject: &str, schema: &str) -> i64 {
    let path = format!("/subjects/{subject}/versions");
    let (status, answer) = server.post_json(&path, &json!({ "schema": schema }));
    assert_eq!(status, 200, "{answer}");
    answer["id"].as_i64().expect("an id")
}

const ORDER: &str = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"#;

/// A data directory that nobody uses, and a server to be started on it.
fn empty_beside(arguments: &[&str]) -> (Server, String) {
    let mut server = Server::start_with(arguments);
    server.terminate();
    let data = server.data.path().join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).expect("removed");
    }
    (server, data.display().to_string())
}

#[test]
fn a_log_and_its_registry_in_postgres_are_backed_up_under_load() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let server = Server::start_with(&["--registry-url", &url]);
    register(&server, "orders-value", ORDER);
    server.assay(&["topic", "create", "orders"], "").good();
    let folder = TempDir::new().expect("a folder");
    let backup = folder.path().join("backup").display().to_string();
    let data = server.data.path().join("data").display().to_string();

    let stop = AtomicBool::new(false);
    let (produced, registered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (before, ran) = std::thread::scope(|scope| {
        let (server, stop) = (&server, &stop);
        let (produced, registered) = (&produced, &registered);
        scope.spawn(move || {
            let lines: String = (0..20).map(|n| format!("{{\"a\": {n}}}\n")).collect();
            while !stop.load(Ordering::Acquire) {
                let arguments = ["produce", "orders", "--value-schema", "orders-value"];
                server.assay(&arguments, &lines).good();
                produced.fetch_add(20, Ordering::Release);
            }
        });
        scope.spawn(move || {
            for number in 0.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let schema = json!({ "type": "fixed", "name": format!("F{number}"), "size": 4 });
                register(server, &format!("s{number}"), &schema.to_string());
                registered.fetch_add(1, Ordering::Release);
            }
        });
        let so_far = || {
            (
                produced.load(Ordering::Acquire),
                registered.load(Ordering::Acquire),
            )
        };
        eventually("there is something to lose", || {
            let (records, schemas) = so_far();
            records >= 40 && schemas >= 300
        });
        let before = so_far();
        let arguments = [
            "backup",
            "--data",
            &data,
            "--to",
            &backup,
            "--registry-url",
            &url,
        ];
        let ran = server.assay(&arguments, "");
        stop.store(true, Ordering::Release);
        (before, ran)
    });
    assert!(ran.good().starts_with("backed up "));
    let (records_before, schemas_before) = before;

    // To an empty database: refused where there is a registry, and nothing is touched.
    let (_unused, elsewhere) = empty_beside(&["--registry-url", &postgres.database()]);
    let restore = |data: &str, url: &str| {
        let arguments = ["restore", "--from", &backup, "--data", data, "--verify"];
        server.assay(&[&arguments[..], &["--registry-url", url]].concat(), "")
    };
    let refused = restore(&elsewhere, &url);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("the database is not empty"),
        "{}",
        refused.stderr
    );
    assert!(!std::path::Path::new(&elsewhere).join("format").exists());

    let restored_url = postgres.database();
    // Its own start would make the database one with tables, which is as empty.
    let (mut restored, restored_data) = empty_beside(&["--registry-url", &restored_url]);
    let told = restore(&restored_data, &restored_url).good();
    assert!(told.contains("schema versions"), "{told}");
    restored.spawn();
    let consumed = restored.assay(&["consume", "orders", "--from", "beginning", "--exit"], "");
    let consumed = consumed.good();
    assert!(consumed.lines().count() >= records_before, "{consumed}");
    assert!(
        !consumed.contains("undecoded"),
        "a record without its schema"
    );
    let facts_here = facts(&restored);
    let subjects = restored.get_json("/subjects");
    let count = subjects.as_array().expect("a list").len();
    assert!(count > schemas_before, "{count} of {schemas_before}");
    // One moment: ids without a gap, each with its change.
    let next = register(&restored, "next-value", "\"float\"");
    assert_eq!(next, i64::try_from(count).expect("few") + 1);

    // The same backup as a data directory with everything in it.
    let (mut alone, alone_data) = empty_beside(&[]);
    let arguments = [
        "restore",
        "--from",
        &backup,
        "--data",
        &alone_data,
        "--verify",
    ];
    let told = server.assay(&arguments, "").good();
    assert!(told.contains("the registry came from PostgreSQL"), "{told}");
    alone.spawn();
    assert_eq!(facts(&alone), facts_here);
    let events = alone.get_json("/v1/subjects/orders-value/timeline")["events"].take();
    assert_eq!(
        events[0]["operation"], "register",
        "the change log came along"
    );
}

#[test]
fn a_registry_alone_is_backed_up_from_its_database() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let server = Server::start_with(&["--registry-only", "--registry-url", &url]);
    register(&server, "orders-value", ORDER);
    register(&server, ":.c:own", "\"int\"");
    let folder = TempDir::new().expect("a folder");
    let backup = folder.path().join("backup").display().to_string();
    let nowhere = folder.path().join("nowhere").display().to_string();
    let nothing = server.assay(&["backup", "--registry-only", "--to", &backup], "");
    assert!(
        nothing.stderr.contains("say --registry-url"),
        "{}",
        nothing.stderr
    );
    let arguments = [
        "backup",
        "--registry-only",
        "--registry-url",
        &url,
        "--to",
        &backup,
    ];
    let told = server.assay(&arguments, "").good();
    assert!(told.starts_with("backed up 1 files"), "{told}");

    let restored_url = postgres.database();
    let arguments = ["restore", "--from", &backup, "--data", &nowhere, "--verify"];
    let told = server
        .assay(
            &[&arguments[..], &["--registry-url", &restored_url]].concat(),
            "",
        )
        .good();
    assert!(told.contains("2 schema versions"), "{told}");
    assert!(!told.contains("postgres@127.0.0.1:0"), "{told}");
    assert!(
        !std::path::Path::new(&nowhere).exists(),
        "no data directory is made"
    );
    let restored = Server::start_with(&["--registry-only", "--registry-url", &restored_url]);
    assert_eq!(facts(&restored), facts(&server));

    // A database without a registry is told from one that is down.
    let empty = postgres.database();
    let other = folder.path().join("other").display().to_string();
    let arguments = [
        "backup",
        "--registry-only",
        "--registry-url",
        &empty,
        "--to",
        &other,
    ];
    let refused = server.assay(&arguments, "");
    assert!(
        refused.stderr.contains("there is no registry"),
        "{}",
        refused.stderr
    );
}
