//! Objects: required members, properties under content models, dependencies, bounds.

use std::collections::{HashMap, HashSet};

use super::difference::{self, Kind};
use super::{
    Comparison, MATCH_STEPS, Matcher, NAMES_PER_STEP, PLACES_PER_STEP, RestKinds, STEPS_MAX, Side,
    bound_kinds,
};
use crate::json::model::{Class, NodeId, ObjectClass, Rest};
use crate::json::patterns::Cost;
use crate::json::validate::pattern_matcher;

/// Which members an object takes beyond those it names.
enum ContentModel {
    /// Any.
    Open,
    /// Those that fit this schema.
    Partial(NodeId),
    /// None, or not this one.
    Closed,
}

impl<'m> Comparison<'m> {
    pub(super) fn compare_objects(
        &mut self,
        (old, old_class): (Side, &'m ObjectClass),
        (new, new_class): (Side, &'m ObjectClass),
    ) {
        let found_before = self.found.len();
        let names = |class: &ObjectClass| class.properties.len() + class.required.len();
        self.spend((names(old_class) + names(new_class)) / NAMES_PER_STEP);
        if self.is_exhausted {
            return;
        }
        self.note_type(old_class.is_typed, new_class.is_typed);
        self.note_required(old_class, new_class);
        self.note_property_schemas((old, old_class), (new, new_class));
        self.compare_required(new, old_class, new_class);
        self.compare_properties((old, old_class), (new, new_class));
        self.compare_dependencies(old, old_class, new, new_class);
        self.compare_rest(
            "additionalProperties",
            (old, old_class.additional),
            (new, new_class.additional),
            &RestKinds {
                added: &difference::ADDITIONAL_PROPERTIES_ADDED,
                removed: &difference::ADDITIONAL_PROPERTIES_REMOVED,
                extended: &difference::ADDITIONAL_PROPERTIES_EXTENDED,
                narrowed: &difference::ADDITIONAL_PROPERTIES_NARROWED,
            },
        );
        self.compare_rest(
            "unevaluatedProperties",
            (old, old_class.unevaluated),
            (new, new_class.unevaluated),
            &RestKinds {
                added: &difference::UNEVALUATED_PROPERTIES_ADDED,
                removed: &difference::UNEVALUATED_PROPERTIES_REMOVED,
                extended: &difference::UNEVALUATED_PROPERTIES_EXTENDED,
                narrowed: &difference::UNEVALUATED_PROPERTIES_NARROWED,
            },
        );
        self.compare_bound(
            "maxProperties",
            old_class.max_properties.as_ref(),
            new_class.max_properties.as_ref(),
            &bound_kinds!(MAX_PROPERTIES_ADDED MAX_PROPERTIES_REMOVED MAX_PROPERTIES_INCREASED MAX_PROPERTIES_DECREASED),
        );
        self.compare_bound(
            "minProperties",
            old_class.min_properties.as_ref(),
            new_class.min_properties.as_ref(),
            &bound_kinds!(MIN_PROPERTIES_ADDED MIN_PROPERTIES_REMOVED MIN_PROPERTIES_INCREASED MIN_PROPERTIES_DECREASED),
        );
        let is_evaluated_elsewhere = |class: &ObjectClass| {
            class.unevaluated != Rest::Allowed && !class.dependent_schemas.is_empty()
        };
        let is_doubtful = is_evaluated_elsewhere(old_class) || is_evaluated_elsewhere(new_class);
        if is_doubtful && self.found.len() > found_before {
            self.add(&difference::EVALUATED_NOT_COMPARED);
        }
    }

    /// Properties both schemas name, required by only one of them.
    fn compare_required(&mut self, new: Side, old_class: &ObjectClass, new_class: &ObjectClass) {
        let old_names: HashMap<&str, NodeId> = by_name(&old_class.properties);
        let (old_required, new_required) = (names(&old_class.required), names(&new_class.required));
        for (name, property) in &new_class.properties {
            if !old_names.contains_key(name.as_str()) {
                continue;
            }
            let kind = match (
                old_required.contains(name.as_str()),
                new_required.contains(name.as_str()),
            ) {
                (true, false) => &difference::REQUIRED_ATTRIBUTE_REMOVED,
                (false, true) if self.has_default(new.at(*property)) => {
                    &difference::REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED
                }
                (false, true) => &difference::REQUIRED_ATTRIBUTE_ADDED,
                _ => continue,
            };
            self.path.push("required".to_owned());
            self.add_at(name, kind);
            if *kind == difference::REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED {
                self.add_at(name, &difference::DEFAULT_NOT_APPLIED);
            }
            self.path.pop();
        }
    }

    /// What `class` takes under a name it does not give a schema itself.
    fn content_model(&mut self, class: &'m ObjectClass, name: &str) -> ContentModel {
        self.spend(class.patterns.len().saturating_mul(MATCH_STEPS));
        let are_compiled = !self.is_exhausted
            && self.old.patterns.check().is_ok()
            && self.new.patterns.check().is_ok();
        for (pattern, id) in &class.patterns {
            let matcher = self.matchers.entry(pattern).or_insert_with(|| {
                let matcher = are_compiled.then(|| pattern_matcher(pattern)).flatten();
                matcher.map(|matches| Matcher {
                    matches: Box::new(matches),
                    cost: Cost::of_pattern(pattern),
                })
            });
            // A pattern that does not compile covers nothing, which is the stricter reading.
            let Some(Matcher { matches, cost }) = matcher else {
                continue;
            };
            let places = cost.of(name.len()) / PLACES_PER_STEP;
            self.steps = self
                .steps
                .saturating_add(usize::try_from(places).unwrap_or(usize::MAX));
            self.is_exhausted |= self.steps > STEPS_MAX;
            if self.is_exhausted {
                return ContentModel::Closed;
            }
            if matches(name) {
                return ContentModel::Partial(*id);
            }
        }
        match (class.additional, class.unevaluated) {
            (Rest::Schema(id), _) | (_, Rest::Schema(id)) => ContentModel::Partial(id),
            (Rest::Allowed, Rest::Allowed) if class.patterns.is_empty() => ContentModel::Open,
            _ => ContentModel::Closed,
        }
    }

    fn has_default(&self, side: Side) -> bool {
        self.node(side).is_some_and(|node| node.default.is_some())
    }

    fn compare_properties(
        &mut self,
        (old, old_class): (Side, &'m ObjectClass),
        (new, new_class): (Side, &'m ObjectClass),
    ) {
        let old_names = by_name(&old_class.properties);
        let new_names = by_name(&new_class.properties);
        let new_required = names(&new_class.required);
        self.path.push("properties".to_owned());
        for (name, old_property) in &old_class.properties {
            self.within(name, |comparison| {
                let old_property = old.at(*old_property);
                match new_names.get(name.as_str()) {
                    Some(id) => comparison.compare(Some(old_property), Some(new.at(*id))),
                    None => comparison.property_removed(name, old_property, new, new_class),
                }
            });
        }
        for (name, new_property) in &new_class.properties {
            if !old_names.contains_key(name.as_str()) {
                let is_required = new_required.contains(name.as_str());
                self.within(name, |comparison| {
                    let property = new.at(*new_property);
                    comparison.property_added(name, property, is_required, old, old_class);
                });
            }
        }
        self.path.pop();
    }

    /// The new schema's content model decides what becomes of a property it no longer names.
    fn property_removed(
        &mut self,
        name: &str,
        property: Side,
        new: Side,
        new_class: &'m ObjectClass,
    ) {
        match self.content_model(new_class, name) {
            ContentModel::Open => {
                self.add(&difference::PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL);
            }
            ContentModel::Partial(id) => self.covered(
                property,
                new.at(id),
                &difference::PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
                &difference::PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
            ),
            ContentModel::Closed if matches!(self.class(property), Class::False) => {
                self.add(&difference::PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL);
            }
            ContentModel::Closed => {
                self.add(&difference::PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL);
            }
        }
    }

    /// The old schema's content model decides what a property it did not name may have held.
    fn property_added(
        &mut self,
        name: &str,
        property: Side,
        is_required: bool,
        old: Side,
        old_class: &'m ObjectClass,
    ) {
        let has_default = self.has_default(property);
        if is_required && has_default {
            self.add(&difference::DEFAULT_NOT_APPLIED);
        }
        let model = self.content_model(old_class, name);
        if let ContentModel::Open = model {
            let is_empty = matches!(self.class(property), Class::Empty | Class::True);
            self.add(match (is_empty, is_required, has_default) {
                (true, false, _) => {
                    &difference::PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL
                }
                (_, true, true) => {
                    &difference::REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL
                }
                (_, true, false) => &difference::REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL,
                (false, false, _) => &difference::OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL,
            });
            return;
        }
        if let ContentModel::Partial(id) = model {
            self.covered(
                old.at(id),
                property,
                &difference::PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
                &difference::PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
            );
        }
        let is_open_but_for_patterns =
            old_class.additional == Rest::Allowed && old_class.unevaluated == Rest::Allowed;
        if matches!(model, ContentModel::Closed) && is_open_but_for_patterns {
            self.add(&difference::OPEN_PATTERNS_NOT_COMPARED);
        }
        self.add(match (is_required, has_default) {
            (true, true) => {
                &difference::REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL
            }
            (true, false) => &difference::REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL,
            (false, _) => &difference::OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL,
        });
    }

    /// Compares a named schema with the one that covers its place, keeps the differences, and
    /// says whether it is covered.
    pub(super) fn covered(
        &mut self,
        old: Side,
        new: Side,
        is_covered: &'static Kind,
        not_covered: &'static Kind,
    ) {
        let differences = self.trial(old, new);
        let kind = if self.is_compatible(&differences) {
            is_covered
        } else {
            not_covered
        };
        self.found.extend(differences);
        self.add(kind);
    }

    fn compare_dependencies(
        &mut self,
        old: Side,
        old_class: &ObjectClass,
        new: Side,
        new_class: &ObjectClass,
    ) {
        self.path.push("dependencies".to_owned());
        let new_required: HashMap<&str, &Vec<String>> = new_class
            .dependent_required
            .iter()
            .map(|(name, names)| (name.as_str(), names))
            .collect();
        for (name, old_names) in &old_class.dependent_required {
            let within = |inner: &[String], outer: &[String]| names(inner).is_subset(&names(outer));
            let kind = match new_required.get(name.as_str()) {
                None => &difference::DEPENDENCY_ARRAY_REMOVED,
                Some(new_names) => {
                    match (within(old_names, new_names), within(new_names, old_names)) {
                        (true, true) => continue,
                        (true, false) => &difference::DEPENDENCY_ARRAY_EXTENDED,
                        (false, true) => &difference::DEPENDENCY_ARRAY_NARROWED,
                        (false, false) => &difference::DEPENDENCY_ARRAY_CHANGED,
                    }
                }
            };
            self.add_at(name, kind);
        }
        let old_required: HashSet<&str> = old_class
            .dependent_required
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        for (name, _) in &new_class.dependent_required {
            if !old_required.contains(name.as_str()) {
                self.add_at(name, &difference::DEPENDENCY_ARRAY_ADDED);
            }
        }
        let old_schemas = by_name(&old_class.dependent_schemas);
        let new_schemas = by_name(&new_class.dependent_schemas);
        for (name, id) in &old_class.dependent_schemas {
            match new_schemas.get(name.as_str()) {
                None => self.add_at(name, &difference::DEPENDENCY_SCHEMA_REMOVED),
                Some(new_id) => self.within(name, |comparison| {
                    comparison.compare(Some(old.at(*id)), Some(new.at(*new_id)));
                }),
            }
        }
        for (name, _) in &new_class.dependent_schemas {
            if !old_schemas.contains_key(name.as_str()) {
                self.add_at(name, &difference::DEPENDENCY_SCHEMA_ADDED);
            }
        }
        self.path.pop();
    }
}

fn names(names: &[String]) -> HashSet<&str> {
    names.iter().map(String::as_str).collect()
}

pub(super) fn by_name(schemas: &[(String, NodeId)]) -> HashMap<&str, NodeId> {
    schemas
        .iter()
        .map(|(name, id)| (name.as_str(), *id))
        .collect()
}
