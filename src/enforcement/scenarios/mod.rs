//! Whole batches against whole registries: what real producers do wrong, and the verdict.
//!
//! Here is what the cases are made of; `records` asks about single records, `batches` about what
//! holds for a batch and its receipt.

mod batches;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_core::ids::{ProducerEpoch, ProducerId, Sequence};
use broker_core::records::{BatchBuilder, BatchView, Compression};
use registry::change::Change;
use registry::snapshot::SchemaContent;
use registry::{RegisteredSchema, SchemaId, Snapshot, Version};
use serde_formats::wire::{write_message_indexes, write_prefix};
use serde_formats::{SchemaFormat, identity};

use super::hex;
use super::judge::{Judgement, Rules, Work, judge_batch};
use super::policy::Policy;
use super::receipt::Facts;

const ORDER_V1: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"}]}"#;
const ORDER_V2: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"qty","type":"int","default":0}]}"#;
const AVRO_KEY: &str = r#"{"type":"record","name":"OrderKey","namespace":"shop","fields":[{"name":"id","type":"long"}]}"#;
const PAYMENT_JSON: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","title":"Payment","type":"object","properties":{"amount":{"type":"integer","minimum":0}},"required":["amount"],"additionalProperties":false}"#;
const SHOP_PROTO: &str = "syntax = \"proto3\";\npackage shop;\n\nmessage Order {\n  int64 id = 1;\n  string name = 2;\n}\nmessage Payment {\n  message Part {\n    int32 n = 7;\n  }\n  string iban = 4;\n}\n";

/// id 42, name "alice".
const ALICE: &str = "540a616c696365";

/// A registry image, built step by step.
#[derive(Default)]
struct World {
    snapshot: Snapshot,
    ids: i32,
}

impl World {
    /// orders-value: 1 (v1) and 2 (v2), Avro; orders-key: 3, Avro; payments-value: 4, JSON;
    /// shop-value: 5, Protobuf.
    fn shop() -> Self {
        let mut world = Self::default();
        for (subject, format, text) in [
            ("orders-value", SchemaFormat::Avro, ORDER_V1),
            ("orders-value", SchemaFormat::Avro, ORDER_V2),
            ("orders-key", SchemaFormat::Avro, AVRO_KEY),
            ("payments-value", SchemaFormat::Json, PAYMENT_JSON),
            ("shop-value", SchemaFormat::Protobuf, SHOP_PROTO),
        ] {
            world.register(subject, format, text);
        }
        world
    }

    fn apply(&mut self, change: Change) {
        self.snapshot.advance(&[change], self.snapshot.epoch() + 1);
    }

    fn register(&mut self, subject: &str, format: SchemaFormat, text: &str) -> i32 {
        self.ids += 1;
        let id = self.ids;
        let context = if subject.starts_with(":.") {
            let end = subject[1..].find(':').expect("context") + 1;
            subject[1..end].to_owned()
        } else {
            ".".to_owned()
        };
        let content = SchemaContent {
            guid: identity::guid(text, &[]),
            format,
            text: text.to_owned(),
            references: Vec::new(),
            metadata: None,
            rule_set: None,
        };
        let schema = RegisteredSchema::new(context, SchemaId(id), content);
        self.apply(Change::PutSchema(Arc::new(schema)));
        self.bind(subject, id, false);
        id
    }

    fn bind(&mut self, subject: &str, id: i32, deleted: bool) {
        let newest = self
            .snapshot
            .live_versions(subject)
            .first()
            .map_or(0, |(version, _)| version.0);
        self.put(subject, newest + 1, id, deleted);
    }

    fn put(&mut self, subject: &str, version: i32, id: i32, deleted: bool) {
        self.apply(Change::PutVersion {
            subject: subject.to_owned(),
            version: Version(version),
            id: SchemaId(id),
            deleted,
            registered_ms: 0,
        });
    }

    fn delete(&mut self, subject: &str, version: i32, id: i32) {
        self.apply(Change::RemoveVersion {
            subject: subject.to_owned(),
            version: Version(version),
        });
        self.apply(Change::RemoveSchema {
            context: ".".to_owned(),
            id: SchemaId(id),
        });
    }

    fn judge(&self, topic: &str, properties: &str, batch: &[u8]) -> Judgement {
        let policy = policy(topic, properties);
        let rules = Rules::of(&policy, &self.snapshot);
        let (batch, _) = BatchView::parse(batch).expect("batch");
        judge_batch(&policy, rules, &self.snapshot, &batch, &mut Work::default())
    }

    /// The text for one value, or `ok`.
    fn value(&self, topic: &str, properties: &str, value: &[u8]) -> String {
        let batch = batch(Compression::None, &[(None, Some(value), &[])]);
        verdict(&self.judge(topic, properties, &batch))
    }

    fn facts(&self, topic: &str, properties: &str, judgement: Judgement) -> Facts {
        let rules = Rules::of(&policy(topic, properties), &self.snapshot);
        Facts {
            policy: 0,
            key: rules.key == super::policy::Rule::Enforce,
            value: rules.value == super::policy::Rule::Enforce,
            complete: !judgement.pairs.overflowed,
            pairs: judgement.pairs.pairs,
        }
    }
}

fn policy(topic: &str, properties: &str) -> Policy {
    let properties: BTreeMap<String, String> = properties
        .split_whitespace()
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("name=value");
            (name.to_owned(), value.to_owned())
        })
        .collect();
    Policy::compile(topic, &properties).expect("properties")
}

type Row<'a> = (
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    &'a [(&'a str, Option<&'a [u8]>)],
);

fn batch(compression: Compression, rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression, 0).producer(
        ProducerId::NONE,
        ProducerEpoch(-1),
        Sequence(-1),
    );
    for (key, value, headers) in rows {
        builder.append(0, *key, *value, headers);
    }
    builder.build()
}

fn verdict(judgement: &Judgement) -> String {
    assert_eq!(judgement.batch_error, None);
    match judgement.faults.detailed.first() {
        Some(detailed) => detailed.text.clone(),
        None => "ok".to_owned(),
    }
}

fn framed(id: i32, payload: &str) -> Vec<u8> {
    let mut value = Vec::new();
    write_prefix(id, &mut value);
    value.extend(hex(payload));
    value
}

fn framed_message(id: i32, path: &[i32], payload: &str) -> Vec<u8> {
    let mut value = Vec::new();
    write_prefix(id, &mut value);
    write_message_indexes(path, &mut value);
    value.extend(hex(payload));
    value
}

fn assert_starts(text: &str, expected: &str) {
    assert!(text.starts_with(expected), "{text}\nexpected {expected}");
}

fn assert_ends(text: &str, expected: &str) {
    assert!(text.ends_with(expected), "{text}\nexpected {expected}");
}
