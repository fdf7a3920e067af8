//! Invariant: the one pass and the validator over the tape say the same of every payload, in the
//! same words. The schema is made of the first bytes, the payload is the rest, or made of it.
use std::cell::RefCell;
use std::collections::HashMap;

use serde_formats::json::{JsonSchema, JsonScratch, JsonValidator};
use serde_formats::{ParseMode, ValidationOptions};

use super::structured::Choices;

/// Schemas that are kept, because compiling takes longer than judging.
const KEPT_MAX: usize = 512;
type Both = (JsonValidator, JsonValidator);

thread_local! {
    static KEPT: RefCell<HashMap<Vec<u8>, Option<Both>>> = RefCell::default();
}

fn compiled(bytes: &[u8]) -> Option<Both> {
    let text = Choices(bytes).document();
    let schema = JsonSchema::parse(&text, &[], ParseMode::New).ok()?;
    let fast = schema.compile().ok()?;
    fast.is_fast()
        .then(|| Some((fast, schema.compile().ok()?.over_the_tape())))?
}

/// Judges one input.
pub(crate) fn run(data: &[u8]) {
    let [mode, length, rest @ ..] = data else {
        return;
    };
    let (schema, payload) = rest.split_at(usize::from(*length % 48).min(rest.len()));
    let made;
    let payload = if mode % 2 == 0 {
        payload
    } else {
        made = Choices(payload).value(0);
        made.as_bytes()
    };
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let both = kept
            .entry(schema.to_vec())
            .or_insert_with(|| compiled(schema));
        let Some((fast, tape)) = both else { return };
        let mut scratch = JsonScratch::default();
        let options = ValidationOptions::default();
        let first = fast.validate(payload, options, &mut scratch);
        let second = tape.validate(payload, options, &mut scratch);
        assert_eq!(
            first,
            second,
            "{} {:?}",
            Choices(schema).document(),
            String::from_utf8_lossy(payload)
        );
    });
}
