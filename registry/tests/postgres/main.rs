//! The same suites as in `tests/it`, on PostgreSQL. Where no server is installed they run on SQLite
//! once more and say so.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and counts are printed"
)]

#[path = "../it/endpoints.rs"]
mod endpoints;
#[path = "../it/errors.rs"]
mod errors;
#[path = "../it/harness.rs"]
mod harness;
#[path = "../it/lifecycle.rs"]
mod lifecycle;
mod place;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../it/recordings.rs"]
mod recordings;
mod replicas;
#[path = "../it/rules.rs"]
mod rules;
#[path = "../it/scenarios.rs"]
mod scenarios;
