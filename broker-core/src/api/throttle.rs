//! Quotas on requests: how long one took of the broker's threads, and how long its client must wait
//! for it (KIP-124).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::RequestContext;
use crate::broker::Broker;
use crate::quotas::QuotaKind;

/// Time that a request took of the threads. Waiting, for records or for the disk, costs nothing.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    before: Duration,
    /// Since when a thread is at it.
    since: Option<Instant>,
}

impl Meter {
    fn enter(&self) {
        self.0.lock().since = Some(Instant::now());
    }

    fn leave(&self) {
        let mut spent = self.0.lock();
        if let Some(since) = spent.since.take() {
            spent.before += since.elapsed();
        }
    }

    fn spent(&self) -> Duration {
        let spent = self.0.lock();
        let running = spent.since.map_or(Duration::ZERO, |since| since.elapsed());
        spent.before + running
    }
}

/// Drives `work` and measures the time that it takes of threads.
pub(super) async fn metered<T>(meter: Option<Arc<Meter>>, work: impl Future<Output = T>) -> T {
    let Some(meter) = meter else {
        return work.await;
    };
    let mut work = pin!(work);
    poll_fn(|context| {
        meter.enter();
        let polled = work.as_mut().poll(context);
        meter.leave();
        polled
    })
    .await
}

/// Counts the time that the request took so far against the quota of its client; how long that
/// client must wait, in ms. To be asked once a request, when its answer is ready but for that.
pub(super) fn request_throttle_ms(broker: &Broker, context: &RequestContext) -> i64 {
    let Some(meter) = &context.meter else {
        return 0;
    };
    let percent_seconds = meter.spent().as_secs_f64() * 100.0;
    let kind = QuotaKind::RequestPercentage;
    let now_ms = broker.config.clock.now_ms();
    broker
        .topics
        .quotas()
        .record(kind, context.client(), percent_seconds, now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_costs_nothing_and_work_does() {
        let meter = Arc::new(Meter::default());
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        let started = Instant::now();
        let work = metered(Some(Arc::clone(&meter)), async {
            receive.await.unwrap();
            // As long as a clock needs to move on.
            let worked = Instant::now();
            while worked.elapsed() < Duration::from_millis(2) {}
            meter.spent()
        });
        let waited = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            send.send(()).unwrap();
        };
        let (spent, ()) = tokio::join!(work, waited);
        assert!(spent >= Duration::from_millis(2), "{spent:?}");
        assert!(
            meter.spent() < started.elapsed() - Duration::from_millis(40),
            "{:?}",
            meter.spent()
        );
    }
}
