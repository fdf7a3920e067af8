//! End to end: the real binary, real clients, real files. One binary, so that it links once.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests say what they skip, and counts are printed"
)]

mod agreement;
mod clients;
mod crash;
mod demo;
mod enforcement;
mod harness;
mod operations;
#[path = "../../registry/tests/support/postgres.rs"]
mod postgres;
mod proxy;
mod replicas;
mod schemathesis;
mod server;
mod stacks;
mod transfer;
