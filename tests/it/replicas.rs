//! Processes that share one PostgreSQL: what holds while the database comes and goes and a replica
//! is cut off.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Ran, Server, eventually, run, try_request};
use crate::postgres::Postgres;
use crate::proxy::Proxy;

fn replica(url: &str) -> Server {
    Server::start_with(&["--registry-only", "--registry-url", url])
}

fn fixed(name: &str) -> Value {
    json!({ "schema": json!({ "type": "fixed", "name": name, "size": 4 }).to_string() })
}

#[track_caller]
fn register(server: &Server, subject: &str) -> Value {
    let path = format!("/subjects/{subject}/versions");
    let (status, answer) = server.post_json(&path, &fixed(subject));
    assert_eq!(status, 200, "{answer}");
    answer["id"].clone()
}

fn ready(server: &Server) -> bool {
    server.get("/readyz").0 == 200
}

#[test]
fn three_replicas_answer_as_one() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let replicas = [replica(&url), replica(&url), replica(&url)];
    for round in 1..=5 {
        let subject = format!("s{round}");
        let answers: BTreeSet<String> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|client| {
                    let (server, subject) = (&replicas[client % 3], &subject);
                    scope.spawn(move || {
                        let path = format!("/subjects/{subject}/versions");
                        server.post_json(&path, &fixed(subject)).1.to_string()
                    })
                })
                .collect();
            clients
                .into_iter()
                .map(|client| client.join().expect("a client"))
                .collect()
        });
        let ids: BTreeSet<(i64, i64)> = answers
            .iter()
            .map(|answer| id_and_version(answer))
            .collect();
        assert_eq!(ids, BTreeSet::from([(round, 1)]), "{answers:?}");
        for server in &replicas {
            let by_id = server.get_json(&format!("/schemas/ids/{round}"));
            assert_eq!(by_id["subject"], subject.as_str());
        }
    }
    let [writer, reader, _] = &replicas;
    for round in 1..=5 {
        for permanent in ["", "?permanent=true"] {
            let path = format!("/subjects/s{round}{permanent}");
            assert_eq!(writer.request("DELETE", &path, "").0, 200);
        }
        let path = format!("/schemas/ids/{round}?deleted=true");
        assert_eq!(reader.get(&path).0, 404, "served after its delete");
    }
    // Ids are not given out again.
    assert_eq!(register(reader, "s1"), json!(6));
}

fn id_and_version(answer: &str) -> (i64, i64) {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    let number = |key: &str| answer[key].as_i64().unwrap_or(-1);
    (number("id"), number("version"))
}

#[test]
fn a_database_that_goes_and_comes_back_is_waited_for() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let (first, second) = (replica(&url), replica(&url));
    assert_eq!(register(&first, "before"), json!(1));
    assert_eq!(second.get("/schemas/ids/1").0, 200);
    for round in 0_i64..2 {
        if round == 0 {
            postgres.stop();
        } else {
            postgres.crash();
        }
        for server in [&first, &second] {
            eventually("the loss is seen", || !ready(server));
            assert_eq!(server.get("/livez").0, 200);
            assert_eq!(server.get("/schemas/ids/1").0, 200, "reads go on");
            let (status, body) = server.get("/schemas/ids/99");
            assert_eq!(status, 500, "the unknown cannot be denied: {body}");
            assert!(body.contains("50001"), "{body}");
            let (status, answer) = server.post_json("/subjects/during/versions", &fixed("during"));
            assert_eq!((status, &answer["error_code"]), (500, &json!(50001)));
        }
        postgres.restart();
        for server in [&first, &second] {
            eventually("the database is found again", || ready(server));
        }
        // No id was spent on what was not stored.
        let subject = format!("after{round}");
        let id = register(&second, &subject);
        assert_eq!(id, json!(round + 2));
        assert_eq!(first.get(&format!("/schemas/ids/{id}")).0, 200);
    }
}

#[test]
fn a_replica_that_is_cut_off_delays_a_delete_by_its_lease_and_then_follows_again() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let proxy = Proxy::to(format!("127.0.0.1:{}", postgres.port));
    let through = url.replace(
        &format!(":{}/", postgres.port),
        &format!(":{}/", proxy.port),
    );
    let (server, cut_off) = (replica(&url), replica(&through));
    register(&server, "s");
    assert_eq!(cut_off.get("/schemas/ids/1").0, 200);
    proxy.cut();
    assert_eq!(server.request("DELETE", "/subjects/s", "").0, 200);
    let began = Instant::now();
    let (status, body) = server.request("DELETE", "/subjects/s?permanent=true", "");
    assert_eq!(status, 200, "{body}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "waited {:?} for a replica whose lease has ended",
        began.elapsed()
    );
    eventually("the cut is seen", || !ready(&cut_off));
    assert_eq!(cut_off.get("/livez").0, 200);
    assert_eq!(cut_off.get("/schemas/ids/1").0, 200, "reads go on");
    let id = register(&server, "t");
    proxy.heal();
    eventually("the replica follows again", || ready(&cut_off));
    assert_eq!(cut_off.get("/schemas/ids/1?deleted=true").0, 404);
    assert_eq!(cut_off.get(&format!("/schemas/ids/{id}")).0, 200);
}

/// Produces `{"id": 7}` under a schema id, with a client that gives up after a while.
fn produce(server: &Server, id: u8) -> Ran {
    let file = server.data.path().join("value.bin");
    std::fs::write(&file, [0, 0, 0, 0, id, 14]).expect("the file is written");
    run(
        Command::new("kcat")
            .args(["-b", &server.kafka, "-P", "-t", "orders", "-X", "acks=all"])
            .args(["-X", "message.timeout.ms=6000"])
            .arg(&file),
        "",
    )
}

#[test]
fn a_broker_asks_before_it_refuses_and_judges_nothing_without_its_database() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let proxy = Proxy::to(format!("127.0.0.1:{}", postgres.port));
    let through = url.replace(
        &format!(":{}/", postgres.port),
        &format!(":{}/", proxy.port),
    );
    let elsewhere = replica(&url);
    let broker = Server::start_with(&["--registry-url", &through]);
    broker.assay(&["topic", "create", "orders"], "").good();
    broker
        .assay(
            &[
                "topic",
                "config",
                "orders",
                "assay.value.validation.mode=enforce",
            ],
            "",
        )
        .good();
    // Registered elsewhere, produced here at once: the id is asked for, not refused.
    for id in 1..=10_u8 {
        let schema = json!({
            "type": "record",
            "name": "Order",
            "doc": format!("version {id}"),
            "fields": [{ "name": "id", "type": "long" }],
        })
        .to_string();
        let body = json!({ "schema": schema });
        let (status, answer) = elsewhere.post_json("/subjects/orders-value/versions", &body);
        assert_eq!((status, &answer["id"]), (200, &json!(id)), "{answer}");
        produce(&broker, id).good();
    }
    let refused = produce(&broker, 77);
    assert!(
        refused.stderr.contains("Broker failed to validate record"),
        "{}",
        refused.stderr
    );

    proxy.cut();
    eventually("the cut is seen", || !ready(&broker));
    eventually("the lease ends", || {
        let ran = produce(&broker, 1);
        assert!(
            !ran.stderr.contains("Broker failed to validate record"),
            "{}",
            ran.stderr
        );
        ran.code != Some(0)
    });
    let unknown = produce(&broker, 78);
    assert!(
        !unknown.stderr.contains("Broker failed to validate record"),
        "{}",
        unknown.stderr
    );
    proxy.heal();
    eventually("records are judged again", || {
        produce(&broker, 1).code == Some(0)
    });
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let ran = run(
        Command::new(env!("CARGO_BIN_EXE_assay")).args([
            "serve",
            "--registry-only",
            "--http",
            "127.0.0.1:0",
            "--registry-url",
            "postgres://me:secret@127.0.0.1:1/registry",
        ]),
        "",
    );
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("postgres://me@127.0.0.1:1/registry"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
}

#[test]
fn a_stopped_replica_delays_nobody() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    let (server, mut stopped) = (replica(&url), replica(&url));
    register(&server, "s");
    stopped.terminate();
    assert!(try_request(&stopped.http, "GET", "/livez", "").is_err());
    assert_eq!(server.request("DELETE", "/subjects/s", "").0, 200);
    let began = Instant::now();
    assert_eq!(
        server.request("DELETE", "/subjects/s?permanent=true", "").0,
        200
    );
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?} of {PATIENCE:?}",
        began.elapsed()
    );
}
