//! The project's commands: `cargo xtask COMMAND`. `just` is not on a fresh machine; cargo is.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool"
)]

mod agreement;
#[path = "../../registry/tests/support/postgres.rs"]
mod postgres;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask COMMAND

  test      everything: setup, unit, end-to-end and client tests, the demo
  setup     install what the client tests need (system packages, Python, npm, Maven, Go), pinned
  lint      rustfmt and clippy, warnings are errors
  bench     build for release, start a server, run `assay bench produce` and `consume`
  bench-kafka
            Apache Kafka and Assay side by side, `benches/kafka`
  bench-registry [FLAGS]
            build for release, start PostgreSQL, run `assay bench registry`
  demo      build for release and run demo/run
  interop N run the client suites N times in a row (default 10)
  crash-registry N
            kill -9 during 1,000 registrations, N times on each store (default 50)
  suites    franz-go's and librdkafka's own tests against a server, `tests/suites`
  soak M    mixed load for M minutes (default 30) while the server is killed every 20 s: nothing
            acknowledged is missing or there twice; prints a table
  fuzz S    run every fuzz target for S seconds (default 60); needs cargo-fuzz
  schemathesis N
            N random and mutated HTTP requests from the OpenAPI document (default 10,000)
  agreement FORMAT PAIRS SEED
            random schema pairs of avro, json or protobuf, judged by us, contradicted by
            independent implementations
  conformance
            run the recorded cases and print the pass counts of every suite
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let argument = rest.first();
    let result = match command.as_str() {
        "test" => test(),
        "setup" => setup(),
        "lint" => lint(),
        "bench" => bench(),
        "bench-kafka" => script("benches/kafka"),
        "suites" => script("tests/suites/run"),
        "bench-registry" => bench_registry(&rest),
        "demo" => demo(),
        "interop" => interop(argument.map(String::as_str)),
        "crash-registry" => crash_registry(argument.map(String::as_str)),
        "soak" => soak(argument.map(String::as_str)),
        "schemathesis" => schemathesis(argument.map(String::as_str)),
        "fuzz" => fuzz(argument.map(String::as_str)),
        "agreement" => agreement::agreement(&rest),
        "conformance" => cargo(&["test", "--workspace", "conformance", "--", "--nocapture"]),
        _ => {
            print!("{HELP}");
            return if command.is_empty() || command == "help" {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(2)
            };
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), String>;

fn test() -> Done {
    setup()?;
    cargo(&["test", "--workspace", "--locked"])
}

fn setup() -> Done {
    run(&mut Command::new(root().join("tests/clients/setup")))
}

fn lint() -> Done {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
}

fn bench() -> Done {
    release()?;
    run(&mut Command::new(root().join("benches/run")))
}

/// A script that runs the release build beside what the client tests have installed.
fn script(path: &str) -> Done {
    setup()?;
    release()?;
    run(&mut Command::new(root().join(path)))
}

/// Commits wait for the disk, as on a server that people rely on.
fn bench_registry(flags: &[String]) -> Done {
    setup()?;
    release()?;
    let postgres = postgres::Postgres::start_with("on");
    let mut command = Command::new(root().join("target/release/assay"));
    command.args(["bench", "registry"]).args(flags);
    if let Some(postgres) = &postgres {
        command.args(["--postgres", &postgres.database()]);
    }
    println!("machine: {}", machine());
    run(&mut command)
}

/// What figures depend on first.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    format!("{cores} cores, {model}")
}

fn demo() -> Done {
    setup()?;
    release()?;
    run(Command::new(root().join("demo/run")).env("ASSAY", root().join("target/release/assay")))
}

fn interop(times: Option<&str>) -> Done {
    let times: u32 = times
        .unwrap_or("10")
        .parse()
        .map_err(|_| "N is not a number".to_owned())?;
    setup()?;
    for round in 1..=times {
        println!("interop: round {round} of {times}");
        cargo(&[
            "test",
            "--locked",
            "--test",
            "it",
            "--",
            "clients::",
            "stacks::",
            "groups::",
        ])?;
    }
    println!("interop: {times} rounds passed");
    Ok(())
}

fn crash_registry(rounds: Option<&str>) -> Done {
    setup()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["test", "--locked", "--test", "it", "crash::"])
        .args(["--", "--nocapture"])
        .env("ASSAY_CRASH_ROUNDS", rounds.unwrap_or("50"))
        .current_dir(root()))
}

fn soak(minutes: Option<&str>) -> Done {
    let minutes: u64 = minutes
        .unwrap_or("30")
        .parse()
        .map_err(|_| "M is not a number".to_owned())?;
    setup()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["test", "--release", "--locked", "--test", "it", "soak::"])
        .args(["--", "--nocapture"])
        .env("ASSAY_SOAK_SECONDS", (minutes * 60).to_string())
        .current_dir(root()))
}

fn schemathesis(requests: Option<&str>) -> Done {
    setup()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["test", "--locked", "--test", "it", "schemathesis::"])
        .args(["--", "--nocapture"])
        .env("ASSAY_SCHEMATHESIS_REQUESTS", requests.unwrap_or("10000"))
        .current_dir(root()))
}

fn fuzz(seconds: Option<&str>) -> Done {
    let seconds = seconds.unwrap_or("60");
    let folder = root().join("fuzz");
    let listed = Command::new("cargo")
        .args(["fuzz", "list"])
        .current_dir(&folder)
        .output()
        .map_err(|error| error.to_string())?;
    if !listed.status.success() {
        return Err("cargo-fuzz is not installed: cargo install cargo-fuzz --locked".to_owned());
    }
    for target in String::from_utf8_lossy(&listed.stdout).lines() {
        // No sanitizer: they need a nightly compiler, and the code under test has no unsafe.
        let limit = format!("-max_total_time={seconds}");
        run(Command::new("cargo")
            .args([
                "fuzz",
                "run",
                "--sanitizer",
                "none",
                target,
                "--",
                &limit,
                "-max_len=65536",
            ])
            .current_dir(&folder))?;
    }
    Ok(())
}

fn release() -> Done {
    cargo(&["build", "--release", "--locked"])
}

fn cargo(arguments: &[&str]) -> Done {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(arguments).current_dir(root()))
}

fn run(command: &mut Command) -> Done {
    let status = command
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_owned)
}
