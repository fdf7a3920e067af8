//! What must hold across time: restarts, deletes, races.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::harness::{Fixture, V1_JSON};

const INT: &str = "\"int\"";
const STRING: &str = "\"string\"";
const RECORD: &str = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"#;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let fixture = Fixture::new("BACKWARD").await;
    fixture.register("s", INT).await;
    fixture.register(":.c:s", RECORD).await;
    let with_reference = json!({
        "schema": r#"{"type":"record","name":"B","fields":[{"name":"a","type":"A"}]}"#,
        "references": [{"name": "A", "subject": "s", "version": 1}],
        "metadata": {"properties": {"owner": "me"}, "tags": {"a": ["PII"]}, "sensitive": ["k"]},
        "ruleSet": {"domainRules": [{"name": "r", "type": "CEL", "params": {"p": "1"}}]},
    });
    for (method, path, body) in [
        ("POST", "/contexts/c/subjects/t/versions", with_reference),
        (
            "PUT",
            "/config",
            json!({"compatibility": "FULL", "normalize": true}),
        ),
        ("PUT", "/config/x", json!({"alias": "s"})),
        ("PUT", "/mode/y", json!({"mode": "READONLY"})),
        ("PUT", "/mode/:.__GLOBAL:", json!({"mode": "READWRITE"})),
    ] {
        let reply = fixture.call(method, path, Some(&body.to_string())).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
    fixture.register("gone", STRING).await;
    assert_eq!(
        fixture.call("DELETE", "/subjects/gone", None).await.status,
        200
    );

    let paths = [
        "/schemas?subjectPrefix=:*:&deleted=true",
        "/subjects?deleted=true",
        "/contexts",
        "/config",
        "/config/x",
        "/config/z?defaultToGlobal=true",
        "/mode/y",
        "/mode/:.__GLOBAL:",
        "/subjects/x/versions",
        "/contexts/c/schemas/ids/2?fetchMaxId=true",
        "/contexts/c/subjects/s/versions/1/referencedby",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(fixture.get(path).await.json());
    }
    let epoch = fixture.registry.snapshot().epoch();
    let fixture = fixture.restart().await;
    assert_eq!(fixture.registry.snapshot().epoch(), epoch);
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(fixture.get(path).await.json(), before, "{path}");
    }
    let snapshot = fixture.registry.snapshot();
    let schema = snapshot.schema(".c", registry::SchemaId(2)).unwrap();
    schema.compiled().unwrap();
    assert!(!schema.has_encoding_rules());
}

#[tokio::test]
async fn ids_are_never_given_out_twice() {
    let fixture = Fixture::new("NONE").await;
    assert_eq!(fixture.register("s", INT).await["id"], 1);
    assert_eq!(fixture.register("s", STRING).await["id"], 2);
    fixture.call("DELETE", "/subjects/s", None).await;
    let reply = fixture
        .call("DELETE", "/subjects/s?permanent=true", None)
        .await;
    assert_eq!(reply.json(), json!([1, 2]));
    assert_eq!(fixture.get("/schemas/ids/2").await.status, 404);

    let fixture = fixture.restart().await;
    let again = fixture.register("s", STRING).await;
    assert_eq!((&again["id"], &again["version"]), (&json!(3), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_registrations_of_one_schema_make_one_version() {
    let fixture = std::sync::Arc::new(Fixture::new("BACKWARD").await);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let fixture = std::sync::Arc::clone(&fixture);
            tokio::spawn(async move { fixture.register("s", RECORD).await })
        })
        .collect();
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!((&answer["id"], &answer["version"]), (&json!(1), &json!(1)));
    }
    assert_eq!(fixture.get("/subjects/s/versions").await.json(), json!([1]));
    assert_eq!(fixture.registry.snapshot().epoch(), 1);
}

#[tokio::test]
async fn read_only_forbids_every_change() {
    let fixture = Fixture::new("BACKWARD").await;
    fixture.register("s", INT).await;
    let body = json!({"mode": "READONLY"}).to_string();
    assert_eq!(fixture.call("PUT", "/mode", Some(&body)).await.status, 200);
    let epoch = fixture.registry.snapshot().epoch();
    let schema = json!({ "schema": STRING }).to_string();
    let level = json!({ "compatibility": "NONE" }).to_string();
    for (method, path, body) in [
        ("POST", "/subjects/t/versions", Some(&schema)),
        ("DELETE", "/subjects/s", None),
        ("DELETE", "/subjects/s/versions/1", None),
        ("PUT", "/config/s", Some(&level)),
        ("DELETE", "/config", None),
    ] {
        let reply = fixture.call(method, path, body.map(String::as_str)).await;
        assert_eq!(reply.status, 422, "{method} {path}: {}", reply.text);
        assert_eq!(reply.json()["error_code"], 42205, "{method} {path}");
    }
    assert_eq!(fixture.registry.snapshot().epoch(), epoch);
    // A schema that is there already may be registered again: producers do so at every start.
    assert_eq!(fixture.register("s", INT).await["id"], 1);
}

#[tokio::test]
async fn a_change_of_another_process_is_seen_on_refresh_and_before_writing() {
    let fixture = Fixture::new("BACKWARD").await;
    let other = fixture.beside().await;
    fixture.register("s", INT).await;
    other.registry.refresh().await.unwrap();
    assert!(other.registry.snapshot().has_subject("s"));
    assert_eq!(
        other.registry.snapshot().epoch(),
        fixture.registry.snapshot().epoch()
    );
    // Behind again: the writing transaction brings the image up to date before it decides.
    fixture.register("t", STRING).await;
    assert_eq!(other.register("u", RECORD).await["id"], 3);
}

#[tokio::test]
async fn the_snapshot_answers_enforcement() {
    use registry::{SchemaId, Version};
    let fixture = Fixture::new("NONE").await;
    fixture.register("t-value", INT).await;
    fixture.register("t-value", STRING).await;
    fixture
        .call("DELETE", "/subjects/t-value/versions/1", None)
        .await;
    let alias = json!({ "alias": "t-value" }).to_string();
    fixture.call("PUT", "/config/other", Some(&alias)).await;
    let snapshot = fixture.registry.snapshot();
    for subject in ["t-value", "other"] {
        assert!(snapshot.has_subject(subject));
        assert_eq!(snapshot.live_versions(subject), [(Version(2), SchemaId(2))]);
        let binding = snapshot.binding(subject, SchemaId(1)).unwrap();
        assert_eq!((binding.version, binding.soft_deleted), (Version(1), true));
        assert_eq!(snapshot.binding(subject, SchemaId(3)), None);
    }
    let schema = snapshot.schema(".", SchemaId(2)).unwrap();
    assert_eq!(schema.text, STRING);
    assert_eq!(
        snapshot.schema_by_guid(".", schema.guid).unwrap().id,
        SchemaId(2)
    );
    assert!(std::sync::Arc::ptr_eq(
        schema.compiled().unwrap(),
        schema.compiled().unwrap()
    ));
    assert!(snapshot.schema(".c", SchemaId(2)).is_none());
}

#[tokio::test]
async fn every_change_leaves_a_row_that_says_who_and_what() {
    let fixture = Fixture::new("BACKWARD").await;
    let request = Request::post("/subjects/s/versions")
        .extension(registry::Actor("alice".into()))
        .body(Body::from(json!({ "schema": INT }).to_string()))
        .unwrap();
    assert_eq!(fixture.send(request).await.status, 200);
    let level = json!({ "compatibility": "NONE" }).to_string();
    fixture.call("PUT", "/config/s", Some(&level)).await;
    fixture.call("DELETE", "/config/s", None).await;
    let changes = fixture.registry.changes(0, 10).await.unwrap();
    let shown: Vec<Value> = changes
        .iter()
        .map(|c| json!([c.epoch, c.actor, c.operation, c.subject, c.before, c.after]))
        .collect();
    assert_eq!(
        shown,
        [
            json!([1, "alice", "register", "s", null, {
                "version": 1, "id": 1, "guid": "ef524ea1-b91e-7317-3d93-8ade36c1db32", "schemaType": "AVRO"
            }]),
            json!([2, "anonymous", "put-config", "s", null, {"compatibilityLevel": "NONE"}]),
            json!([3, "anonymous", "delete-config", "s", {"compatibilityLevel": "NONE"}, null]),
        ]
    );
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_half_done() {
    let fixture = std::sync::Arc::new(Fixture::new("BACKWARD").await);
    for number in 0..20 {
        let client = std::sync::Arc::clone(&fixture);
        let schema = format!(r#"{{"type":"fixed","name":"F{number}","size":4}}"#);
        let task =
            tokio::spawn(async move { client.register(&format!("s{number}"), &schema).await });
        for _ in 0..number {
            tokio::task::yield_now().await;
        }
        task.abort();
    }
    // The writer's turn comes in order, so after this answer every earlier change has ended.
    fixture.register("last", INT).await;
    let before = fixture.get("/schemas?limit=100").await.json();
    let epoch = fixture.registry.snapshot().epoch();
    let fixture = std::sync::Arc::into_inner(fixture).unwrap().restart().await;
    assert_eq!(fixture.registry.snapshot().epoch(), epoch);
    assert_eq!(fixture.get("/schemas?limit=100").await.json(), before);
}

#[tokio::test]
async fn a_large_schema_is_read_off_the_async_threads() {
    let fixture = Fixture::new("BACKWARD").await;
    let fields: Vec<Value> = (0..5000)
        .map(|n| json!({"name": format!("field_number_{n}"), "type": "int", "default": 0}))
        .collect();
    let schema = json!({"type": "record", "name": "Large", "fields": fields}).to_string();
    assert!(schema.len() > 64 * 1024);
    let first = fixture.register("s", &schema).await;
    assert_eq!(fixture.register("s", &schema).await, first);
    let body = json!({ "schema": schema }).to_string();
    let found = fixture.call("POST", "/subjects/s", Some(&body)).await;
    assert_eq!(found.json()["version"], 1);
    let path = "/compatibility/subjects/s/versions/latest?verbose=true";
    let checked = fixture.call("POST", path, Some(&body)).await;
    assert_eq!(
        checked.json(),
        json!({"is_compatible": true, "messages": []})
    );
}

/// The first read of an id makes the answer, later ones repeat it.
#[tokio::test]
async fn repeated_reads_by_id_follow_every_change_of_its_uses() {
    let fixture = Fixture::new("NONE").await;
    let shown = async |path: &str| {
        let first = fixture.get(path).await;
        let again = fixture.get(path).await;
        assert_eq!(first.status, again.status, "{path}");
        assert_eq!(first.text, again.text, "{path}");
        assert_eq!(again.content_type.as_deref(), Some(V1_JSON), "{path}");
        again.json()["subject"].clone()
    };
    let delete = async |path: &str| {
        let reply = fixture.call("DELETE", path, None).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    };
    assert_eq!(shown("/schemas/ids/1").await, Value::Null);
    fixture.register("b", INT).await;
    assert_eq!(shown("/schemas/ids/1").await, "b");
    fixture.register("a", INT).await;
    assert_eq!(shown("/schemas/ids/1").await, "a");
    delete("/subjects/a").await;
    assert_eq!(shown("/schemas/ids/1").await, "b");
    delete("/subjects/a?permanent=true").await;
    delete("/subjects/b").await;
    assert_eq!(shown("/schemas/ids/1").await, "b");
    delete("/subjects/b?permanent=true").await;
    assert_eq!(shown("/schemas/ids/1").await, Value::Null);
    assert_eq!(fixture.get("/schemas/ids/1").await.status, 404);
}

#[tokio::test]
async fn a_repeated_read_by_id_is_negotiated_like_any_other() {
    let fixture = Fixture::new("NONE").await;
    fixture.register("s", INT).await;
    fixture.register(":.c:s", STRING).await;
    let ask = async |path: &str, accept: &'static str| {
        let request = Request::builder().uri(path).header("accept", accept);
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        let body = reply.json();
        (reply.status.as_u16(), reply.content_type, body)
    };
    for _ in 0..2 {
        let (status, media_type, body) = ask("/schemas/ids/1", "application/json").await;
        assert_eq!((status, &body["schema"]), (200, &json!(INT)));
        assert_eq!(media_type.as_deref(), Some("application/json"));
        assert_eq!(ask("/schemas/ids/1", "text/plain").await.0, 406);
        // Neither another spelling, nor a parameter, nor another context is taken for it.
        for path in [
            "/schemas/ids/1/",
            "/schemas/ids/%31",
            "/schemas/ids/1?format=",
        ] {
            assert_eq!(ask(path, "*/*").await.2, body, "{path}");
        }
        let (_, _, other) = ask("/contexts/c/schemas/ids/1", "*/*").await;
        assert_eq!(other["schema"], STRING);
        assert_eq!(ask("/schemas/ids/1/schema", "*/*").await.2, "int");
        for path in ["/schemas/ids/x", "/schemas/ids/", "/schemas/ids/9999999999"] {
            assert_eq!(ask(path, "*/*").await.0, 404, "{path}");
        }
        let reply = fixture.call("PUT", "/schemas/ids/1", None).await;
        assert_eq!(reply.status, 405);
    }
}
