//! `assay export`: the registry as a tree of plain files.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::{CommandResult, Outcome, Servers};
use crate::commands::http::RegistryClient;
use crate::transfer;

/// What to export.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write every schema, setting and mode as files that diff well and import back
    Schemas {
        /// Folder; new, empty, or of an earlier export, which is brought up to date
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// When the registry cannot be reached or a file cannot be written.
pub async fn run(servers: &Servers, command: Command) -> CommandResult {
    let Command::Schemas { to } = command;
    let registry = RegistryClient::new(&servers.registry)?;
    let facts = transfer::export(&registry).await?;
    let files = transfer::tree::write(&facts, &to)?;
    writeln!(
        std::io::stdout(),
        "exported {} versions, {files} schemas to {}",
        facts.versions_count(),
        to.display()
    )?;
    Ok(Outcome::Good)
}
