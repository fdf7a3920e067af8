//! Invariant: any two schemas compare, in every mode, with every verdict reached; a schema that is
//! new is compatible with itself, without a caveat; a record that is shown to break is one of the
//! writer's. The two texts are parted by a line of `---`; without one, the text meets itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_formats::compatibility::{CompatibilityPolicy, caveats, compare};
use serde_formats::witness::{Evidence, caveat_evidence, evidence};
use serde_formats::{ParseMode, ParsedSchema, SchemaFormat, json_value};

/// Records are looked for on behalf of this many differences, each of which tries thousands.
const SHOWN_MAX: usize = 2;

fn parse(text: &str, mode: ParseMode) -> Option<ParsedSchema> {
    ParsedSchema::parse(SchemaFormat::Protobuf, text, &[], mode).ok()
}

fn check(reader: &ParsedSchema, writer: &ParsedSchema) {
    let found = compare(reader, writer, CompatibilityPolicy::Strict);
    let missed = caveats(reader, writer, CompatibilityPolicy::Strict);
    let shown = found.iter().take(SHOWN_MAX).map(|it| evidence(reader, writer, it));
    let told = missed.iter().take(SHOWN_MAX).map(|it| caveat_evidence(reader, writer, it));
    for evidence in shown.chain(told) {
        if let Evidence::Breaks(witness) = evidence {
            let again = json_value::decode(writer, &witness.indexes, &witness.payload);
            assert_eq!(again, Ok(witness.json));
        }
    }
}

fuzz_target!(|texts: &str| {
    let (old, new) = texts.split_once("\n---\n").unwrap_or((texts, texts));
    for mode in [ParseMode::New, ParseMode::Existing] {
        let (Some(old), Some(new)) = (parse(old, mode), parse(new, mode)) else { continue };
        check(&new, &old);
        check(&old, &new);
        if mode == ParseMode::New {
            for schema in [&old, &new] {
                let found = compare(schema, schema, CompatibilityPolicy::Strict);
                assert!(found.is_empty(), "{found:?}");
                let missed = caveats(schema, schema, CompatibilityPolicy::Strict);
                assert!(missed.is_empty(), "{missed:?}");
            }
        }
    }
});
