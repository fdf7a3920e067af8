//! What schema_registry_converter asks of a registry, unmodified: register, fetch, evolve, references,
//! GUID headers, in the three formats.

use std::error::Error;

use apache_avro::types::Value as Avro;
use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::async_impl::json::{JsonDecoder, JsonEncoder};
use schema_registry_converter::async_impl::proto_raw::{ProtoRawDecoder, ProtoRawEncoder};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_all_versions, get_schema_by_guid, get_schema_by_id,
    get_schema_by_subject, get_schema_by_subject_and_version, is_compatible_schema, post_schema,
};
use schema_registry_converter::schema_registry_common::{
    SchemaType, SubjectNameStrategy, SuppliedReference, SuppliedSchema,
};
use serde_json::json;

type Outcome = Result<(), Box<dyn Error>>;

const ITEM: &str = r#"{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"sku","type":"string"}]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [word, _bootstrap, registry] = &arguments[..] else {
        return Err("registry BOOTSTRAP REGISTRY".into());
    };
    if word != "registry" {
        return Err(format!("{word} is not a word of this program").into());
    }
    let settings = SrSettings::new_builder(registry.clone())
        .no_proxy()
        .build()?;
    avro(&settings).await?;
    json_schema(&settings).await?;
    protobuf(&settings).await?;
    println!("ok {word}");
    Ok(())
}

fn order(fields: &str) -> SuppliedSchema {
    let text = format!(
        r#"{{"type":"record","name":"Order","namespace":"shop","fields":[{{"name":"item","type":"Item"}}{fields}]}}"#
    );
    let item = SuppliedReference::new(
        "shop.Item".to_owned(),
        "rust-item".to_owned(),
        ITEM.to_owned(),
    );
    SuppliedSchema::new(Some("shop.Order".to_owned()), SchemaType::Avro, text)
        .with_references(vec![item])
}

async fn avro(settings: &SrSettings) -> Outcome {
    let subject = "rust-orders-value".to_owned();
    // The reference is registered on the way, under its own subject.
    let first = post_schema(settings, subject.clone(), order("")).await?;
    let again = post_schema(settings, subject.clone(), order("")).await?;
    assert_eq!(first.id, again.id);
    let fetched = get_schema_by_id(first.id, settings).await?;
    assert_eq!(fetched.schema, first.schema);
    assert_eq!(fetched.subject.as_deref(), Some("rust-orders-value"));
    assert_eq!(fetched.references.len(), 1);
    assert_eq!(fetched.references[0].subject, "rust-item");

    let newer = order(r#",{"name":"qty","type":"int","default":1}"#);
    assert!(is_compatible_schema(settings, subject.clone(), newer.clone()).await?);
    let second = post_schema(settings, subject.clone(), newer.clone()).await?;
    assert_ne!(second.id, first.id);
    let bad = order(r#",{"name":"price","type":"int"}"#);
    assert!(!is_compatible_schema(settings, subject.clone(), bad.clone()).await?);
    assert!(post_schema(settings, subject.clone(), bad).await.is_err());
    assert_eq!(get_all_versions(settings, subject.clone()).await?, [1, 2]);
    assert!(
        get_all_subjects(settings)
            .await?
            .contains(&"rust-item".to_owned())
    );
    let old = get_schema_by_subject_and_version(settings, &subject, Some(1)).await?;
    assert_eq!(old.id, first.id);
    let guid = second.guid.ok_or("an answer without a GUID")?;
    assert_eq!(
        get_schema_by_guid(&guid, settings).await?.schema,
        second.schema
    );

    let strategy = || {
        SubjectNameStrategy::TopicNameStrategyWithSchema(
            "rust-orders".to_owned(),
            false,
            newer.clone(),
        )
    };
    let item = Avro::Record(vec![("sku".to_owned(), Avro::String("a".to_owned()))]);
    let values = || vec![("item", item.clone()), ("qty", Avro::Int(2))];
    let written = Avro::Record(vec![
        ("item".to_owned(), item.clone()),
        ("qty".to_owned(), Avro::Int(2)),
    ]);
    let encoder = AvroEncoder::new(settings.clone());
    let decoder = AvroDecoder::new(settings.clone());
    let bytes = encoder.encode(values(), strategy()).await?;
    assert_eq!(decoder.decode(Some(&bytes)).await?.value, written);
    let (bytes, header) = encoder
        .encode_with_header_id(values(), strategy(), false)
        .await?;
    let read = decoder
        .decode_with_header_id(Some(&header.value), Some(&bytes))
        .await?;
    assert_eq!(read.value, written);
    Ok(())
}

async fn json_schema(settings: &SrSettings) -> Outcome {
    let schema = |qty: &str| {
        let text = format!(
            r#"{{"type":"object","properties":{{"sku":{{"type":"string"}},"qty":{{"type":"{qty}"}}}},"additionalProperties":false}}"#
        );
        SuppliedSchema::new(None, SchemaType::Json, text)
    };
    let strategy = SubjectNameStrategy::TopicNameStrategyWithSchema(
        "rust-json".to_owned(),
        false,
        schema("integer"),
    );
    let registered = get_schema_by_subject(settings, &strategy).await?;
    assert_eq!(registered.schema_type, SchemaType::Json);
    let subject = "rust-json-value".to_owned();
    assert!(is_compatible_schema(settings, subject.clone(), schema("number")).await?);
    assert!(!is_compatible_schema(settings, subject, schema("string")).await?);
    let value = json!({ "sku": "a", "qty": 2 });
    let bytes = JsonEncoder::new(settings.clone())
        .encode(&value, strategy)
        .await?;
    let read = JsonDecoder::new(settings.clone())
        .decode(Some(&bytes))
        .await?;
    assert_eq!(read.map(|read| read.value), Some(value));
    Ok(())
}

async fn protobuf(settings: &SrSettings) -> Outcome {
    let shared = r#"syntax = "proto3"; package shop; message Item { string sku = 1; }"#;
    let text = r#"syntax = "proto3"; package shop; import "item.proto"; message Line { Item item = 1; int32 qty = 2; }"#;
    let item = SuppliedReference::new(
        "item.proto".to_owned(),
        "rust-item-proto".to_owned(),
        shared.to_owned(),
    );
    let line = SuppliedSchema::new(
        Some("shop.Line".to_owned()),
        SchemaType::Protobuf,
        text.to_owned(),
    )
    .with_references(vec![item]);
    let strategy =
        SubjectNameStrategy::TopicNameStrategyWithSchema("rust-proto".to_owned(), false, line);
    // item.sku = "a", qty = 2
    let message = [0x0a, 0x03, 0x0a, 0x01, b'a', 0x10, 0x02];
    let encoder = ProtoRawEncoder::new(settings.clone());
    let bytes = encoder.encode_single_message(&message, strategy).await?;
    let read = ProtoRawDecoder::new(settings.clone())
        .decode(Some(&bytes))
        .await?;
    let read = read.ok_or("nothing was decoded")?;
    assert_eq!(*read.full_name, "shop.Line");
    assert_eq!(read.bytes, message);
    assert_eq!(read.schema.references.len(), 1);
    Ok(())
}
