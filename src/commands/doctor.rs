//! `assay doctor`: what a data directory is like, and its repair when told.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use broker_core::clock::Clock;
use broker_core::doctor::{Diagnosis, Finding, diagnose, repair_all};
use clap::Args;

use crate::cli::{CommandResult, Outcome};

/// What to examine.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Data directory
    #[arg(
        long,
        env = "ASSAY_DATA",
        default_value = "./assay-data",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// Repair what can be: cut torn ends, make indexes again, move away what nobody reads; a copy of
    /// all that is taken away is kept in DIR/doctor/
    #[arg(long)]
    repair: bool,
}

/// Examines, and repairs when told; exit code 3 when something is not as it should be afterwards.
///
/// # Errors
/// When the directory is none of ours, or in use and to be repaired.
pub async fn run(arguments: Arguments) -> CommandResult {
    let data = &arguments.data;
    let mut out = std::io::stdout();
    let database = data.join("registry.db");
    // A process that is a registry alone has no log.
    let has_log = data.join("format").exists() || !database.exists();
    let mut findings = 0;
    if has_log {
        let mut diagnosis = look(data).await?;
        write!(out, "{}", described(&diagnosis, data))?;
        if arguments.repair
            && diagnosis
                .findings
                .iter()
                .any(|found| found.repair.is_some())
        {
            let keep = data.join("doctor").join(Clock::System.now_ms().to_string());
            let (at, found) = (data.clone(), diagnosis.findings);
            let kept = keep.clone();
            let repairing = move || repair_all(&at, &found, &kept);
            let repaired = tokio::task::spawn_blocking(repairing).await??;
            writeln!(
                out,
                "{repaired} repairs made; what they took away is in {}",
                keep.display()
            )?;
            diagnosis = look(data).await?;
            write!(out, "{}", described(&diagnosis, data))?;
        }
        findings += diagnosis.findings.len();
    }
    if database.exists() {
        let complaints = match registry::check_sqlite(&database).await {
            Ok(complaints) => complaints,
            Err(error) => vec![error.to_string()],
        };
        for complaint in &complaints {
            writeln!(out, "registry.db: {complaint}")?;
        }
        if complaints.is_empty() {
            writeln!(out, "registry.db is sound")?;
        } else {
            writeln!(out, "  restore registry.db from a backup")?;
        }
        findings += complaints.len();
    }
    Ok(if findings == 0 {
        Outcome::Good
    } else {
        Outcome::CheckSaidNo
    })
}

async fn look(data: &Path) -> Result<Diagnosis, Box<dyn std::error::Error + Send + Sync>> {
    let data = data.to_owned();
    Ok(tokio::task::spawn_blocking(move || diagnose(&data)).await??)
}

/// A line on the whole, and two on each finding.
fn described(diagnosis: &Diagnosis, data: &Path) -> String {
    let state = match (diagnosis.in_use, diagnosis.stopped_in_order) {
        (true, _) => "in use: what is being written now may look torn",
        (false, true) => "not in use, stopped in order",
        (false, false) => {
            "not in use, not stopped in order: the next start checks what was not synced"
        }
    };
    let mut text = format!(
        "{}: format {}, {state}\n{} batches, {} bytes in {} partitions of {} topics; {} findings\n",
        data.display(),
        diagnosis.format,
        diagnosis.batches,
        diagnosis.bytes,
        diagnosis.partitions,
        diagnosis.topics,
        diagnosis.findings.len()
    );
    for Finding {
        path, what, then, ..
    } in &diagnosis.findings
    {
        let path = path.strip_prefix(data).unwrap_or(path);
        // A String takes everything.
        let _written = writeln!(text, "{}: {what}\n  {then}", path.display());
    }
    text
}
