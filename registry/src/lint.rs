//! Named rules about how a schema is written. None of them makes a schema invalid.
//!
//! Pure: a rule looks at an outline and says where it does not hold. Rules have stable ids, a row
//! in `docs/reference/lint-rules.md`, and a case that breaks and one that keeps them below.

use serde_formats::outline::{Outline, OutlineField, TypeKind};
use serde_formats::{ParsedSchema, SchemaFormat};

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable id: `enum-without-default`.
    pub id: &'static str,
    /// The formats it looks at.
    pub formats: &'static [SchemaFormat],
    /// What it asks for, and what goes wrong otherwise; one sentence.
    pub summary: &'static str,
    check: Check,
}

/// Takes a place and a message.
type Report<'r> = &'r mut dyn FnMut(&str, String);
type Check = fn(&Outline, Report<'_>);

/// One place where a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// A field's path or a type's name.
    pub place: String,
    /// What is there; lower-case, no full stop.
    pub message: String,
}

use SchemaFormat::{Avro, Json, Protobuf};

/// Every rule, by id.
pub const RULES: &[Rule] = &[
    Rule {
        id: "content-model-unstated",
        formats: &[Json],
        summary: "An object says with additionalProperties whether it is open: adding a property is \
                  compatible in one direction only, and which one depends on it.",
        check: content_model_unstated,
    },
    Rule {
        id: "enum-without-default",
        formats: &[Avro],
        summary: "An Avro enum has a default: without one, readers refuse every symbol added later.",
        check: enum_without_default,
    },
    Rule {
        id: "enum-zero-unspecified",
        formats: &[Protobuf],
        summary: "The first value of a Protobuf enum ends in _UNSPECIFIED or _UNKNOWN: it is also \
                  what an absent field reads as.",
        check: enum_zero_unspecified,
    },
    Rule {
        id: "field-without-default",
        formats: &[Avro],
        summary: "An Avro field has a default: one without can neither be removed later (FORWARD) \
                  nor could it have been added (BACKWARD).",
        check: field_without_default,
    },
    Rule {
        id: "field-without-doc",
        formats: &[Avro, Json],
        summary: "A field says what it means (doc, description).",
        check: field_without_doc,
    },
    Rule {
        id: "floating-point-money",
        formats: &[Avro, Json, Protobuf],
        summary: "An amount of money is a decimal, or an integer of the smallest unit: binary \
                  fractions do not hold cents.",
        check: floating_point_money,
    },
    Rule {
        id: "mixed-name-styles",
        formats: &[Avro, Json, Protobuf],
        summary: "Field names follow one style, snake_case or camelCase.",
        check: mixed_name_styles,
    },
    Rule {
        id: "namespace-missing",
        formats: &[Avro, Protobuf],
        summary: "A type is in a namespace or package: two schemas with the same bare name clash \
                  where both are used.",
        check: namespace_missing,
    },
    Rule {
        id: "required-field",
        formats: &[Protobuf],
        summary: "A Protobuf field is not `required`: it can never be removed.",
        check: required_field,
    },
    Rule {
        id: "time-without-logical-type",
        formats: &[Avro],
        summary: "A time is a long with a logicalType: a bare one leaves unit and zone to guessing.",
        check: time_without_logical_type,
    },
    Rule {
        id: "type-without-doc",
        formats: &[Avro, Json],
        summary: "A record, object or enum says what it means (doc, description).",
        check: type_without_doc,
    },
];

/// The rule of that id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// What the selected rules find, by rule, then in text order.
#[must_use]
pub fn lint(schema: &ParsedSchema, selected: impl Fn(&Rule) -> bool) -> Vec<Finding> {
    let outline = Outline::of(schema);
    let mut findings = Vec::new();
    for rule in RULES {
        if !rule.formats.contains(&schema.format()) || !selected(rule) {
            continue;
        }
        (rule.check)(&outline, &mut |place, message| {
            if findings.len() < FINDINGS_MAX {
                findings.push(Finding {
                    rule: rule.id,
                    place: place.to_owned(),
                    message,
                });
            }
        });
    }
    findings
}

/// Findings in one answer.
const FINDINGS_MAX: usize = 1_000;

fn content_model_unstated(outline: &Outline, report: Report<'_>) {
    let objects = outline.types.iter().filter(|t| t.kind == TypeKind::Object);
    for object in objects.filter(|object| !object.states_content_model) {
        report(
            shown(&object.name),
            "the object does not say whether other properties may come".to_owned(),
        );
    }
}

fn enum_without_default(outline: &Outline, report: Report<'_>) {
    let enums = outline.types.iter().filter(|t| t.kind == TypeKind::Enum);
    for found in enums.filter(|found| !found.has_default) {
        report(&found.name, "the enum has no default".to_owned());
    }
}

fn enum_zero_unspecified(outline: &Outline, report: Report<'_>) {
    for found in outline.types.iter().filter(|t| t.kind == TypeKind::Enum) {
        let Some(first) = found.symbols.first() else {
            continue;
        };
        if !first.ends_with("UNSPECIFIED") && !first.ends_with("UNKNOWN") {
            report(&found.name, format!("the first value is {first}"));
        }
    }
}

fn field_without_default(outline: &Outline, report: Report<'_>) {
    for field in outline.fields.iter().filter(|f| f.default.is_none()) {
        report(&field.path, "the field has no default".to_owned());
    }
}

fn field_without_doc(outline: &Outline, report: Report<'_>) {
    for field in outline.fields.iter().filter(|field| is_blank(&field.doc)) {
        report(&field.path, "the field has no doc".to_owned());
    }
}

fn type_without_doc(outline: &Outline, report: Report<'_>) {
    let types = outline.types.iter().filter(|t| t.kind != TypeKind::Fixed);
    for found in types.filter(|found| is_blank(&found.doc)) {
        let message = format!("the {} has no doc", found.kind.name());
        report(shown(&found.name), message);
    }
}

fn floating_point_money(outline: &Outline, report: Report<'_>) {
    const MONEY: [&str; 7] = ["price", "amount", "cost", "fee", "balance", "total", "tax"];
    for field in &outline.fields {
        let is_money = words(&field.name)
            .iter()
            .any(|word| MONEY.contains(&word.as_str()));
        if is_money && has_type(field, &["float", "double", "number"]) {
            report(&field.path, format!("money as {}", field.type_name));
        }
    }
}

fn mixed_name_styles(outline: &Outline, report: Report<'_>) {
    let first = outline
        .fields
        .iter()
        .find_map(|field| Some((style(&field.name)?, field)));
    let Some((style_of_first, first)) = first else {
        return;
    };
    for field in &outline.fields {
        if style(&field.name).is_some_and(|style| style != style_of_first) {
            report(
                &field.path,
                format!(
                    "{} beside {} ({})",
                    field.name,
                    first.name,
                    style_of_first.name()
                ),
            );
        }
    }
}

fn namespace_missing(outline: &Outline, report: Report<'_>) {
    for found in outline.types.iter().filter(|found| !found.is_namespaced) {
        report(
            &found.name,
            format!("the {} has a bare name", found.kind.name()),
        );
    }
}

fn required_field(outline: &Outline, report: Report<'_>) {
    for field in outline.fields.iter().filter(|field| field.is_required) {
        report(&field.path, "the field is required".to_owned());
    }
}

fn time_without_logical_type(outline: &Outline, report: Report<'_>) {
    const TIME: [&str; 5] = ["at", "time", "timestamp", "date", "ts"];
    for field in &outline.fields {
        let last = words(&field.name).pop().unwrap_or_default();
        if TIME.contains(&last.as_str())
            && field.logical.is_none()
            && has_type(field, &["long", "int"])
        {
            report(&field.path, format!("a time as {}", field.type_name));
        }
    }
}

/// The root of a JSON Schema has an empty name.
fn shown(name: &str) -> &str {
    if name.is_empty() { "(root)" } else { name }
}

fn is_blank(doc: &Option<String>) -> bool {
    doc.as_deref().is_none_or(|doc| doc.trim().is_empty())
}

fn has_type(field: &OutlineField, names: &[&str]) -> bool {
    field
        .type_name
        .split(['|', ' ', '<', '>', ','])
        .any(|name| names.contains(&name))
}

/// `unitPrice` and `unit_price` are `unit`, `price`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        let ends = words.last().is_some_and(|word| !word.is_empty());
        if ends && (c == '_' || c == '-' || c.is_uppercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Snake,
    Camel,
}

impl Style {
    const fn name(self) -> &'static str {
        match self {
            Self::Snake => "snake_case",
            Self::Camel => "camelCase",
        }
    }
}

/// None for a single word, which is both.
fn style(name: &str) -> Option<Style> {
    let name = name.trim_start_matches(['_', '$']);
    if name.contains('_') {
        Some(Style::Snake)
    } else if name.chars().any(char::is_lowercase) && name.chars().skip(1).any(char::is_uppercase) {
        Some(Style::Camel)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_formats::ParseMode;

    /// What one rule finds, as `place: message`.
    fn check(id: &str, format: SchemaFormat, text: &str, expected: &[&str]) {
        let schema = ParsedSchema::parse(format, text, &[], ParseMode::New).unwrap();
        let found: Vec<String> = lint(&schema, |rule| rule.id == id)
            .into_iter()
            .map(|finding| format!("{}: {}", finding.place, finding.message))
            .collect();
        assert_eq!(found, expected, "{id}: {text}");
    }

    fn avro(id: &str, fields: &str, expected: &[&str]) {
        let text = format!(r#"{{"type":"record","name":"s.R","fields":[{fields}]}}"#);
        check(id, Avro, &text, expected);
    }

    /// Each rule: a schema that breaks it, and one that keeps it.
    #[test]
    fn each_rule_finds_its_own_and_passes_the_rest() {
        let id = "content-model-unstated";
        check(
            id,
            Json,
            r#"{"type":"object","properties":{"a":{"type":"object","additionalProperties":false}}}"#,
            &["(root): the object does not say whether other properties may come"],
        );
        check(
            id,
            Json,
            r#"{"type":"object","additionalProperties":true}"#,
            &[],
        );

        let id = "enum-without-default";
        let e = r#"{"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}}"#;
        avro(id, e, &["s.E: the enum has no default"]);
        let e = r#"{"name":"e","type":{"type":"enum","name":"E","symbols":["A"],"default":"A"}}"#;
        avro(id, e, &[]);

        let id = "enum-zero-unspecified";
        let p = r#"syntax = "proto3"; package s; enum E { A = 0; }"#;
        check(id, Protobuf, p, &["s.E: the first value is A"]);
        let p = r#"syntax = "proto3"; package s; enum E { E_UNSPECIFIED = 0; }"#;
        check(id, Protobuf, p, &[]);

        let id = "field-without-default";
        avro(
            id,
            r#"{"name":"a","type":"int"}"#,
            &["a: the field has no default"],
        );
        avro(id, r#"{"name":"a","type":"int","default":0}"#, &[]);

        let id = "field-without-doc";
        avro(
            id,
            r#"{"name":"a","type":"int","doc":" "}"#,
            &["a: the field has no doc"],
        );
        avro(id, r#"{"name":"a","type":"int","doc":"b"}"#, &[]);

        let id = "floating-point-money";
        avro(
            id,
            r#"{"name":"unitPrice","type":["null","double"]}"#,
            &["unitPrice: money as null|double"],
        );
        avro(id, r#"{"name":"unit_price","type":"long"}"#, &[]);
        avro(id, r#"{"name":"weight","type":"double"}"#, &[]);

        let id = "mixed-name-styles";
        avro(
            id,
            r#"{"name":"a_b","type":"int"},{"name":"c","type":"int"},{"name":"dE","type":"int"}"#,
            &["dE: dE beside a_b (snake_case)"],
        );
        avro(
            id,
            r#"{"name":"aB","type":"int"},{"name":"cD","type":"int"}"#,
            &[],
        );

        let id = "namespace-missing";
        let bare = r#"{"type":"record","name":"R","fields":[]}"#;
        check(id, Avro, bare, &["R: the record has a bare name"]);
        avro(id, "", &[]);

        let id = "required-field";
        let p = r#"syntax = "proto2"; package s; message M { required int32 a = 1; }"#;
        check(id, Protobuf, p, &["M.a: the field is required"]);
        let p = r#"syntax = "proto2"; package s; message M { optional int32 a = 1; }"#;
        check(id, Protobuf, p, &[]);

        let id = "time-without-logical-type";
        avro(
            id,
            r#"{"name":"created_at","type":"long"}"#,
            &["created_at: a time as long"],
        );
        let timed =
            r#"{"name":"created_at","type":{"type":"long","logicalType":"timestamp-millis"}}"#;
        avro(id, timed, &[]);
        avro(id, r#"{"name":"format","type":"long"}"#, &[]);

        let id = "type-without-doc";
        avro(id, "", &["s.R: the record has no doc"]);
        let documented = r#"{"type":"record","name":"R","doc":"d","fields":[]}"#;
        check(id, Avro, documented, &[]);
    }

    #[test]
    fn every_rule_is_documented_and_in_order() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/reference/lint-rules.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        for rule in RULES {
            assert!(
                page.contains(&format!("`{}`", rule.id)),
                "{} is not in the docs",
                rule.id
            );
        }
        assert!(RULES.is_sorted_by_key(|rule| rule.id));
    }
}
