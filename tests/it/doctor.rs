//! `assay doctor` on directories of the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{Ran, Server, run};

fn doctor(data: &Path, more: &[&str]) -> Ran {
    run(
        Command::new(env!("CARGO_BIN_EXE_assay"))
            .arg("doctor")
            .arg("--data")
            .arg(data)
            .args(more),
        "",
    )
}

/// A server with a schema and some records, which was stopped in order.
fn filled() -> (Server, PathBuf) {
    let mut server = Server::start();
    let schema = json!({ "schema": "\"string\"" });
    server.post_json("/subjects/orders-value/versions", &schema);
    server
        .assay(&["topic", "create", "raw", "--partitions", "3"], "")
        .good();
    for line in ["one", "two", "three"] {
        server.assay(&["produce", "raw"], line).good();
    }
    server.terminate();
    let data = server.data.path().join("data");
    (server, data)
}

fn last_log(data: &Path) -> PathBuf {
    let logs = ["raw-0", "raw-1", "raw-2"].map(|name| {
        data.join("topics")
            .join(name)
            .join(format!("{:020}.log", 0))
    });
    let written = logs
        .into_iter()
        .find(|log| fs::metadata(log).is_ok_and(|found| found.len() > 0));
    written.expect("a log with records")
}

#[test]
fn a_sound_directory_is_sound() {
    let (mut server, data) = filled();
    let ran = doctor(&data, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("stopped in order"), "{}", ran.stdout);
    assert!(ran.stdout.contains("0 findings"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("registry.db is sound"),
        "{}",
        ran.stdout
    );
    // After a kill too: nothing is wrong that a start does not expect.
    server.spawn();
    server.assay(&["produce", "raw"], "four").good();
    let used = doctor(&data, &[]);
    assert!(used.stdout.contains("in use"), "{}", used.stdout);
    server.kill();
    let killed = doctor(&data, &[]);
    assert_eq!(killed.code, Some(0), "{}", killed.stdout);
    assert!(
        killed.stdout.contains("not stopped in order"),
        "{}",
        killed.stdout
    );
}

#[test]
fn a_torn_end_is_explained_and_cut_when_told() {
    let (mut server, data) = filled();
    let log = last_log(&data);
    let whole = fs::read(&log).expect("the log");
    let mut torn = whole.clone();
    torn.extend_from_slice(b"a write that was cut short");
    fs::write(&log, &torn).expect("written");
    let ran = doctor(&data, &[]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(ran.stdout.contains("26 bytes follow"), "{}", ran.stdout);
    assert_eq!(
        fs::read(&log).expect("the log"),
        torn,
        "nothing is changed untold"
    );
    let ran = doctor(&data, &["--repair"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 repairs made"), "{}", ran.stdout);
    assert_eq!(fs::read(&log).expect("the log"), whole);
    let kept = fs::read_dir(data.join("doctor"))
        .expect("what was cut")
        .count();
    assert_eq!(kept, 1);
    server.spawn();
    let read = server.assay(&["consume", "raw", "--exit"], "").good();
    assert_eq!(read.lines().count(), 3, "{read}");
}

#[test]
fn damage_is_named_and_left_alone() {
    let (_server, data) = filled();
    let log = last_log(&data);
    let mut bytes = fs::read(&log).expect("the log");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&log, &bytes).expect("written");
    fs::create_dir(data.join("topics/gone-0")).expect("a directory");
    let registry = fs::OpenOptions::new()
        .write(true)
        .open(data.join("registry.db"))
        .expect("the registry");
    std::os::unix::fs::FileExt::write_all_at(&registry, &[0xa5; 3000], 4096).expect("written");
    let ran = doctor(&data, &["--repair"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    for words in [
        "crc of the batch",
        "belongs to no topic of the metadata log",
        "registry.db: ",
        "restore",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    assert_eq!(fs::read(&log).expect("the log"), bytes);
}

#[test]
fn only_a_data_directory_that_nobody_uses_is_repaired() {
    let none = tempfile::tempdir().expect("a directory");
    let ran = doctor(none.path(), &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("no data directory"), "{}", ran.stderr);
    let server = Server::start();
    let data = server.data.path().join("data");
    fs::write(data.join("topics/stray-x"), b"").expect("written");
    let partition = data.join("topics/__consumer_offsets-0/stray.txt");
    fs::write(&partition, b"").expect("written");
    let ran = doctor(&data, &["--repair"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("in use"), "{}", ran.stderr);
    assert!(partition.exists());
}
