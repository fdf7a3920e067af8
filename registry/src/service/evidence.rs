//! A refusal with the record that shows it: looked for after the decision, off the async threads and
//! out of the writer's turn, because a search takes longer than a comparison.

use std::time::{Duration, Instant};

use super::Registry;
use crate::compatibility::Findings;
use crate::error::RegistryError;
use crate::limits::Overloaded;

/// An answer waits so long for a record that breaks, then goes without one.
const SEARCH_MAX: Duration = Duration::from_secs(2);

/// The answer; one that says "incompatible" says it with a record. Takes a turn among those that parse.
pub(crate) async fn shown<T>(
    registry: &Registry,
    answer: Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    let Err(RegistryError::Incompatible { .. } | RegistryError::IncompatibleWithAssociation(_)) =
        answer
    else {
        return answer;
    };
    let permit = match registry.limits().parse_permit().await {
        Ok(permit) => permit,
        Err(Overloaded) => return answer,
    };
    let shown = match answer {
        Err(RegistryError::Incompatible { subject, findings }) => {
            Err(RegistryError::Incompatible {
                subject,
                findings: searched(findings).await,
            })
        }
        Err(RegistryError::IncompatibleWithAssociation(findings)) => Err(
            RegistryError::IncompatibleWithAssociation(searched(findings).await),
        ),
        other => other,
    };
    drop(permit);
    shown
}

/// What was found, with the record that shows it; the caller has its turn among those that parse.
pub(crate) async fn searched(mut findings: Findings) -> Findings {
    let Some(breach) = findings.breach.take() else {
        return findings;
    };
    let until = Instant::now() + SEARCH_MAX;
    let search = tokio::task::spawn_blocking(move || breach.told(|| Instant::now() > until));
    // A search that failed or took too long has nothing to tell.
    if let Ok(Ok(told)) = tokio::time::timeout(SEARCH_MAX, search).await {
        findings.witness = told;
    }
    findings
}
