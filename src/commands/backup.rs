//! `assay backup` and `assay restore`: files of a data directory, beside a server or without one.

use std::io::Write;
use std::path::PathBuf;

use broker_core::clock::Clock;
use clap::Args;

use crate::backup::{check, copy};
use crate::cli::{CommandResult, Outcome};
use crate::config::ServeOptions;

/// What to copy where.
#[derive(Debug, Args)]
pub struct Backup {
    /// Data directory; a server may be using it
    #[arg(
        long,
        env = "ASSAY_DATA",
        default_value = "./assay-data",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// New folder for the copy
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// What to put back where.
#[derive(Debug, Args)]
pub struct Restore {
    /// Folder that `assay backup` wrote
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// New data directory
    #[arg(
        long,
        env = "ASSAY_DATA",
        default_value = "./assay-data",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// Walk every log and parse every schema of what was put back; exit code 3 on a fault
    #[arg(long)]
    verify: bool,
}

/// Copies the data directory.
///
/// # Errors
/// When a file cannot be copied.
pub async fn backup(arguments: Backup) -> CommandResult {
    let now_ms = Clock::System.now_ms();
    let manifest = copy::back_up(&arguments.data, &arguments.to, now_ms).await?;
    let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "backed up {} files, {bytes} bytes, to {}",
        manifest.files.len(),
        arguments.to.display()
    )?;
    if !manifest.files.contains_key("registry.db") {
        writeln!(
            out,
            "there is no registry.db: back up the registry's own database as well"
        )?;
    }
    Ok(Outcome::Good)
}

/// Puts a backup back.
///
/// # Errors
/// When the backup is not whole, or the data directory is in use.
pub async fn restore(arguments: Restore) -> CommandResult {
    let manifest = copy::put_back(&arguments.from, &arguments.data)?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "restored {} files to {}",
        manifest.files.len(),
        arguments.data.display()
    )?;
    if !arguments.verify {
        return Ok(Outcome::Good);
    }
    let mut config = ServeOptions::default().resolve(ServeOptions::default())?;
    config.data.clone_from(&arguments.data);
    let checked = check::check(&arguments.data, config.registry()).await?;
    for fault in &checked.faults {
        writeln!(out, "fault: {fault}")?;
    }
    writeln!(
        out,
        "verified {} batches of {} partitions, {} schema versions; {} bytes of unfinished batches \
         will be cut",
        checked.batches, checked.partitions, checked.versions, checked.cut_bytes
    )?;
    Ok(if checked.faults.is_empty() {
        Outcome::Good
    } else {
        Outcome::CheckSaidNo
    })
}
