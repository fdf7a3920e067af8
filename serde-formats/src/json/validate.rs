//! Judges payload bytes against a compiled schema.
//!
//! A valid payload is checked for syntax, put on the tape and judged there; nothing is allocated
//! once the scratch is warm. Only a refused payload is judged a second time, for its reason.
//! Next: `explain.rs`, the words for that.

use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::documents::Documents;
use super::explain::{Refusal, shortened, violation};
use super::fast::{FastSchema, FastScratch};
use super::node::{Budget, TapeJson, TapeNode, View};
use super::patterns::{Costs, PatternTotals};
use super::tape::{SyntaxError, Tape};
use crate::validator::{
    CompileError, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct JsonValidator {
    record_name: Option<String>,
    validator: Arc<Validator<TapeJson>>,
    /// The same schema in a faster form, if it has one.
    fast: Option<Arc<FastSchema>>,
    burdens: Burdens,
}

/// What judging a payload with a schema can cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burdens {
    /// Schemas that may be judged one inside the other for one value of the payload.
    pub(super) schemas_per_value: usize,
    /// What its regular expressions cost.
    pub(super) matching: Costs,
}

/// Memory reused from payload to payload.
#[derive(Debug, Default)]
pub struct JsonScratch {
    tape: Tape,
    fast: FastScratch,
    /// Steps taken over the tape so far.
    spent: u64,
}

impl JsonScratch {
    /// Steps that judging took so far, for callers that judge many payloads.
    pub(super) const fn spent(&self) -> u64 {
        self.spent
    }
}

impl JsonValidator {
    pub(super) const fn new(
        record_name: Option<String>,
        validator: Arc<Validator<TapeJson>>,
        fast: Option<Arc<FastSchema>>,
        burdens: Burdens,
    ) -> Self {
        Self {
            record_name,
            validator,
            fast,
            burdens,
        }
    }

    /// The schema's `title`, which record-name strategies use.
    #[must_use]
    pub fn record_name(&self) -> Option<&str> {
        self.record_name.as_deref()
    }

    /// The same validator without its faster form, to compare and measure the two.
    #[must_use]
    pub fn over_the_tape(self) -> Self {
        Self { fast: None, ..self }
    }

    /// Whether the schema has a faster form.
    #[must_use]
    pub const fn is_fast(&self) -> bool {
        self.fast.is_some()
    }

    /// Whether the faster form settles the matter: what it does not accept is not yet refused.
    pub(super) fn is_accepted_fast(&self, payload: &[u8], scratch: &mut JsonScratch) -> bool {
        self.fast.as_ref().is_some_and(|fast| {
            simdutf8::basic::from_utf8(payload)
                .is_ok_and(|text| fast.accepts(text, &mut scratch.fast))
        })
    }

    /// Judges one payload: strict RFC 8259 syntax, then (unless the level is
    /// [`ValidationLevel::Decode`]) the schema. Of duplicate member names the last counts.
    ///
    /// # Errors
    /// The first violation. Its detail names keywords and what the schema expects, never a value
    /// of the payload.
    pub fn validate(
        &self,
        payload: &[u8],
        options: ValidationOptions,
        scratch: &mut JsonScratch,
    ) -> Result<(), Violation> {
        if options.level == ValidationLevel::Full && self.is_accepted_fast(payload, scratch) {
            return Ok(());
        }
        let text = check_syntax(payload, &mut scratch.tape)?;
        if options.level == ValidationLevel::Decode {
            return Ok(());
        }
        let levels = self.levels(&scratch.tape);
        if levels > LEVELS_MAX {
            return Err(Violation {
                reason: ViolationReason::LimitExceeded,
                path: "$".to_owned(),
                byte_offset: 0,
                detail: format!(
                    "payload and schema nest {levels} levels together, at most {LEVELS_MAX} are judged"
                ),
            });
        }
        let values = u64::try_from(scratch.tape.len()).unwrap_or(u64::MAX);
        let budget = Budget {
            steps: STEPS_MIN.saturating_add(values.saturating_mul(STEPS_PER_VALUE)),
            matching: matching_max(text),
        };
        let view = View::new(text, &scratch.tape, budget, self.burdens.matching);
        let is_valid = self.validator.is_valid(TapeNode::root(&view));
        scratch.spent = scratch.spent.saturating_add(view.spent(budget));
        if view.is_exhausted() {
            let detail = if view.is_matching_exhausted() {
                let matching = budget.matching;
                format!(
                    "matching the schema's regular expressions takes more than {matching} steps \
                     on texts as long as these"
                )
            } else {
                let steps = budget.steps;
                format!("the schema's alternatives take more than {steps} steps to judge")
            };
            return Err(Violation {
                reason: ViolationReason::LimitExceeded,
                path: "$".to_owned(),
                byte_offset: 0,
                detail,
            });
        }
        if is_valid {
            return Ok(());
        }
        if levels <= EXPLAINED_LEVELS_MAX {
            let budget = explained_budget(text, values);
            let view = View::new(text, &scratch.tape, budget, self.burdens.matching);
            let root = TapeNode::root(&view);
            if let Err(error) = self.validator.validate(root)
                && !view.is_exhausted()
            {
                let violation_view = View::unlimited(text, &scratch.tape);
                return Err(violation(TapeNode::root(&violation_view), &error));
            }
        }
        Err(Violation {
            reason: ViolationReason::Constraint,
            path: "$".to_owned(),
            byte_offset: 0,
            detail: "payload does not fit the schema".to_owned(),
        })
    }
}

impl JsonValidator {
    /// The reasons to refuse a payload, as many as a search has use for; none for one that fits
    /// or that cannot be explained within the limits.
    pub(super) fn refusals(&self, payload: &[u8], scratch: &mut JsonScratch) -> Vec<Refusal> {
        let Ok(text) = check_syntax(payload, &mut scratch.tape) else {
            return Vec::new();
        };
        if self.levels(&scratch.tape) > EXPLAINED_LEVELS_MAX {
            return Vec::new();
        }
        let values = u64::try_from(scratch.tape.len()).unwrap_or(u64::MAX);
        let budget = explained_budget(text, values);
        let view = View::new(text, &scratch.tape, budget, self.burdens.matching);
        let errors: Vec<ValidationError<'_>> = self
            .validator
            .iter_errors(TapeNode::root(&view))
            .take(REFUSALS_MAX)
            .collect();
        scratch.spent = scratch.spent.saturating_add(view.spent(budget));
        if view.is_exhausted() {
            return Vec::new();
        }
        let told = View::unlimited(text, &scratch.tape);
        let refusal = |error: &ValidationError<'_>| Refusal::of(TapeNode::root(&told), error);
        errors.iter().map(refusal).collect()
    }

    /// Schemas that may be judged one inside the other for this payload.
    const fn levels(&self, tape: &Tape) -> usize {
        (tape.depth() + 1).saturating_mul(self.burdens.schemas_per_value + 1)
    }
}

/// What searching a reason in a payload of so many values may take.
fn explained_budget(text: &str, values: u64) -> Budget {
    let steps =
        EXPLAINED_STEPS_MIN.saturating_add(values.saturating_mul(EXPLAINED_STEPS_PER_VALUE));
    Budget {
        steps: steps.min(EXPLAINED_STEPS_MAX),
        matching: matching_max(text),
    }
}

/// What matching the texts of a payload with regular expressions may take.
pub(super) fn matching_max(payload: &str) -> u64 {
    let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    MATCHING_MIN.saturating_add(bytes.saturating_mul(MATCHING_PER_BYTE))
}

/// Reasons told of one payload.
const REFUSALS_MAX: usize = 64;
/// Schemas judged one inside the other. The validator recurses, some 430 bytes a level in the
/// largest build measured, and worker threads have 2 MiB of stack.
pub(super) const LEVELS_MAX: usize = 2000;
/// The same for finding the reason, where a level takes some 1700 bytes.
const EXPLAINED_LEVELS_MAX: usize = 600;
/// Looks at values that any payload may take to judge, and more for each of its values.
const STEPS_MIN: u64 = 100_000;
const STEPS_PER_VALUE: u64 = 1000;
/// The same for finding the reason: alternatives that fail all keep their errors, some 400 bytes a
/// look where alternatives hold alternatives. Past it the payload is refused without a place.
const EXPLAINED_STEPS_MIN: u64 = 30_000;
const EXPLAINED_STEPS_PER_VALUE: u64 = 30;
const EXPLAINED_STEPS_MAX: u64 = 150_000;
/// Places of regular expressions that bytes of any payload may be compared at, and more for each of
/// its bytes. A place takes some nanoseconds at worst: where the engine cannot remember the sets of
/// places it was at.
const MATCHING_MIN: u64 = 500_000_000;
const MATCHING_PER_BYTE: u64 = 256;
/// Schemas judged for one value, each counted as often as it is reached. Past it a schema is not
/// compiled: definitions that refer to each other twice double the work with every definition.
pub(super) const VISITS_PER_VALUE_MAX: u64 = 50_000;
/// Largest compiled regular expression, in bytes: room for a few hundred repeats of a Unicode
/// class.
const REGEX_BYTES_MAX: usize = 10 << 20;
/// Tables of states built while matching, in bytes: of all regular expressions of a schema, and
/// the most and the least of one.
const REGEX_STATES_BYTES_MAX: usize = 16 << 20;
const REGEX_STATES_BYTES_MOST: usize = 2 << 20;
const REGEX_STATES_BYTES_LEAST: usize = 32 << 10;
/// Steps a backtracking regular expression may take on one string before the payload is refused.
const REGEX_STEPS_MAX: usize = 10_000;
/// Regular expressions that are taken to be compiled beside one that is compiled alone.
const TEXTS_ALIKE: usize = 64;

/// Limits for each of `count` regular expressions of a schema.
fn pattern_options(count: usize) -> PatternOptions<jsonschema::FancyRegex> {
    let states_bytes = REGEX_STATES_BYTES_MAX / count.max(1);
    PatternOptions::fancy_regex()
        .backtrack_limit(REGEX_STEPS_MAX)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(states_bytes.clamp(REGEX_STATES_BYTES_LEAST, REGEX_STATES_BYTES_MOST))
}

/// Compiles the validator of a schema made ready for it by [`Documents::for_validation`].
pub(super) fn compile(
    documents: &Documents,
    patterns: PatternTotals,
) -> Result<Validator<TapeJson>, CompileError> {
    let mut options = jsonschema::options_for::<TapeJson>()
        .with_draft(documents.draft)
        .with_retriever(documents.known())
        .with_pattern_options(pattern_options(patterns.count));
    if documents.asserts_formats() {
        options = options.should_validate_formats(true);
    }
    options.build(&documents.root).map_err(|error| {
        let place = error.instance_path();
        CompileError(shortened(format!("#{place}: {error}")))
    })
}

/// A validator of strings alone, for keywords of strings.
pub(super) fn text_validator(keywords: &Value, draft: Draft) -> Option<Validator<TapeJson>> {
    jsonschema::options_for::<TapeJson>()
        .with_draft(draft)
        .with_pattern_options(pattern_options(TEXTS_ALIKE))
        .build(keywords)
        .ok()
}

/// Something that tells whether a pattern is found in a text; `None` when it does not compile.
pub(super) fn pattern_matcher(pattern: &str) -> Option<impl Fn(&str) -> bool + use<>> {
    let schema = serde_json::json!({ "pattern": pattern });
    let validator = jsonschema::options()
        .with_pattern_options(pattern_options(TEXTS_ALIKE))
        .build(&schema)
        .ok()?;
    Some(move |text: &str| validator.is_valid(&Value::String(text.to_owned())))
}

/// Checks that a payload is one JSON value and records where its values are.
pub(super) fn check_syntax<'p>(payload: &'p [u8], tape: &mut Tape) -> Result<&'p str, Violation> {
    let Ok(text) = simdutf8::basic::from_utf8(payload) else {
        let valid = std::str::from_utf8(payload).map_or_else(|e| e.valid_up_to(), str::len);
        return Err(Violation {
            reason: ViolationReason::InvalidUtf8,
            path: "$".to_owned(),
            byte_offset: valid,
            detail: "payload is not UTF-8".to_owned(),
        });
    };
    tape.parse(text).map_err(
        |SyntaxError {
             reason,
             offset,
             detail,
         }| Violation {
            reason,
            path: "$".to_owned(),
            byte_offset: offset,
            detail: detail.to_owned(),
        },
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::JsonSchema;
    use super::*;
    use crate::schema::ParseMode;

    const ORDER: &str = r#"{
        "type": "object", "title": "Order", "additionalProperties": false,
        "required": ["id", "lines"],
        "properties": {
            "id": {"type": "string", "pattern": "^[a-z]+$"},
            "state": {"enum": ["open", "paid"]},
            "note": {"oneOf": [{"type": "null"}, {"type": "object", "required": ["text"]}]},
            "tags": {"type": "array", "uniqueItems": true},
            "lines": {"type": "array", "items": {
                "type": "object", "required": ["qty"],
                "properties": {"qty": {"type": "integer", "minimum": 1}, "a b": {"const": 1}}
            }}
        }
    }"#;

    fn judge(schema: &str, payload: &[u8]) -> Result<(), Violation> {
        JsonSchema::parse(schema, &[], ParseMode::New)
            .expect("schema")
            .compile()
            .expect("compiles")
            .validate(
                payload,
                ValidationOptions::default(),
                &mut JsonScratch::default(),
            )
    }

    #[test]
    fn says_where_and_why_without_values() {
        use ViolationReason::*;
        for (payload, reason, path, byte_offset, detail) in [
            (
                r#"{"id":"a","lines":[{"qty":1},{"qty":0}]}"#,
                Constraint,
                "$.lines[1].qty",
                36,
                "minimum",
            ),
            (
                r#"{"id":"a","lines":[{"qty":"secret"}]}"#,
                Constraint,
                "$.lines[0].qty",
                26,
                "found string",
            ),
            (
                r#"{"id":"a","lines":[{"qty":1,"a b":2}]}"#,
                EnumOutOfRange,
                "$.lines[0][\"a b\"]",
                34,
                "const",
            ),
            (
                r#"{"id":"a","lines":[ {}]}"#,
                MissingRequired,
                "$.lines[0]",
                20,
                "\"qty\" is missing",
            ),
            (
                r#"{"id":"a","lines":[],"x":1}"#,
                UnknownField,
                "$.x",
                25,
                "additionalProperties",
            ),
            (
                r#"{"id":"SECRET","lines":[]}"#,
                Constraint,
                "$.id",
                6,
                "pattern",
            ),
            (
                r#"{"id":"a","lines":[],"state":"secret"}"#,
                EnumOutOfRange,
                "$.state",
                29,
                "enum",
            ),
            (
                r#"{"id":"a","lines":[],"note":{}}"#,
                MissingRequired,
                "$.note",
                28,
                "\"text\" is missing",
            ),
            (
                r#"{"id":"a","lines":[],"note":"secret"}"#,
                Constraint,
                "$.note",
                28,
                "oneOf",
            ),
            (
                r#"{"id":"a","lines":[],"tags":["s","\u0073"]}"#,
                Constraint,
                "$.tags",
                28,
                "uniqueItems",
            ),
            (
                r#"{"id":"a","lines":[]} x"#,
                TrailingBytes,
                "$",
                22,
                "after the end",
            ),
            (r#"{"id":"a","lines":["#, Truncated, "$", 19, "ends inside"),
            (
                r#"{"id":"a","lines":[],}"#,
                Malformed,
                "$",
                21,
                "member name",
            ),
            ("[]", Constraint, "$", 0, "found array"),
        ] {
            let violation = judge(ORDER, payload.as_bytes()).expect_err(payload);
            assert_eq!(
                (
                    violation.reason,
                    violation.path.as_str(),
                    violation.byte_offset
                ),
                (reason, path, byte_offset),
                "{payload}: {violation}"
            );
            assert!(violation.detail.contains(detail), "{payload}: {violation}");
            assert!(
                !violation.detail.to_lowercase().contains("secret"),
                "{violation}"
            );
        }
        let violation = judge(ORDER, b"{\"id\":\"\xff\"}").expect_err("not UTF-8");
        assert_eq!((violation.reason, violation.byte_offset), (InvalidUtf8, 7));
    }

    #[test]
    fn takes_what_fits() {
        for payload in [
            r#"{"id":"a","lines":[{"qty":1},{"qty":2.0}],"state":"\u006fpen","note":null,"tags":[0,"0",{}]}"#,
            r#" {"id":1,"id":"last","lines":[]} "#,
        ] {
            assert_eq!(judge(ORDER, payload.as_bytes()), Ok(()), "{payload}");
        }
    }

    const EVERYTHING: &str = r##"{
        "type": ["object", "array", "string", "number", "null"],
        "minLength": 2, "maxLength": 4, "multipleOf": 0.5, "maximum": 100, "exclusiveMinimum": -3,
        "minItems": 1, "uniqueItems": true, "contains": {"type": ["number", "string", "object"]},
        "not": {"enum": [1, "aa", [1, 2.0], {"a": 1, "b": [null]}]},
        "propertyNames": {"maxLength": 2}, "maxProperties": 10,
        "dependencies": {"a": ["b"]}, "patternProperties": {"^c": {"$ref": "#"}},
        "properties": {"a": {"$ref": "#"}, "b": {"const": {"a": [1.0]}}},
        "items": {"anyOf": [{"$ref": "#"}, {"type": "boolean"}]},
        "additionalProperties": {"oneOf": [{"type": "integer"}, {"minimum": 2}, {"type": "array"}]}
    }"##;

    fn payload() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-4..6_i64).prop_map(Value::from),
            (-4..6_i32).prop_map(|number| Value::from(f64::from(number) / 2.0)),
            any::<u64>().prop_map(Value::from),
            "[a-c\"\\\\é😀]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 14, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::vec(("[a-d\"]{1,3}", inner), 0..14)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        /// Judging positions in the payload is judging the value they stand for.
        #[test]
        fn agrees_with_judging_a_tree(value in payload(), data in payload()) {
            let schema: Value = serde_json::from_str(EVERYTHING).expect("JSON");
            let data_schema = serde_json::json!({"enum": [data, {"x": data}], "type": ["array", "object", "string", "number", "null", "boolean"]});
            for (schema, value) in [(&schema, &value), (&data_schema, &data), (&data_schema, &value)] {
                let tree = jsonschema::options().with_draft(Draft::Draft7).build(schema).expect("schema");
                let own = judge(&schema.to_string(), value.to_string().as_bytes());
                proptest::prop_assert_eq!(own.is_ok(), tree.is_valid(value), "{} {} {:?}", schema, value, own);
            }
        }

        /// No text, however odd, makes parsing, comparing or judging panic.
        #[test]
        fn odd_schemas_do_not_panic(
            edits in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<proptest::sample::Index>()), 1..4),
        ) {
            let text = EVERYTHING.to_owned();
            let mut value: Value = serde_json::from_str(&text).expect("JSON");
            for (to, from) in edits {
                let Value::Object(members) = &mut value else { break };
                let names: Vec<String> = members.keys().cloned().collect();
                if names.is_empty() { break; }
                let moved = members.get(from.get(&names)).cloned().expect("named");
                members.insert(to.get(&names).clone(), moved);
            }
            let text = value.to_string();
            for mode in [ParseMode::New, ParseMode::Existing] {
                if let Ok(schema) = JsonSchema::parse(&text, &[], mode) {
                    let _same = super::super::compare(&schema, &schema, Default::default());
                    if let Ok(validator) = schema.compile() {
                        let mut scratch = JsonScratch::default();
                        let _verdict = validator.validate(text.as_bytes(), ValidationOptions::default(), &mut scratch);
                    }
                }
            }
        }
    }

    #[test]
    fn decode_level_is_syntax_only() {
        let options = ValidationOptions {
            level: ValidationLevel::Decode,
            ..ValidationOptions::default()
        };
        let validator = JsonSchema::parse(ORDER, &[], ParseMode::New)
            .expect("schema")
            .compile()
            .expect("compiles");
        let mut scratch = JsonScratch::default();
        assert_eq!(validator.validate(b"[1]", options, &mut scratch), Ok(()));
        assert!(validator.validate(b"[1", options, &mut scratch).is_err());
        assert_eq!(validator.record_name(), Some("Order"));
    }

    #[test]
    fn regular_expressions_are_bounded() {
        let large = format!(
            r#"{{"pattern":"(a{{1000}}){{1000}}{}"}}"#,
            "b{900}".repeat(50)
        );
        assert!(JsonSchema::parse(&large, &[], ParseMode::New).is_err());
        let names = r#"{"pattern":"^[\\p{L} ]{1,200}$"}"#;
        assert_eq!(judge(names, "\"Zoë Ångström\"".as_bytes()), Ok(()));
        let backtracking = r#"{"pattern":"^(a+)+\\1$"}"#;
        let payload = format!("\"{}!\"", "a".repeat(60));
        assert!(judge(backtracking, payload.as_bytes()).is_err());
    }

    /// Schemas whose alternatives multiply: refused as schemas, or payload by payload.
    #[test]
    fn exponential_schemas_end_quickly() {
        let doubling = |layers: usize| {
            let definitions: Vec<String> = (0..layers)
                .map(|index| {
                    let next = format!(r##"{{"$ref":"#/definitions/d{}"}}"##, index + 1);
                    format!(r##""d{index}":{{"anyOf":[{next},{{"allOf":[{next}]}}]}}"##)
                })
                .collect();
            format!(
                r##"{{"$ref":"#/definitions/d0","definitions":{{{},"d{layers}":{{"type":"string"}}}}}}"##,
                definitions.join(",")
            )
        };
        let error = JsonSchema::parse(&doubling(40), &[], ParseMode::New).expect_err("too many");
        assert!(error.message.contains("for one value"), "{error}");
        assert_eq!(judge(&doubling(6), b"\"a\""), Ok(()));
        let payload = format!("{}1{}", r#"{"x":"#.repeat(60), "}".repeat(60));
        for recursive in [
            r##"{"anyOf":[{"properties":{"x":{"$ref":"#"}},"required":["y"]},{"properties":{"x":{"$ref":"#"}},"required":["z"]}]}"##,
            r##"{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"},"y":false}}]}"##,
            r##"{"oneOf":[{"type":"integer"},{"properties":{"x":{"$ref":"#"}},"required":["x"]},{"properties":{"x":{"$ref":"#"}},"required":["y"]}]}"##,
        ] {
            let _verdict = judge(recursive, payload.as_bytes());
        }
    }

    /// Schemas built to exhaust the stack, on the stack size of a worker thread.
    #[test]
    fn schema_bombs_end_quickly() {
        let nested = |depth: usize, open: &str, close: &str, core: &str| {
            format!("{}{core}{}", open.repeat(depth), close.repeat(depth))
        };
        let recursive = |depth: usize, open: &str, close: &str| {
            let core = r##"{"properties":{"x":{"$ref":"#/definitions/a"}}}"##;
            let nested = nested(depth, open, close, core);
            format!(r##"{{"$ref":"#/definitions/a","definitions":{{"a":{nested}}}}}"##)
        };
        let chain = {
            let links: Vec<String> = (0..5000)
                .map(|index| {
                    format!(
                        r##""d{index}":{{"properties":{{"x":{{"$ref":"#/definitions/d{}"}}}}}}"##,
                        index + 1
                    )
                })
                .collect();
            format!(
                r##"{{"$ref":"#/definitions/d0","definitions":{{{},"d5000":{{}}}}}}"##,
                links.join(",")
            )
        };
        let payload = nested(120, r#"{"x":"#, "}", "1");
        for schema in [
            nested(120, r#"{"not":"#, "}", "{}"),
            nested(84, r#"{"allOf":["#, "]}", "{}"),
            nested(120, r#"{"items":"#, "}", "{}"),
            recursive(80, r#"{"allOf":["#, "]}"),
            recursive(80, r#"{"allOf":[{"minProperties":0},"#, r#",{"type":"object"}]}"#),
            recursive(80, r#"{"anyOf":[false,"#, "]}"),
            recursive(80, r#"{"oneOf":[{"type":"null"},"#, "]}"),
            recursive(160, r#"{"not":"#, "}"),
            recursive(160, r#"{"if":true,"then":"#, "}"),
            recursive(120, r#"{"dependencies":{"x":"#, "}}"),
            chain,
            r##"{"$ref":"#"}"##.to_owned(),
            r##"{"allOf":[{"$ref":"#/definitions/a"}],"definitions":{"a":{"allOf":[{"$ref":"#"}]}}}"##.to_owned(),
        ] {
            let payload = payload.clone();
            std::thread::Builder::new()
                .stack_size(2 * 1024 * 1024)
                .spawn(move || {
                    let Ok(parsed) = JsonSchema::parse(&schema, &[], ParseMode::New) else {
                        return;
                    };
                    let _same = super::super::compare(&parsed, &parsed, Default::default());
                    if let Ok(validator) = parsed.compile() {
                        let options = ValidationOptions::default();
                        let mut scratch = JsonScratch::default();
                        let _verdict = validator.validate(payload.as_bytes(), options, &mut scratch);
                    }
                })
                .expect("thread")
                .join()
                .expect("no overflow");
        }
    }
}
