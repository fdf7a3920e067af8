//! What the reference's rules do not see although it can break a reader.
//!
//! Verdicts follow the reference, so these differences never make schemas incompatible; they are
//! told beside the verdict. Each is a difference of its own kind, found on the same walk, so that a
//! trial that is thrown away takes its caveats along. Nothing here is compared twice as a rule:
//! a caveat is noted only where the two schemas really differ.

use std::collections::HashSet;

use super::difference::{self, Kind};
use super::object::by_name;
use super::{Comparison, Side};
use crate::compatibility::{Caveat, CaveatEffect, CompatibilityPolicy};
use crate::json::model::{
    ArrayClass, Class, Conditional, Criterion, Node, NodeId, ObjectClass, Rest, StringClass,
};
use crate::json::parse::JsonSchema;
use jsonschema::Draft;

/// Where `reader` may refuse what `writer` wrote although no rule speaks of it.
#[must_use]
pub fn caveats(
    reader: &JsonSchema,
    writer: &JsonSchema,
    policy: CompatibilityPolicy,
) -> Vec<Caveat> {
    let mut seen = HashSet::new();
    super::run(reader, writer, policy, None)
        .into_iter()
        .filter(|difference| difference.kind.is_unseen())
        .filter(|difference| *difference.kind != difference::WIDENED)
        .filter(|difference| seen.insert((difference.kind.name, difference.path.clone())))
        .map(|difference| Caveat {
            effect: CaveatEffect::Missed,
            kind: difference.kind.name,
            path: difference.path,
            reason: sentence(difference.kind).to_owned(),
        })
        .collect()
}

/// Whether a reader's `format` refuses records; since 2019-09 it only describes.
pub(super) fn asserts_formats(reader: &JsonSchema) -> bool {
    let documents = reader.documents();
    let is_modern = matches!(documents.draft, Draft::Draft201909 | Draft::Draft202012);
    !is_modern || documents.asserts_formats()
}

fn sentence(kind: &Kind) -> &'static str {
    match kind.name {
        "DRAFT_NOT_COMPARED" => {
            "the schemas are of different drafts, and compared as if keywords meant the same in both"
        }
        "TYPE_NOT_COMPARED" => {
            "keywords without a `type` are compared as if they named theirs: the writer allows \
             values of other types here, the reader does not"
        }
        "FORMAT_NOT_COMPARED" => {
            "`format` is not compared: the reader refuses texts that are not of its format"
        }
        "CONDITION_NOT_COMPARED" => {
            "`if`, `then` and `else` are not compared: the reader's may refuse what the writer \
             allows"
        }
        "CONTAINS_NOT_COMPARED" => {
            "what `contains` asks of items is not compared: the reader's may refuse what the \
             writer allows"
        }
        "PROPERTY_NAMES_NOT_COMPARED" => {
            "`propertyNames` is not compared: the reader's may refuse names that the writer allows"
        }
        "PATTERN_PROPERTIES_NOT_COMPARED" => {
            "the schemas of `patternProperties` are not compared: the reader's may refuse what \
             the writer allows"
        }
        "OPEN_PATTERNS_NOT_COMPARED" => {
            "an object with `patternProperties` counts as closed, but the writer allows any value \
             under this name"
        }
        "REQUIRED_NOT_COMPARED" => {
            "`required` is compared for declared properties alone: the reader requires one that \
             the writer does not"
        }
        "DEFAULT_NOT_APPLIED" => {
            "a default puts no property into a record: a reader that validates refuses records \
             without it"
        }
        "OVERLAP_NOT_COMPARED" => {
            "whether alternatives of `oneOf` overlap is not looked at: the reader refuses values \
             that fit two of them"
        }
        "EVALUATED_NOT_COMPARED" => {
            "what neighbouring schemas evaluate is not compared: the reader's `unevaluated…` \
             keyword may refuse what the writer's allows"
        }
        "ADDITIONAL_ITEMS_NOT_COMPARED" => {
            "`additionalItems` means nothing without an array of `items` before it, but is \
             compared"
        }
        "EXCLUSIVE_MAXIMUM_NOT_COMPARED" => {
            "the reference compares the old `exclusiveMaximum` with the new `maximum`, and so \
             does not see that it decreased"
        }
        "CONNECT_BYTES_NOT_COMPARED" => {
            "two schemas whose `connect.type` is `bytes` count as the same, whatever else they say"
        }
        _ => {
            "the negated schema refers to one that changed: the reader may refuse what the writer \
             allows"
        }
    }
}

impl Comparison<'_> {
    /// Whether two schemas that are not compared say the same, what they refer to included.
    fn is_alike(&mut self, old: Option<Side>, new: Option<Side>) -> bool {
        match (old, new) {
            (None, None) => true,
            (Some(old), Some(new)) => {
                let hash = |side: Side| self.node(side).map(|node| node.fingerprint.hash);
                hash(old) == hash(new) && self.trial(old, new).is_empty()
            }
            _ => false,
        }
    }

    pub(super) fn note_type(&mut self, is_old_typed: bool, is_new_typed: bool) {
        if is_new_typed && !is_old_typed {
            self.add(&difference::TYPE_NOT_COMPARED);
        }
    }

    pub(super) fn note_format(&mut self, old: &StringClass, new: &StringClass) {
        if self.asserts_formats && new.format.is_some() && new.format != old.format {
            self.add_at("format", &difference::FORMAT_NOT_COMPARED);
        }
    }

    pub(super) fn note_bytes(&mut self, old: &Node, new: &Node) {
        let is_wider =
            matches!(old.class, Class::False) || matches!(new.class, Class::Empty | Class::True);
        if old.is_connect_bytes && new.is_connect_bytes && !is_wider {
            self.add(&difference::CONNECT_BYTES_NOT_COMPARED);
        }
    }

    pub(super) fn note_conditions(
        &mut self,
        old: Side,
        old_class: Conditional,
        new: Side,
        new_class: Conditional,
    ) {
        for (old_part, new_part) in [
            (old_class.test, new_class.test),
            (old_class.then, new_class.then),
            (old_class.otherwise, new_class.otherwise),
        ] {
            let (old_part, new_part) =
                (old_part.map(|id| old.at(id)), new_part.map(|id| new.at(id)));
            if !self.is_alike(old_part, new_part) {
                self.add(&difference::CONDITION_NOT_COMPARED);
                return;
            }
        }
    }

    /// Required members that the new schema does not declare.
    pub(super) fn note_required(&mut self, old_class: &ObjectClass, new_class: &ObjectClass) {
        let declared = by_name(&new_class.properties);
        let known: HashSet<&String> = old_class.required.iter().collect();
        for name in &new_class.required {
            if !declared.contains_key(name.as_str()) && !known.contains(name) {
                self.path.push("required".to_owned());
                self.add_at(name, &difference::REQUIRED_NOT_COMPARED);
                self.path.pop();
            }
        }
    }

    /// `patternProperties` and `propertyNames`.
    pub(super) fn note_property_schemas(
        &mut self,
        (old, old_class): (Side, &ObjectClass),
        (new, new_class): (Side, &ObjectClass),
    ) {
        if let Some(id) = new_class.property_names {
            let old_names = old_class.property_names.map(|id| old.at(id));
            if !self.is_alike(old_names, Some(new.at(id))) {
                self.add_at("propertyNames", &difference::PROPERTY_NAMES_NOT_COMPARED);
            }
        }
        let old_patterns = by_name(&old_class.patterns);
        let new_patterns = by_name(&new_class.patterns);
        for (pattern, id) in &new_class.patterns {
            let same = old_patterns.get(pattern.as_str());
            let same = same.map(|id| old.at(*id));
            if !self.is_alike(same, Some(new.at(*id))) {
                self.path.push("patternProperties".to_owned());
                self.add_at(pattern, &difference::PATTERN_PROPERTIES_NOT_COMPARED);
                self.path.pop();
            }
        }
        // A pattern that is gone leaves its names to what the schema says of all others.
        let is_open =
            new_class.additional == Rest::Allowed && new_class.unevaluated == Rest::Allowed;
        for (pattern, _) in &old_class.patterns {
            if !is_open && !new_patterns.contains_key(pattern.as_str()) {
                self.path.push("patternProperties".to_owned());
                self.add_at(pattern, &difference::PATTERN_PROPERTIES_NOT_COMPARED);
                self.path.pop();
            }
        }
    }

    pub(super) fn note_contains(
        &mut self,
        (old, old_class): (Side, &ArrayClass),
        (new, new_class): (Side, &ArrayClass),
    ) {
        if let Some(id) = new_class.contains {
            let old_contains = old_class.contains.map(|id| old.at(id));
            if !self.is_alike(old_contains, Some(new.at(id))) {
                self.add_at("contains", &difference::CONTAINS_NOT_COMPARED);
            }
        }
    }

    /// Of arrays that differ: what the rules take their last keywords for.
    pub(super) fn note_rest_of_items(&mut self, old_class: &ArrayClass, new_class: &ArrayClass) {
        if old_class.is_rest_vain || new_class.is_rest_vain {
            self.add_at(
                "additionalItems",
                &difference::ADDITIONAL_ITEMS_NOT_COMPARED,
            );
        }
        let is_evaluated_elsewhere =
            |class: &ArrayClass| class.unevaluated != Rest::Allowed && class.contains.is_some();
        if is_evaluated_elsewhere(old_class) || is_evaluated_elsewhere(new_class) {
            self.add(&difference::EVALUATED_NOT_COMPARED);
        }
    }

    /// Of combined schemas that differ: `unevaluated…` keywords see what their neighbours say.
    pub(super) fn note_evaluated(&mut self, old: Side, new: Side, found_before: usize) {
        if self.found.len() > found_before && (self.sees_others(old) || self.sees_others(new)) {
            self.add(&difference::EVALUATED_NOT_COMPARED);
        }
    }

    fn sees_others(&self, side: Side) -> bool {
        match self.class(side) {
            Class::Combined(Criterion::AllOf, members) => members.iter().any(|id| {
                let member = self.model(side).resolve(*id).map(|id| side.at(id));
                member.is_some_and(|member| self.has_unevaluated(member))
            }),
            _ => self.has_unevaluated(side),
        }
    }

    fn has_unevaluated(&self, side: Side) -> bool {
        match self.class(side) {
            Class::Object(class) => class.unevaluated != Rest::Allowed,
            Class::Array(class) => class.unevaluated != Rest::Allowed,
            _ => false,
        }
    }

    /// The new schema's alternatives, unless no value fits two of them.
    pub(super) fn note_overlap(&mut self, new: Side, members: &[NodeId]) {
        if !self.are_told_apart(new, members) {
            self.add(&difference::OVERLAP_NOT_COMPARED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ParseMode, ParsedSchema, SchemaFormat};
    use crate::witness::caveat_evidence;

    /// Old schema, new schema, and what the rules do not see: kind, path, and a record that breaks.
    const CASES: &[(&str, &str, &[&str])] = &[
        (r#"{"type":"string"}"#, r#"{"type":"string"}"#, &[]),
        (
            r#"{"type":"string","format":"date"}"#,
            r#"{"type":"string"}"#,
            &[],
        ),
        (
            r#"{"type":"string"}"#,
            r#"{"type":"string","format":"date"}"#,
            &["FORMAT_NOT_COMPARED #/format breaks"],
        ),
        (
            r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"string"}"#,
            r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"string","format":"date"}"#,
            &[],
        ),
        (
            r#"{"properties":{"a":{"maximum":5}}}"#,
            r#"{"properties":{"a":{"type":"number","maximum":5}}}"#,
            &["TYPE_NOT_COMPARED #/properties/a not-found"],
        ),
        (
            r#"{"if":{"type":"string"},"then":{"maxLength":3}}"#,
            r#"{"if":{"type":"string"},"then":{"maxLength":2}}"#,
            &["CONDITION_NOT_COMPARED #/ breaks"],
        ),
        (
            r#"{"type":"array","contains":{"const":1}}"#,
            r#"{"type":"array","contains":{"const":2}}"#,
            &["CONTAINS_NOT_COMPARED #/contains breaks"],
        ),
        (
            r#"{"type":"object","propertyNames":{"maxLength":3}}"#,
            r#"{"type":"object","propertyNames":{"maxLength":2}}"#,
            &["PROPERTY_NAMES_NOT_COMPARED #/propertyNames not-found"],
        ),
        (
            r#"{"type":"object","patternProperties":{"^a":{"type":"string"}}}"#,
            r#"{"type":"object","patternProperties":{"^a":{"type":"integer"}}}"#,
            &["PATTERN_PROPERTIES_NOT_COMPARED #/patternProperties/^a breaks"],
        ),
        (
            r#"{"type":"object","patternProperties":{"^a":{}}}"#,
            r#"{"type":"object","patternProperties":{"^a":{}},"properties":{"b":{"type":"string"}}}"#,
            &["OPEN_PATTERNS_NOT_COMPARED #/properties/b breaks"],
        ),
        (
            r#"{"type":"object"}"#,
            r#"{"type":"object","required":["a"]}"#,
            &["REQUIRED_NOT_COMPARED #/required/a breaks"],
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"string","default":"x"}}}"#,
            r#"{"type":"object","properties":{"a":{"type":"string","default":"x"}},"required":["a"]}"#,
            &["DEFAULT_NOT_APPLIED #/required/a breaks"],
        ),
        (
            r#"{"oneOf":[{"type":"null"},{"type":"integer"}]}"#,
            r#"{"oneOf":[{"type":"null"},{"type":"integer"},{"type":"string"}]}"#,
            &[],
        ),
        (
            r#"{"oneOf":[{"type":"null"},{"type":"integer"}]}"#,
            r#"{"oneOf":[{"type":"null"},{"type":"integer"},{"type":"number","minimum":3}]}"#,
            &["OVERLAP_NOT_COMPARED #/ breaks"],
        ),
        // An alternative takes more, which is no difference.
        (
            r#"{"oneOf":[{"type":"string","pattern":"^x-"},{"type":"string","format":"date"}]}"#,
            r#"{"oneOf":[{"type":"string","pattern":"^x-"},{"type":"string"}]}"#,
            &["OVERLAP_NOT_COMPARED #/ breaks"],
        ),
        (
            r#"{"oneOf":[{"type":"object","required":["k"],"properties":{"k":{"const":"a"}}}]}"#,
            r#"{"oneOf":[{"type":"object","required":["k"],"properties":{"k":{"const":"a"}}},{"type":"object","required":["k"],"properties":{"k":{"const":"b"}}}]}"#,
            &[],
        ),
        (
            r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","allOf":[{"properties":{"a":{"type":"string"}}}],"type":"object","unevaluatedProperties":false}"#,
            r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","allOf":[{"properties":{}}],"type":"object","unevaluatedProperties":false}"#,
            &["EVALUATED_NOT_COMPARED #/ breaks"],
        ),
        (
            r#"{"type":"number","exclusiveMaximum":9,"maximum":20}"#,
            r#"{"type":"number","exclusiveMaximum":5,"maximum":20}"#,
            &["EXCLUSIVE_MAXIMUM_NOT_COMPARED #/exclusiveMaximum breaks"],
        ),
        (
            r#"{"type":"array","additionalItems":false}"#,
            r#"{"type":"array","items":[{"type":"string"}],"additionalItems":false}"#,
            &["ADDITIONAL_ITEMS_NOT_COMPARED #/additionalItems not-found"],
        ),
        (
            r##"{"not":{"$ref":"#/definitions/a"},"definitions":{"a":{"type":"null"}}}"##,
            r##"{"not":{"$ref":"#/definitions/a"},"definitions":{"a":{"type":"string"}}}"##,
            &["NEGATION_NOT_COMPARED #/not breaks"],
        ),
    ];

    #[test]
    fn what_the_rules_miss_is_told_and_shown() {
        let parse = |text: &str| {
            ParsedSchema::parse(SchemaFormat::Json, text, &[], ParseMode::New).expect(text)
        };
        let mut wrong = Vec::new();
        for (old_text, new_text, expected) in CASES {
            let (old, new) = (parse(old_text), parse(new_text));
            let policy = CompatibilityPolicy::Strict;
            let shown: Vec<String> = crate::compatibility::caveats(&new, &old, policy)
                .iter()
                .map(|caveat| {
                    let label = caveat_evidence(&new, &old, caveat).label();
                    format!("{} {} {label}", caveat.kind, caveat.path)
                })
                .collect();
            let found = crate::compatibility::compare(&new, &old, policy);
            if shown != *expected || !found.is_empty() {
                wrong.push(format!("{old_text} => {new_text}: {shown:?} {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
