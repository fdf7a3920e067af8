//! The command line: what can be said, and the exit codes of what it came to.
//!
//! Exit codes: 0 good, 1 error, 2 usage, 3 a check said no.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    backup, bench, consume, doctor, export, import, produce, schema, serve, topic,
};
use crate::config::ServeOptions;

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked.
    Good,
    /// A check was made and its answer is no: exit code 3.
    CheckSaidNo,
}

/// What a command reports when it fails: exit code 1.
pub type CommandResult = Result<Outcome, Box<dyn std::error::Error + Send + Sync>>;

/// A Kafka-API log and a schema registry that store no record that breaks its schema.
#[derive(Debug, Parser)]
#[command(name = "assay", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker and the registry
    Serve(Box<ServeArguments>),
    /// List, create, describe, delete and configure topics
    Topic {
        #[command(flatten)]
        servers: Servers,
        #[command(subcommand)]
        command: topic::Command,
    },
    /// Register, get, list, check and delete schemas
    Schema {
        #[command(flatten)]
        servers: Servers,
        #[command(subcommand)]
        command: schema::Command,
    },
    /// Read JSON lines, encode them by a schema, produce them
    Produce {
        #[command(flatten)]
        servers: Servers,
        #[command(flatten)]
        arguments: produce::Arguments,
    },
    /// Consume records, decode them by their schema id, print JSON lines
    Consume {
        #[command(flatten)]
        servers: Servers,
        #[command(flatten)]
        arguments: consume::Arguments,
    },
    /// Take schemas over from another registry, its topic, or an export
    Import {
        #[command(flatten)]
        servers: Servers,
        #[command(subcommand)]
        command: import::Command,
    },
    /// Write the registry as plain files
    Export {
        #[command(flatten)]
        servers: Servers,
        #[command(subcommand)]
        command: export::Command,
    },
    /// Copy a data directory, also while a server uses it
    Backup(backup::Backup),
    /// Put a backup back as a data directory
    Restore(backup::Restore),
    /// Examine a data directory, explain what is wrong, repair what can be when told
    Doctor(doctor::Arguments),
    /// Measure a running server with pre-built batches, or registries of its own
    Bench {
        #[command(flatten)]
        servers: Servers,
        #[command(subcommand)]
        command: bench::Command,
    },
}

/// `assay serve` and its configuration file.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Read options from this TOML file; flags and environment win over it
    #[arg(long, env = "ASSAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the configuration in force as TOML and exit
    #[arg(long)]
    pub print_config: bool,
    /// The options.
    #[command(flatten)]
    pub options: ServeOptions,
}

/// Where the client commands find a server.
#[derive(Debug, Clone, Args)]
pub struct Servers {
    /// Kafka bootstrap address
    #[arg(
        long,
        global = true,
        env = "KAFKA_BOOTSTRAP_SERVERS",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT"
    )]
    pub bootstrap: String,
    /// Schema registry URL
    #[arg(
        long,
        global = true,
        env = "SCHEMA_REGISTRY_URL",
        default_value = "http://127.0.0.1:8081",
        value_name = "URL"
    )]
    pub registry: String,
}

/// Parses the arguments, runs the command and answers its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&error);
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(run(arguments.command));
    // Blocking threads that still wait on a dead disk must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::CheckSaidNo) => ExitCode::from(3),
        Err(error) => {
            report(error.as_ref());
            ExitCode::from(1)
        }
    }
}

async fn run(command: Command) -> CommandResult {
    match command {
        Command::Serve(arguments) => Box::pin(serve::run(*arguments)).await,
        Command::Topic { servers, command } => topic::run(&servers, command).await,
        Command::Schema { servers, command } => schema::run(&servers, command).await,
        Command::Produce { servers, arguments } => produce::run(&servers, arguments).await,
        Command::Consume { servers, arguments } => consume::run(&servers, arguments).await,
        Command::Import { servers, command } => import::run(&servers, command).await,
        Command::Export { servers, command } => export::run(&servers, command).await,
        Command::Backup(arguments) => backup::backup(arguments).await,
        Command::Restore(arguments) => backup::restore(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments).await,
        Command::Bench { servers, command } => bench::run(&servers, command).await,
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the command line's way to say what failed"
)]
fn report(error: &dyn std::error::Error) {
    eprintln!("assay: {error}");
}
