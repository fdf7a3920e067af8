//! Random schema pairs, contradicted by independent implementations: a small run of
//! `cargo xtask agreement`, whose peers are in `tests/agreement`.

use std::process::Command;

use crate::harness::{clients_dir, run};

/// Shows 300 pairs of `format` to its peers.
fn check(format: &str) {
    clients_dir();
    let ran = run(
        Command::new(env!("CARGO")).args(["xtask", "agreement", format, "300", "1"]),
        "",
    );
    eprintln!("{}", ran.good());
}

#[test]
fn avro_readers_find_no_counterexample() {
    check("avro");
}

#[test]
fn json_validators_find_no_counterexample() {
    check("json");
}

#[test]
fn the_protobuf_runtime_finds_no_counterexample() {
    check("protobuf");
}
