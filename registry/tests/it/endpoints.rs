//! One test an endpoint of the API, named after method and path; each on the same prepared registry.
//!
//! An expected object names the members that matter, anything else is compared as it is.

use serde_json::{Value, json};

use crate::harness::{Fixture, Reply};

const ITEM: &str = r#"{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"sku","type":"string"}]}"#;
const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"item","type":"Item"}]}"#;
const ORDER_2: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"item","type":"Item"},{"name":"qty","type":"int","default":0}]}"#;
const PERSON: &str =
    r#"{"type":"object","properties":{"email":{"type":"string","confluent:tags":["PII"]}}}"#;
const COIN: &str = "syntax = \"proto3\";\n\nmessage Coin {\n  int32 cents = 1;\n}\n";

/// | subject | what |
/// |---|---|
/// | `item` | v1, id 1, referred to by `orders` |
/// | `orders` | v1 id 2, v2 id 3 with metadata and a rule |
/// | `person` | v1, id 4, JSON Schema, with a tag; topic `people` is associated with it |
/// | `coin` | v1, id 5, Protobuf |
/// | `gone` | v1, id 6, softly deleted |
/// | `:.ctx:orders` | v1, id 1 of `.ctx` |
/// | `sales` | an alias of `orders` |
async fn prepared() -> Fixture {
    let fixture = Fixture::new("BACKWARD").await;
    let item = json!([{ "name": "shop.Item", "subject": "item", "version": 1 }]);
    let rules = json!({ "domainRules": [{ "name": "r", "type": "CEL", "kind": "CONDITION",
        "mode": "WRITE", "expr": "true" }] });
    let bodies = [
        ("item", json!({ "schema": ITEM })),
        ("orders", json!({ "schema": ORDER, "references": item })),
        (
            "orders",
            json!({ "schema": ORDER_2, "references": item, "ruleSet": rules,
                "metadata": { "properties": { "owner": "sales" } } }),
        ),
        ("person", json!({ "schema": PERSON, "schemaType": "JSON" })),
        ("coin", json!({ "schema": COIN, "schemaType": "PROTOBUF" })),
        ("gone", json!({ "schema": "\"long\"" })),
        (":.ctx:orders", json!({ "schema": "\"string\"" })),
    ];
    for (subject, body) in bodies {
        let path = format!("/subjects/{subject}/versions");
        done(&fixture, "POST", &path, &body).await;
    }
    done(&fixture, "DELETE", "/subjects/gone", &Value::Null).await;
    done(
        &fixture,
        "PUT",
        "/config/sales",
        &json!({ "alias": "orders" }),
    )
    .await;
    let people = json!({ "resourceName": "people", "resourceNamespace": "lkc", "resourceId": "p1",
        "associations": [{ "subject": "person", "associationType": "value" }] });
    done(&fixture, "POST", "/associations", &people).await;
    fixture
}

async fn send(fixture: &Fixture, method: &str, path: &str, body: &Value) -> Reply {
    let text = body.to_string();
    let body = (!body.is_null()).then_some(text.as_str());
    fixture.call(method, path, body).await
}

async fn done(fixture: &Fixture, method: &str, path: &str, body: &Value) {
    let reply = send(fixture, method, path, body).await;
    assert!(reply.status.is_success(), "{method} {path}: {}", reply.text);
}

/// One request and what it answers.
type Case = (&'static str, &'static str, Value, u16, Value);

async fn check(cases: Vec<Case>) {
    let fixture = prepared().await;
    for (method, path, body, status, expected) in cases {
        let reply = send(&fixture, method, path, &body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text);
        let got = reply.json();
        assert!(
            agrees(&got, &expected),
            "{method} {path}\n got      {got}\n expected {expected}"
        );
    }
}

/// Objects may have more members than expected; `null` stands for a member that must be absent.
fn agrees(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| match got.get(key) {
                Some(found) => agrees(found, value),
                None => value.is_null(),
            })
        }
        (Value::Array(got), Value::Array(expected)) => {
            got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| agrees(a, b))
        }
        _ => got == expected,
    }
}

macro_rules! endpoints {
    ($($name:ident: [$(($method:literal $path:literal $(, $body:expr)? => $status:literal $expected:tt)),+ $(,)?];)+) => {
        $(#[tokio::test]
        async fn $name() {
            check(vec![$((
                $method,
                $path,
                endpoints!(@body $($body)?),
                $status,
                json!($expected),
            )),+]).await;
        })+
    };
    (@body) => { Value::Null };
    (@body $body:expr) => { $body };
}

fn schema(text: &str) -> Value {
    json!({ "schema": text })
}

fn order_2() -> Value {
    json!({ "schema": ORDER_2, "references": [{ "name": "shop.Item", "subject": "item", "version": 1 }] })
}

endpoints! {
    get_root: [("GET" "/" => 200 {})];
    post_root: [("POST" "/" => 200 {})];
    get_metadata_id: [
        ("GET" "/v1/metadata/id" => 200 {"scope": {"path": [], "clusters": {"schema-registry-cluster": "schema-registry"}}}),
    ];
    get_metadata_version: [
        ("GET" "/v1/metadata/version" => 200 {"version": (format!("assay-{}", env!("CARGO_PKG_VERSION")))}),
    ];
    get_metadata_deployment: [("GET" "/v1/metadata/deployment" => 200 {"attributes": []})];

    get_schemas: [
        ("GET" "/schemas?limit=2" => 200 [{"subject": "coin", "id": 5}, {"subject": "item", "id": 1}]),
        ("GET" "/schemas?subjectPrefix=or" => 200 [{"version": 1}, {"version": 2}]),
        ("GET" "/schemas?subjectPrefix=or&latestOnly=true" => 200 [{"version": 2}]),
        ("GET" "/schemas?subjectPrefix=:*:or" => 200 [{"subject": ":.ctx:orders"}, {"version": 1}, {"version": 2}]),
        ("GET" "/schemas?subjectPrefix=gone&deleted=true" => 200 [{"subject": "gone", "deleted": true}]),
        ("GET" "/schemas?subjectPrefix=gone" => 200 []),
        ("GET" "/schemas?ruleType=CEL" => 200 [{"subject": "orders", "version": 2}]),
        ("GET" "/schemas?subjectPrefix=sales&aliases=true" => 200 [{"version": 1, "aliases": ["sales"]}, {"version": 2}]),
        ("GET" "/schemas?lifecycle=WEAK" => 200 [{"subject": "person", "associations": [{"resourceName": "people"}]}]),
        ("GET" "/schemas?lifecycle=STRONG" => 200 []),
        ("GET" "/schemas?resourceType=topic&associationType=key" => 200 []),
        ("GET" "/schemas?lifecycle=NONE&subjectPrefix=p" => 200 []),
        ("GET" "/schemas?lifecycle=NONE&subjectPrefix=c" => 200 [{"subject": "coin", "associations": null}]),
        ("GET" "/schemas?lifecycle=x" => 404 {"error_code": 404}),
    ];
    get_schemas_ids_id: [
        ("GET" "/schemas/ids/3" => 200 {"subject": "orders", "version": 2, "schemaType": "AVRO", "schema": ORDER_2, "id": null, "deleted": false, "maxId": null}),
        ("GET" "/schemas/ids/3?fetchMaxId=true" => 200 {"maxId": 6}),
        ("GET" "/schemas/ids/1?subject=:.ctx:" => 200 {"subject": ":.ctx:orders", "schema": "\"string\""}),
        ("GET" "/schemas/ids/6" => 200 {"deleted": true}),
        ("GET" "/schemas/ids/4?findTags=PII" => 200 {"schemaTags": [{"schemaEntity": {"entityPath": "object.email", "entityType": "sr_field"}, "tags": ["PII"]}]}),
        ("GET" "/schemas/ids/4?findTags=other" => 200 {"schemaTags": null}),
        ("GET" "/schemas/ids/2?format=resolved" => 200 {"schema": (format!(r#"{{"type":"record","name":"Order","namespace":"shop","fields":[{{"name":"item","type":{}}}]}}"#, ITEM.replace(r#""namespace":"shop","#, "")))}),
        ("GET" "/schemas/ids/5?format=serialized" => 200 {"schema": "CgdkZWZhdWx0IhMKBENvaW4SCwoFY2VudHMYASgFYgZwcm90bzM="}),
        ("GET" "/schemas/ids/99" => 404 {"error_code": 40403, "message": "Schema 99 not found"}),
        ("GET" "/schemas/ids/x" => 404 {"error_code": 404}),
    ];
    get_schemas_ids_id_schema: [
        ("GET" "/schemas/ids/5/schema" => 200 COIN),
        ("GET" "/schemas/ids/99/schema" => 404 {"error_code": 40403}),
    ];
    get_schemas_ids_id_subjects: [
        ("GET" "/schemas/ids/3/subjects" => 200 ["orders"]),
        ("GET" "/schemas/ids/6/subjects" => 200 []),
        ("GET" "/schemas/ids/6/subjects?deleted=true" => 200 ["gone"]),
        ("GET" "/schemas/ids/99/subjects" => 404 {"error_code": 40403, "message": "Schema not found"}),
    ];
    get_schemas_ids_id_versions: [
        ("GET" "/schemas/ids/3/versions" => 200 [{"subject": "orders", "version": 2}]),
        ("GET" "/schemas/ids/6/versions" => 200 []),
        ("GET" "/schemas/ids/6/versions?deleted=true" => 200 [{"subject": "gone", "version": 1}]),
        ("GET" "/schemas/ids/99/versions" => 404 {"error_code": 40403}),
    ];
    get_schemas_guids_guid: [
        ("GET" "/schemas/guids/095d71cf-1255-6b9d-5e33-0ad575b3df5d" => 200 {"schema": "\"string\"", "subject": null, "version": null}),
        ("GET" "/schemas/guids/095d71cf12556b9d5e330ad575b3df5d" => 200 {"schema": "\"string\""}),
        ("GET" "/schemas/guids/00000000-0000-0000-0000-000000000000" => 404 {"error_code": 40403, "message": "Schema 00000000-0000-0000-0000-000000000000 not found"}),
    ];
    get_schemas_guids_guid_ids: [
        ("GET" "/schemas/guids/095d71cf-1255-6b9d-5e33-0ad575b3df5d/ids" => 200 [{"context": ".ctx", "id": 1}]),
        ("GET" "/schemas/guids/00000000-0000-0000-0000-000000000000/ids" => 200 []),
    ];
    get_schemas_types: [("GET" "/schemas/types" => 200 ["JSON", "PROTOBUF", "AVRO"])];

    get_subjects: [
        ("GET" "/subjects" => 200 [":.ctx:orders", "coin", "item", "orders", "person"]),
        ("GET" "/subjects?subjectPrefix=:.:" => 200 ["coin", "item", "orders", "person"]),
        ("GET" "/subjects?subjectPrefix=:*:or" => 200 [":.ctx:orders", "orders"]),
        ("GET" "/subjects?deletedOnly=true" => 200 ["gone"]),
        ("GET" "/subjects?deleted=true&subjectPrefix=g" => 200 ["gone"]),
        ("GET" "/subjects?offset=1&limit=2" => 200 ["coin", "item"]),
        ("GET" "/subjects?limit=x" => 404 {"error_code": 404}),
    ];
    post_subjects_s: [
        ("POST" "/subjects/orders", order_2() => 200 {"subject": "orders", "version": 2, "id": 3}),
        ("POST" "/subjects/sales", order_2() => 200 {"subject": "orders"}),
        ("POST" "/subjects/coin", json!({"schema": "syntax=\"proto3\"; message Coin { int32 cents=1; }", "schemaType": "PROTOBUF"}) => 200 {"id": 5}),
        ("POST" "/subjects/person?normalize=true", json!({"schema": PERSON, "schemaType": "JSON"}) => 404 {"error_code": 40403}),
        ("POST" "/subjects/gone?deleted=true", schema("\"long\"") => 200 {"version": 1}),
        ("POST" "/subjects/gone", schema("\"long\"") => 404 {"error_code": 40401}),
        ("POST" "/subjects/orders", schema("\"int\"") => 404 {"error_code": 40403, "message": "Schema not found"}),
        ("POST" "/subjects/orders", schema("{") => 422 {"error_code": 42201}),
    ];
    get_subjects_s_metadata: [
        ("GET" "/subjects/orders/metadata?key=owner&value=sales" => 200 {"version": 2}),
        ("GET" "/subjects/orders/metadata" => 200 {"version": 2}),
        ("GET" "/subjects/orders/metadata?key=owner&value=else" => 404 {"error_code": 40403}),
        ("GET" "/subjects/none/metadata" => 404 {"error_code": 40401}),
    ];
    delete_subjects_s: [
        ("DELETE" "/subjects/orders" => 200 [1, 2]),
        ("DELETE" "/subjects/orders?permanent=true" => 200 [1, 2]),
        ("DELETE" "/subjects/orders" => 404 {"error_code": 40401}),
    ];
    get_subjects_s_versions: [
        ("GET" "/subjects/orders/versions" => 200 [1, 2]),
        ("GET" "/subjects/orders/versions?offset=1" => 200 [2]),
        ("GET" "/subjects/gone/versions?deleted=true" => 200 [1]),
        ("GET" "/subjects/gone/versions?deletedOnly=true" => 200 [1]),
        ("GET" "/subjects/gone/versions?deleted=true&deletedAsNegative=true" => 200 [(-1)]),
        ("GET" "/subjects/gone/versions" => 404 {"error_code": 40401}),
    ];
    post_subjects_s_versions: [
        ("POST" "/subjects/new/versions", schema("\"int\"") => 200 {"id": 7, "version": 1, "subject": null, "schemaType": "AVRO", "schema": "\"int\""}),
        ("POST" "/subjects/new/versions", schema("\"int\"") => 200 {"id": 7}),
        ("POST" "/subjects/new/versions", schema("\"string\"") => 409 {"error_code": 40901}),
        ("POST" "/subjects/new/versions?force=true", schema("\"string\"") => 200 {"id": 8, "version": 2}),
        ("POST" "/subjects/norm/versions?normalize=true", json!({"schema": "{\"type\":\"object\",\"properties\":{},\"title\":\"t\"}", "schemaType": "JSON"}) => 200 {"schema": "{\"properties\":{},\"title\":\"t\",\"type\":\"object\"}"}),
        ("POST" "/subjects/tagged/versions", json!({"schema": PERSON, "schemaType": "JSON", "schemaTagsToRemove": [{"schemaEntity": {"entityPath": "object.email", "entityType": "sr_field"}, "tags": ["PII"]}]})
            => 200 {"schema": "{\"type\":\"object\",\"properties\":{\"email\":{\"type\":\"string\"}}}", "metadata": {"properties": {"confluent:version": "1"}}}),
        ("POST" "/subjects/person/versions", json!({"schema": "{\"type\":\"object\",\"title\":\"p\",\"properties\":{\"email\":{\"type\":\"string\"}}}", "schemaType": "JSON", "propagateSchemaTags": true})
            => 200 {"version": 2, "schema": "{\"type\":\"object\",\"title\":\"p\",\"properties\":{\"email\":{\"type\":\"string\",\"confluent:tags\":[\"PII\"]}}}"}),
        ("POST" "/subjects/orders/versions", json!({"metadata": {"properties": {"owner": "ops"}}}) => 200 {"version": 3, "schema": ORDER_2, "ruleSet": {"domainRules": [{"name": "r"}]}}),
    ];
    get_subjects_s_versions_v: [
        ("GET" "/subjects/orders/versions/2" => 200 {"subject": "orders", "version": 2, "id": 3, "references": [{"subject": "item"}], "metadata": {"properties": {"owner": "sales"}}, "ruleSet": {"domainRules": [{"name": "r", "disabled": false}]}}),
        ("GET" "/subjects/orders/versions/latest" => 200 {"version": 2}),
        ("GET" "/subjects/orders/versions/-1" => 200 {"version": 2}),
        ("GET" "/subjects/sales/versions/1" => 200 {"subject": "orders"}),
        ("GET" "/contexts/ctx/subjects/orders/versions/1" => 200 {"subject": ":.ctx:orders"}),
        ("GET" "/subjects/gone/versions/1?deleted=true" => 200 {"deleted": true}),
        ("GET" "/subjects/person/versions/1?findTags=*" => 200 {"schemaTags": [{"tags": ["PII"]}]}),
        ("GET" "/subjects/coin/versions/1?format=serialized" => 200 {"schema": "CgdkZWZhdWx0IhMKBENvaW4SCwoFY2VudHMYASgFYgZwcm90bzM="}),
        ("GET" "/subjects/orders/versions/9" => 404 {"error_code": 40402, "message": "Version 9 not found."}),
        ("GET" "/subjects/none/versions/1" => 404 {"error_code": 40401}),
        ("GET" "/subjects/orders/versions/0" => 422 {"error_code": 42202}),
    ];
    get_subjects_s_versions_v_schema: [
        ("GET" "/subjects/coin/versions/latest/schema" => 200 COIN),
        ("GET" "/subjects/coin/versions/9/schema" => 404 {"error_code": 40402}),
    ];
    get_subjects_s_versions_v_referencedby: [
        ("GET" "/subjects/item/versions/1/referencedby" => 200 [2, 3]),
        ("GET" "/subjects/item/versions/1/referencedby?offset=1" => 200 [3]),
        ("GET" "/subjects/orders/versions/1/referencedby" => 200 []),
        ("GET" "/subjects/none/versions/1/referencedby" => 404 {"error_code": 40401}),
    ];
    delete_subjects_s_versions_v: [
        ("DELETE" "/subjects/orders/versions/1" => 200 1),
        ("DELETE" "/subjects/orders/versions/1?permanent=true" => 200 1),
        ("DELETE" "/subjects/orders/versions/latest" => 200 2),
    ];
    post_subjects_s_versions_v_tags: [
        ("POST" "/subjects/person/versions/latest/tags", json!({
            "tagsToAdd": [{"schemaEntity": {"entityPath": "object", "entityType": "sr_record"}, "tags": ["T"]}],
            "rulesToMerge": {"domainRules": [{"name": "n", "type": "CEL", "mode": "READ"}]},
        }) => 200 {"version": 2, "ruleSet": {"domainRules": [{"name": "n"}]}, "schema": (format!("{},\"confluent:tags\":[\"T\"]}}", PERSON.trim_end_matches('}').to_owned() + "}}"))}),
        ("POST" "/subjects/person/versions/2/tags", json!({
            "newVersion": 3,
            "tagsToRemove": [{"schemaEntity": {"entityPath": "object", "entityType": "sr_record"}, "tags": ["T"]}],
            "rulesToRemove": ["n"],
        }) => 200 {"version": 3, "schema": PERSON}),
        ("POST" "/subjects/person/versions/9/tags", json!({}) => 404 {"error_code": 40402}),
        ("POST" "/subjects/none/versions/1/tags", json!({}) => 404 {"error_code": 40401}),
    ];

    post_compatibility_subjects_s_versions_v: [
        ("POST" "/compatibility/subjects/orders/versions/1", order_2() => 200 {"is_compatible": true, "messages": null}),
        ("POST" "/compatibility/subjects/orders/versions/latest?verbose=true", schema("\"int\"") => 200 {"is_compatible": false}),
        ("POST" "/compatibility/subjects/none/versions/latest", schema("\"int\"") => 200 {"is_compatible": true}),
        ("POST" "/compatibility/subjects/none/versions/1", schema("\"int\"") => 404 {"error_code": 40402}),
    ];
    post_compatibility_subjects_s_versions: [
        ("POST" "/compatibility/subjects/orders/versions?verbose=true", order_2() => 200 {"is_compatible": true, "messages": []}),
        ("POST" "/compatibility/subjects/orders/versions", schema("\"int\"") => 200 {"is_compatible": false}),
        ("POST" "/compatibility/subjects/orders/versions", schema("{") => 422 {"error_code": 42201}),
        ("POST" "/compatibility/subjects/orders/versions?verbose=true", schema("{") => 200 {"is_compatible": false}),
    ];

    get_config: [("GET" "/config" => 200 {"compatibilityLevel": "BACKWARD"})];
    put_config: [
        ("PUT" "/config", json!({"compatibility": "full", "normalize": true}) => 200 {"compatibility": "FULL", "normalize": true}),
        ("PUT" "/config", json!({"normalize": null}) => 200 {"compatibility": "FULL", "normalize": null}),
        ("GET" "/config" => 200 {"compatibilityLevel": "FULL"}),
    ];
    delete_config: [
        ("PUT" "/config", json!({"compatibility": "NONE"}) => 200 {}),
        ("DELETE" "/config" => 200 {"compatibilityLevel": "NONE"}),
        ("DELETE" "/config" => 200 {"compatibilityLevel": "BACKWARD"}),
    ];
    get_config_s: [
        ("GET" "/config/orders" => 404 {"error_code": 40408}),
        ("GET" "/config/orders?defaultToGlobal=true" => 200 {"compatibilityLevel": "BACKWARD"}),
        ("GET" "/config/sales" => 200 {"alias": "orders"}),
    ];
    put_config_s: [
        ("PUT" "/config/orders", json!({
            "aliasForDeks": "d", "validateFields": true, "validateNewSchemas": false, "validateRules": true,
            "compatibilityPolicy": "LENIENT", "compatibilityGroup": "g",
            "defaultMetadata": {"properties": {"a": "1"}}, "overrideMetadata": {"sensitive": ["a"]},
            "defaultRuleSet": {"domainRules": [{"name": "d", "type": "CEL", "mode": "READ"}]},
            "overrideRuleSet": {"migrationRules": [{"name": "m", "type": "JSONATA", "mode": "UPGRADE"}]},
        }) => 200 {"aliasForDeks": "d", "validateFields": true, "validateNewSchemas": false, "validateRules": true,
            "compatibilityPolicy": "LENIENT", "compatibilityGroup": "g",
            "defaultMetadata": {"properties": {"a": "1"}}, "overrideMetadata": {"sensitive": ["a"]},
            "defaultRuleSet": {"domainRules": [{"name": "d"}]}, "overrideRuleSet": {"migrationRules": [{"name": "m"}]}}),
        ("POST" "/subjects/orders/versions", json!({"metadata": {"properties": {"b": "2"}}}) => 200 {
            "metadata": {"properties": {"a": "1", "b": "2"}, "sensitive": ["a"]},
            "ruleSet": {"domainRules": [{"name": "d"}, {"name": "r"}], "migrationRules": [{"name": "m"}]}}),
        ("PUT" "/config/:.ctx:", json!({"compatibility": "NONE"}) => 200 {"compatibility": "NONE"}),
        ("GET" "/config/:.ctx:orders?defaultToGlobal=true" => 200 {"compatibilityLevel": "NONE"}),
        ("PUT" "/contexts/ctx/config/orders", json!({"compatibility": "FULL"}) => 200 {}),
        ("GET" "/config/:.ctx:orders" => 200 {"compatibilityLevel": "FULL"}),
    ];
    delete_config_s: [
        ("DELETE" "/config/sales" => 200 {"alias": "orders"}),
        ("DELETE" "/config/sales" => 404 {"error_code": 40401}),
    ];

    get_mode: [("GET" "/mode" => 200 {"mode": "READWRITE"})];
    put_mode: [
        ("PUT" "/mode", json!({"mode": "READONLY"}) => 200 {"mode": "READONLY"}),
        ("PUT" "/mode", json!({"mode": "READONLY_OVERRIDE"}) => 200 {"mode": "READONLY_OVERRIDE"}),
        ("PUT" "/mode?force=true", json!({"mode": "IMPORT"}) => 200 {"mode": "IMPORT"}),
        ("PUT" "/mode", json!({"mode": null}) => 200 {"mode": null}),
        ("GET" "/mode" => 200 {"mode": "READWRITE"}),
        ("PUT" "/mode/:.__GLOBAL:", json!({"mode": "FORWARD"}) => 200 {"mode": "FORWARD"}),
    ];
    delete_mode: [
        ("DELETE" "/mode" => 200 {"mode": "READWRITE"}),
        ("PUT" "/mode", json!({"mode": "READONLY"}) => 200 {}),
        ("DELETE" "/mode?recursive=true" => 200 {"mode": "READONLY"}),
    ];
    get_mode_s: [
        ("GET" "/mode/orders" => 404 {"error_code": 40409}),
        ("GET" "/mode/orders?defaultToGlobal=true" => 200 {"mode": "READWRITE"}),
    ];
    put_mode_s: [
        ("PUT" "/mode/imported", json!({"mode": "IMPORT"}) => 200 {"mode": "IMPORT"}),
        ("POST" "/subjects/imported/versions", json!({"schema": "\"int\"", "id": 40, "version": 7}) => 200 {"id": 40, "version": 7}),
        // What is no schema is kept as it came, and its text is all that is known of it.
        ("POST" "/subjects/imported/versions", json!({"schema": "{ \"type\": \"nope\" }", "schemaType": "JSON", "id": 41, "version": 8}) => 200 {"id": 41, "schema": "{\"type\":\"nope\"}"}),
        ("GET" "/schemas/ids/41?findTags=*" => 200 {"schema": "{\"type\":\"nope\"}"}),
        ("PUT" "/mode/orders", json!({"mode": "READONLY"}) => 200 {"mode": "READONLY"}),
        ("GET" "/mode/orders" => 200 {"mode": "READONLY"}),
    ];
    delete_mode_s: [
        ("DELETE" "/mode/orders" => 404 {"error_code": 40401}),
        ("PUT" "/mode/orders", json!({"mode": "READONLY"}) => 200 {}),
        ("DELETE" "/mode/orders" => 200 {"mode": "READONLY"}),
    ];

    get_contexts: [
        ("GET" "/contexts" => 200 [".", ".ctx"]),
        ("GET" "/contexts?contextPrefix=.c" => 200 [".ctx"]),
        ("GET" "/contexts?limit=1" => 200 ["."]),
    ];
    delete_contexts_c: [
        ("DELETE" "/contexts/:.ctx:" => 422 {"error_code": 42211}),
        ("DELETE" "/contexts/:.none:" => 204 null),
        ("DELETE" "/subjects/:.ctx:orders" => 200 [1]),
        ("DELETE" "/subjects/:.ctx:orders?permanent=true" => 200 [1]),
        ("DELETE" "/contexts/ctx" => 204 null),
        ("GET" "/contexts" => 200 ["."]),
    ];

    get_associations_subjects_s: [
        ("GET" "/associations/subjects/person" => 200 [{"subject": "person", "resourceName": "people", "resourceNamespace": "lkc", "resourceId": "p1", "resourceType": "topic", "associationType": "value", "lifecycle": "WEAK", "frozen": null}]),
        ("GET" "/associations/subjects/person?lifecycle=STRONG" => 200 []),
        ("GET" "/associations/subjects/none" => 200 []),
        ("GET" "/associations/subjects/person?lifecycle=x" => 404 {"error_code": 404}),
    ];
    get_associations_resources_ns_name: [
        ("GET" "/associations/resources/lkc/people" => 200 [{"subject": "person"}]),
        ("GET" "/associations/resources/-/people?resourceType=topic&associationType=value" => 200 [{"subject": "person"}]),
        ("GET" "/associations/resources/lkc/-" => 200 [{"subject": "person"}]),
        ("GET" "/associations/resources/-/-" => 200 [{"subject": "person"}]),
        ("GET" "/associations/resources/other/people" => 200 []),
    ];
    get_associations_resources_id: [
        ("GET" "/associations/resources/p1" => 200 [{"subject": "person"}]),
        ("GET" "/associations/resources/p1?associationType=key" => 200 []),
        ("GET" "/associations/resources/none" => 200 []),
    ];
    post_associations: [
        ("POST" "/associations?dryRun=true", strong("coins") => 200 {"resourceName": "coins", "associations": null}),
        ("POST" "/associations", strong("coins") => 200 {"resourceId": "coins-id", "associations": [
            {"subject": ":.lkc:coins-value", "lifecycle": "STRONG", "schema": {"subject": ":.lkc:coins-value", "version": 1, "id": 1}}]}),
        ("POST" "/associations", strong("coins") => 200 {"associations": null}),
        ("POST" "/contexts/ctx/associations", weak("names", "orders") => 200 {"associations": [{"subject": ":.ctx:orders"}]}),
        ("POST" "/associations", weak("orders", "sales") => 200 {"associations": [{"subject": "orders"}]}),
    ];
    put_associations_resources_id: [
        ("PUT" "/associations/resources/o1", json!({"resourceName": "o", "resourceNamespace": "lkc", "associations": [
            {"subject": "orders", "associationType": "value"}, {"subject": "item", "associationType": "key"}]})
            => 200 {"resourceId": "o1", "associations": [{"subject": "orders"}, {"subject": "item", "associationType": "key"}]}),
        ("PUT" "/associations/resources/o1", json!({"resourceName": "o", "resourceNamespace": "lkc", "associations": [{"subject": "orders", "lifecycle": "WEAK"}]})
            => 200 {"associations": null}),
    ];
    delete_associations_resources_id: [
        ("DELETE" "/associations/resources/p1?dryRun=true" => 204 null),
        ("DELETE" "/associations/resources/p1" => 204 null),
        ("DELETE" "/associations/resources/p1" => 404 {"error_code": 40410}),
        ("POST" "/associations", strong("coins") => 200 {}),
        ("DELETE" "/associations/resources/coins-id?cascadeLifecycle=true" => 204 null),
        ("GET" "/subjects?subjectPrefix=:.lkc:&deleted=true" => 200 []),
    ];
    post_associations_batch_get: [
        ("POST" "/associations:batchGet?includeSchemas=true", json!({"requests": [
            {"resourceId": "p1"}, {"resourceName": "people", "resourceNamespace": "-", "associationTypes": ["key"]}, {}]})
            => 207 {"results": [
                {"result": {"resourceName": "people", "associations": [{"subject": "person", "schema": {"id": 4}}]}},
                {"result": {"resourceName": "people", "associations": null}},
                {"error": {"error_code": 500, "message": "Error while getting associations: property: resourceId; detail: either resourceId or resourceName must be specified"}}]}),
    ];
    post_associations_batch_mutate: [
        ("POST" "/associations:batchMutate", json!({"requests": [
            {"resourceName": "o", "resourceNamespace": "lkc", "resourceId": "o1", "associations": [
                {"opType": "CREATE", "subject": "orders"}, {"opType": "CREATE", "subject": "item", "associationType": "key"}]},
            {"resourceName": "people", "resourceNamespace": "lkc", "resourceId": "p1", "associations": [{"opType": "DELETE"}]},
            {"resourceName": "bad", "resourceNamespace": "lkc", "resourceId": "b1", "associations": [{"opType": "UPSERT", "subject": "none"}]}]})
            => 207 {"results": [
                {"result": {"associations": [{"subject": "item", "associationType": "key"}, {"subject": "orders"}]}},
                {"result": {"associations": null}},
                {"error": {"error_code": 40907}}]}),
        ("GET" "/associations/resources/p1" => 200 []),
    ];
}

fn weak(topic: &str, subject: &str) -> Value {
    json!({ "resourceName": topic, "resourceNamespace": "lkc", "resourceId": format!("{topic}-id"),
        "associations": [{ "subject": subject, "associationType": "value", "lifecycle": "WEAK" }] })
}

fn strong(topic: &str) -> Value {
    json!({ "resourceName": topic, "resourceNamespace": "lkc", "resourceId": format!("{topic}-id"),
        "associations": [{ "schema": { "schema": COIN, "schemaType": "PROTOBUF" } }] })
}
