//! Proof that no record breaks: what the writer allows and the reader does not is nothing.

use jsonschema::canonical::{self, CanonicalSchema, Satisfiability};

use super::super::JsonSchema;
use super::super::documents::Documents;

/// Largest schema text reasoned about: the work grows faster than the text.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Why a difference is a convention, when it is proven that the reader takes every record of the
/// writer.
pub(super) fn convention(reader: &JsonSchema, writer: &JsonSchema) -> Option<String> {
    let written = admitted(writer)?;
    if written.satisfiability() == Satisfiability::No {
        return Some("the writer's schema allows no record at all".to_owned());
    }
    let lost = written.subtract(&admitted(reader)?).ok()?;
    (lost.satisfiability() == Satisfiability::No).then(|| {
        "the reader takes every record of the writer; the rule compares how schemas are written"
            .to_owned()
    })
}

/// The schema as a set of values; `None` where that is out of reach.
fn admitted(schema: &JsonSchema) -> Option<CanonicalSchema> {
    let documents: &Documents = schema.documents();
    if documents.has_dialect() || documents.root.to_string().len() > TEXT_BYTES_MAX {
        return None;
    }
    let documents = documents.for_validation();
    canonical::options()
        .with_draft(documents.draft)
        .with_retriever(documents.known())
        .canonicalize(&documents.root)
        .ok()
}
