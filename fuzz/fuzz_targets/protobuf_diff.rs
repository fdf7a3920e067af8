//! Invariant: the walker takes no payload that prost-reflect refuses, and refuses one that it takes
//! only for what that decoder does not look at: wire types, booleans, closed enums, required
//! fields, stray ends of groups, and text of proto2.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_formats::{
    CompiledSchema, ParseMode, ParsedSchema, SchemaFormat, Scratch, UnknownFields,
    ValidationOptions, Violation, ViolationReason,
};

const TEXTS: [&str; 2] = [
    "syntax = \"proto3\"; message M {
      int64 a = 1; string b = 2; repeated int32 c = 3; map<string, M> d = 4;
      oneof u { bool e = 5; double f = 6; M g = 7; } enum E { Z = 0; } E h = 8; bytes i = 9;
      repeated fixed32 j = 10; repeated string k = 11; map<int64, double> l = 12; sint32 z = 200;
      repeated bool m = 13; repeated double n = 14; float o = 15; repeated M p = 16; }",
    "syntax = \"proto2\"; message M {
      required int64 a = 1; optional bytes b = 2; repeated int32 c = 3 [packed = true];
      optional group D = 4 { required sint64 a = 1; optional M b = 2; }
      enum E { ONE = 1; TWO = 2; } repeated E e = 6; repeated group F = 5 { optional bytes a = 1; }
      map<uint32, M> j = 10; optional M k = 11; optional fixed64 l = 3000; }",
];

/// The same two as `protoc` compiles them, a `FileDescriptorSet` in base64 each: ours leave groups
/// out, as the reference's do.
const DESCRIPTORS: [&str; 2] = [
    "CrEDCgdtLnByb3RvIp0DCgFNEgwKAWEYASABKANSAWESDAoBYhgCIAEoCVIBYhIMCgFjGAMgAygFUgFjEhcKAWQYBC\
     ADKAsyCS5NLkRFbnRyeVIBZBIOCgFlGAUgASgISABSAWUSDgoBZhgGIAEoAUgAUgFmEhIKAWcYByABKAsyAi5NSABS\
     AWcSEgoBaBgIIAEoDjIELk0uRVIBaBIMCgFpGAkgASgMUgFpEgwKAWoYCiADKAdSAWoSDAoBaxgLIAMoCVIBaxIXCg\
     FsGAwgAygLMgkuTS5MRW50cnlSAWwSDQoBehjIASABKBFSAXoSDAoBbRgNIAMoCFIBbRIMCgFuGA4gAygBUgFuEgwK\
     AW8YDyABKAJSAW8SEAoBcBgQIAMoCzICLk1SAXAaOAoGREVudHJ5EhAKA2tleRgBIAEoCVIDa2V5EhgKBXZhbHVlGA\
     IgASgLMgIuTVIFdmFsdWU6AjgBGjQKBkxFbnRyeRIQCgNrZXkYASABKANSA2tleRIUCgV2YWx1ZRgCIAEoAVIFdmFs\
     dWU6AjgBIgoKAUUSBQoBWhAAQgMKAXViBnByb3RvMw==",
    "CrwCCgdtLnByb3RvIrACCgFNEgwKAWEYASACKANSAWESDAoBYhgCIAEoDFIBYhIQCgFjGAMgAygFQgIQAVIBYxISCg\
     FkGAQgASgKMgQuTS5EUgFkEhIKAWUYBiADKA4yBC5NLkVSAWUSEgoBZhgFIAMoCjIELk0uRlIBZhIXCgFqGAogAygL\
     MgkuTS5KRW50cnlSAWoSEAoBaxgLIAEoCzICLk1SAWsSDQoBbBi4FyABKAZSAWwaIwoBRBIMCgFhGAEgAigSUgFhEh\
     AKAWIYAiABKAsyAi5NUgFiGhEKAUYSDAoBYRgBIAEoDFIBYRo4CgZKRW50cnkSEAoDa2V5GAEgASgNUgNrZXkSGAoF\
     dmFsdWUYAiABKAsyAi5NUgV2YWx1ZToCOAEiFQoBRRIHCgNPTkUQARIHCgNUV08QAg==",
];

static SCHEMAS: LazyLock<[(CompiledSchema, MessageDescriptor); 2]> = LazyLock::new(|| {
    [0, 1].map(|at| {
        let schema = ParsedSchema::parse(SchemaFormat::Protobuf, TEXTS[at], &[], ParseMode::New)
            .expect("the schema parses");
        let bytes = STANDARD.decode(DESCRIPTORS[at]).expect("the descriptor is base64");
        let pool = DescriptorPool::decode(bytes.as_slice()).expect("the descriptor links");
        let message = pool.get_message_by_name("M").expect("the schema has a message");
        (schema.compile().expect("the schema compiles"), message)
    })
});

/// Whether the decoder does not look at what the walker refuses.
fn is_unseen(violation: &Violation) -> bool {
    matches!(
        violation.reason,
        ViolationReason::WireType
            | ViolationReason::InvalidBoolean
            | ViolationReason::EnumOutOfRange
            | ViolationReason::MissingRequired
    ) || violation.detail.starts_with("end of group")
}

fuzz_target!(|data: &[u8]| {
    let [which, payload @ ..] = data else { return };
    let (compiled, descriptor) = &SCHEMAS[usize::from(*which) % SCHEMAS.len()];
    let message = compiled.message(&[0]).expect("the schema has a message");
    let options = ValidationOptions {
        unknown_fields: UnknownFields::Allow,
        ..ValidationOptions::default()
    };
    let verdict = compiled.validate(message, payload, options, &mut Scratch::default());
    let decoded = DynamicMessage::decode(descriptor.clone(), payload);
    match verdict {
        Ok(()) => assert!(decoded.is_ok(), "taken, but {decoded:?}"),
        Err(violation) if is_unseen(&violation) => {}
        Err(violation) => assert!(decoded.is_err(), "refused: {violation:?}"),
    }
});
