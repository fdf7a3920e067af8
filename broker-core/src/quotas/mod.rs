//! Client quotas (KIP-13, KIP-124, KIP-219, KIP-599, KIP-612): how much each client used lately, and
//! how long it must wait when that was too much.
//!
//! Time is an argument. Knows nothing of requests and connections: who answers a client tells it
//! the wait and does not read from it meanwhile. Which quota a client has is in `table.rs`, what a
//! rate is in `rate.rs`, and how changes of topics are counted in `bucket.rs`; the quotas themselves
//! are kept in the metadata log.

mod bucket;
mod rate;
mod table;

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub(crate) use table::Consumer;
pub use table::{EntityName, QUOTA_KINDS, QuotaEntity, QuotaKind, QuotaTable};

use bucket::Bucket;
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
    used: Mutex<HashMap<(QuotaKind, Consumer), Used>>,
}

/// What one of them did.
#[derive(Debug)]
enum Used {
    Rate(Rate),
    Bucket(Bucket),
}

impl Used {
    fn new(kind: QuotaKind) -> Self {
        match kind {
            QuotaKind::ControllerMutationRate => Self::Bucket(Bucket::default()),
            _ => Self::Rate(Rate::default()),
        }
    }

    fn record(&mut self, amount: f64, limit: f64, now_ms: i64) {
        match self {
            Self::Rate(rate) => rate.record(amount, now_ms),
            Self::Bucket(bucket) => bucket.record(amount, limit, now_ms),
        }
    }

    fn throttle_ms(&mut self, limit: f64, now_ms: i64) -> i64 {
        match self {
            Self::Rate(rate) => rate.throttle_ms(limit, now_ms),
            Self::Bucket(bucket) => bucket.throttle_ms(now_ms),
        }
    }

    fn is_idle(&self, now_ms: i64) -> bool {
        match self {
            Self::Rate(rate) => rate.is_idle(now_ms),
            Self::Bucket(bucket) => bucket.is_idle(now_ms),
        }
    }
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

    /// Counts `amount` (bytes, percent of a thread times seconds, or partitions), and answers how
    /// long the client must wait, in ms.
    pub fn record(&self, kind: QuotaKind, client: Client<'_>, amount: f64, now_ms: i64) -> i64 {
        let Some(quota) = self.find(kind, client) else {
            return 0;
        };
        let limit = quota.limit;
        let wait_ms = self.with_used(kind, quota.consumer, now_ms, |used| {
            used.record(amount, limit, now_ms);
            used.throttle_ms(limit, now_ms)
        });
        match kind {
            // As Kafka: a request that took long must not stop a client for minutes.
            QuotaKind::RequestPercentage => wait_ms.min(WINDOW_MS),
            _ => wait_ms,
        }
    }

    /// Counts partitions that a client wants made or removed, unless it owes from before.
    ///
    /// # Errors
    /// How long it must wait, in ms: then nothing was counted.
    pub fn admit_mutation(
        &self,
        client: Client<'_>,
        partitions: f64,
        now_ms: i64,
    ) -> Result<(), i64> {
        let kind = QuotaKind::ControllerMutationRate;
        let Some(quota) = self.find(kind, client) else {
            return Ok(());
        };
        let limit = quota.limit;
        self.with_used(kind, quota.consumer, now_ms, |used| {
            match used.throttle_ms(limit, now_ms) {
                0 => {
                    used.record(partitions, limit, now_ms);
                    Ok(())
                }
                wait_ms => Err(wait_ms),
            }
        })
    }

    /// Counts a connection from an address, unless that is one too many.
    ///
    /// # Errors
    /// How long the address must wait, in ms: then nothing was counted.
    pub fn admit_connection(&self, address: IpAddr, now_ms: i64) -> Result<(), i64> {
        let kind = QuotaKind::ConnectionCreationRate;
        let Some(quota) = self.table.load().find_address(kind, address) else {
            return Ok(());
        };
        let limit = quota.limit;
        self.with_used(kind, quota.consumer, now_ms, |used| {
            used.record(1.0, limit, now_ms);
            match used.throttle_ms(limit, now_ms) {
                0 => Ok(()),
                wait_ms => {
                    used.record(-1.0, limit, now_ms);
                    Err(wait_ms.min(WINDOW_MS))
                }
            }
        })
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

    fn with_used<T>(
        &self,
        kind: QuotaKind,
        consumer: Consumer,
        now_ms: i64,
        count: impl FnOnce(&mut Used) -> T,
    ) -> T {
        let mut used = self.used.lock();
        let mut key = (kind, consumer);
        if !used.contains_key(&key) && used.len() >= CONSUMERS_MAX {
            used.retain(|_, used| !used.is_idle(now_ms));
            if used.len() >= CONSUMERS_MAX {
                key.1 = Consumer::default();
            }
        }
        count(used.entry(key).or_insert_with(|| Used::new(kind)))
    }
}

/// Longest wait for time of threads, and of a connection (`quota.window.size.seconds`).
const WINDOW_MS: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(rows: &[(Option<&str>, QuotaKind, f64)]) -> Quotas {
        let mut table = QuotaTable::default();
        for (client_id, kind, limit) in rows {
            let name = client_id.map_or(EntityName::Default, |id| EntityName::Named(id.to_owned()));
            let entity = QuotaEntity {
                client_id: Some(name),
                ..QuotaEntity::default()
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
    fn changes_of_topics_are_refused_or_owed() {
        let kind = QuotaKind::ControllerMutationRate;
        let quotas = quotas(&[(None, kind, 2.0)]);
        // Whoever owes nothing may take more than there is; then it owes.
        assert_eq!(quotas.admit_mutation(client("a"), 30.0, 0), Ok(()));
        assert_eq!(quotas.admit_mutation(client("a"), 1.0, 0), Err(4000));
        assert_eq!(quotas.admit_mutation(client("a"), 1.0, 3000), Err(1000));
        assert_eq!(quotas.record(kind, client("a"), 2.0, 3000), 2000);
        assert_eq!(quotas.admit_mutation(client("b"), 1.0, 3000), Ok(()));
        assert_eq!(quotas.admit_mutation(client("a"), 1.0, 5000), Ok(()));
    }

    #[test]
    fn connections_are_counted_by_address() {
        let kind = QuotaKind::ConnectionCreationRate;
        let quotas = Quotas::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(quotas.admit_connection(address("10.0.0.1"), 0), Ok(()));
        let mut table = QuotaTable::default();
        let entity = QuotaEntity {
            ip: Some(EntityName::Default),
            ..QuotaEntity::default()
        };
        table.set(&entity, kind, Some(2.0));
        quotas.replace(table);
        for _ in 0..20 {
            assert_eq!(quotas.admit_connection(address("10.0.0.1"), 0), Ok(()));
        }
        // One that is refused is not counted: the wait stays what it was.
        for _ in 0..3 {
            assert_eq!(quotas.admit_connection(address("10.0.0.1"), 0), Err(500));
        }
        assert_eq!(quotas.admit_connection(address("10.0.0.2"), 0), Ok(()));
        assert_eq!(quotas.admit_connection(address("10.0.0.1"), 11_000), Ok(()));
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
