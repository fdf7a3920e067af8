//! A valid record costs no allocation: a batch of 1,000 allocates as often as a batch of 10.
//!
//! One JSON Schema keyword is left out: `uniqueItems` allocates once for each array that it checks.
//! Its own binary, because it counts in the global allocator.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use assay::enforcement::{Enforcement, Rejections};
use axum::body::Body;
use axum::http::Request;
use broker_core::clock::Clock;
use broker_core::ids::{PartitionIndex, TopicId, TopicName};
use broker_core::records::{BatchBuilder, BatchView, Compression};
use broker_core::validation::{RecordValidator, RequestOrigin, TopicSettings, Verdict};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use registry::{Registry, RegistryConfig};
use serde_formats::wire::{write_message_indexes, write_prefix};

/// The allocator that counts.
#[allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    }

    /// Allocations of this thread so far, growing a block included.
    pub(super) fn allocations() -> u64 {
        ALLOCATIONS.with(Cell::get)
    }

    fn count() {
        // Fails only while the thread ends; nothing is measured there.
        ALLOCATIONS
            .try_with(|count| count.set(count.get() + 1))
            .unwrap_or_default();
    }

    struct Counting;

    // SAFETY: every method hands its arguments unchanged to the system allocator, which keeps the
    // contract; counting allocates nothing, because the cell is const-initialised and has no drop.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            count();
            // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
            unsafe { System.realloc(block, layout, new_size) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
}

const AVRO: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"tags","type":{"type":"map","values":"string"}},{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"qty","type":"int"},{"name":"note","type":["null","string"]}]}}}]}"#;
const AVRO_NEXT: &str =
    r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#;
const JSON: &str = r#"{"title":"Payment","type":"object","properties":{"amount":{"type":"number","minimum":0},"iban":{"type":"string","pattern":"^[A-Z]{2}[0-9]+$"},"tags":{"type":"array","items":{"type":"string"}}},"required":["amount","iban"],"additionalProperties":false}"#;
const PROTOBUF: &str = "syntax = \"proto3\"; package shop; message A { string x = 1; } message Order { message Line { int32 qty = 1; string note = 2; } int64 id = 1; repeated Line lines = 2; map<string, string> tags = 3; }";

#[tokio::test]
async fn valid_records_allocate_nothing() {
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
    let avro = register(&registry, "avro-value", "AVRO", AVRO).await;
    let next = register(&registry, "avro-value", "AVRO", AVRO_NEXT).await;
    let json = register(&registry, "json-value", "JSON", JSON).await;
    let protobuf = register(&registry, "protobuf-value", "PROTOBUF", PROTOBUF).await;
    register(&registry, "named-shop.Order", "PROTOBUF", PROTOBUF).await;
    let key = register(&registry, "avro-key", "AVRO", "\"string\"").await;
    let enforcement = Enforcement::new(registry, Arc::new(Rejections::default()), Clock::System);

    // id 42, name "alice", one tag, two lines.
    let order = b"\x54\x0aalice\x02\x02k\x02v\x00\x04\x06\x00\x08\x02\x04hi\x00";
    let avro_value = framed(avro, &[], order);
    let next_value = framed(next, &[], b"\x54");
    let key_value = framed(key, &[], b"\x04k1");
    let payment = framed(
        json,
        &[],
        br#"{"amount": 12.5, "iban": "DE12345", "tags": ["a", "b\u00e9", "c"]}"#,
    );
    let shop = framed(
        protobuf,
        &[1],
        b"\x08\x2a\x12\x06\x08\x03\x12\x02hi\x12\x02\x08\x04\x1a\x06\x0a\x01k\x12\x01v",
    );
    let by_header = [0, 0, 0, 0, u8::try_from(avro).expect("small id")];
    let headers: [(&str, Option<&[u8]>); 2] = [
        ("trace", Some(b"1")),
        ("__value_schema_id", Some(&by_header)),
    ];

    let strategy = "assay.value.subject.name.strategy";
    let mode = "assay.value.validation.mode";
    let named = [(mode, "enforce"), (strategy, "TopicRecordNameStrategy")];
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [Row<'a>]);
    let cases: [Case<'_>; 8] = [
        ("Avro", "avro", &[], &[(None, Some(&avro_value), &[])]),
        (
            "Avro key and value",
            "avro",
            &[],
            &[(Some(&key_value), Some(&avro_value), &[])],
        ),
        (
            "two Avro versions in turn",
            "avro",
            &[],
            &[
                (None, Some(&avro_value), &[]),
                (None, Some(&next_value), &[]),
            ],
        ),
        (
            "Avro by header",
            "avro",
            &[],
            &[(None, Some(order), &headers)],
        ),
        ("JSON", "json", &[], &[(None, Some(&payment), &[])]),
        ("Protobuf", "protobuf", &[], &[(None, Some(&shop), &[])]),
        (
            "Protobuf by record name",
            "named",
            &named,
            &[(None, Some(&shop), &[])],
        ),
        ("no schema", "open", &[], &[(None, Some(b"anything"), &[])]),
    ];
    for (name, topic, properties, rows) in cases {
        for codec in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let topic = settings(topic, properties);
            let large = batch(codec, rows, 1_000);
            let small = batch(codec, rows, 10);
            // The first batches compile the schema and warm the buffers.
            validate(&enforcement, &topic, &large);
            validate(&enforcement, &topic, &small);
            let few = validate(&enforcement, &topic, &small);
            let many = validate(&enforcement, &topic, &large);
            assert_eq!(
                many, few,
                "{name}, {codec:?}: allocations by 1,000 and by 10 records"
            );
            assert!(many <= 8, "{name}, {codec:?}: {many} allocations a batch");
        }
    }
}

/// How often judging the batch allocates; it must be accepted.
fn validate(enforcement: &Enforcement, topic: &TopicSettings, bytes: &[u8]) -> u64 {
    let (batch, _) = BatchView::parse(bytes).expect("batch");
    let origin = RequestOrigin {
        client_id: "c",
        client_software: "",
        address: ([127, 0, 0, 1], 1).into(),
        partition: PartitionIndex(0),
    };
    let before = counting::allocations();
    let verdict = enforcement.validate(topic, &batch, &origin);
    let allocations = counting::allocations() - before;
    let Verdict::Accepted(receipt) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(enforcement.still_holds(topic, &receipt));
    allocations
}

type Row<'a> = (
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    &'a [(&'a str, Option<&'a [u8]>)],
);

fn batch(codec: Compression, rows: &[Row<'_>], times: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec, 0);
    for _ in 0..times {
        for (key, value, headers) in rows {
            builder.append(0, *key, *value, headers);
        }
    }
    builder.build()
}

fn framed(id: i32, path: &[i32], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    write_prefix(id, &mut value);
    if !path.is_empty() {
        write_message_indexes(path, &mut value);
    }
    value.extend_from_slice(payload);
    value
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

async fn register(registry: &Registry, subject: &str, format: &str, schema: &str) -> i32 {
    let body = serde_json::json!({"schemaType": format, "schema": schema}).to_string();
    let request = Request::post(format!("/subjects/{subject}/versions"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(Body::from(body))
        .expect("request");
    let response = TowerToHyperService::new(registry.router())
        .call(request)
        .await
        .expect("infallible");
    let body = response
        .into_body()
        .collect()
        .await
        .expect("body")
        .to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let id = answer["id"].as_i64().unwrap_or_else(|| panic!("{answer}"));
    i32::try_from(id).expect("an int32")
}
