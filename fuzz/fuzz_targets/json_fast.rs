//! See `bodies/json_fast.rs`, which the tests of serde-formats run too.
#![no_main]

#[path = "bodies/json_fast.rs"]
mod body;
#[path = "bodies/structured.rs"]
mod structured;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
