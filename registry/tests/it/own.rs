//! Our own endpoints under `/v1/`.

use std::sync::Arc;

use registry::{BoundTopic, LimitValues, SubjectUsage};
use serde_json::{Value, json};

use crate::harness::{Fixture, Reply};

async fn fixture() -> Fixture {
    Fixture::new("BACKWARD").await
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"Order","namespace":"shop","fields":[{fields}]}}"#)
}

const ID: &str = r#"{"name":"id","type":"long","doc":"order number"}"#;
const NOTE: &str = r#"{"name":"note","type":"string"}"#;

async fn post(fixture: &Fixture, path: &str, body: &Value) -> Reply {
    fixture.call("POST", path, Some(&body.to_string())).await
}

#[tokio::test]
async fn check_judges_all_levels_at_once() {
    let fixture = fixture().await;
    fixture.register("orders-value", &record(ID)).await;
    let both = format!("{ID},{NOTE}");
    let body = json!({ "subject": "orders-value", "schema": record(&both) });
    let reply = post(
        &fixture,
        "/v1/schemas/check?rule=field-without-default",
        &body,
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.content_type.as_deref(), Some("application/json"));
    let answer = reply.json();
    assert_eq!(answer["level"], "BACKWARD");
    assert_eq!(answer["is_compatible"], json!(false));
    assert_eq!(
        answer["levels"],
        json!({"NONE": true, "BACKWARD": false, "BACKWARD_TRANSITIVE": false, "FORWARD": true,
               "FORWARD_TRANSITIVE": true, "FULL": false, "FULL_TRANSITIVE": false})
    );
    assert_eq!(answer["compared"], json!([1]));
    let difference = &answer["differences"][0];
    assert_eq!(difference["type"], "READER_FIELD_MISSING_DEFAULT_VALUE");
    assert_eq!(difference["direction"], "backward");
    let evidence = &difference["evidence"];
    assert_eq!(evidence["kind"], "breaks", "{difference}");
    assert_eq!(evidence["outcome"]["reader"], "refuses", "{difference}");
    assert!(evidence["record"]["id"].is_number(), "{difference}");
    assert_eq!(
        answer["lint"],
        json!([
            {"rule": "field-without-default", "place": "id", "message": "the field has no default"},
            {"rule": "field-without-default", "place": "note", "message": "the field has no default"}
        ])
    );
    // Nothing was registered.
    let versions = fixture.get("/subjects/orders-value/versions").await;
    assert_eq!(versions.json(), json!([1]));
}

#[tokio::test]
async fn check_says_what_a_verdict_misses() {
    let fixture = fixture().await;
    let message = |field: &str| {
        let schema = format!("syntax = \"proto3\"; message M {{ {field} f = 1; }}");
        json!({ "schemaType": "PROTOBUF", "schema": schema })
    };
    let mut body = message("int32");
    body["against"] = json!([message("int64")]);
    let answer = post(&fixture, "/v1/schemas/check", &body).await.json();
    assert_eq!(answer["levels"]["FULL"], json!(true), "{answer}");
    assert_eq!(answer["differences"], json!([]));
    let caveats = answer["caveats"].as_array().unwrap();
    let [caveat] = caveats.as_slice() else {
        panic!("{answer}");
    };
    assert_eq!(caveat["direction"], "backward");
    assert_eq!(caveat["effect"], "missed");
    assert_eq!(caveat["type"], "NUMBER_RANGE_NOT_COMPARED");
    assert_eq!(caveat["path"], "#/M/1");
    assert_eq!(caveat["evidence"]["kind"], "breaks");
    assert_eq!(caveat["evidence"]["outcome"]["reader"], "misreads");
}

#[tokio::test]
async fn check_takes_earlier_schemas_from_the_request() {
    let fixture = fixture().await;
    let both = format!("{ID},{NOTE}");
    let body = json!({
        "schema": record(ID),
        "against": [{ "schema": record(&both) }, { "schema": record(ID) }],
    });
    let answer = post(&fixture, "/v1/schemas/check", &body).await.json();
    assert_eq!(answer["compared"], json!([2, 1]));
    assert_eq!(answer["levels"]["FULL"], json!(true));
    assert_eq!(answer["levels"]["FULL_TRANSITIVE"], json!(false));
    assert_eq!(answer["levels"]["BACKWARD_TRANSITIVE"], json!(true));
    for (body, status) in [
        (json!({"schema": "{"}), 200),
        (json!({"schema": ""}), 422),
        (
            json!({"schema": "\"int\"", "subject": "s", "against": [{"schema": "\"int\""}]}),
            400,
        ),
        (json!({"schema": "\"int\"", "against": [1]}), 400),
        (
            json!({"schema": "\"int\"", "compatibilityPolicy": "x"}),
            400,
        ),
    ] {
        let reply = post(&fixture, "/v1/schemas/check", &body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
    }
    let invalid = post(&fixture, "/v1/schemas/check", &json!({"schema": "{"}))
        .await
        .json();
    assert_eq!(invalid["is_valid"], json!(false));
    assert!(invalid["message"].is_string());
}

#[tokio::test]
async fn search_finds_subjects_types_fields_and_docs() {
    let fixture = fixture().await;
    fixture.register("orders-value", &record(ID)).await;
    let address = r#"{"type":"record","name":"Address","namespace":"crm","doc":"where orders go","fields":[{"name":"zip","type":"string"}]}"#;
    fixture.register("address-value", address).await;
    for (query, expected) in [
        (
            "q=order",
            vec![
                "subject orders-value ",
                "type orders-value shop.Order",
                "doc orders-value id",
                "doc address-value crm.Address",
            ],
        ),
        ("q=ORDER&kind=type", vec!["type orders-value shop.Order"]),
        ("q=zip", vec!["field address-value zip"]),
        ("q=shop.order", vec!["type orders-value shop.Order"]),
        ("q=order+number", vec!["doc orders-value id"]),
        ("q=string&kind=type", vec!["type address-value zip"]),
        ("q=nothing", vec![]),
    ] {
        let answer = fixture.get(&format!("/v1/search?{query}")).await.json();
        let mut found: Vec<String> = answer["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| {
                let text = |key: &str| hit[key].as_str().unwrap_or("").to_owned();
                format!("{} {} {}", text("kind"), text("subject"), text("place"))
            })
            .collect();
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }
    let one = fixture.get("/v1/search?q=order&limit=1").await.json();
    assert_eq!(one["truncated"], json!(true));
    assert_eq!(one["hits"].as_array().unwrap().len(), 1);
    for query in ["", "q=", "q=a&limit=0", "q=a&limit=x", "q=a&kind=x"] {
        let reply = fixture.get(&format!("/v1/search?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
    }
}

#[tokio::test]
async fn timeline_tells_versions_verdicts_changes_and_actors() {
    let fixture = fixture().await;
    fixture.register("orders-value", &record(ID)).await;
    let with_default = format!(r#"{ID},{{"name":"note","type":"string","default":""}}"#);
    fixture
        .register("orders-value", &record(&with_default))
        .await;
    fixture
        .call("DELETE", "/subjects/orders-value/versions/1", None)
        .await;
    let answer = fixture
        .get("/v1/subjects/orders-value/timeline")
        .await
        .json();
    let versions = answer["versions"].as_array().unwrap();
    assert_eq!(versions[0]["version"], json!(2));
    assert_eq!(versions[0]["previous"], json!(1));
    assert_eq!(
        versions[0]["changes"],
        json!([{"path": "note", "what": "added", "before": null, "after": "string"}])
    );
    assert_eq!(versions[0]["levels"]["FULL_TRANSITIVE"], json!(true));
    assert_eq!(versions[1]["deleted"], json!(true));
    assert_eq!(versions[1]["previous"], json!(null));
    let operations: Vec<&str> = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["operation"].as_str().unwrap())
        .collect();
    assert_eq!(operations, ["delete-version", "register", "register"]);
    assert_eq!(answer["events"][0]["actor"], "anonymous");
    let missing = fixture.get("/v1/subjects/none/timeline").await;
    assert_eq!(
        (
            missing.status.as_u16(),
            missing.json()["error_code"].clone()
        ),
        (404, json!(40401))
    );
}

#[derive(Debug)]
struct OneTopic;

impl SubjectUsage for OneTopic {
    fn topics(&self, subject: &str) -> Vec<BoundTopic> {
        vec![BoundTopic {
            topic: subject.trim_end_matches("-value").to_owned(),
            part: "value",
            mode: "auto",
        }]
    }
}

#[tokio::test]
async fn delete_impact_names_referrers_topics_and_last_use() {
    let fixture = fixture().await;
    fixture.registry.set_usage(Arc::new(OneTopic));
    fixture.register("order-value", &record(ID)).await;
    let refer = |name: &str, target: &str| {
        json!({
            "schema": format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"o","type":"{target}"}}]}}"#),
            "references": [{ "name": target, "subject": if target == "shop.Order" { "order-value" } else { "box-value" }, "version": 1 }],
        })
    };
    let reply = post(
        &fixture,
        "/subjects/box-value/versions",
        &refer("Box", "shop.Order"),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = post(
        &fixture,
        "/subjects/ship-value/versions",
        &refer("Ship", "Box"),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let before = fixture.registry.snapshot().epoch();
    let answer = fixture
        .get("/v1/subjects/order-value/delete-impact")
        .await
        .json();
    assert_eq!(answer["soft"]["allowed"], json!(false));
    assert_eq!(answer["soft"]["error_code"], json!(42206));
    assert_eq!(
        answer["referenced_by"],
        json!([
            {"subject": "box-value", "version": 1, "id": 2, "deleted": false, "distance": 1},
            {"subject": "ship-value", "version": 1, "id": 3, "deleted": false, "distance": 2}
        ])
    );
    assert_eq!(
        answer["topics"],
        json!([{"topic": "order", "part": "value", "mode": "auto"}])
    );
    assert_eq!(answer["subject_goes"], json!(true));
    assert_eq!(answer["versions"][0]["last_used_ms"], json!(null));
    fixture
        .registry
        .snapshot()
        .schema(".", registry::SchemaId(3))
        .unwrap()
        .note_use(17);
    let answer = fixture
        .get("/v1/subjects/ship-value/delete-impact?version=1")
        .await
        .json();
    assert_eq!(answer["soft"], json!({"allowed": true}));
    assert_eq!(answer["versions"][0]["last_used_ms"], json!(17));
    assert_eq!(
        fixture.registry.snapshot().epoch(),
        before,
        "a question changes nothing"
    );
    let missing = fixture
        .get("/v1/subjects/ship-value/delete-impact?version=9")
        .await;
    assert_eq!(missing.json()["error_code"], json!(40402));
}

#[tokio::test]
async fn lint_answers_for_texts_and_versions() {
    let fixture = fixture().await;
    fixture.register("orders-value", &record(ID)).await;
    let body = json!({ "schema": r#"{"type":"record","name":"R","fields":[]}"# });
    let answer = post(&fixture, "/v1/schemas/lint?except=type-without-doc", &body)
        .await
        .json();
    assert_eq!(
        answer["findings"],
        json!([{"rule": "namespace-missing", "place": "R", "message": "the record has a bare name"}])
    );
    let stored = fixture
        .get("/v1/subjects/orders-value/versions/latest/lint?rule=type-without-doc")
        .await
        .json();
    assert_eq!(stored["findings"][0]["place"], "shop.Order");
    let unknown = fixture
        .get("/v1/subjects/orders-value/versions/1/lint?rule=x")
        .await;
    assert_eq!(unknown.status, 400);
    let rules = fixture.get("/v1/lint/rules").await.json();
    assert!(rules.as_array().unwrap().len() >= 11);
    let other = fixture.call("DELETE", "/v1/lint/rules", None).await;
    assert_eq!(
        (other.status.as_u16(), other.json()["error_code"].clone()),
        (405, json!(405))
    );
}

#[tokio::test]
async fn each_limit_has_its_answer() {
    let fixture = fixture().await;
    fixture.registry.limits().set(LimitValues {
        body_bytes_max: 2_000,
        json_depth_max: 5,
        schema_bytes_max: 100,
        ..LimitValues::default()
    });
    let long = format!(r#"{{"schema":"{}"}}"#, "x".repeat(3_000));
    let wide = format!(r#"{{"schema":"{}"}}"#, "x".repeat(101));
    for (body, status, code) in [
        (long.as_str(), 413, 413),
        (wide.as_str(), 422, 42209),
        (r#"{"a":[[[[[1]]]]]}"#, 422, 422),
        (r#"{"schema":"\"int\"","a":[[[[1]]]]}"#, 200, 0),
    ] {
        let reply = fixture
            .call("POST", "/subjects/s/versions", Some(body))
            .await;
        let found = reply.json()["error_code"].as_i64().unwrap_or(0);
        assert_eq!(
            (reply.status.as_u16(), found),
            (status, code),
            "{}",
            reply.text
        );
    }
}
