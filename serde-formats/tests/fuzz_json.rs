//! The fuzz targets of JSON Schema over their corpus, and over small changes of it: what a fuzzer
//! does for hours, for a moment in every run of the tests.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/fuzz_targets/bodies/json.rs"]
mod json;
#[path = "../../fuzz/fuzz_targets/bodies/json_compat.rs"]
mod json_compat;
#[path = "../../fuzz/fuzz_targets/bodies/json_fast.rs"]
mod json_fast;
#[path = "../../fuzz/fuzz_targets/bodies/structured.rs"]
mod structured;

/// Changes tried of each input: `ASSAY_FUZZ_CHANGES` asks for another number.
const CHANGES: u64 = 30;

fn check(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let changes = std::env::var("ASSAY_FUZZ_CHANGES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(CHANGES);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let input = fs::read(entry.expect("an entry").path()).expect("an input");
        run(&input);
        for seed in 0..changes {
            run(&changed(&input, seed));
        }
        inputs += 1;
    }
    assert!(inputs > 5, "{target}: {inputs} inputs");
}

/// The input with one to four bytes set, removed or doubled.
fn changed(input: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut state = seed
        .wrapping_mul(0x2545_f491_4f6c_dd1d)
        .wrapping_add(input.len() as u64);
    let mut next = |bound: usize| {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from(state >> 33).unwrap_or(0) % bound.max(1)
    };
    for _ in 0..=next(4) {
        if bytes.is_empty() {
            break;
        }
        let at = next(bytes.len());
        match next(4) {
            0 => {
                bytes.remove(at);
            }
            1 => bytes.insert(at, bytes[at]),
            2 => bytes[at] = b"{}[]\",:\\0e.-nt"[next(14)],
            _ => bytes[at] = u8::try_from(next(256)).unwrap_or(0),
        }
    }
    bytes
}

#[test]
fn payloads() {
    check("json", json::run);
}

#[test]
fn both_ways_of_judging() {
    check("json_fast", json_fast::run);
}

#[test]
fn comparing() {
    check("json_compat", json_compat::run);
}
