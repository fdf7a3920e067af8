//! One test an error code, named after it: what provokes it, its HTTP status, its text.
//!
//! Not here, because one process with its own store has no such error: 40902 and 40906 (never
//! raised), 42207 (client extensions), 50002 to 50004 (a Kafka store and a leader).

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::harness::{Fixture, Settings, V1_JSON};

/// What leads to the error; everything but the last request must succeed.
type Step = (&'static str, &'static str, Value);

async fn check(requests: Vec<Step>, status: u16, code: u32, message: &str) {
    let fixture = Fixture::new("BACKWARD").await;
    check_on(&fixture, requests, status, code, message).await;
}

async fn check_on(fixture: &Fixture, requests: Vec<Step>, status: u16, code: u32, message: &str) {
    let last = requests.len() - 1;
    for (number, (method, path, body)) in requests.into_iter().enumerate() {
        let text = match &body {
            Value::Null => None,
            Value::String(raw) => Some(raw.clone()),
            body => Some(body.to_string()),
        };
        let reply = fixture.call(method, path, text.as_deref()).await;
        if number < last {
            assert!(reply.status.is_success(), "{method} {path}: {}", reply.text);
            continue;
        }
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text);
        assert_eq!(reply.content_type.as_deref(), Some(V1_JSON));
        let got = reply.json();
        assert_eq!(got["error_code"], code, "{method} {path}: {got}");
        let text = got["message"].as_str().unwrap();
        // A text that ends in an ellipsis is only begun.
        match message.strip_suffix('…') {
            Some(start) => assert!(text.starts_with(start), "{text}"),
            None => assert_eq!(text, message),
        }
    }
}

macro_rules! errors {
    ($($name:ident: [$($method:literal $path:literal $body:tt),+ $(,)?] => $status:literal $code:literal $message:expr;)+) => {
        $(#[tokio::test]
        async fn $name() {
            let requests = vec![$(($method, $path, errors!(@body $body))),+];
            check(requests, $status, $code, $message).await;
        })+
    };
    (@body -) => { Value::Null };
    (@body $body:tt) => { json!($body) };
}

const INT: &str = "\"int\"";
const ITEM: &str = r#"{"type":"record","name":"I","fields":[]}"#;
const USER: &str = r#"{"type":"array","items":"I"}"#;

errors! {
    e400_body_is_no_json: ["POST" "/subjects/s/versions" "{"] => 400 400 "…";
    e400_member_of_the_wrong_type: ["POST" "/subjects/s/versions" {"id": "x"}] => 400 400 "…";
    e400_context_with_a_colon: ["GET" "/contexts/a:b/subjects" -] => 400 400 "Context name 'a:b' cannot contain a colon";
    e404_unknown_path: ["GET" "/nope" -] => 404 404 "HTTP 404 Not Found";
    e404_id_is_no_number: ["GET" "/schemas/ids/x" -] => 404 404 "HTTP 404 Not Found";
    e404_dek_registry: ["GET" "/dek-registry/v1/keks" -] => 404 404 "HTTP 404 Not Found";
    e404_exporters: ["GET" "/exporters" -] => 404 404 "HTTP 404 Not Found";
    e405_method: ["PUT" "/subjects" {}] => 405 405 "HTTP 405 Method Not Allowed";
    e422_body_is_missing: ["POST" "/subjects/s/versions" -] => 422 422 "…";

    e40401_subject: ["GET" "/subjects/s/versions" -] => 404 40401 "Subject 's' not found.";
    e40401_settings: ["DELETE" "/config/s" -] => 404 40401 "Subject 's' not found.";
    e40401_mode: ["DELETE" "/mode/s" -] => 404 40401 "Subject 's' not found.";
    e40402_version: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "GET" "/subjects/s/versions/2" -,
    ] => 404 40402 "Version 2 not found.";
    e40403_schema_by_id: ["GET" "/schemas/ids/1" -] => 404 40403 "Schema 1 not found";
    e40403_schema_by_text: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/subjects/s" {"schema": "\"long\""},
    ] => 404 40403 "Schema not found";
    e40404_subject_soft_deleted: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "DELETE" "/subjects/s" -,
        "DELETE" "/subjects/s" -,
    ] => 404 40404 "Subject 's' was soft deleted.Set permanent=true to delete permanently";
    e40405_subject_not_soft_deleted: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "DELETE" "/subjects/s?permanent=true" -,
    ] => 404 40405 "Subject 's' was not deleted first before being permanently deleted";
    e40406_version_soft_deleted: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "DELETE" "/subjects/s/versions/1" -,
        "DELETE" "/subjects/s/versions/1" -,
    ] => 404 40406 "Subject 's' Version 1 was soft deleted.Set permanent=true to delete permanently";
    e40407_version_not_soft_deleted: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "DELETE" "/subjects/s/versions/1?permanent=true" -,
    ] => 404 40407 "Subject 's' Version 1 was not deleted first before being permanently deleted";
    e40408_no_subject_compatibility: ["GET" "/config/s" -] => 404 40408 "Subject 's' does not have subject-level compatibility configured";
    e40409_no_subject_mode: ["GET" "/mode/s" -] => 404 40409 "Subject 's' does not have subject-level mode configured";
    e40410_association: ["DELETE" "/associations/resources/r" -] => 404 40410 "Association for 'r' not found.";

    e40901_incompatible: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/subjects/s/versions" {"schema": "\"string\""},
    ] => 409 40901 "Schema being registered is incompatible with an earlier schema for subject \"s\", details: [{errorType:'TYPE_MISMATCH', …";
    e40903_topic_has_another_association: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/subjects/other/versions" {"schema": INT},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "s"}]},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "other"}]},
    ] => 409 40903 "An association of type 'value' already exists for resource 't'";
    e40904_deleting_an_associated_subject: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "s"}]},
        "DELETE" "/subjects/s" -,
    ] => 409 40904 "An association already exists for subject 's'";
    e40905_subject_of_another_topic: [
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"schema": {"schema": INT}}]},
        "POST" "/associations" {"resourceName": "u", "resourceNamespace": "n", "resourceId": "q", "associations": [{"subject": ":.n:t-value"}]},
    ] => 409 40905 "A strong association already exists for subject ':.n:t-value'";
    e40907_subject_without_a_version: [
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "s"}]},
    ] => 409 40907 "No active (non-deleted) version exists for subject 's'";
    e40907_deleting_the_last_version: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "s"}]},
        "DELETE" "/subjects/s/versions/1" -,
    ] => 409 40907 "No active (non-deleted) version exists for subject 's'";
    e40908_frozen_association: [
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"schema": {"schema": INT}}]},
        "DELETE" "/associations/resources/r" -,
    ] => 409 40908 "The association of type  'value' is frozen for subject ':.n:t-value'";

    e42201_invalid_schema: ["POST" "/subjects/s/versions" {"schema": "{"}] => 422 42201 "Invalid schema of type AVRO, details: …";
    e42201_empty_schema: ["POST" "/subjects/s/versions" {"schema": ""}] => 422 42201 "Empty schema";
    e42201_unknown_type: ["POST" "/subjects/s/versions" {"schema": INT, "schemaType": "X"}] => 422 42201 "Invalid schema type X";
    e42201_version_not_next: ["POST" "/subjects/s/versions" {"schema": INT, "version": 3}] => 422 42201 "Version is not one more than previous version";
    e42201_unknown_tag_path: [
        "POST" "/subjects/s/versions" {"schema": ITEM, "schemaTagsToAdd": [{"schemaEntity": {"entityPath": "I.x", "entityType": "sr_field"}, "tags": ["T"]}]},
    ] => 422 42201 "java.lang.IllegalArgumentException: No matching path 'I.x' found in the schema";
    e42202_version_id: ["GET" "/subjects/s/versions/0" -] => 422 42202 "The specified version '0' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"";
    e42203_level: ["PUT" "/config" {"compatibility": "x"}] => 422 42203 "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive";
    e42204_mode: ["PUT" "/mode" {"mode": "x"}] => 422 42204 "Invalid mode. Valid values are READWRITE, READONLY, IMPORT and FORWARD.";
    e42204_forward_of_a_subject: ["PUT" "/mode/s" {"mode": "FORWARD"}] => 422 42204 "Forward mode only supported on global level";
    e42205_read_only: [
        "PUT" "/mode/s" {"mode": "READONLY"},
        "POST" "/subjects/s/versions" {"schema": INT},
    ] => 422 42205 "Subject s in context  is in read-only mode";
    e42205_id_without_import: ["POST" "/subjects/s/versions" {"schema": INT, "id": 1}] => 422 42205 "Subject s in context  is not in import mode";
    e42205_import_without_id: [
        "PUT" "/mode/:.c:s" {"mode": "IMPORT"},
        "POST" "/subjects/:.c:s/versions" {"schema": INT},
    ] => 422 42205 "Subject :.c:s in context :.c: is not in read-write mode";
    e42205_id_is_taken: [
        "PUT" "/mode" {"mode": "IMPORT"},
        "POST" "/subjects/s/versions" {"schema": INT, "id": 1, "version": 1},
        "POST" "/subjects/t/versions" {"schema": "\"long\"", "id": 1, "version": 1},
    ] => 422 42205 "Overwrite new schema with id 1 in context  is not permitted.";
    e42205_import_over_subjects: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "PUT" "/mode" {"mode": "IMPORT"},
    ] => 422 42205 "Cannot import since found existing subjects";
    e42205_reference_to_an_owned_subject: [
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"schema": {"schema": ITEM}}]},
        "POST" "/subjects/s/versions" {"schema": USER, "references": [{"name": "I", "subject": ":.n:t-value", "version": 1}]},
    ] => 422 42205 "Subject ':.n:t-value' has a strong association and cannot be referenced";
    e42206_referenced_version: [
        "POST" "/subjects/i/versions" {"schema": ITEM},
        "POST" "/subjects/s/versions" {"schema": USER, "references": [{"name": "I", "subject": "i", "version": 1}]},
        "DELETE" "/subjects/i/versions/1" -,
    ] => 422 42206 "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=i,version=1}.";
    e42206_owning_a_referenced_subject: [
        "POST" "/subjects/:.n:t-value/versions" {"schema": ITEM},
        "POST" "/subjects/s/versions" {"schema": USER, "references": [{"name": "I", "subject": ":.n:t-value", "version": 1}]},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"schema": {"schema": ITEM}}]},
    ] => 422 42206 "One or more references exist to the schema :.n:t-value.";
    e42208_subject: ["POST" "/subjects/__GLOBAL/versions" {"schema": INT}] => 422 42208 "The specified subject '__GLOBAL' is not a valid.";
    e42210_rule_set: [
        "POST" "/subjects/s/versions" {"schema": INT, "ruleSet": {"domainRules": [{"name": "r"}]}},
    ] => 422 42210 "Missing rule type";
    e42210_rule_set_and_edits: [
        "POST" "/subjects/s/versions" {"schema": ITEM},
        "POST" "/subjects/s/versions/1/tags" {"ruleSet": {}, "rulesToRemove": ["r"]},
    ] => 422 42210 "ruleSet should be omitted if specifying rulesToMerge or rulesToRemove";
    e42211_context_not_empty: [
        "POST" "/subjects/:.c:s/versions" {"schema": INT},
        "DELETE" "/contexts/:.c:" -,
    ] => 422 42211 "The specified context ':.c:' is not empty.";
    e42212_resource_name: ["POST" "/associations" {}] => 422 42212 "The association specified an invalid value for property: 'resourceName', detail: cannot be null or empty";
    e42212_mixed_lifecycles: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [
            {"subject": "s"}, {"associationType": "key", "schema": {"schema": INT}}]},
    ] => 422 42212 "The association specified an invalid value for property: 'lifecycle', detail: all associations for a resource must have the same lifecycle, but got value=WEAK, key=STRONG";
    e42212_strong_upsert: [
        "PUT" "/associations/resources/r" {"resourceName": "t", "resourceNamespace": "n", "associations": [{"lifecycle": "STRONG"}]},
    ] => 422 42212 "The association specified an invalid value for property: 'lifecycle', detail: cannot be STRONG when creating an association; STRONG associations must be created with the topic";
    e42212_type_twice: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "s"}, {"subject": "s"}]},
    ] => 422 42212 "The association specified an invalid value for property: 'associationType', detail: may only appear once per request, but 'value' appears more than once";
    e42212_changed_subject: [
        "POST" "/subjects/s/versions" {"schema": INT},
        "POST" "/subjects/u/versions" {"schema": INT},
        "POST" "/associations" {"resourceName": "t", "resourceNamespace": "n", "resourceId": "r", "associations": [{"subject": "s"}]},
        "PUT" "/associations/resources/r" {"resourceName": "t", "resourceNamespace": "n", "associations": [{"subject": "u", "lifecycle": "WEAK"}]},
    ] => 422 42212 "The association specified an invalid value for property: 'subject', detail: subject of association cannot be changed from 's' to 'u'";
    e42212_other_resource_id: [
        "PUT" "/associations/resources/r" {"resourceId": "q"},
    ] => 422 42212 "The association specified an invalid value for property: 'resourceId', detail: Resource ID in the path parameter does not match the resource ID in the request body";
}

/// A request with headers of its own; the status and code of the answer.
async fn with_header(name: &str, value: &str) -> (u16, Value) {
    let fixture = Fixture::new("BACKWARD").await;
    let request = Request::post("/subjects/s/versions")
        .header(name, value)
        .body(Body::from(r#"{"schema":"\"int\""}"#))
        .unwrap();
    let reply = fixture.send(request).await;
    (reply.status.as_u16(), reply.json())
}

#[tokio::test]
async fn e406_accept() {
    assert_eq!(
        with_header("accept", "text/plain").await,
        (
            406,
            json!({ "error_code": 406, "message": "HTTP 406 Not Acceptable" })
        )
    );
}

#[tokio::test]
async fn e415_content_type() {
    assert_eq!(
        with_header("content-type", "text/plain").await,
        (
            415,
            json!({ "error_code": 415, "message": "HTTP 415 Unsupported Media Type" })
        )
    );
}

#[tokio::test]
async fn e413_body_and_e42209_schema_are_too_long() {
    let schema_of = |length: usize| json!({ "schema": "x".repeat(length) });
    let fixture = Fixture::with_body_bytes_max(10 * 1024 * 1024).await;
    for (length, status, code, message) in [
        (
            11 * 1024 * 1024,
            413,
            413,
            "HTTP 413 Request Entity Too Large",
        ),
        (
            9 * 1024 * 1024,
            422,
            42209,
            "Register operation failed because schema is too large",
        ),
    ] {
        let requests = vec![("POST", "/subjects/s/versions", schema_of(length))];
        check_on(&fixture, requests, status, code, message).await;
    }
}

#[tokio::test]
async fn e42208_empty_subject_where_it_is_refused() {
    let settings = Settings {
        reject_empty_subject: true,
        ..Settings::of_level("BACKWARD")
    };
    for (path, shown) in [
        ("/subjects/*/versions", "*"),
        ("/subjects/:.c:/versions", ":.c:"),
    ] {
        let fixture = Fixture::with(settings.clone()).await;
        let message = format!("The specified subject '{shown}' is not a valid.");
        let requests = vec![("POST", path, json!({ "schema": INT }))];
        check_on(&fixture, requests, 422, 42208, &message).await;
    }
}

#[tokio::test]
async fn e42205_where_modes_are_fixed() {
    let fixture = Fixture::with_fixed_modes().await;
    let requests = vec![("PUT", "/mode", json!({ "mode": "READONLY" }))];
    check_on(
        &fixture,
        requests,
        422,
        42205,
        "Mode changes are not allowed",
    )
    .await;
}

#[tokio::test]
async fn e50001_store() {
    let fixture = Fixture::new("BACKWARD").await;
    fixture.registry.close().await;
    let requests = vec![("PUT", "/config", json!({ "compatibility": "NONE" }))];
    let message = "Error in the backend data store";
    check_on(&fixture, requests, 500, 50001, message).await;
}
