//! What clients rely on, one test a rule: seen in their sources and on the wire.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::harness::{Fixture, V1_JSON};

const INT: &str = r#"{"schema":"\"int\""}"#;

async fn fixture_with(subject: &str) -> Fixture {
    let fixture = Fixture::new("BACKWARD").await;
    fixture.register(subject, "\"int\"").await;
    fixture
}

#[tokio::test]
async fn unknown_paths_and_methods_of_associations_are_confluents_404() {
    let fixture = Fixture::new("BACKWARD").await;
    for (method, path) in [
        ("GET", "/nope"),
        ("GET", "/subjects/s/nope"),
        ("POST", "/security/acls"),
        ("PUT", "/associations"),
        ("DELETE", "/associations/subjects/s"),
        ("GET", "/associations/nope"),
        ("GET", "/dek-registry/v1/keks"),
        ("GET", "/contexts/.c/dek-registry/v1/keks"),
        ("GET", "/exporters"),
    ] {
        let reply = fixture.call(method, path, None).await;
        assert_eq!(reply.status, 404, "{method} {path}");
        assert_eq!(
            reply.content_type.as_deref(),
            Some(V1_JSON),
            "{method} {path}"
        );
        assert_eq!(
            reply.json(),
            json!({"error_code": 404, "message": "HTTP 404 Not Found"})
        );
    }
}

#[tokio::test]
async fn known_paths_refuse_other_methods_in_confluents_shape() {
    let fixture = Fixture::new("BACKWARD").await;
    for (method, path) in [
        ("PUT", "/subjects"),
        ("GET", "/subjects/s"),
        ("PATCH", "/config"),
        ("GET", "/compatibility/subjects/s/versions/1"),
        ("POST", "/schemas/ids/1"),
    ] {
        let reply = fixture.call(method, path, None).await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(
            reply.json(),
            json!({"error_code": 405, "message": "HTTP 405 Method Not Allowed"})
        );
    }
}

#[tokio::test]
async fn booleans_are_case_insensitive() {
    let fixture = fixture_with("s").await;
    fixture.call("DELETE", "/subjects/s/versions/1", None).await;
    for (query, status) in [
        ("deleted=False", 404),
        ("deleted=TRUE", 200),
        ("deleted=1", 404),
    ] {
        let reply = fixture
            .get(&format!("/subjects/s/versions/1?{query}"))
            .await;
        assert_eq!(reply.status, status, "{query}");
    }
}

#[tokio::test]
async fn unknown_fields_and_parameters_are_accepted() {
    let fixture = Fixture::new("BACKWARD").await;
    for body in [
        r#"{"schema":"\"int\"","references":null,"x":{"y":[1]}}"#,
        r#"{"schema":"\"int\"","references":[],"schemaType":"AVRO"}"#,
        r#"{"schema":"\"int\"","schemaType":null,"metadata":null,"ruleSet":null}"#,
        r#"{"schema":"\"string\"","schema":"\"int\""}"#,
    ] {
        let reply = fixture
            .call(
                "POST",
                "/subjects/s/versions?normalize=False&x=1",
                Some(body),
            )
            .await;
        assert_eq!(reply.json()["id"], 1, "{body}: {}", reply.text);
    }
}

#[tokio::test]
async fn trailing_slashes_and_escapes_do_not_matter() {
    let fixture = fixture_with("a%2Fb").await;
    fixture.register(":.ctx:sub", "\"int\"").await;
    for path in [
        "/config/",
        "/subjects/",
        "/subjects/a%2Fb/versions/",
        "/subjects/a%2Fb/versions/1",
        "/subjects/%3A.ctx%3Asub/versions/latest",
        "/contexts/.ctx/subjects/sub/versions/1",
        "/contexts/ctx/subjects/%3A.ctx%3Asub/versions/1/",
        "/schemas/types/",
    ] {
        let reply = fixture.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_checked() {
    let fixture = Fixture::new("BACKWARD").await;
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_field = format!(r#"{{"schema":"\"int\"","x":{deep}}}"#);
    let long = format!(r#"{{"schema":"{}"}}"#, "x".repeat(9 * 1024 * 1024));
    for (body, status, code) in [
        (long.as_str(), 413, 413),
        (deep_field.as_str(), 422, 422),
        ("{", 400, 400),
        ("[]", 400, 400),
        (r#"{"id":"x"}"#, 400, 400),
        ("", 422, 422),
        (r#"{"schema":""}"#, 422, 42201),
    ] {
        let reply = fixture
            .call("POST", "/subjects/s/versions", Some(body))
            .await;
        assert_eq!(reply.status, status, "{:.40}: {}", body, reply.text);
        assert_eq!(reply.json()["error_code"], code, "{body:.40}");
    }
}

#[tokio::test]
async fn nothing_semantic_is_a_5xx() {
    let fixture = fixture_with("s").await;
    for (method, path, body) in [
        ("GET", "/subjects?offset=-1", None),
        ("GET", "/schemas/ids/9/schema", None),
        ("PUT", "/mode", Some("{}")),
        ("GET", "/schemas/ids/x", None),
        ("GET", "/schemas/guids/nope", None),
        (
            "POST",
            "/subjects/s/versions",
            Some(r#"{"schema":"\"int\"","version":-2147483648}"#),
        ),
        (
            "POST",
            "/subjects/s/versions",
            Some(r#"{"schema":"\"int\"","references":[{}]}"#),
        ),
        ("GET", "/subjects/s/metadata?key=a", None),
    ] {
        let reply = fixture.call(method, path, body).await;
        assert!(
            reply.status.as_u16() < 500,
            "{method} {path}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn any_media_type_of_json_may_be_sent() {
    let fixture = Fixture::new("BACKWARD").await;
    for (sent, status) in [
        (Some("application/json; charset=utf-8"), 200),
        (Some(V1_JSON), 200),
        (Some("application/octet-stream"), 200),
        (None, 200),
        (Some("text/plain"), 415),
    ] {
        let mut request =
            Request::post("/subjects/s/versions").header("accept", "text/html, */*; q=0.2");
        if let Some(sent) = sent {
            request = request.header("content-type", sent);
        }
        let reply = fixture.send(request.body(Body::from(INT)).unwrap()).await;
        assert_eq!(reply.status, status, "{sent:?}");
        assert_eq!(reply.content_type.as_deref(), Some(V1_JSON));
    }
}

#[tokio::test]
async fn guid_and_id_reads_take_the_deleted_parameter() {
    let fixture = fixture_with("s").await;
    fixture.call("DELETE", "/subjects/s", None).await;
    let by_id = fixture.get("/schemas/ids/1?deleted=true").await.json();
    assert_eq!(by_id["deleted"], true);
    let guid = by_id["guid"].as_str().unwrap();
    let by_guid = fixture
        .get(&format!("/schemas/guids/{guid}?deleted=true"))
        .await
        .json();
    assert_eq!(by_guid["schema"], "\"int\"");
}
