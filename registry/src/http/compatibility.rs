//! `/compatibility…`: would this schema be accepted?

use serde_json::{Map, Value};

use super::Answer;
use super::dto::schema_request;
use super::extract::{self, Call};
use crate::compatibility::Findings;
use crate::error::RegistryError;
use crate::service::evidence;
use crate::service::register::HEAVY_TEXT_BYTES;
use crate::subject_name::normalize;

/// Against one version, or against all that the level looks at.
pub(super) async fn check(
    call: &Call<'_>,
    subject: &str,
    version: Option<&str>,
) -> Result<Answer, RegistryError> {
    let selector = version.map(extract::version).transpose()?;
    let request = schema_request(&call.object()?)?;
    let verbose = call.query.flag("verbose");
    let normalized = call.query.flag("normalize");
    let subject = normalize(subject);
    let heavy = request.text.len() > HEAVY_TEXT_BYTES;
    let checked = call
        .registry
        .compute(heavy, move |registry| {
            registry.check_compatibility(&subject, selector, &request, normalized)
        })
        .await;
    let findings = match checked {
        Ok(findings) => findings,
        // To somebody who wants to know why, an unreadable schema is a reason.
        Err(RegistryError::InvalidSchema(message)) if verbose && message != "Empty schema" => {
            Findings {
                messages: vec![message],
                ..Findings::default()
            }
        }
        Err(error) => return Err(error),
    };
    let mut body = Map::new();
    body.insert("is_compatible".to_owned(), Value::Bool(findings.is_empty()));
    if verbose {
        let findings = evidence::searched(findings).await;
        body.insert("messages".to_owned(), Value::from(findings.into_messages()));
    }
    Ok(Answer::Value(Value::Object(body)))
}
