//! Arrays: items by position under content models, items of any position, bounds.

use super::difference;
use super::{Comparison, RestKinds, Side, bound_kinds};
use crate::json::model::{ArrayClass, Class, NodeId, Rest};

impl Comparison<'_> {
    pub(super) fn compare_arrays(
        &mut self,
        old: Side,
        old_class: &ArrayClass,
        new: Side,
        new_class: &ArrayClass,
    ) {
        let found_before = self.found.len();
        self.note_type(old_class.is_typed, new_class.is_typed);
        self.note_contains((old, old_class), (new, new_class));
        self.compare_item_positions(old, old_class, new, new_class);
        self.within("items", |comparison| {
            comparison.compare(
                old_class.all_items.map(|id| old.at(id)),
                new_class.all_items.map(|id| new.at(id)),
            );
        });
        self.compare_rest(
            "additionalItems",
            (old, old_class.additional),
            (new, new_class.additional),
            &RestKinds {
                added: &difference::ADDITIONAL_ITEMS_ADDED,
                removed: &difference::ADDITIONAL_ITEMS_REMOVED,
                extended: &difference::ADDITIONAL_ITEMS_EXTENDED,
                narrowed: &difference::ADDITIONAL_ITEMS_NARROWED,
            },
        );
        self.compare_rest(
            "unevaluatedItems",
            (old, old_class.unevaluated),
            (new, new_class.unevaluated),
            &RestKinds {
                added: &difference::UNEVALUATED_ITEMS_ADDED,
                removed: &difference::UNEVALUATED_ITEMS_REMOVED,
                extended: &difference::UNEVALUATED_ITEMS_EXTENDED,
                narrowed: &difference::UNEVALUATED_ITEMS_NARROWED,
            },
        );
        self.compare_bound(
            "maxItems",
            old_class.max_items.as_ref(),
            new_class.max_items.as_ref(),
            &bound_kinds!(MAX_ITEMS_ADDED MAX_ITEMS_REMOVED MAX_ITEMS_INCREASED MAX_ITEMS_DECREASED),
        );
        self.compare_bound(
            "minItems",
            old_class.min_items.as_ref(),
            new_class.min_items.as_ref(),
            &bound_kinds!(MIN_ITEMS_ADDED MIN_ITEMS_REMOVED MIN_ITEMS_INCREASED MIN_ITEMS_DECREASED),
        );
        self.compare_bound(
            "maxContains",
            old_class.max_contains.as_ref(),
            new_class.max_contains.as_ref(),
            &bound_kinds!(MAX_CONTAINS_ADDED MAX_CONTAINS_REMOVED MAX_CONTAINS_INCREASED MAX_CONTAINS_DECREASED),
        );
        self.compare_bound(
            "minContains",
            old_class.min_contains.as_ref(),
            new_class.min_contains.as_ref(),
            &bound_kinds!(MIN_CONTAINS_ADDED MIN_CONTAINS_REMOVED MIN_CONTAINS_INCREASED MIN_CONTAINS_DECREASED),
        );
        match (old_class.unique_items, new_class.unique_items) {
            (false, true) => self.add_at("uniqueItems", &difference::UNIQUE_ITEMS_ADDED),
            (true, false) => self.add_at("uniqueItems", &difference::UNIQUE_ITEMS_REMOVED),
            _ => {}
        }
        if self.found.len() > found_before {
            self.note_rest_of_items(old_class, new_class);
        }
    }

    fn compare_item_positions(
        &mut self,
        old: Side,
        old_class: &ArrayClass,
        new: Side,
        new_class: &ArrayClass,
    ) {
        self.path.push("items".to_owned());
        for position in 0..old_class.items.len().max(new_class.items.len()) {
            let old_item = old_class.items.get(position).map(|id| old.at(*id));
            let new_item = new_class.items.get(position).map(|id| new.at(*id));
            self.within(&position.to_string(), |comparison| {
                match (old_item, new_item) {
                    (Some(item), None) => comparison.item_removed(item, new, new_class),
                    (None, Some(item)) => comparison.item_added(item, old, old_class),
                    (old_item, new_item) => comparison.compare(old_item, new_item),
                }
            });
        }
        self.path.pop();
    }

    fn item_removed(&mut self, item: Side, new: Side, new_class: &ArrayClass) {
        match rest_of(new_class) {
            Rest::Allowed => self.add(&difference::ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL),
            Rest::Schema(id) => self.covered(
                item,
                new.at(id),
                &difference::ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
                &difference::ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
            ),
            Rest::Forbidden if matches!(self.class(item), Class::False) => {
                self.add(&difference::ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL);
            }
            Rest::Forbidden => self.add(&difference::ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL),
        }
    }

    fn item_added(&mut self, item: Side, old: Side, old_class: &ArrayClass) {
        match rest_of(old_class) {
            Rest::Allowed if matches!(self.class(item), Class::Empty | Class::True) => {
                self.add(&difference::ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL);
            }
            Rest::Allowed => self.add(&difference::ITEM_ADDED_TO_OPEN_CONTENT_MODEL),
            Rest::Schema(id) => self.covered(
                old.at(id),
                item,
                &difference::ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
                &difference::ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL,
            ),
            Rest::Forbidden => self.add(&difference::ITEM_ADDED_TO_CLOSED_CONTENT_MODEL),
        }
    }
}

/// What an array takes beyond its positions.
fn rest_of(class: &ArrayClass) -> Rest {
    let schema = |rest: Rest| -> Option<NodeId> {
        match rest {
            Rest::Schema(id) => Some(id),
            Rest::Allowed | Rest::Forbidden => None,
        }
    };
    match schema(class.additional).or_else(|| schema(class.unevaluated)) {
        Some(id) => Rest::Schema(id),
        None if class.additional == Rest::Allowed && class.unevaluated == Rest::Allowed => {
            Rest::Allowed
        }
        None => Rest::Forbidden,
    }
}
