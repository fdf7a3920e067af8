//! The registry through its router, in process: recorded answers of the reference, scenarios, and
//! what survives a restart.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and counts are printed"
)]

mod endpoints;
mod errors;
mod harness;
mod lifecycle;
mod own;
mod place;
mod recordings;
mod rules;
mod scenarios;
