//! Listener and connections: sockets in, frames to [`crate::api::dispatch`], answers out.
//!
//! Requests of one connection are handled one at a time and answered in their order, as Kafka does.
//! Back-pressure is one semaphore over the bytes of all requests in memory: a connection that
//! cannot have its share stops reading. Records on their way to readers that do not read have a
//! limit of their own (`api/fetch/budget.rs`). Knows nothing of messages. Read `connection.rs` next.

mod connection;
mod metrics;

#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod authorization_tests;
#[cfg(test)]
mod client;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod fairness_tests;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod kcat_tests;
#[cfg(test)]
mod quota_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod telemetry_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transaction_tests;
#[cfg(test)]
mod verdict_tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use connection::{Connection, Shared};
use metrics::Metrics;

/// How long requests in flight may take once the broker stops.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Pause after an accept that failed: out of file descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one log line per this time about refused connections.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts and serves Kafka connections until `shutdown`; returns once every connection has
/// finished its request in flight, or after 30 seconds.
pub async fn serve(broker: Arc<Broker>, listener: TcpListener, shutdown: CancellationToken) {
    // A permit per byte; the semaphore counts up to 2^61, a request's share to 2^32.
    let memory_bytes = broker
        .config
        .request_memory_bytes_max
        .clamp(1, Semaphore::MAX_PERMITS);
    let shared = Arc::new(Shared {
        memory: Arc::new(Semaphore::new(memory_bytes)),
        memory_bytes,
        metrics: Metrics::new(),
        broker: Arc::clone(&broker),
    });
    let permits = Arc::new(Semaphore::new(
        broker
            .config
            .connections_max
            .clamp(1, Semaphore::MAX_PERMITS),
    ));
    let connections = TaskTracker::new();
    let mut last_refusal: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            if last_refusal.is_none_or(|last| last.elapsed() >= REFUSAL_LOG_INTERVAL) {
                last_refusal = Some(Instant::now());
                tracing::warn!(
                    %address,
                    connections_max = broker.config.connections_max,
                    "connection refused: too many connections"
                );
            }
            continue;
        };
        let quotas = broker.topics.quotas();
        let now_ms = broker.config.clock.now_ms();
        if let Err(wait_ms) = quotas.admit_connection(address.ip(), now_ms) {
            tracing::debug!(%address, wait_ms, "connection refused: its address makes too many");
            let wait = Duration::from_millis(wait_ms.unsigned_abs());
            shared.metrics.throttled(wait);
            connections.spawn(turn_away(stream, permit, wait, shutdown.clone()));
            continue;
        }
        // Small answers must not wait for the client's acknowledgement of earlier ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "TCP_NODELAY could not be set");
        }
        let connection = Connection::new(Arc::clone(&shared), stream, address, shutdown.clone());
        connections.spawn(async move {
            connection.run().await;
            drop(permit);
        });
    }
    connections.close();
    if tokio::time::timeout(SHUTDOWN_WAIT_MAX, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "stopped without waiting longer for requests in flight"
        );
    }
}

/// Closes a connection that was never served, but not at once: whoever tries again and again makes
/// no more connections than its quota allows (KIP-612).
async fn turn_away(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    wait: Duration,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = shutdown.cancelled() => {}
    }
    drop(stream);
    drop(permit);
}
