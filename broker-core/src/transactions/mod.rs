//! Transactions: exactly-once over several partitions and consumer groups.
//!
//! The rules live in a pure state machine for each transactional id ([`coordinator`]) that takes
//! the time as an argument and answers what is to be written; [`driver`] locks, writes to the
//! internal topic `__transaction_state`, appends markers to the partitions of a transaction and
//! delivers. The records are Kafka's own ([`record`]), so tools that read that topic read ours.
//! What a partition knows of transactions is in `log/producer_state.rs` and
//! `log/transaction_index.rs`.
//!
//! Knows nothing of sockets and request encodings (see `api/transactions.rs`). Next:
//! [`coordinator`].

pub mod coordinator;
pub mod driver;
pub mod producer_ids;
pub mod record;

pub use driver::TransactionCoordinator;
pub use producer_ids::ProducerIds;

/// Name of the internal topic that holds the state of every transactional id.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Settings of the coordinator; names and defaults are Kafka's.
#[derive(Debug, Clone)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`: the longest that a client may ask for.
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`: an id that was not used for so long is forgotten.
    pub id_expiration_ms: i64,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            timeout_max_ms: 900_000,
            id_expiration_ms: 604_800_000,
        }
    }
}

#[cfg(test)]
mod life;
#[cfg(test)]
mod simulation;
