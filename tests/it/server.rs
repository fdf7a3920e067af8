//! `assay serve` as an operator meets it.

use std::process::Command;

use serde_json::json;

use crate::harness::{Server, run};

fn assay(arguments: &[&str]) -> crate::harness::Ran {
    run(
        Command::new(env!("CARGO_BIN_EXE_assay")).args(arguments),
        "",
    )
}

#[test]
fn taken_port_is_named_with_the_flag_that_changes_it() {
    let server = Server::start();
    let other = tempfile::TempDir::new().expect("a temporary directory");
    let data = other.path().to_str().expect("a UTF-8 path");
    let ran = assay(&[
        "serve",
        "--kafka",
        &server.kafka,
        "--http",
        "127.0.0.1:0",
        "--data",
        data,
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(&server.kafka) && ran.stderr.contains("--kafka"),
        "{}",
        ran.stderr
    );
}

#[test]
fn second_process_on_one_directory_is_refused() {
    let server = Server::start();
    let data = server.data.path().join("data");
    let data = data.to_str().expect("a UTF-8 path");
    let ran = assay(&[
        "serve",
        "--kafka",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data",
        data,
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(data) && ran.stderr.contains("another assay"),
        "{}",
        ran.stderr
    );
}

#[test]
fn newer_format_is_refused() {
    let mut server = Server::start();
    server.terminate();
    let format = server.data.path().join("data/format");
    let current = std::fs::read_to_string(&format).expect("the format file");
    assert_eq!(current.trim(), "1");
    std::fs::write(&format, "99\n").expect("the format file is written");
    let data = server.data.path().join("data");
    let data = data.to_str().expect("a UTF-8 path");
    let ran = assay(&[
        "serve",
        "--kafka",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data",
        data,
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("99"), "{}", ran.stderr);
}

#[test]
fn unusable_directory_is_named() {
    let ran = assay(&[
        "serve",
        "--kafka",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data",
        "/proc/x",
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("/proc/x"), "{}", ran.stderr);
}

#[test]
fn configuration_is_printed_and_read_back() {
    let printed = assay(&["serve", "--print-config", "--kafka", "127.0.0.1:7"]).good();
    assert!(printed.contains("kafka = \"127.0.0.1:7\""), "{printed}");
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let file = folder.path().join("assay.toml");
    std::fs::write(&file, &printed).expect("the file is written");
    let again = assay(&[
        "serve",
        "--config",
        file.to_str().expect("UTF-8"),
        "--print-config",
    ]);
    assert_eq!(again.good(), printed);
}

#[test]
fn usage_error_is_exit_code_2() {
    assert_eq!(assay(&["serve", "--no-such-flag"]).code, Some(2));
}

#[test]
fn schemas_survive_restart_and_kill() {
    let mut server = Server::start();
    let schema = json!({ "schema": r#"{"type":"record","name":"A","fields":[]}"# });
    let (status, answer) = server.post_json("/subjects/a-value/versions", &schema);
    assert_eq!((status, &answer["id"]), (200, &json!(1)));
    let before = server.get_json("/subjects/a-value/versions/1");
    server.kill();
    server.spawn();
    assert_eq!(server.get_json("/subjects/a-value/versions/1"), before);
    server.terminate();
    server.spawn();
    assert_eq!(server.get_json("/subjects/a-value/versions/1"), before);
    let other = json!({ "schema": r#"{"type":"record","name":"B","fields":[]}"# });
    assert_eq!(
        server.post_json("/subjects/b-value/versions", &other).1["id"],
        json!(2)
    );
}

#[test]
fn a_topic_without_associations_has_an_empty_list() {
    let server = Server::start();
    let path = "/associations/resources/-/orders?resourceType=topic&associationType=value";
    assert_eq!(server.get(path), (200, "[]".to_owned()));
    let (status, body) = server.get("/dek-registry/v1/keks");
    assert_eq!(status, 404);
    assert!(body.contains("\"error_code\":404"), "{body}");
}

#[test]
fn command_line_registers_produces_consumes_and_checks() {
    let server = Server::start();
    let folder = server.data.path();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the file is written");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    let v1 = file(
        "v1.avsc",
        r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#,
    );
    let bad = file(
        "bad.avsc",
        r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#,
    );
    let v2 = file(
        "v2.avsc",
        r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"note","type":"string","default":""}]}"#,
    );
    let registered = server
        .assay(&["schema", "register", "orders-value", &v1], "")
        .good();
    assert_eq!(registered, "orders-value version 1 id 1\n");
    assert_eq!(
        server
            .assay(&["schema", "check", "orders-value", &bad], "")
            .code,
        Some(3)
    );
    assert_eq!(
        server
            .assay(&["schema", "check", "orders-value", &v2], "")
            .code,
        Some(0)
    );
    let refused = server.assay(&["schema", "register", "orders-value", &bad], "");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("40901"), "{}", refused.stderr);
    server
        .assay(&["schema", "register", "orders-value", &v2], "")
        .good();
    assert_eq!(
        server
            .assay(&["schema", "versions", "orders-value"], "")
            .good(),
        "1\n2\n"
    );
    assert_eq!(
        server.assay(&["schema", "list"], "").good(),
        "orders-value\n"
    );

    server
        .assay(&["topic", "create", "orders", "--partitions", "2"], "")
        .good();
    let produced = server.assay(
        &["produce", "orders", "--value-schema", "orders-value"],
        "{\"id\": 1, \"note\": \"a\"}\n{\"id\": 2, \"note\": \"b\"}\n",
    );
    produced.good();
    let consumed = server
        .assay(&["consume", "orders", "--from", "beginning", "--exit"], "")
        .good();
    let mut values: Vec<String> = consumed
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON lines")["value"]
                .to_string()
        })
        .collect();
    values.sort();
    assert_eq!(values, [r#"{"id":1,"note":"a"}"#, r#"{"id":2,"note":"b"}"#]);
    let listed = server.assay(&["topic", "list"], "").good();
    assert!(listed.contains("orders"), "{listed}");
    server
        .assay(&["topic", "config", "orders", "retention.ms=60000"], "")
        .good();
    let config = server.assay(&["topic", "config", "orders"], "").good();
    assert!(
        config.contains("retention.ms") && config.contains("60000"),
        "{config}"
    );
    server.assay(&["topic", "delete", "orders"], "").good();
    assert_ne!(
        server.assay(&["topic", "describe", "orders"], "").code,
        Some(0)
    );
}
