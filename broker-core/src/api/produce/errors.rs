//! What a response tells of refused records, within a budget.

use crate::protocol::produce::BatchIndexError;

/// Texts and record errors of one response, in bytes: half the clients show nothing of them, and a
/// response of megabytes helps none.
pub(super) const ERROR_BYTES_MAX: usize = 64 * 1024;

/// The text, when the budget has room for it.
pub(super) fn take_text(text: Option<String>, error_bytes: &mut usize) -> Option<String> {
    let text = text?;
    let left = error_bytes.checked_sub(text.len())?;
    *error_bytes = left;
    Some(text)
}

/// As many record errors as the budget has room for; texts are given up before entries.
pub(super) fn take_errors(
    errors: Vec<BatchIndexError>,
    error_bytes: &mut usize,
) -> Vec<BatchIndexError> {
    /// Index (4), length of the text (2, or 1 from version 9), tagged fields (1 from version 9).
    const ENTRY_BYTES: usize = 6;
    let mut taken = Vec::new();
    for BatchIndexError {
        batch_index,
        message,
    } in errors
    {
        let Some(left) = error_bytes.checked_sub(ENTRY_BYTES) else {
            break;
        };
        *error_bytes = left;
        taken.push(BatchIndexError {
            batch_index,
            message: take_text(message, error_bytes),
        });
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_response_fit_their_budget() {
        let mut budget = 100;
        let errors = take_errors(
            (0..100)
                .map(|batch_index| BatchIndexError {
                    batch_index,
                    message: Some("x".repeat(30)),
                })
                .collect(),
            &mut budget,
        );
        let texts = errors
            .iter()
            .filter(|error| error.message.is_some())
            .count();
        assert_eq!((errors.len(), texts, budget), (6, 2, 4));
    }
}
