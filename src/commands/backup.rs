//! `assay backup` and `assay restore`: files of a data directory and the registry's database, beside a
//! server or without one.

use std::io::Write;
use std::path::PathBuf;

use broker_core::clock::Clock;
use clap::Args;
use registry::StoreLocation;

use crate::backup::copy::Origin;
use crate::backup::manifest::REGISTRY;
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
    /// PostgreSQL database of the registry, where it is not in the data directory
    #[arg(
        long,
        env = "ASSAY_REGISTRY_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    registry_url: Option<String>,
    /// Copy the database alone: of a registry that is served without a log
    #[arg(long, env = "ASSAY_REGISTRY_ONLY")]
    registry_only: bool,
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
    /// Empty PostgreSQL database for the registry, instead of the data directory
    #[arg(
        long,
        env = "ASSAY_REGISTRY_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    registry_url: Option<String>,
    /// Walk every log and parse every schema of what was put back; exit code 3 on a fault
    #[arg(long)]
    verify: bool,
}

/// Copies the data directory, and the registry's database.
///
/// # Errors
/// When a file or the database cannot be copied.
pub async fn backup(arguments: Backup) -> CommandResult {
    let now_ms = Clock::System.now_ms();
    let database = named(arguments.registry_url.as_deref());
    if arguments.registry_only && database.is_none() {
        return Err("--registry-only needs the database: say --registry-url".into());
    }
    let origin = Origin {
        data: (!arguments.registry_only).then_some(&*arguments.data),
        database,
    };
    let manifest = copy::back_up(origin, &arguments.to, now_ms).await?;
    let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "backed up {} files, {bytes} bytes, to {}",
        manifest.files.len(),
        arguments.to.display()
    )?;
    if !manifest.files.contains_key(REGISTRY) {
        writeln!(
            out,
            "there is no registry.db: name the registry's own database with --registry-url"
        )?;
    }
    Ok(Outcome::Good)
}

/// The URL; an empty one, as the environment may hold, is none.
fn named(url: Option<&str>) -> Option<&str> {
    url.filter(|url| !url.is_empty())
}

/// Puts a backup back.
///
/// # Errors
/// When the backup is not whole, or the data directory is in use.
pub async fn restore(arguments: Restore) -> CommandResult {
    let database = named(arguments.registry_url.as_deref());
    let manifest = copy::put_back(&arguments.from, &arguments.data, database).await?;
    let mut out = std::io::stdout();
    let log_files = manifest.files.keys().filter(|name| *name != REGISTRY);
    match database {
        None => writeln!(
            out,
            "restored {} files to {}",
            manifest.files.len(),
            arguments.data.display()
        )?,
        Some(url) => writeln!(
            out,
            "restored {} files to {}, the registry to {}",
            log_files.count(),
            arguments.data.display(),
            StoreLocation::Postgres(url.to_owned())
        )?,
    }
    if manifest.registry_of.is_some() && database.is_none() {
        writeln!(
            out,
            "the registry came from PostgreSQL and is in the data directory now: serve it without \
             --registry-url, or restore to an empty database with --registry-url"
        )?;
    }
    if !arguments.verify {
        return Ok(Outcome::Good);
    }
    let mut config = ServeOptions::default().resolve(ServeOptions::default())?;
    config.data.clone_from(&arguments.data);
    config.registry_url = database.unwrap_or_default().to_owned();
    let has_registry = manifest.files.contains_key(REGISTRY);
    let registry = has_registry.then(|| config.registry());
    let checked = check::check(&arguments.data, registry).await?;
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
