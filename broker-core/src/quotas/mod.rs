//! Client quotas (KIP-13, KIP-124, KIP-219): how much each client used lately, and how long it
//! must wait when that was too much.
//!
//! Time is an argument. Knows nothing of requests and connections: who answers a client tells it
//! the wait and does not read from it meanwhile. Which quota a client has is in `table.rs`, what a
//! rate is in `rate.rs`; the quotas themselves are kept in the metadata log.

mod rate;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub(crate) use table::Consumer;
pub use table::{EntityName, QUOTA_KINDS, QuotaEntity, QuotaKind, QuotaTable};

use rate::{BURST_SECONDS, Rate};

/// Clients whose use is remembered at once; beyond it, those that come new are counted together.
const CONSUMERS_MAX: usize = 10_000;

/// Who uses something.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Name of its principal.
    pub user: &'a str,
    /// `client.id`, which may be empty.
    pub client_id: &'a str,
}

/// What clients may use, and what they did.
#[derive(Debug, Default)]
pub struct Quotas {
    table: ArcSwap<QuotaTable>,
    used: Mutex<HashMap<(QuotaKind, Consumer), Rate>>,
}

impl Quotas {
    /// The quotas in force.
    #[must_use]
    pub fn table(&self) -> Arc<QuotaTable> {
        self.table.load_full()
    }

    /// Puts other quotas in force; what was used stays counted.
    pub(crate) fn replace(&self, table: QuotaTable) {
        self.table.store(Arc::new(table));
    }

    /// Whether anyone has a quota of that kind: else nothing need be measured.
    #[must_use]
    pub fn has(&self, kind: QuotaKind) -> bool {
        let table = self.table.load();
        !table.is_empty() && table.has(kind)
    }

    /// Counts `amount` (bytes, or percent of a thread times seconds), and answers how long the
    /// client must wait, in ms.
    pub fn record(&self, kind: QuotaKind, client: Client<'_>, amount: f64, now_ms: i64) -> i64 {
        let Some(quota) = self.find(kind, client) else {
            return 0;
        };
        let mut used = self.used.lock();
        let key = (kind, quota.consumer);
        let key = if used.contains_key(&key) || used.len() < CONSUMERS_MAX {
            key
        } else {
            used.retain(|_, rate| !rate.is_idle(now_ms));
            if used.len() < CONSUMERS_MAX {
                key
            } else {
                (
                    kind,
                    Consumer {
                        user: None,
                        client_id: None,
                    },
                )
            }
        };
        let rate = used.entry(key).or_default();
        rate.record(amount, now_ms);
        let wait_ms = rate.throttle_ms(quota.limit, now_ms);
        match kind {
            // As Kafka: a request that took long must not stop a client for minutes.
            QuotaKind::RequestPercentage => wait_ms.min(REQUEST_WAIT_MAX_MS),
            QuotaKind::ProducerByteRate | QuotaKind::ConsumerByteRate => wait_ms,
        }
    }

    /// The most that a client may use at once without waiting, if it has a quota. An answer that
    /// is no larger gets through some time.
    #[must_use]
    pub fn burst(&self, kind: QuotaKind, client: Client<'_>) -> Option<f64> {
        Some(self.find(kind, client)?.limit * BURST_SECONDS)
    }

    fn find(&self, kind: QuotaKind, client: Client<'_>) -> Option<table::Quota> {
        let table = self.table.load();
        table.find(kind, client.user, client.client_id)
    }
}

/// Longest wait for time of threads (`quota.window.size.seconds`).
const REQUEST_WAIT_MAX_MS: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(rows: &[(Option<&str>, QuotaKind, f64)]) -> Quotas {
        let mut table = QuotaTable::default();
        for (client_id, kind, limit) in rows {
            let name = client_id.map_or(EntityName::Default, |id| EntityName::Named(id.to_owned()));
            let entity = QuotaEntity {
                user: None,
                client_id: Some(name),
            };
            table.set(&entity, *kind, Some(*limit));
        }
        let quotas = Quotas::default();
        quotas.replace(table);
        quotas
    }

    fn client(client_id: &str) -> Client<'_> {
        Client {
            user: "ANONYMOUS",
            client_id,
        }
    }

    #[test]
    fn each_client_of_a_default_is_counted_by_itself() {
        let kind = QuotaKind::ProducerByteRate;
        let quotas = quotas(&[(None, kind, 100.0), (Some("fast"), kind, 10_000.0)]);
        for (name, bytes, expected_ms) in [
            ("a", 1100.0, 1000),
            ("a", 100.0, 2000),
            ("b", 1000.0, 0),
            ("fast", 1100.0, 0),
        ] {
            assert_eq!(quotas.record(kind, client(name), bytes, 0), expected_ms);
        }
        let other = QuotaKind::ConsumerByteRate;
        assert_eq!(quotas.record(other, client("a"), 1e9, 0), 0, "no quota");
        assert_eq!(quotas.burst(kind, client("a")), Some(1000.0));
        assert!(quotas.has(kind) && !quotas.has(other));
    }

    #[test]
    fn time_of_threads_costs_a_second_at_most() {
        let kind = QuotaKind::RequestPercentage;
        let quotas = quotas(&[(None, kind, 1.0)]);
        assert_eq!(quotas.record(kind, client("a"), 10.5, 0), 500);
        assert_eq!(quotas.record(kind, client("a"), 1000.0, 0), 1000);
    }

    #[test]
    fn made_up_client_ids_take_bounded_memory() {
        let kind = QuotaKind::ProducerByteRate;
        let quotas = quotas(&[(None, kind, 100.0)]);
        for number in 0..CONSUMERS_MAX + 5 {
            quotas.record(kind, client(&number.to_string()), 1.0, 0);
        }
        assert!(quotas.used.lock().len() <= CONSUMERS_MAX + 1);
        // Those beyond share one count.
        assert!(quotas.record(kind, client("late"), 2000.0, 0) > 0);
        assert!(quotas.record(kind, client("later"), 1.0, 0) > 0);
        // Time makes room.
        assert_eq!(quotas.record(kind, client("fresh"), 1.0, 60_000), 0);
        assert!(quotas.used.lock().len() <= 2);
    }
}
