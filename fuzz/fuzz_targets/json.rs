//! See `bodies/json.rs`, which the tests of serde-formats run too.
#![no_main]

#[path = "bodies/json.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
