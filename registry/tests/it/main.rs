//! The registry through its router, in process: recorded answers of the reference, scenarios, and
//! what survives a restart.

mod harness;
mod lifecycle;
mod recordings;
mod rules;
mod scenarios;
