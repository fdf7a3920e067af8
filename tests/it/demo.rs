//! The demo that README shows is executed here, and must tell what README tells.

use std::process::Command;

use crate::harness::{clients_dir, run};

#[test]
fn demo_prints_what_readme_shows() {
    let root = env!("CARGO_MANIFEST_DIR");
    clients_dir();
    let printed = run(
        Command::new(format!("{root}/demo/run")).env("ASSAY", env!("CARGO_BIN_EXE_assay")),
        "",
    )
    .good();
    let readme = std::fs::read_to_string(format!("{root}/README.md")).expect("README.md");
    let (_, shown) = readme
        .split_once("```console demo\n")
        .expect("README shows the demo");
    let (shown, _) = shown.split_once("```").expect("the block ends");
    // Only the time of the records differs from run to run.
    let without_time = |text: &str| -> Vec<String> {
        text.lines()
            .map(
                |line| match (line.find("\"timestamp\":"), line.find("\"key\"")) {
                    (Some(from), Some(to)) => format!("{}{}", &line[..from], &line[to..]),
                    _ => line.to_owned(),
                },
            )
            .filter(|line| !line.is_empty())
            .collect()
    };
    assert_eq!(
        without_time(&printed),
        without_time(shown),
        "demo/run printed:\n{printed}"
    );
}
