//! `/contexts`: the list, and removing an empty one. `/contexts/{ctx}/…` never arrives here: it is
//! rewritten in [`super::extract`].

use serde_json::Value;

use super::Answer;
use super::extract::Call;
use super::subjects::LIST_MAX;
use crate::error::RegistryError;

pub(super) fn list(call: &Call<'_>) -> Result<Answer, RegistryError> {
    let snapshot = call.registry.snapshot();
    let prefix = call.query.get("contextPrefix").unwrap_or("");
    let listed = snapshot
        .contexts()
        .filter(|context| *context != "." && snapshot.is_context_recorded(context));
    let names = std::iter::once(".")
        .chain(listed)
        .filter(|context| context.starts_with(prefix))
        .map(Value::from);
    let page = call.query.page(names, LIST_MAX)?;
    Ok(Answer::Value(Value::Array(page)))
}

pub(super) async fn delete(call: &Call<'_>, context: &str) -> Result<Answer, RegistryError> {
    call.registry
        .delete_context(context.to_owned(), call.actor.clone())
        .await?;
    Ok(Answer::Empty)
}
