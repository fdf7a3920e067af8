//! The references of a schema with all that they stand on themselves.

use std::collections::HashMap;
use std::sync::Arc;

use serde_formats::ResolvedReference;

use super::RegisteredSchema;
use crate::model::Reference;
use crate::subject_name::qualify;

/// How many references deep a schema may stand on others.
const REFERENCE_DEPTH_MAX: usize = 100;

/// Collects references depth first.
#[derive(Debug, Default)]
pub(crate) struct ReferenceClosure {
    /// Name to the version it was first bound to.
    names: HashMap<String, i32>,
    /// Whether a name bound to another version is an error; otherwise the first one counts.
    strict: bool,
    pub(crate) resolved: Vec<ResolvedReference>,
}

impl ReferenceClosure {
    /// Nothing yet; `strict` refuses one name for two versions.
    pub(crate) fn new(strict: bool) -> Self {
        Self {
            strict,
            ..Self::default()
        }
    }

    /// Adds one reference written in `context`, and first whatever its target stands on.
    pub(crate) fn add(
        &mut self,
        context: &str,
        reference: &Reference,
        target: Option<&Arc<RegisteredSchema>>,
        depth: usize,
    ) -> Result<(), String> {
        match self.names.get(&reference.name) {
            Some(first) if self.strict && *first != reference.version => {
                return Err(format!(
                    "Conflicting reference versions for \"{}\": version {first} and version {}",
                    reference.name, reference.version
                ));
            }
            Some(_) => return Ok(()),
            None => {
                self.names.insert(reference.name.clone(), reference.version);
            }
        }
        let Some(target) = target else {
            return Err(format!(
                "No schema reference found for subject \"{}\" and version {}",
                reference.subject, reference.version
            ));
        };
        if depth > REFERENCE_DEPTH_MAX {
            return Err(format!("references nest deeper than {REFERENCE_DEPTH_MAX}"));
        }
        let targets = target.dependencies.get().map_or(&[][..], Vec::as_slice);
        for (position, inner) in target.references.iter().enumerate() {
            let inner_target = targets.get(position).and_then(Option::as_ref);
            self.add(&target.context, inner, inner_target, depth + 1)?;
        }
        self.resolved.push(ResolvedReference {
            name: reference.name.clone(),
            subject: qualify(context, &reference.subject),
            version: reference.version,
            schema: target.text.clone(),
        });
        Ok(())
    }
}
