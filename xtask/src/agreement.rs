//! `cargo xtask agreement FORMAT PAIRS SEED`: random schema pairs, judged by us, contradicted by
//! independent implementations.
//!
//! The example `agreement` of serde-formats prints one JSON line a pair; each peer of the format
//! reads the lines on its standard input, prints what it checked and ends with a failure when it
//! found a counter-example. How many pairs a second each of them managed is printed. To plug a peer
//! in, add a line to [`PEERS`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Done, root, run};

/// How an independent implementation is started.
enum Program {
    /// A script of `tests/agreement` in the Python environment of the client tests.
    Python(&'static str),
    /// A main class of `tests/clients/java`.
    Java(&'static str),
    /// A script of `tests/agreement`, with the packages of `tests/clients/node`.
    Node(&'static str),
}

/// Who contradicts us, by format.
const PEERS: &[(&str, Program)] = &[
    ("avro", Program::Java("AvroPeer")),
    ("avro", Program::Python("avro_peer.py")),
    ("json", Program::Python("json_peer.py")),
    ("json", Program::Node("json_peer.js")),
    ("protobuf", Program::Python("protobuf_peer.py")),
];

/// From so many pairs on a release build pays for itself.
const RELEASE_PAIRS: u64 = 20_000;

/// Generates `pairs` pairs from `seed` and shows them to every peer of the format.
pub(super) fn agreement(arguments: &[String]) -> Done {
    let usage = "usage: cargo xtask agreement FORMAT PAIRS SEED";
    let [format, pairs, seed] = arguments else {
        return Err(usage.to_owned());
    };
    let count: u64 = pairs.parse().map_err(|_| usage.to_owned())?;
    let scripts = root().join("tests/agreement");
    let peers: Vec<&Program> = PEERS
        .iter()
        .filter(|(name, program)| name == format && program.is_here(&scripts))
        .map(|(_, program)| program)
        .collect();
    if peers.is_empty() {
        return Err(format!("no peer for {format} in tests/agreement"));
    }
    let generator = build(count >= RELEASE_PAIRS)?;
    let folder = root().join("target/agreement");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    // Stays there to be looked at.
    let lines = folder.join(format!("{format}-{seed}.jsonl"));
    timed("our side", count, || {
        let output =
            File::create(&lines).map_err(|error| format!("{}: {error}", lines.display()))?;
        let mut command = Command::new(&generator);
        command.args([format, pairs, seed]);
        run(command.stdout(Stdio::from(output)))
    })?;
    let mut failed = Vec::new();
    for peer in peers {
        let input = File::open(&lines).map_err(|error| format!("{}: {error}", lines.display()))?;
        let mut command = peer.command(&scripts)?;
        if timed(peer.name(), count, || run(command.stdin(input))).is_err() {
            failed.push(peer.name());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{} found counter-examples in {}",
            failed.join(", "),
            lines.display()
        ))
    }
}

/// Does it, and says how fast.
fn timed(who: &str, pairs: u64, work: impl FnOnce() -> Done) -> Done {
    let started = Instant::now();
    let done = work();
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = pairs as f64 / seconds.max(0.001);
    println!("{who}: {pairs} pairs in {seconds:.0} s, {rate:.0} a second");
    done
}

/// Builds what generates the lines.
fn build(is_release: bool) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--example", "agreement"]);
    // Of the whole workspace, so that what its tests were built with serves here too: for a package
    // alone the dependencies have other features, and all of them are compiled once more. For
    // release that is little beside the server.
    build.args(match is_release {
        true => &["--release", "--package", "serde-formats"][..],
        false => &["--workspace"],
    });
    run(build.current_dir(root()))?;
    let profile = if is_release { "release" } else { "debug" };
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(profile).join("examples/agreement"))
}

impl Program {
    fn is_here(&self, scripts: &Path) -> bool {
        match self {
            Self::Python(script) | Self::Node(script) => scripts.join(script).exists(),
            Self::Java(_) => true,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Python(name) | Self::Node(name) | Self::Java(name) => name,
        }
    }

    fn command(&self, scripts: &Path) -> Result<Command, String> {
        let clients = root().join("tests/clients");
        Ok(match self {
            Self::Python(script) => {
                let mut command = Command::new(clients.join(".venv/bin/python"));
                command.arg(scripts.join(script));
                command
            }
            Self::Node(script) => {
                let mut command = Command::new("node");
                command
                    .arg(scripts.join(script))
                    .env("NODE_PATH", clients.join("node/node_modules"));
                command
            }
            Self::Java(class) => {
                let classes = clients.join("java/target/classes");
                let classpath = std::fs::read_to_string(clients.join("java/target/classpath"))
                    .map_err(|_| {
                        "the Java class path is missing: run `cargo xtask setup` first".to_owned()
                    })?;
                let mut command = Command::new("java");
                command
                    .args(["-Xmx512m", "-cp"])
                    .arg(format!("{}:{}", classes.display(), classpath.trim()))
                    .arg(class);
                command
            }
        })
    }
}
