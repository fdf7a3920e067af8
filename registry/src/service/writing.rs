//! Group commit: writers queue, and one transaction carries the changes of all that wait.
//!
//! Each operation is decided on the image that the ones before it leave, has its own change row and
//! its own epoch, and is answered when the transaction is committed and its image published. The
//! transaction is begun first: it is the only one that writes, so a decision is never made on a past
//! that another process has moved on from.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::{Decision, Inner};
use crate::change::{Change, ChangeSet};
use crate::error::RegistryError;
use crate::snapshot::Snapshot;
use crate::store::StoreError;

/// Operations in one transaction.
const BATCH_MAX: usize = 256;

/// How long decisions may hold up a transaction that others wait for; at least one is made.
const DECIDING_MAX: Duration = Duration::from_millis(50);

/// Operations that wait; further ones wait to wait.
const WAITING_MAX: usize = 4_096;

/// More decisions than this are made off the async threads, as heavy ones are.
const INLINE_DECISIONS_MAX: usize = 4;

/// An operation in the queue.
trait Operation: Send {
    fn is_heavy(&self) -> bool;
    /// What it wants written on this image; nothing when its answer needs no change.
    fn decide(&mut self, snapshot: &Snapshot) -> Option<ChangeSet>;
    /// Sends the answer.
    fn finish(self: Box<Self>, committed: Result<(), RegistryError>);
}

/// An answer, and what must have reached every replica before it may be given.
pub(super) struct Answer<T> {
    pub(super) result: Result<T, RegistryError>,
    /// Something was removed for good at this epoch.
    pub(super) removal_epoch: Option<u64>,
}

struct Pending<T, F> {
    heavy: bool,
    decide: F,
    answer: Option<Answer<T>>,
    reply: oneshot::Sender<Answer<T>>,
}

impl<T, F> Operation for Pending<T, F>
where
    T: Send,
    F: Fn(&Snapshot) -> Result<Decision<T>, RegistryError> + Send,
{
    fn is_heavy(&self) -> bool {
        self.heavy
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Option<ChangeSet> {
        // A parser's bug must fail this operation, not the queue.
        let decided = catch_unwind(AssertUnwindSafe(|| (self.decide)(snapshot)));
        let decided = decided.unwrap_or_else(|_| {
            tracing::error!("a registry operation ended abnormally");
            Err(RegistryError::Internal)
        });
        let mut removal_epoch = None;
        let (result, set) = match decided {
            Ok(Decision::Unchanged(answer)) => (Ok(answer), None),
            Ok(Decision::Change(set, answer)) => (Ok(answer), Some(*set)),
            Err(error) => (Err(error), None),
        };
        if set.as_ref().is_some_and(removes) {
            removal_epoch = Some(snapshot.epoch() + 1);
        }
        self.answer = Some(Answer {
            result,
            removal_epoch,
        });
        set
    }

    fn finish(self: Box<Self>, committed: Result<(), RegistryError>) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => answer,
            (Ok(()), None) => Answer::failed(RegistryError::Internal),
            (Err(error), _) => Answer::failed(error),
        };
        // Whoever asked may be gone; what was committed stays.
        drop(self.reply.send(answer));
    }
}

impl<T> Answer<T> {
    fn failed(error: RegistryError) -> Self {
        Self {
            result: Err(error),
            removal_epoch: None,
        }
    }
}

fn removes(set: &ChangeSet) -> bool {
    set.changes.iter().any(|change| {
        matches!(
            change,
            Change::RemoveSchema { .. } | Change::RemoveVersion { .. }
        )
    })
}

/// Operations in the order they came, and whether somebody writes them.
pub(super) struct WriteQueue {
    state: Mutex<QueueState>,
    places: Semaphore,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Box<dyn Operation>>,
    is_drained: bool,
}

impl Default for WriteQueue {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            places: Semaphore::new(WAITING_MAX),
        }
    }
}

impl std::fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.state.lock().waiting.len();
        f.debug_struct("WriteQueue")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl WriteQueue {
    /// The next operations; none ends the draining.
    fn take(&self) -> Vec<Box<dyn Operation>> {
        let mut state = self.state.lock();
        let count = state.waiting.len().min(BATCH_MAX);
        state.is_drained = count > 0;
        state.waiting.drain(..count).collect()
    }

    /// Puts operations back in front, in their order.
    fn put_back(&self, operations: Vec<Box<dyn Operation>>) {
        let mut state = self.state.lock();
        for operation in operations.into_iter().rev() {
            state.waiting.push_front(operation);
        }
    }
}

impl Inner {
    /// Queues an operation and waits for its answer.
    pub(super) async fn queue<T, F>(self: &Arc<Self>, heavy: bool, decide: F) -> Answer<T>
    where
        T: Send + 'static,
        F: Fn(&Snapshot) -> Result<Decision<T>, RegistryError> + Send + 'static,
    {
        let Ok(_place) = self.queue.places.acquire().await else {
            return Answer::failed(RegistryError::Internal);
        };
        let (reply, answer) = oneshot::channel();
        let operation = Box::new(Pending {
            heavy,
            decide,
            answer: None,
            reply,
        });
        let is_first = {
            let mut state = self.queue.state.lock();
            state.waiting.push_back(operation);
            !std::mem::replace(&mut state.is_drained, true)
        };
        if is_first {
            // A task of its own: a client that goes away must not leave the others waiting.
            tokio::spawn(Arc::clone(self).drain());
        }
        answer.await.unwrap_or_else(|_| {
            tracing::error!("a registry operation was dropped unanswered");
            Answer::failed(RegistryError::Internal)
        })
    }

    async fn drain(self: Arc<Self>) {
        loop {
            let operations = self.queue.take();
            if operations.is_empty() {
                return;
            }
            let _writing = self.writing.lock().await;
            self.write(operations).await;
        }
    }

    async fn write(&self, operations: Vec<Box<dyn Operation>>) {
        let (operations, error) = match self.attempt(operations).await {
            Ok(()) => return,
            Err(failed) => failed,
        };
        if error.refused && operations.len() > 1 {
            // One of them is to blame: the others must not suffer for it.
            tracing::warn!(%error, "a group of changes was refused: trying one by one");
            for operation in operations {
                if let Err((operations, error)) = self.attempt(vec![operation]).await {
                    fail(operations, &error);
                }
            }
            return;
        }
        fail(operations, &error);
    }

    /// Decides, commits, publishes and answers; or hands the operations back.
    async fn attempt(
        &self,
        operations: Vec<Box<dyn Operation>>,
    ) -> Result<(), (Vec<Box<dyn Operation>>, StoreError)> {
        let begun = async {
            let mut writing = self.store.begin().await?;
            let base = self.view.load_full();
            let snapshot = self.advanced(&base, &mut writing).await?;
            Ok((writing, snapshot))
        };
        let (writing, snapshot) = match begun.await {
            Ok(begun) => begun,
            Err(error) => return Err((operations, error)),
        };
        let inline = operations.len() <= INLINE_DECISIONS_MAX
            && !operations.iter().any(|operation| operation.is_heavy());
        let decided = if inline {
            decide_all(operations, snapshot)
        } else {
            match tokio::task::spawn_blocking(|| decide_all(operations, snapshot)).await {
                Ok(decided) => decided,
                // The runtime is going down, and the operations with it.
                Err(_) => return Ok(()),
            }
        };
        let committed = if decided.sets.is_empty() {
            writing.abandon().await
        } else {
            writing.commit(&decided.sets).await
        };
        if let Err(error) = committed {
            self.queue.put_back(decided.left);
            return Err((decided.operations, error));
        }
        self.publish(decided.snapshot);
        self.queue.put_back(decided.left);
        for operation in decided.operations {
            operation.finish(Ok(()));
        }
        Ok(())
    }
}

fn fail(operations: Vec<Box<dyn Operation>>, error: &StoreError) {
    tracing::error!(%error, operations = operations.len(), "changes were not stored");
    for operation in operations {
        operation.finish(Err(RegistryError::Store));
    }
}

struct Decided {
    operations: Vec<Box<dyn Operation>>,
    /// Not decided: the time was up.
    left: Vec<Box<dyn Operation>>,
    sets: Vec<ChangeSet>,
    /// The image after all sets.
    snapshot: Snapshot,
}

fn decide_all(mut operations: Vec<Box<dyn Operation>>, mut snapshot: Snapshot) -> Decided {
    let started = Instant::now();
    let mut sets = Vec::new();
    let mut decided = 0;
    for operation in &mut operations {
        if decided > 0 && started.elapsed() > DECIDING_MAX {
            break;
        }
        decided += 1;
        if let Some(set) = operation.decide(&snapshot) {
            snapshot.advance(&set.changes, snapshot.epoch() + 1);
            sets.push(set);
        }
    }
    let left = operations.split_off(decided);
    Decided {
        operations,
        left,
        sets,
        snapshot,
    }
}
