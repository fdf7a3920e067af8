//! End to end: the real binary, real clients, real files. One binary, so that it links once.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests say what they skip, and counts are printed"
)]

mod agreement;
mod backup_postgres;
mod clients;
mod crash;
mod demo;
mod doctor;
mod enforcement;
mod full_disk;
mod groups;
mod harness;
mod https;
mod operations;
mod partitions;
#[path = "../../registry/tests/support/postgres.rs"]
mod postgres;
mod proxy;
mod replicas;
mod schemathesis;
mod server;
mod soak;
mod stacks;
mod traces;
mod transfer;
