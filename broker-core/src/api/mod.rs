//! One file per Kafka API.

pub mod groups;

use std::net::SocketAddr;
use std::sync::Arc;

/// Who asks, and how: what a handler may know of a request besides its body.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// `client.id` of the request header; empty when the client sent none.
    pub client_id: Arc<str>,
    /// Software name and version of ApiVersions (KIP-511) as `name/version`; empty when not sent.
    pub client_software: Arc<str>,
    /// The peer.
    pub address: SocketAddr,
    /// Echoed in the response header.
    pub correlation_id: i32,
    /// Version of the request and of its answer.
    pub version: i16,
}
