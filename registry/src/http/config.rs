//! `/config…`: settings. PUT merges and answers with the key `compatibility`, the others with
//! `compatibilityLevel`.

use axum::http::Method;

use super::Answer;
use super::extract::Call;
use crate::error::RegistryError;
use crate::json::config_value;
use crate::subject_name::normalize;

pub(super) async fn serve(
    call: &Call<'_>,
    subject: &str,
    method: &Method,
) -> Result<Answer, RegistryError> {
    let subject = normalize(subject);
    let actor = call.actor.clone();
    let value = match *method {
        Method::PUT => {
            let body = call.object()?;
            let config = call.registry.put_config(subject, body, actor).await?;
            config_value(&config, "compatibility")
        }
        Method::DELETE => {
            let config = call.registry.delete_config(subject, actor).await?;
            config_value(&config, "compatibilityLevel")
        }
        _ => {
            let config = call
                .registry
                .config(&subject, call.query.flag("defaultToGlobal"))?;
            config_value(&config, "compatibilityLevel")
        }
    };
    Ok(Answer::Value(value))
}
