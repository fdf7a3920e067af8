//! Listener and connections. Stub, replaced by its owner.
#![expect(clippy::todo, reason = "stub")]
use crate::broker::Broker;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
/// Accepts and serves Kafka connections until `shutdown`; returns once every connection has finished its request in flight.
pub async fn serve(_broker: Arc<Broker>, _listener: TcpListener, _shutdown: CancellationToken) {
    todo!()
}
