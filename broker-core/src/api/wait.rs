//! Waiting for several things at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::watch;

/// Drives every future to its end, all at the same time; outputs in their order.
pub(super) async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut pending = false;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

type Watching = Pin<Box<dyn Future<Output = Option<watch::Receiver<i64>>> + Send>>;

/// Watches of many partitions, each known by its place.
#[derive(Default)]
pub(super) struct Watches(Vec<(usize, Watching)>);

async fn next_change(mut receiver: watch::Receiver<i64>) -> Option<watch::Receiver<i64>> {
    receiver.changed().await.is_ok().then_some(receiver)
}

impl Watches {
    /// Wakes for every change of `receiver` from now on.
    pub(super) fn add(&mut self, place: usize, mut receiver: watch::Receiver<i64>) {
        receiver.mark_unchanged();
        self.0.push((place, Box::pin(next_change(receiver))));
    }

    /// Waits for at least one change; answers the places that changed. A watch whose sender is gone
    /// counts as changed once and is dropped.
    pub(super) async fn changed(&mut self) -> Vec<usize> {
        let watches = &mut self.0;
        poll_fn(|context| {
            let mut places = Vec::new();
            watches.retain_mut(|(place, watching)| {
                match watching.as_mut().poll(context) {
                    Poll::Pending => true,
                    Poll::Ready(receiver) => {
                        places.push(*place);
                        match receiver {
                            Some(receiver) => {
                                *watching = Box::pin(next_change(receiver));
                                // Registers the waker; a change since then makes it ready on the
                                // next call, which polls every watch again.
                                true
                            }
                            None => false,
                        }
                    }
                }
            });
            if places.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(places)
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn futures_are_driven_together() {
        let (send, receive) = tokio::sync::oneshot::channel::<i32>();
        let first: Pin<Box<dyn Future<Output = i32> + Send>> =
            Box::pin(async { receive.await.unwrap() });
        let second: Pin<Box<dyn Future<Output = i32> + Send>> = Box::pin(async {
            send.send(1).unwrap();
            2
        });
        assert_eq!(join_all(vec![first, second]).await, [1, 2]);
    }

    #[tokio::test]
    async fn every_change_is_seen_once_and_a_lost_sender_ends_its_watch() {
        let (first, first_receiver) = watch::channel(0);
        let (second, second_receiver) = watch::channel(0);
        let mut watches = Watches::default();
        watches.add(7, first_receiver);
        watches.add(8, second_receiver);
        first.send(1).unwrap();
        assert_eq!(watches.changed().await, [7]);
        first.send(2).unwrap();
        second.send(1).unwrap();
        assert_eq!(watches.changed().await, [7, 8]);
        drop(first);
        assert_eq!(watches.changed().await, [7]);
        second.send(2).unwrap();
        assert_eq!(watches.changed().await, [8]);
    }
}
