//! A long mixed load while the broker is killed again and again: nothing that was acknowledged is
//! missing or there twice, transactions are whole, memory and open files stay bounded.
//!
//! `ASSAY_SOAK_SECONDS` says how long (`cargo xtask soak 30` is half an hour); then a table is printed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, clients_dir};

/// From one kill to the next.
const LIFE: Duration = Duration::from_secs(20);
/// A run without the variable: one kill is in it.
const SECONDS_SHORT: u64 = 24;
const RSS_MIB_MAX: u64 = 512;
const OPEN_FILES_MAX: usize = 400;
/// Runs shorter than this say nothing about a trend.
const TREND_SECONDS_MIN: u64 = 300;

/// What the process was like just before it was killed, or at the end.
#[derive(Debug, Clone, Copy)]
struct Life {
    ready_ms: u128,
    rss_mib: u64,
    open_files: usize,
}

#[test]
fn nothing_acknowledged_is_lost_while_the_broker_is_killed() {
    let seconds = std::env::var("ASSAY_SOAK_SECONDS").map_or(SECONDS_SHORT, |text| {
        text.parse().expect("ASSAY_SOAK_SECONDS is a number")
    });
    let mut server = Server::start();
    for (topic, partitions) in [
        ("soak-raw", "6"),
        ("soak-validated", "3"),
        ("soak-transfers", "3"),
    ] {
        let create = ["topic", "create", topic, "--partitions", partitions];
        server.assay(&create, "").good();
    }
    let mut load = Command::new(clients_dir().join(".venv/bin/python"))
        .arg(clients_dir().join("python/soak.py"))
        .args([&server.kafka, &server.registry()])
        .args([&seconds.to_string(), &LIFE.as_secs().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the load starts");
    let mut lines = BufReader::new(load.stdout.take().expect("stdout is piped")).lines();
    let started = lines.next().expect("a line").expect("text");
    assert_eq!(started, "started");
    let lives = kill_again_and_again(&mut server, Duration::from_secs(seconds));
    let told = lines.next().expect("what came of it").expect("text");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert!(load.wait().expect("the load ends").success());
    print_table(&told, &lives);
    assert_eq!(told["problems"], json!([]));
    for what in ["acknowledged", "committed", "refused", "consumed"] {
        assert!(told[what].as_u64().expect("a count") > 0, "{what}: {told}");
    }
    for life in &lives {
        assert!(life.rss_mib <= RSS_MIB_MAX, "{life:?}");
        assert!(life.open_files <= OPEN_FILES_MAX, "{life:?}");
    }
    if seconds >= TREND_SECONDS_MIN {
        let p99 = |window: &Value| window[2].as_f64().expect("ms");
        let windows = told["windows"].as_array().expect("windows");
        let (early, late) = thirds(&windows.iter().map(p99).collect::<Vec<_>>());
        assert!(
            late <= early * 2.0 + 100.0,
            "p99 rose from {early} to {late} ms"
        );
    }
}

/// Kills every [`LIFE`]; the last life is left to the verification.
fn kill_again_and_again(server: &mut Server, long: Duration) -> Vec<Life> {
    let started = Instant::now();
    let mut lives = Vec::new();
    let mut ready_ms = 0;
    loop {
        let next = LIFE * u32::try_from(lives.len() + 1).expect("a few");
        let end = next.min(long);
        thread::sleep(end.saturating_sub(started.elapsed()));
        lives.push(look(server, ready_ms));
        if end == long {
            return lives;
        }
        server.kill();
        let killed = Instant::now();
        server.spawn();
        ready_ms = killed.elapsed().as_millis();
    }
}

fn look(server: &Server, ready_ms: u128) -> Life {
    let process = format!("/proc/{}", server.pid());
    let status = fs::read_to_string(format!("{process}/status")).expect("the process runs");
    let rss = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()
    });
    Life {
        ready_ms,
        rss_mib: rss.expect("VmRSS") / 1024,
        open_files: fs::read_dir(format!("{process}/fd"))
            .expect("its files")
            .count(),
    }
}

/// The medians of the first and the last third.
fn thirds(values: &[f64]) -> (f64, f64) {
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    };
    let third = values.len().div_ceil(3);
    (
        median(&values[..third]),
        median(&values[values.len() - third..]),
    )
}

fn print_table(told: &Value, lives: &[Life]) {
    println!("| life | ready again, ms | acknowledged | p50 ms | p99 ms | RSS MiB | open files |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    let windows = told["windows"].as_array().expect("windows");
    for (at, (life, window)) in lives.iter().zip(windows).enumerate() {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            at + 1,
            life.ready_ms,
            window[0],
            window[1],
            window[2],
            life.rss_mib,
            life.open_files
        );
    }
    println!(
        "\n{} records acknowledged, {} stored; {} transactions committed, {} aborted, {} whose end \
         nobody heard; {} records refused; {} consumed by the group; {} kills",
        told["acknowledged"],
        told["stored"],
        told["committed"],
        told["aborted"],
        told["unknown"],
        told["refused"],
        told["consumed"],
        lives.len() - 1
    );
    let problems = told["problems"].as_array().expect("problems");
    match problems.as_slice() {
        [] => println!("verdict: nothing is missing, nothing is there twice"),
        some => println!("verdict: {} problems: {some:?}", some.len()),
    }
}
