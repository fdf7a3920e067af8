//! The validator as the broker calls it, over a registry with its store and HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicI64;

use axum::body::Body;
use axum::http::Request;
use broker_core::clock::Clock;
use broker_core::ids::{PartitionIndex, TopicId, TopicName};
use broker_core::records::{BatchBuilder, BatchView, Compression};
use broker_core::validation::{
    Receipt, RecordValidator, Rejection, RequestOrigin, TopicSettings, Verdict,
};
use registry::{Registry, RegistryConfig};
use serde_formats::wire::write_prefix;
use serde_json::{Value, json};

use super::rejections::tests::send;
use super::{Enforcement, Rejections, hex};

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"}]}"#;
const PAYMENT: &str =
    r#"{"type":"object","properties":{"amount":{"type":"integer"}},"required":["amount"]}"#;
const SHOP: &str = "syntax = \"proto3\"; message Order { int64 id = 1; }";

struct World {
    enforcement: Enforcement,
    registry: Registry,
    rejections: Arc<Rejections>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let registry = Registry::open(RegistryConfig {
            sqlite_path: folder.path().join("registry.db"),
            default_compatibility: "NONE".to_owned(),
            mode_mutability: true,
            reject_empty_subject: false,
            strict_reference_versions: false,
            body_bytes_max: 1 << 20,
        })
        .await
        .expect("registry opens");
        let rejections = Arc::new(Rejections::default());
        let clock = Clock::Manual(Arc::new(AtomicI64::new(1_700_000_000_000)));
        Self {
            enforcement: Enforcement::new(registry.clone(), Arc::clone(&rejections), clock),
            registry,
            rejections,
            _folder: folder,
        }
    }

    async fn http(&self, method: &str, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(Body::from(body.to_string()))
            .expect("request");
        let (status, body) = send(self.registry.router(), request).await;
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    async fn register(&self, subject: &str, format: &str, schema: &str) -> i32 {
        let body = json!({"schemaType": format, "schema": schema});
        let answer = self
            .http("POST", &format!("/subjects/{subject}/versions"), body)
            .await;
        i32::try_from(answer["id"].as_i64().expect("id")).expect("i32")
    }

    fn validate(&self, topic: &TopicSettings, values: &[&[u8]]) -> Verdict {
        let mut builder = BatchBuilder::new(Compression::Zstd, 0);
        for value in values {
            builder.append(0, None, Some(value), &[]);
        }
        let bytes = builder.build();
        let (batch, _) = BatchView::parse(&bytes).expect("batch");
        let origin = RequestOrigin {
            client_id: "billing",
            client_software: "librdkafka 2.16.1",
            address: ([127, 0, 0, 1], 5000).into(),
            partition: PartitionIndex(3),
        };
        self.enforcement.validate(topic, &batch, &origin)
    }

    fn accept(&self, topic: &TopicSettings, values: &[&[u8]]) -> Receipt {
        match self.validate(topic, values) {
            Verdict::Accepted(receipt) => receipt,
            other => panic!("{other:?}"),
        }
    }

    fn reject(&self, topic: &TopicSettings, values: &[&[u8]]) -> Rejection {
        match self.validate(topic, values) {
            Verdict::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    }
}

fn settings(topic: &str, properties: &[(&str, &str)]) -> TopicSettings {
    TopicSettings {
        name: TopicName::new(topic).expect("legal name"),
        id: TopicId(uuid::Uuid::nil()),
        properties: properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        compiled: OnceLock::new(),
    }
}

fn framed(id: i32, payload: &str) -> Vec<u8> {
    let mut value = Vec::new();
    write_prefix(id, &mut value);
    value.extend(hex(payload));
    value
}

/// A topic that is associated with a subject is held to it, in the subject's own context.
#[tokio::test]
async fn a_topic_is_held_to_its_associated_subject() {
    let world = World::open().await;
    let shared = world.register("shared-orders", "AVRO", ORDER).await;
    let own = world.register("late-value", "AVRO", "\"string\"").await;
    let associate = |topic: &str, id: &str, association: Value| {
        json!({
            "resourceName": topic, "resourceNamespace": "cluster", "resourceId": id,
            "associations": [association],
        })
    };
    let weak = json!({ "subject": "shared-orders", "associationType": "value" });
    let strong = json!({ "associationType": "value", "schema": { "schema": ORDER } });
    let late = settings("late", &[]);
    let held_to_own = world.accept(&late, &[&framed(own, "0261")]);
    for body in [
        associate("orders", "a", weak.clone()),
        associate("late", "b", weak),
        associate("owned", "c", strong),
    ] {
        world.http("POST", "/associations", body).await;
    }
    let good = framed(shared, "540a616c696365");
    let bad = framed(shared, "54");
    let orders = settings("orders", &[]);
    world.accept(&orders, &[&good]);
    world.reject(&orders, &[&bad]);
    // Nothing but the strategy that looks at associations does.
    let by_name = [("assay.value.subject.name.strategy", "TopicNameStrategy")];
    world.accept(&settings("orders", &by_name), &[&bad]);

    world.accept(&late, &[&good]);
    let refused = world.reject(&late, &[&framed(own, "0261")]);
    assert!(refused.message.contains("shared-orders"), "{refused:?}");
    assert!(!world.enforcement.still_holds(&late, &held_to_own));

    // Ids of the context `.cluster` begin at 1 again, with another schema.
    let owned = settings("owned", &[]);
    world.accept(&owned, &[&framed(1, "540a616c696365")]);
    world.reject(&owned, &[&framed(1, "54")]);
    let refused = world.reject(&owned, &[&framed(own, "0261")]);
    assert!(refused.message.contains("ASY-2101"), "{refused:?}");
}

#[tokio::test]
async fn every_format_through_the_registry() {
    let world = World::open().await;
    let order = world.register("orders-value", "AVRO", ORDER).await;
    let payment = world.register("payments-value", "JSON", PAYMENT).await;
    let shop = world.register("shop-value", "PROTOBUF", SHOP).await;
    for (topic, good, bad, code) in [
        (
            "orders",
            framed(order, "540a616c696365"),
            framed(order, "54"),
            "ASY-2201",
        ),
        (
            "payments",
            framed(payment, "7b22616d6f756e74223a317d"),
            framed(payment, "7b7d"),
            "ASY-2210",
        ),
        (
            "shop",
            framed(shop, "00082a"),
            framed(shop, "00102a"),
            "ASY-2302",
        ),
        (
            "shop",
            framed(shop, "00082a"),
            framed(order, "00082a"),
            "ASY-2103",
        ),
    ] {
        let topic = settings(topic, &[]);
        let receipt = world.accept(&topic, &[&good, &good]);
        assert!(world.enforcement.still_holds(&topic, &receipt));
        let rejection = world.reject(&topic, &[&good, &bad]);
        assert_eq!(rejection.errors.len(), 1);
        assert_eq!(rejection.errors[0].batch_index, 1);
        let text = rejection.errors[0].message.as_deref().expect("text");
        assert!(text.starts_with(code), "{text}");
    }
}

#[tokio::test]
async fn a_rejection_tells_everything_in_one_line_and_in_the_ring() {
    let world = World::open().await;
    let id = world.register("orders-value", "AVRO", ORDER).await;
    let topic = settings("orders", &[]);
    let (good, bad) = (framed(id, "540a616c696365"), framed(id, "54"));
    let rejection = world.reject(&topic, &[&good, &bad, &bad]);
    let prefix = format!(
        "2 of 3 records for topic orders partition 3 break their schema; record 1: ASY-2201 value \
         ends inside a value: schema id={id} (orders-value v1, AVRO) at $.name byte 6: "
    );
    assert!(
        rejection.message.starts_with(&prefix),
        "{}",
        rejection.message
    );
    assert!(
        rejection
            .message
            .ends_with("; more at /v1/topics/orders/rejections"),
        "{}",
        rejection.message
    );
    let ring = world.rejections.newest(Some("orders"), 10);
    assert_eq!(ring.len(), 2);
    let record = &ring[1];
    assert_eq!((record.batch_index, record.partition), (1, 3));
    assert_eq!((record.code, record.reason), ("ASY-2201", "truncated"));
    assert_eq!(record.path.as_deref(), Some("$.name"));
    assert_eq!((record.byte_offset, record.schema_id), (Some(6), Some(id)));
    assert_eq!(
        (record.subject.as_deref(), record.version),
        (Some("orders-value"), Some(1))
    );
    assert_eq!(
        (record.client_id.as_str(), record.time_ms),
        ("billing", 1_700_000_000_000)
    );
    assert!(!record.observed);
}

#[tokio::test]
async fn modes() {
    let world = World::open().await;
    let id = world.register("orders-value", "AVRO", ORDER).await;
    let bad = framed(id, "54");
    for (topic, properties, accepted, in_ring) in [
        ("orders", &[][..], false, 1),
        (
            "orders",
            &[("assay.value.validation.mode", "observe")][..],
            true,
            1,
        ),
        ("orders", &[("assay.value.validation.mode", "off")], true, 0),
        (
            "orders",
            &[("confluent.value.schema.validation", "false")],
            true,
            0,
        ),
        ("open", &[], true, 0),
        (
            "open",
            &[("confluent.value.schema.validation", "true")],
            false,
            1,
        ),
        (
            "__consumer_offsets",
            &[("confluent.value.schema.validation", "true")],
            true,
            0,
        ),
    ] {
        let before = world.rejections.newest(None, 100).len();
        let topic_settings = settings(topic, properties);
        let verdict = world.validate(&topic_settings, &[&bad]);
        assert_eq!(
            matches!(verdict, Verdict::Accepted(_)),
            accepted,
            "{topic} {properties:?} {verdict:?}"
        );
        let added = world.rejections.newest(None, 100).len() - before;
        assert_eq!(added, in_ring, "{topic} {properties:?}");
    }
    assert!(
        world.rejections.newest(None, 2)[1].observed,
        "observed ones say so"
    );
}

#[tokio::test]
async fn broker_wide_defaults_count_where_a_topic_is_silent() {
    let mut world = World::open().await;
    let defaults = settings("-", &[("assay.value.validation.mode", "enforce")]).properties;
    world.enforcement = world.enforcement.with_topic_defaults(defaults);
    for (topic, properties, accepted) in [
        ("silent", &[][..], false),
        ("open", &[("assay.value.validation.mode", "off")][..], true),
        (
            "confluent",
            &[("confluent.value.schema.validation", "false")],
            true,
        ),
        ("__consumer_offsets", &[], true),
    ] {
        let topic_settings = settings(topic, properties);
        let check = world
            .enforcement
            .check_properties(&topic_settings.properties);
        assert_eq!(check, Ok(()), "{topic}");
        let verdict = world.validate(&topic_settings, &[b"x"]);
        assert_eq!(
            matches!(verdict, Verdict::Accepted(_)),
            accepted,
            "{topic} {verdict:?}"
        );
    }
}

#[tokio::test]
async fn receipts_notice_deletion_and_registration() {
    let world = World::open().await;
    let open = settings("orders", &[]);
    let anything = world.accept(&open, &[b"anything"]);
    assert!(world.enforcement.still_holds(&open, &anything));
    let id = world.register("orders-value", "AVRO", ORDER).await;
    assert!(
        !world.enforcement.still_holds(&open, &anything),
        "the topic is enforced now"
    );
    let value = framed(id, "540a616c696365");
    let receipt = world.accept(&open, &[&value]);
    world.register("other-value", "AVRO", ORDER).await;
    assert!(
        world.enforcement.still_holds(&open, &receipt),
        "nothing of ours changed"
    );
    let enforced = settings("orders", &[("assay.value.validation.mode", "enforce")]);
    assert!(
        !world.enforcement.still_holds(&enforced, &receipt),
        "another policy"
    );
    let receipt = world.accept(&enforced, &[&value]);
    world
        .http("DELETE", "/subjects/orders-value", Value::Null)
        .await;
    assert!(
        world.enforcement.still_holds(&enforced, &receipt),
        "soft-deleted passes"
    );
    world
        .http(
            "DELETE",
            "/subjects/orders-value?permanent=true",
            Value::Null,
        )
        .await;
    assert!(!world.enforcement.still_holds(&enforced, &receipt), "gone");
    let rejection = world.reject(&enforced, &[&value]);
    let text = rejection.errors[0].message.as_deref().expect("text");
    assert!(
        text.starts_with("ASY-2103") || text.starts_with("ASY-2101"),
        "{text}"
    );
}

#[tokio::test]
async fn settings_that_make_no_sense_are_a_retriable_error_not_a_refusal() {
    let world = World::open().await;
    let topic = settings("orders", &[("assay.value.validation.mode", "sometimes")]);
    let Verdict::Unresolved(wanted) = world.validate(&topic, &[b"x"]) else {
        panic!("neither accepted nor refused");
    };
    let error = world
        .enforcement
        .resolve(wanted)
        .await
        .expect_err("no verdict");
    assert!(error.0.starts_with("ASY-2901 "), "{}", error.0);
    let check = world.enforcement.check_properties(&topic.properties);
    assert_eq!(
        check,
        Err("assay.value.validation.mode must be one of off, observe, enforce, auto, true, false, not sometimes".to_owned())
    );
}

#[tokio::test]
async fn a_broken_batch_is_refused_where_anything_is_enforced() {
    let world = World::open().await;
    world.register("orders-value", "AVRO", ORDER).await;
    let mut builder = BatchBuilder::new(Compression::None, 0);
    builder.append(0, None, Some(b"value"), &[]);
    let mut bytes = builder.build();
    // The record's length: an attribute byte that is none follows.
    bytes[61] = 0x7f;
    let (batch, _) = BatchView::parse(&bytes).expect("header is whole");
    let origin = RequestOrigin {
        client_id: "",
        client_software: "",
        address: ([127, 0, 0, 1], 1).into(),
        partition: PartitionIndex(0),
    };
    let verdict = world
        .enforcement
        .validate(&settings("orders", &[]), &batch, &origin);
    let Verdict::Rejected(rejection) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(
        rejection.message.starts_with("ASY-2009 record batch"),
        "{}",
        rejection.message
    );
}

#[tokio::test]
async fn metrics_count_parts() {
    let world = World::open().await;
    let id = world.register("orders-value", "AVRO", ORDER).await;
    let (good, bad) = (framed(id, "540a616c696365"), framed(id, "54"));
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        super::describe_metrics();
        let enforced = settings("orders", &[]);
        let observed = settings("orders", &[("assay.value.validation.mode", "observe")]);
        world.accept(&enforced, &[&good, &good]);
        world.reject(&enforced, &[&good, &bad, &bad]);
        world.accept(&observed, &[&bad]);
    });
    let page = recorder.handle().render();
    for line in [
        r#"assay_records_validated_total{topic="orders",part="value",format="AVRO"} 3"#,
        r#"assay_records_rejected_total{topic="orders",part="value",code="ASY-2201",reason="truncated"} 2"#,
        r#"assay_records_would_reject_total{topic="orders",part="value",code="ASY-2201",reason="truncated"} 1"#,
        "assay_validation_duration_seconds_count 3",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}
