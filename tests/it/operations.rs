//! What operators meet: probes, limits, reload, request ids, the OpenAPI document.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Server, eventually, run};

/// Sends bytes and reads until the server closes.
fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(&server.http).expect("the listener answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn probes_answer_and_tell_what_they_checked() {
    let server = Server::start();
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(server.get(path), (200, "ok\n".to_owned()), "{path}");
    }
    let (status, text) = server.get("/readyz?verbose");
    assert_eq!(
        (status, text.as_str()),
        (200, "[+] phase ok\n[+] registry ok\n")
    );
}

#[test]
fn answers_carry_the_request_id() {
    let server = Server::start();
    let ask = |header: &str| {
        raw(
            &server,
            &format!("GET /subjects HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"),
        )
        .to_ascii_lowercase()
    };
    assert!(ask("X-Request-ID: abc-1\r\n").contains("x-request-id: abc-1\r\n"));
    assert!(ask("").contains("x-request-id: "));
}

#[test]
fn slow_clients_are_cut_off() {
    let server = Server::start_with(&["--http-header-max-ms", "300", "--http-body-max-ms", "300"]);
    // A head that never ends: the connection is closed.
    raw(&server, "GET /subjects HTTP/1.1\r\nHost: x\r\n");
    // A body that never comes: 408.
    let answer = raw(
        &server,
        "POST /subjects/s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 10\r\nConnection: close\r\n\r\n{",
    );
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn connections_past_the_limit_are_answered_503() {
    let server = Server::start_with(&["--http-connections-max", "1"]);
    let mut first = TcpStream::connect(&server.http).expect("connected");
    first
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut some = [0; 16];
    first.read_exact(&mut some).expect("answered");
    let refused = raw(&server, "");
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("Retry-After: 1"),
        "{refused}"
    );
    drop(first);
    eventually("the place is free again", || {
        raw(
            &server,
            "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .starts_with("HTTP/1.1 200")
    });
}

#[test]
fn other_machines_are_let_in_only_when_said_aloud() {
    let folder = tempfile::TempDir::new().expect("a directory");
    let data = folder.path().to_str().expect("UTF-8");
    let ran = run(
        Command::new(env!("CARGO_BIN_EXE_assay")).args([
            "serve",
            "--kafka",
            "0.0.0.0:0",
            "--http",
            "127.0.0.1:0",
            "--data",
            data,
        ]),
        "",
    );
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("--insecure"), "{}", ran.stderr);
    let printed = run(
        Command::new(env!("CARGO_BIN_EXE_assay")).args([
            "serve",
            "--kafka",
            "0.0.0.0:0",
            "--insecure",
            "--print-config",
        ]),
        "",
    );
    assert!(printed.good().contains("insecure = true"));
}

#[test]
fn hangup_reloads_limits_and_log_filter_or_nothing() {
    let folder = tempfile::TempDir::new().expect("a directory");
    let file = folder.path().join("assay.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write("");
    let server = Server::start_with(&["--config", file.to_str().expect("UTF-8")]);
    let long =
        json!({ "schema": format!("{{\"type\":\"string\",\"x\":\"{}\"}}", "y".repeat(2_000)) });
    let register = || server.post_json("/subjects/s/versions", &long).0;
    assert_eq!(register(), 200);
    write("schema-max-bytes = 1024\nlog = \"debug\"\ndefault-partitions = 3\n");
    server.signal("-HUP");
    eventually("the limit is in force", || register() == 422);
    let log = server.log();
    assert!(
        log.contains("needs a restart") && log.contains("default-partitions"),
        "{log}"
    );
    server.get("/subjects");
    eventually("debug lines are logged", || {
        let log = server.log();
        log.contains("http request answered") && log.contains("request_id=")
    });
    write("schema-max-bytes = 4194304\nlog = \"=====\"\n");
    server.signal("-HUP");
    eventually("the refusal is logged", || {
        server.log().contains("nothing was changed")
    });
    assert_eq!(register(), 422);
}

#[test]
fn the_openapi_document_names_every_route_of_the_process() {
    let server = Server::start();
    let document = server.get_json("/openapi.json");
    assert_eq!(document["openapi"], json!("3.1.0"));
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/subjects/{subject}/versions",
        "/v1/schemas/check",
        "/metrics",
        "/v1/rejections",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    // Every documented GET without parameters in its path is there.
    for (path, methods) in paths {
        if methods["get"].is_null() || path.contains('{') {
            continue;
        }
        let query = if path == "/v1/search" { "?q=a" } else { "" };
        let (status, body) = server.get(&format!("{path}{query}"));
        assert_eq!(status, 200, "{path}: {body}");
    }
    let metrics = server.get("/metrics").1;
    for name in [
        "assay_build_info",
        "assay_registry_request_duration_seconds",
        "assay_http_connections",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
}

#[test]
fn a_delete_is_told_its_topics_and_last_use() {
    let server = Server::start();
    let schema =
        json!({ "schema": r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"# });
    server.post_json("/subjects/orders-value/versions", &schema);
    server.assay(&["topic", "create", "orders"], "").good();
    let impact = || server.get_json("/v1/subjects/orders-value/delete-impact");
    assert_eq!(
        impact()["topics"],
        json!([{ "topic": "orders", "part": "value", "mode": "auto" }])
    );
    assert_eq!(impact()["versions"][0]["last_used_ms"], Value::Null);
    let produced = server.assay(
        &["produce", "orders", "--value-schema", "orders-value"],
        "{\"a\": 1}\n",
    );
    produced.good();
    assert!(
        impact()["versions"][0]["last_used_ms"]
            .as_i64()
            .expect("a time")
            > 0
    );
}

#[test]
fn stopping_waits_for_requests_and_is_quick() {
    let mut server = Server::start();
    // An idle keep-alive connection does not hold the process.
    let mut idle = TcpStream::connect(&server.http).expect("connected");
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    idle.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let mut some = [0; 16];
    idle.read_exact(&mut some).expect("answered");
    server.terminate();
}
