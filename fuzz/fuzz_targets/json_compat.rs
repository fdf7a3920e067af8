//! See `bodies/json_compat.rs`, which the tests of serde-formats run too.
#![no_main]

#[path = "bodies/json_compat.rs"]
mod body;
#[path = "bodies/structured.rs"]
mod structured;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
