//! Invariant: any two schemas are compared in the end; one with the same text is compatible; a
//! witness is what it says. Two texts with a zero byte between them, or two schemas made of bytes.
use serde_formats::compatibility::CompatibilityPolicy::{Lenient, Strict};
use serde_formats::json::{JsonSchema, JsonScratch, caveats, compare, evidence};
use serde_formats::witness::Evidence;
use serde_formats::{ParseMode, ValidationOptions};

use super::structured::Choices;

/// Judges one input.
pub(crate) fn run(data: &[u8]) {
    let [mode, rest @ ..] = data else { return };
    let is_made = mode % 2 == 1;
    let (old, new) = if is_made {
        let (old, new) = rest.split_at(rest.len() / 2);
        (Choices(old).document(), Choices(new).document())
    } else {
        let Ok(text) = std::str::from_utf8(rest) else {
            return;
        };
        let Some((old, new)) = text.split_once('\0') else {
            return;
        };
        (old.to_owned(), new.to_owned())
    };
    let parse = |text: &str| JsonSchema::parse(text, &[], ParseMode::New).ok();
    let (Some(old), Some(new)) = (parse(&old), parse(&new)) else {
        return;
    };
    for policy in [Strict, Lenient] {
        // A reference that only leads to itself is never compatible, and texts may hold one.
        let same = compare(&old, &old, policy);
        assert!(same.is_empty() || !is_made, "{same:?}");
        let _caveats = caveats(&new, &old, policy);
    }
    let differences = compare(&new, &old, Strict);
    // Looking for a record takes longer than anything else here.
    let Some(difference) = differences.first().filter(|_| mode / 2 % 8 == 0) else {
        return;
    };
    if let Evidence::Breaks(witness) = evidence(&new, &old, difference) {
        let judge = |schema: &JsonSchema| {
            let validator = schema.compile().expect("it compiled before");
            let mut scratch = JsonScratch::default();
            validator.validate(&witness.payload, ValidationOptions::default(), &mut scratch)
        };
        assert_eq!(judge(&old), Ok(()));
        assert!(judge(&new).is_err());
    }
}
