//! kill -9 while a thousand registrations are on their way: no id is given out twice, nothing that
//! was answered is missing, and the ids have no gap that a client could see.
//!
//! `ASSAY_CRASH_ROUNDS` says how often (`cargo xtask crash-registry 50`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Server, try_request};
use crate::postgres::Postgres;

const REGISTRATIONS: usize = 1_000;

#[test]
fn registrations_survive_kill_9_on_sqlite() {
    survive(Server::start());
}

#[test]
fn registrations_survive_kill_9_on_postgres() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.database();
    survive(Server::start_with(&[
        "--registry-only",
        "--registry-url",
        &url,
    ]));
}

fn survive(mut server: Server) {
    let rounds = std::env::var("ASSAY_CRASH_ROUNDS").map_or(2, |text| {
        text.parse().expect("ASSAY_CRASH_ROUNDS is a number")
    });
    // Every id ever seen, and the subject it was given to.
    let mut known: BTreeMap<i64, String> = BTreeMap::new();
    for round in 0..rounds {
        // Another moment each time: from before the first answer to near the last.
        let answers_before_kill = (round * 397 + 211) % (REGISTRATIONS * 9 / 10);
        let answered = register_and_kill(&mut server, round, answers_before_kill);
        server.spawn();
        let stored = stored(&server);
        let ids: Vec<i64> = stored.keys().copied().collect();
        let expected: Vec<i64> = (1..).take(ids.len()).collect();
        assert_eq!(ids, expected, "round {round}: the ids have a gap");
        for (id, subject) in known.iter().chain(&answered) {
            assert_eq!(
                stored.get(id),
                Some(subject),
                "round {round}: id {id} was answered for {subject}"
            );
        }
        known = stored;
    }
    println!("{rounds} rounds, {} ids", known.len());
}

/// Answered ids and their subjects.
fn register_and_kill(
    server: &mut Server,
    round: usize,
    answers_before_kill: usize,
) -> BTreeMap<i64, String> {
    let http = server.http.clone();
    let count = AtomicUsize::new(0);
    // A client tells when enough are answered; when all have ended there is nothing to wait for.
    let (enough, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..REGISTRATIONS)
            .map(|client| {
                let (http, count, enough) = (&http, &count, enough.clone());
                let register = move || {
                    let subject = format!("r{round}c{client}");
                    let schema = json!({ "type": "fixed", "name": subject, "size": 4 });
                    let body = json!({ "schema": schema.to_string() }).to_string();
                    let path = format!("/subjects/{subject}/versions");
                    let answer = try_request(http, "POST", &path, &body);
                    if answer.is_ok() && count.fetch_add(1, Ordering::SeqCst) == answers_before_kill
                    {
                        enough.send(()).expect("somebody waits");
                    }
                    let (status, answer) = answer.ok()?;
                    assert_eq!(status, 200, "{answer}");
                    let answer: Value = serde_json::from_str(&answer).expect("JSON");
                    Some((answer["id"].as_i64().expect("an id"), subject))
                };
                std::thread::Builder::new()
                    .stack_size(256 * 1024)
                    .spawn_scoped(scope, register)
                    .expect("a thread")
            })
            .collect();
        drop(enough);
        let waited = told.recv_timeout(PATIENCE);
        assert_ne!(waited, Err(RecvTimeoutError::Timeout), "round {round}");
        server.kill();
        let answers = clients
            .into_iter()
            .map(|client| client.join().expect("a client"));
        let answers: Vec<(i64, String)> = answers.flatten().collect();
        let ids: BTreeMap<i64, String> = answers.iter().cloned().collect();
        assert_eq!(
            ids.len(),
            answers.len(),
            "round {round}: an id was answered twice"
        );
        ids
    })
}

/// Every id and its subject.
fn stored(server: &Server) -> BTreeMap<i64, String> {
    let mut stored = BTreeMap::new();
    loop {
        let page = server.get_json(&format!("/schemas?limit=1000&offset={}", stored.len()));
        let page = page.as_array().expect("a list");
        if page.is_empty() {
            return stored;
        }
        for schema in page {
            let id = schema["id"].as_i64().expect("an id");
            let subject = schema["subject"].as_str().expect("a subject").to_owned();
            assert_eq!(stored.insert(id, subject), None, "id {id} is used twice");
        }
    }
}
