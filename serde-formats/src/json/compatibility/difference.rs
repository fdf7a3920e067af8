//! The names of differences, whether each breaks compatibility, and the words for it.
//!
//! Names and words are those of Confluent's registry: clients and people match on them.

use crate::compatibility::{CompatibilityPolicy, Incompatibility};
use crate::json::model::NodeId;

/// One type of difference.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::json) struct Kind {
    pub(in crate::json) name: &'static str,
    allowance: Allowance,
}

/// Under which policy a difference is compatible.
#[derive(Debug, PartialEq, Eq)]
enum Allowance {
    Always,
    Lenient,
    Never,
    /// The rules do not see it, so it breaks no verdict; see `caveat.rs`.
    Unseen,
}

/// One difference between two schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::json) struct Difference {
    pub(in crate::json) kind: &'static Kind,
    /// `#/properties/x/maxLength`.
    pub(in crate::json) path: String,
    /// How the comparison got there, when that was asked for; see [`super::trail`].
    pub(in crate::json) trail: Option<Trail>,
}

/// The pairs of schemas compared on the way to a difference, the outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::json) struct Trail {
    pub(in crate::json) stops: Vec<Stop>,
    /// Segments of the difference's path.
    pub(in crate::json) segments: Vec<String>,
}

/// One pair of schemas on a [`Trail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::json) struct Stop {
    /// Segments of the path that lead to the pair.
    pub(in crate::json) depth: usize,
    pub(in crate::json) old: NodeId,
    pub(in crate::json) new: NodeId,
}

impl Kind {
    pub(super) fn is_compatible(&self, policy: CompatibilityPolicy) -> bool {
        match self.allowance {
            Allowance::Always | Allowance::Unseen => true,
            Allowance::Lenient => policy == CompatibilityPolicy::Lenient,
            Allowance::Never => false,
        }
    }

    /// Whether the reference does not see this difference.
    pub(super) fn is_unseen(&self) -> bool {
        self.allowance == Allowance::Unseen
    }

    /// The sentence, holding `%s` for the new and the old schema.
    fn description(&self, path: &str) -> String {
        let is = |names: &[&str]| names.contains(&self.name);
        let name = self.name;
        if is(CHANGED_VALUES) {
            return format!("The value at path '{path}' is different between the %s and %s schema");
        }
        if is(CHANGED_TYPES) {
            return format!(
                "A type at path '{path}' is different between the %s schema and the %s schema"
            );
        }
        if is(MORE_ELEMENTS) {
            return format!(
                "An array or combined type at path '{path}' has more elements in the %s schema \
                 than the %s schema"
            );
        }
        if name.ends_with("_NARROWED") {
            return format!(
                "An array or combined type at path '{path}' has fewer elements in the %s schema \
                 than the %s schema"
            );
        }
        if name.ends_with("ADDED_TO_OPEN_CONTENT_MODEL") {
            return format!(
                "The %s schema has an open content model and has a property or item at path \
                 '{path}' which is missing in the %s schema"
            );
        }
        match name {
            "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL" => format!(
                "The %s schema has an unopen content model and has a required property at path \
                 '{path}' which is missing in the %s schema"
            ),
            "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"
            | "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL" => format!(
                "The %s has a closed content model and is missing a property or item present at \
                 path '{path}' in the %s schema"
            ),
            "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"
            | "ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL" => format!(
                "A property or item is missing in the %s schema but present at path '{path}' in \
                 the %s schema and is not covered by its partially open content model"
            ),
            "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"
            | "ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL" => format!(
                "The %s schema has a property or item at path '{path}' which is missing in the \
                 %s schema and is not covered by its partially open content model"
            ),
            "COMPARISON_TOO_LARGE" => format!(
                "The %s schema and the %s schema are too large to be compared, or hold too many \
                 alternatives inside each other: at path '{path}' the comparison was given up, so \
                 they count as incompatible"
            ),
            _ if name.ends_with("_INCREASED") || name == "MULTIPLE_OF_EXPANDED" => format!(
                "The value at path '{path}' in the %s schema is more than its value in the %s \
                 schema"
            ),
            _ if name.ends_with("_DECREASED") => format!(
                "The value at path '{path}' in the %s schema is less than its value in the %s \
                 schema"
            ),
            _ if name.ends_with("_ADDED") || name.ends_with("_REMOVED") => format!(
                "The keyword at path '{path}' in the %s schema is not present in the %s schema"
            ),
            _ => String::new(),
        }
    }
}

impl Difference {
    /// The difference as the registry reports it. The quote that does not match is the
    /// reference's.
    pub(super) fn report(&self) -> Incompatibility {
        let description = self.kind.description(&self.path);
        Incompatibility {
            kind: self.kind.name,
            path: self.path.clone(),
            message: format!(
                "{{errorType:\"{}\", description:\"{description}'}}",
                self.kind.name
            ),
            description,
            additional_info: String::new(),
        }
    }
}

const CHANGED_VALUES: &[&str] = &[
    "PATTERN_CHANGED",
    "MULTIPLE_OF_CHANGED",
    "DEPENDENCY_ARRAY_CHANGED",
];
const CHANGED_TYPES: &[&str] = &[
    "TYPE_CHANGED",
    "TYPE_NARROWED",
    "COMBINED_TYPE_CHANGED",
    "COMBINED_TYPE_SUBSCHEMAS_CHANGED",
    "ENUM_ARRAY_CHANGED",
];
const MORE_ELEMENTS: &[&str] = &[
    "DEPENDENCY_ARRAY_EXTENDED",
    "PRODUCT_TYPE_EXTENDED",
    "SUM_TYPE_EXTENDED",
    "NOT_TYPE_EXTENDED",
];

macro_rules! kinds {
    ($($allowance:ident: $($name:ident)*;)*) => {
        $($(pub(super) static $name: Kind = Kind {
            name: stringify!($name),
            allowance: Allowance::$allowance,
        };)*)*
    };
}

kinds! {
    Always:
        ID_CHANGED DESCRIPTION_CHANGED TITLE_CHANGED DEFAULT_CHANGED SCHEMA_REMOVED TYPE_EXTENDED
        MAX_LENGTH_INCREASED MAX_LENGTH_REMOVED MIN_LENGTH_DECREASED MIN_LENGTH_REMOVED
        PATTERN_REMOVED
        MAXIMUM_INCREASED MAXIMUM_REMOVED MINIMUM_DECREASED MINIMUM_REMOVED
        EXCLUSIVE_MAXIMUM_INCREASED EXCLUSIVE_MAXIMUM_REMOVED
        EXCLUSIVE_MINIMUM_DECREASED EXCLUSIVE_MINIMUM_REMOVED
        MULTIPLE_OF_REDUCED MULTIPLE_OF_REMOVED
        REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED REQUIRED_ATTRIBUTE_REMOVED
        DEPENDENCY_ARRAY_NARROWED DEPENDENCY_ARRAY_REMOVED DEPENDENCY_SCHEMA_REMOVED
        MAX_PROPERTIES_INCREASED MAX_PROPERTIES_REMOVED
        MIN_PROPERTIES_DECREASED MIN_PROPERTIES_REMOVED
        ADDITIONAL_PROPERTIES_ADDED ADDITIONAL_PROPERTIES_EXTENDED
        UNEVALUATED_PROPERTIES_ADDED UNEVALUATED_PROPERTIES_EXTENDED
        PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL
        REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL
        OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL
        PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL
        PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL
        PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        MAX_ITEMS_INCREASED MAX_ITEMS_REMOVED MIN_ITEMS_DECREASED MIN_ITEMS_REMOVED
        MAX_CONTAINS_INCREASED MAX_CONTAINS_REMOVED MIN_CONTAINS_DECREASED MIN_CONTAINS_REMOVED
        UNIQUE_ITEMS_REMOVED
        ADDITIONAL_ITEMS_ADDED ADDITIONAL_ITEMS_EXTENDED
        UNEVALUATED_ITEMS_ADDED UNEVALUATED_ITEMS_EXTENDED
        ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL
        ITEM_ADDED_TO_CLOSED_CONTENT_MODEL
        ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL
        ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL
        ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        ENUM_ARRAY_EXTENDED COMBINED_TYPE_EXTENDED PRODUCT_TYPE_NARROWED SUM_TYPE_EXTENDED
        NOT_TYPE_NARROWED;
    Lenient:
        ADDITIONAL_PROPERTIES_NARROWED ADDITIONAL_PROPERTIES_REMOVED
        UNEVALUATED_PROPERTIES_NARROWED UNEVALUATED_PROPERTIES_REMOVED
        REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL
        OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL
        PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL
        PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL;
    Never:
        SCHEMA_ADDED TYPE_NARROWED TYPE_CHANGED
        MAX_LENGTH_ADDED MAX_LENGTH_DECREASED MIN_LENGTH_ADDED MIN_LENGTH_INCREASED
        PATTERN_ADDED PATTERN_CHANGED
        MAXIMUM_ADDED MAXIMUM_DECREASED MINIMUM_ADDED MINIMUM_INCREASED
        EXCLUSIVE_MAXIMUM_ADDED EXCLUSIVE_MAXIMUM_DECREASED
        EXCLUSIVE_MINIMUM_ADDED EXCLUSIVE_MINIMUM_INCREASED
        MULTIPLE_OF_ADDED MULTIPLE_OF_EXPANDED MULTIPLE_OF_CHANGED
        REQUIRED_ATTRIBUTE_ADDED
        REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL
        REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL
        DEPENDENCY_ARRAY_ADDED DEPENDENCY_ARRAY_EXTENDED DEPENDENCY_ARRAY_CHANGED
        DEPENDENCY_SCHEMA_ADDED
        MAX_PROPERTIES_ADDED MAX_PROPERTIES_DECREASED MIN_PROPERTIES_ADDED MIN_PROPERTIES_INCREASED
        MAX_ITEMS_ADDED MAX_ITEMS_DECREASED MIN_ITEMS_ADDED MIN_ITEMS_INCREASED
        MAX_CONTAINS_ADDED MAX_CONTAINS_DECREASED MIN_CONTAINS_ADDED MIN_CONTAINS_INCREASED
        UNIQUE_ITEMS_ADDED
        ADDITIONAL_ITEMS_REMOVED ADDITIONAL_ITEMS_NARROWED
        UNEVALUATED_ITEMS_REMOVED UNEVALUATED_ITEMS_NARROWED
        ITEM_ADDED_TO_OPEN_CONTENT_MODEL ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL
        ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        ENUM_ARRAY_NARROWED ENUM_ARRAY_CHANGED COMBINED_TYPE_CHANGED PRODUCT_TYPE_EXTENDED
        SUM_TYPE_NARROWED COMBINED_TYPE_SUBSCHEMAS_CHANGED NOT_TYPE_EXTENDED
        COMPARISON_TOO_LARGE;
    Unseen:
        DRAFT_NOT_COMPARED TYPE_NOT_COMPARED FORMAT_NOT_COMPARED CONDITION_NOT_COMPARED CONTAINS_NOT_COMPARED
        PROPERTY_NAMES_NOT_COMPARED PATTERN_PROPERTIES_NOT_COMPARED OPEN_PATTERNS_NOT_COMPARED REQUIRED_NOT_COMPARED
        DEFAULT_NOT_APPLIED OVERLAP_NOT_COMPARED EVALUATED_NOT_COMPARED ADDITIONAL_ITEMS_NOT_COMPARED
        EXCLUSIVE_MAXIMUM_NOT_COMPARED CONNECT_BYTES_NOT_COMPARED NEGATION_NOT_COMPARED WIDENED;
}
