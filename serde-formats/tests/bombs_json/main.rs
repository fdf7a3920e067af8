//! What JSON Schema costs at worst and at best: a binary of its own, because it counts in the
//! global allocator. `cargo test --release -p serde-formats --test bombs_json -- --nocapture`
//! prints time and memory of every bomb.
#![expect(clippy::print_stdout, reason = "the figures are for people")]

mod allocations;
mod bombs;
mod counting;
#[path = "../support/cpu.rs"]
mod cpu;
