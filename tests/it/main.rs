//! End to end: the real binary, real clients, real files. One binary, so that it links once.
#![expect(clippy::print_stderr, reason = "tests say what they skip")]

mod agreement;
mod clients;
mod demo;
mod enforcement;
mod harness;
mod server;
