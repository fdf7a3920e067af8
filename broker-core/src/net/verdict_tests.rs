//! A registry that changes between the verdict on a batch and its append.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::harness::{Server, batch, fetch, fetch_from, produce, sequenced, values};
use crate::error::ErrorCode;
use crate::records::BatchView;
use crate::validation::{
    BoxFuture, Receipt, RecordValidator, RequestOrigin, TopicConfigKey, TopicSettings, Unavailable,
    Verdict, Wanted,
};

/// Accepts everything. Of the questions whether a verdict still holds, asked once before and once
/// under the partition's lock, the first `changes` under the lock are answered no.
#[derive(Debug)]
struct Changing {
    changes: usize,
    judged: AtomicUsize,
    asked: AtomicUsize,
}

impl Changing {
    fn new(changes: usize) -> Arc<Self> {
        Arc::new(Self {
            changes,
            judged: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        })
    }
}

impl RecordValidator for Changing {
    fn validate(
        &self,
        _topic: &TopicSettings,
        _batch: &BatchView<'_>,
        _origin: &RequestOrigin<'_>,
    ) -> Verdict {
        self.judged.fetch_add(1, Ordering::SeqCst);
        Verdict::Accepted(Receipt {
            epoch: 0,
            facts: None,
        })
    }

    fn still_holds(&self, _topic: &TopicSettings, _receipt: &Receipt) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let is_under_lock = asked % 2 == 1;
        !is_under_lock || asked / 2 >= self.changes
    }

    fn resolve(&self, _wanted: Wanted) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async { Ok(()) })
    }

    fn config_keys(&self) -> &'static [TopicConfigKey] {
        &[]
    }

    fn check_properties(&self, _properties: &BTreeMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_that_went_stale_is_reached_again() {
    // Changes of the registry, judgements, what the producer hears.
    for (changes, judged, expected) in [
        (0, 1, ErrorCode::NONE),
        (1, 2, ErrorCode::NONE),
        (2, 3, ErrorCode::NONE),
        (3, 3, ErrorCode::REQUEST_TIMED_OUT),
    ] {
        let validator = Changing::new(changes);
        let server = Server::start_with(Arc::<Changing>::clone(&validator)).await;
        let mut client = server.with_topic("t", 1).await;
        let answer = produce(&mut client, "t", batch(&["one"])).await;
        assert_eq!(answer.error, expected, "{changes} changes");
        assert_eq!(validator.judged.load(Ordering::SeqCst), judged);
        let stored = values(&fetch(&mut client, &fetch_from("t", 0, 0)).await);
        let is_stored = expected == ErrorCode::NONE;
        assert_eq!(stored.len(), usize::from(is_stored), "{changes} changes");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_judged_again_keeps_its_sequence() {
    let server = Server::start_with(Changing::new(1)).await;
    let mut client = server.with_topic("t", 1).await;
    for (first, offset) in [(0, 0), (1, 1), (0, 0)] {
        let answer = produce(&mut client, "t", sequenced(7, 0, first, &["v"])).await;
        assert_eq!(
            (answer.error, answer.base_offset),
            (ErrorCode::NONE, offset)
        );
    }
    server.stop().await;
}
