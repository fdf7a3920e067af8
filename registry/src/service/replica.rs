//! One process among several on one database: it follows the changes of the others, says how far it
//! has come, and knows when it may no longer take its image for the truth.
//!
//! A replica holds a lease in the database and writes beside it the epoch it serves. A permanent
//! delete waits for every other replica whose lease runs; so a replica whose lease has ended must
//! not judge records by its image, because what is in it may be gone. It goes on answering reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::Inner;
use crate::snapshot::{Snapshot, Unavailable};
use crate::store::{Facts, LEASE, StoreError, Writing};

/// How often the lease is renewed and the epoch looked at; notifications are faster.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A lease counts as ended this much earlier than the database says.
const LEASE_MARGIN: Duration = Duration::from_millis(500);

/// How often a waiting delete asks how far the others are.
const ACKNOWLEDGED_INTERVAL: Duration = Duration::from_millis(10);

/// How long a delete waits in all: a replica that renews its lease and never acknowledges is broken.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// How long to wait before listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Changes applied at once.
const FACTS_PAGE: u32 = 500;

/// This process as the others see it.
#[derive(Debug)]
pub(super) struct Replica {
    name: String,
    started: Instant,
    /// Milliseconds after `started`.
    lease_ends_ms: AtomicU64,
    /// Why the last renewal failed.
    fault: Mutex<Option<String>>,
    /// Every other live replica serves at least this epoch.
    acknowledged_by_others: AtomicU64,
    asking: tokio::sync::Mutex<()>,
    /// There may be something new.
    wake: Arc<Notify>,
    /// The connection that listens may be dead without knowing.
    listen_again: Arc<Notify>,
}

/// Read-through in single flight: whoever asks is served by a flight that begins after it asked.
#[derive(Debug, Default)]
pub(super) struct Flights {
    begun: AtomicU64,
    /// The newest finished flight, and why it failed.
    finished: tokio::sync::Mutex<(u64, Option<Unavailable>)>,
}

impl Replica {
    pub(super) fn new() -> Self {
        Self {
            name: Uuid::new_v4().to_string(),
            started: Instant::now(),
            lease_ends_ms: AtomicU64::new(0),
            fault: Mutex::new(None),
            acknowledged_by_others: AtomicU64::new(0),
            asking: tokio::sync::Mutex::new(()),
            wake: Arc::new(Notify::new()),
            listen_again: Arc::new(Notify::new()),
        }
    }

    fn holds_lease(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.lease_ends_ms.load(Ordering::Acquire)
    }

    /// Ends following and listening, once the registry is closed or gone.
    pub(super) fn stop(&self) {
        self.listen_again.notify_one();
        self.wake.notify_one();
    }

    fn extend_lease(&self, began: Instant) {
        let ends = began.duration_since(self.started) + LEASE.saturating_sub(LEASE_MARGIN);
        let ends = u64::try_from(ends.as_millis()).unwrap_or(u64::MAX);
        self.lease_ends_ms.fetch_max(ends, Ordering::AcqRel);
    }
}

/// A registry that is dropped without being closed must not leave a connection that listens.
impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    /// Whether the image may be taken for the truth.
    pub(super) fn is_current(&self) -> bool {
        self.replica.as_ref().is_none_or(Replica::holds_lease)
    }

    /// Why this replica is not to be relied on.
    pub(super) fn fault(&self) -> Option<Unavailable> {
        let replica = self.replica.as_ref()?;
        if let Some(fault) = replica.fault.lock().clone() {
            return Some(Unavailable(fault));
        }
        let lapsed = || Unavailable("the lease of this replica has ended".to_owned());
        (!replica.holds_lease()).then(lapsed)
    }

    /// Announces this process before it loads anything: a delete that is not seen in the load waits
    /// for it.
    pub(super) async fn announce(&self) -> Result<(), StoreError> {
        match (self.store.shared(), &self.replica) {
            (Some(store), Some(replica)) => store.renew_lease(&replica.name, 0).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Renews the lease and catches up; the lease counts only once the image is as new as it.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let (Some(store), Some(replica)) = (self.store.shared(), &self.replica) else {
            return Ok(());
        };
        let began = Instant::now();
        let renewed = async {
            let served = self.view.load().epoch();
            let epoch = store.renew_lease(&replica.name, served).await?;
            if epoch < served {
                return Err(went_back(epoch, served));
            }
            self.catch_up(epoch).await
        };
        match renewed.await {
            Ok(()) => {
                replica.extend_lease(began);
                if replica.fault.lock().take().is_some() {
                    tracing::info!("the registry's database answers again");
                    replica.listen_again.notify_one();
                }
                Ok(())
            }
            Err(error) => {
                let fault = error.to_string();
                if replica.fault.lock().replace(fault).is_none() {
                    tracing::warn!(%error, "the registry's database cannot be reached");
                }
                Err(error)
            }
        }
    }

    /// Looks at the truth if this process may be behind it.
    pub(super) async fn read_through(&self) -> Result<(), Unavailable> {
        let asked_after = self.flights.begun.load(Ordering::Acquire);
        let mut finished = self.flights.finished.lock().await;
        if finished.0 > asked_after {
            return finished.1.clone().map_or(Ok(()), Err);
        }
        let number = self.flights.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let looked = if self.is_current() {
            async { self.catch_up(self.store.epoch().await?).await }.await
        } else {
            self.renew().await
        };
        let result = looked.map_err(|error| Unavailable(error.to_string()));
        *finished = (number, result.clone().err());
        result
    }

    /// Brings the image to at least `epoch`, and says so to the others.
    pub(super) async fn catch_up(&self, epoch: u64) -> Result<(), StoreError> {
        if self.view.load().epoch() >= epoch {
            return Ok(());
        }
        let _catching = self.catching.lock().await;
        let base = self.view.load_full();
        if base.epoch() >= epoch {
            return Ok(());
        }
        let mut snapshot = Snapshot::clone(&base);
        loop {
            let facts = self.store.facts(snapshot.epoch(), FACTS_PAGE).await?;
            match apply(&mut snapshot, facts) {
                Applied::All => break,
                Applied::Some => {}
                Applied::Gap => {
                    snapshot = self.load().await?;
                    break;
                }
            }
        }
        self.publish(snapshot);
        self.acknowledge().await
    }

    /// The image that `writing` starts from: `base` and what other processes have changed since.
    pub(super) async fn advanced(
        &self,
        base: &Snapshot,
        writing: &mut Writing,
    ) -> Result<Snapshot, StoreError> {
        let mut snapshot = base.clone();
        while snapshot.epoch() < writing.epoch() {
            let facts = writing.facts(snapshot.epoch(), FACTS_PAGE).await?;
            if matches!(apply(&mut snapshot, facts), Applied::Gap | Applied::All)
                && snapshot.epoch() < writing.epoch()
            {
                // Nobody else writes now, so another connection reads the same truth.
                snapshot = self.load().await?;
            }
        }
        if snapshot.epoch() > writing.epoch() {
            return Err(went_back(writing.epoch(), snapshot.epoch()));
        }
        Ok(snapshot)
    }

    async fn acknowledge(&self) -> Result<(), StoreError> {
        let (Some(store), Some(replica)) = (self.store.shared(), &self.replica) else {
            return Ok(());
        };
        let epoch = self.view.load().epoch();
        store.acknowledge(&replica.name, epoch).await
    }

    /// Waits until no live replica serves anything older than `epoch`.
    pub(super) async fn acknowledged_everywhere(&self, epoch: u64) -> Result<(), StoreError> {
        let (Some(store), Some(replica)) = (self.store.shared(), &self.replica) else {
            return Ok(());
        };
        let began = Instant::now();
        let is_known = || replica.acknowledged_by_others.load(Ordering::Acquire) >= epoch;
        while !is_known() {
            let _asking = replica.asking.lock().await;
            if is_known() {
                break;
            }
            // Before the question: a replica that joins after it loads at least this.
            let own = self.view.load().epoch();
            let failure = match store.acknowledged_by_others(&replica.name).await {
                Ok(oldest) => {
                    let seen = oldest.unwrap_or(own);
                    replica
                        .acknowledged_by_others
                        .fetch_max(seen, Ordering::AcqRel);
                    if is_known() {
                        break;
                    }
                    StoreError::nonsense("a replica does not acknowledge a delete")
                }
                Err(error) => error,
            };
            if began.elapsed() > ACKNOWLEDGED_MAX {
                return Err(failure);
            }
            tokio::time::sleep(ACKNOWLEDGED_INTERVAL).await;
        }
        Ok(())
    }

    /// Tells the others not to wait for this process any more.
    pub(super) async fn leave(&self) {
        if let (Some(store), Some(replica)) = (self.store.shared(), &self.replica)
            && let Err(error) = store.leave(&replica.name).await
        {
            tracing::debug!(%error, "the lease was left to end by itself");
        }
    }
}

/// What was answered is not in the database any more: nothing here can be relied on.
fn went_back(stored: u64, served: u64) -> StoreError {
    StoreError::nonsense(format!(
        "the database is at epoch {stored}, this process has served {served}: if an older copy was \
         restored, restart every replica"
    ))
}

enum Applied {
    /// There was nothing more.
    All,
    Some,
    /// A change is missing or cannot be read.
    Gap,
}

fn apply(snapshot: &mut Snapshot, facts: Vec<Facts>) -> Applied {
    let is_last = facts.len() < usize::try_from(FACTS_PAGE).unwrap_or(usize::MAX);
    for row in facts {
        match row.changes {
            Some(changes) if row.epoch == snapshot.epoch() + 1 => {
                snapshot.advance(&changes, row.epoch);
            }
            _ => return Applied::Gap,
        }
    }
    if is_last { Applied::All } else { Applied::Some }
}

/// Starts following, for as long as the registry lives.
pub(super) fn start(inner: &Arc<Inner>) {
    let Some(replica) = &inner.replica else {
        return;
    };
    let wake = Arc::clone(&replica.wake);
    tokio::spawn(follow(Arc::downgrade(inner), Arc::clone(&wake)));
    let again = Arc::clone(&replica.listen_again);
    tokio::spawn(listen(Arc::downgrade(inner), wake, again));
}

async fn follow(inner: Weak<Inner>, wake: Arc<Notify>) {
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_due = tokio::select! {
            () = wake.notified() => false,
            _ = ticks.tick() => true,
        };
        let Some(inner) = inner.upgrade().filter(|inner| !inner.is_closed()) else {
            return;
        };
        if is_due {
            // Its outcome is kept; the next tick tries again.
            drop(inner.renew().await);
        } else if let Err(error) = inner.read_through().await {
            tracing::debug!(%error, "a notified change was not read yet");
        }
    }
}

async fn listen(inner: Weak<Inner>, wake: Arc<Notify>, again: Arc<Notify>) {
    loop {
        let listening = {
            let Some(inner) = inner.upgrade().filter(|inner| !inner.is_closed()) else {
                return;
            };
            match inner.store.shared() {
                Some(store) => store.listen().await,
                None => return,
            }
        };
        let Ok(mut listener) = listening else {
            tokio::time::sleep(LISTEN_AGAIN).await;
            continue;
        };
        // What was notified while nobody listened.
        wake.notify_one();
        loop {
            tokio::select! {
                changed = listener.changed() => match changed {
                    Ok(()) => wake.notify_one(),
                    Err(error) => {
                        tracing::debug!(%error, "listening for changes ended");
                        tokio::time::sleep(LISTEN_AGAIN).await;
                        break;
                    }
                },
                () = again.notified() => break,
            }
        }
    }
}
