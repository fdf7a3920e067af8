//! The HTTP side of the process: what is served at which phase, to whom, and how slowly.
//!
//! | module | what |
//! |---|---|
//! | [`health`] | phases of the process, `/livez`, `/readyz`, `/startupz` |
//! | [`listener`] | connections: how many, how slow, and how they end |
//! | [`request`] | request ids, spans and the access log |
//! | [`routes`] | the routes about the process itself, and `/openapi.json` |
//!
//! The registry's routes are the registry's.

pub mod health;
pub mod listener;
pub mod request;
pub mod routes;
