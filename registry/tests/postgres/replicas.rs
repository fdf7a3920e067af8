//! Several registries on one database: what a client may rely on whichever one it asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::SchemaId;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::harness::Fixture;
use crate::place::Place;

/// Three registries on one database; None where no server is installed.
async fn three() -> Option<[Arc<Fixture>; 3]> {
    let first = Fixture::new("NONE").await;
    url(&first)?;
    let (second, third) = (first.beside().await, first.beside().await);
    Some([first, second, third].map(Arc::new))
}

fn url(fixture: &Fixture) -> Option<&str> {
    match fixture.place().as_ref() {
        Place::Postgres(url) => Some(url),
        Place::Sqlite(_) => None,
    }
}

fn fixed(name: &str) -> String {
    json!({ "type": "fixed", "name": name, "size": 4 }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_schema_registered_everywhere_at_once_gets_one_id_and_one_version() {
    let Some(replicas) = three().await else {
        return;
    };
    for round in 0..10 {
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let replica = Arc::clone(&replicas[client % 3]);
            let (subject, schema) = (format!("s{round}"), fixed(&format!("F{round}")));
            clients.spawn(async move { replica.register(&subject, &schema).await });
        }
        let answers: BTreeSet<String> = clients
            .join_all()
            .await
            .into_iter()
            .map(|answer| json!([answer["id"], answer["version"]]).to_string())
            .collect();
        let expected = json!([round + 1, 1]).to_string();
        assert_eq!(answers, BTreeSet::from([expected]), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_concurrent_writers_have_no_gap_and_no_twin() {
    let Some(replicas) = three().await else {
        return;
    };
    let mut clients = JoinSet::new();
    for number in 0..120 {
        let replica = Arc::clone(&replicas[number % 3]);
        clients.spawn(async move {
            let schema = fixed(&format!("F{number}"));
            let subject = format!("s{}", number % 7);
            replica.register(&subject, &schema).await["id"]
                .as_i64()
                .unwrap()
        });
    }
    let mut ids = clients.join_all().await;
    ids.sort_unstable();
    assert_eq!(ids, (1..=120).collect::<Vec<i64>>());
    // Each change has its own row and its own epoch.
    let rows = replicas[0].registry.changes(0, 1000).await.unwrap();
    let epochs: Vec<u64> = rows.iter().map(|row| row.epoch).collect();
    assert_eq!(epochs, (1..=120).collect::<Vec<u64>>());
    // Every replica comes to the same image by applying the others' changes.
    let mut images = Vec::new();
    for replica in &replicas {
        replica.registry.refresh().await.unwrap();
        images.push(replica.get("/schemas?limit=1000").await.json());
    }
    assert!(images.iter().all(|image| *image == images[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_by_one_replica_is_known_to_all() {
    let Some([writer, reader, checker]) = three().await else {
        return;
    };
    for number in 0..50 {
        let subject = format!("s{number}");
        let id = &writer.register(&subject, &fixed(&subject)).await["id"];
        for path in [
            format!("/schemas/ids/{id}"),
            format!("/subjects/{subject}/versions/1"),
            format!("/subjects/{subject}/versions/latest"),
            format!("/schemas/ids/{id}/versions"),
        ] {
            let reply = reader.get(&path).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        }
        // A schema may stand on one that another replica has just stored, and be compared with it.
        let standing = json!({
            "schema": json!({
                "type": "record",
                "name": format!("R{number}"),
                "fields": [{ "name": "f", "type": subject }],
            })
            .to_string(),
            "references": [{ "name": subject, "subject": subject, "version": 1 }],
        })
        .to_string();
        let path = format!("/subjects/r{number}/versions");
        let reply = checker.call("POST", &path, Some(&standing)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let path = format!("/compatibility/subjects/r{number}/versions/1");
        let reply = reader.call("POST", &path, Some(&standing)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_for_the_unknown_share_a_look() {
    let Some([_, reader, _]) = three().await else {
        return;
    };
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let reader = Arc::clone(&reader);
        clients.spawn(async move { reader.get("/schemas/ids/4711").await.status.as_u16() });
    }
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|status| *status == 404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_delete_is_answered_when_no_replica_serves_it() {
    let Some([writer, others @ ..]) = three().await else {
        return;
    };
    for number in 0..20 {
        let subject = format!("s{number}");
        let id = writer.register(&subject, &fixed(&subject)).await["id"].clone();
        let id = SchemaId(i32::try_from(id.as_i64().unwrap()).unwrap());
        for other in &others {
            other.registry.refresh().await.unwrap();
            assert!(other.registry.snapshot().schema(".", id).is_some());
        }
        let path = format!("/subjects/{subject}");
        assert_eq!(writer.call("DELETE", &path, None).await.status, 200);
        let path = format!("/subjects/{subject}?permanent=true");
        assert_eq!(writer.call("DELETE", &path, None).await.status, 200);
        // The images as they are, without a look at the database.
        for other in &others {
            assert!(other.registry.snapshot().schema(".", id).is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_delete_waits_for_a_silent_replica_until_its_lease_ends() {
    let Some([writer, ..]) = three().await else {
        return;
    };
    writer.register("s", &fixed("F")).await;
    writer.call("DELETE", "/subjects/s", None).await;
    // A replica that was alive a moment ago and will never answer again.
    let mut connection = PgConnection::connect(url(&writer).unwrap()).await.unwrap();
    let silent = "INSERT INTO replicas VALUES ('silent', 1, clock_timestamp() + INTERVAL '2 s')";
    sqlx::raw_sql(silent)
        .execute(&mut connection)
        .await
        .unwrap();
    let began = Instant::now();
    let reply = writer
        .call("DELETE", "/subjects/s?permanent=true", None)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(
        began.elapsed() > Duration::from_millis(1_500),
        "answered after {:?} although a live replica had not acknowledged",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_applied_by_itself_is_loaded() {
    let Some([writer, other, _]) = three().await else {
        return;
    };
    writer.register("s", &fixed("F")).await;
    other.registry.refresh().await.unwrap();
    // As a release before or after this one would leave it.
    let mut connection = PgConnection::connect(url(&writer).unwrap()).await.unwrap();
    let foreign = "BEGIN; \
         INSERT INTO modes VALUES ('x', 'READONLY'); \
         INSERT INTO changes VALUES (2, 0, 'a', 'put-mode', 'x', NULL, NULL, NULL); \
         INSERT INTO modes VALUES ('y', 'READONLY'); \
         INSERT INTO changes VALUES (3, 0, 'a', 'put-mode', 'y', NULL, NULL, '[{\"fact\":\"new\"}]'); \
         UPDATE registry_state SET epoch = 3; COMMIT";
    sqlx::raw_sql(foreign)
        .execute(&mut connection)
        .await
        .unwrap();
    other.registry.refresh().await.unwrap();
    assert_eq!(other.registry.snapshot().epoch(), 3);
    assert_eq!(
        other.get("/mode/x").await.json(),
        json!({ "mode": "READONLY" })
    );
    assert_eq!(
        other.get("/mode/y").await.json(),
        json!({ "mode": "READONLY" })
    );
    // The writer, behind as well, decides on the truth.
    let schema = json!({ "schema": fixed("G") }).to_string();
    let refused = writer
        .call("POST", "/subjects/y/versions", Some(&schema))
        .await;
    assert_eq!(refused.json()["error_code"], 42205, "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_change_does_not_fail_the_others_of_its_group() {
    let Some([writer, ..]) = three().await else {
        return;
    };
    let mut connection = PgConnection::connect(url(&writer).unwrap()).await.unwrap();
    let trap = "ALTER TABLE subject_versions ADD CONSTRAINT trap CHECK (subject <> 'bad')";
    sqlx::raw_sql(trap).execute(&mut connection).await.unwrap();
    let mut clients = JoinSet::new();
    for number in 0..40 {
        let writer = Arc::clone(&writer);
        clients.spawn(async move {
            let subject = if number == 20 {
                "bad".to_owned()
            } else {
                format!("s{number}")
            };
            let body = json!({ "schema": fixed(&format!("F{number}")) }).to_string();
            let path = format!("/subjects/{subject}/versions");
            let reply = writer.call("POST", &path, Some(&body)).await;
            (number, reply.status.as_u16(), reply.json())
        });
    }
    let mut ids = BTreeSet::new();
    for (number, status, answer) in clients.join_all().await {
        if number == 20 {
            assert_eq!((status, &answer["error_code"]), (500, &json!(50001)));
        } else {
            assert_eq!(status, 200, "{answer}");
            ids.insert(answer["id"].as_i64().unwrap());
        }
    }
    assert_eq!(ids, (1..=39).collect());
    let untrap = "ALTER TABLE subject_versions DROP CONSTRAINT trap";
    sqlx::raw_sql(untrap)
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_migrate_once() {
    let Some(server) = crate::place::server() else {
        return;
    };
    let place = Arc::new(Place::Postgres(server.database()));
    let mut starting = JoinSet::new();
    for _ in 0..3 {
        starting.spawn(Fixture::at(Arc::clone(&place)));
    }
    for replica in starting.join_all().await {
        assert_eq!(replica.register("s", &fixed("F")).await["id"], 1);
    }
}
