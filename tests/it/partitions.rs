//! Many partitions: a small run of what `docs/performance.md` measures with ten thousand.

use std::process::Command;

use crate::harness::run;

#[test]
fn many_partitions_stop_start_and_survive_kill_9() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let folder = folder.path().to_str().expect("a UTF-8 path");
    // More than are synced together, in more files than may be open.
    let arguments = ["bench", "partitions", "--count", "200", "--folder", folder];
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_assay"))
        .args(arguments);
    let printed = run(&mut command, "").good();
    for row in [
        "create the partitions",
        "ready after kill -9",
        "  200 of 200 partitions have both acknowledged records after kill -9",
    ] {
        assert!(
            printed.lines().any(|line| line.starts_with(row)),
            "no row {row:?}:\n{printed}"
        );
    }
    let left = std::fs::read_dir(folder)
        .expect("the folder is there")
        .count();
    assert_eq!(left, 0, "the data is gone afterwards");
}
