//! What Avro costs: a binary of its own, because it counts in the global allocator.

mod allocations;
mod bombs;
mod counting;
#[path = "../support/cpu.rs"]
mod cpu;
#[path = "../../benches/avro/records.rs"]
mod records;
