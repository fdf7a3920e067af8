//! Whether a data directory that nobody uses can be read: every batch of every log, every schema.

use std::path::Path;

use broker_core::records::{BatchView, crc_of};
use registry::{Registry, RegistryConfig};

use super::{BackupError, file_error};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Partitions walked.
    pub partitions: usize,
    /// Batches that are whole.
    pub batches: u64,
    /// Bytes after the last whole batch of a partition: the first start cuts them.
    pub cut_bytes: u64,
    /// Versions in the registry.
    pub versions: usize,
    /// What does not read, each a line.
    pub faults: Vec<String>,
}

/// Walks the logs and parses the schemas; there may be no `registry`.
///
/// # Errors
/// When a folder or the registry cannot be opened at all.
pub async fn check(data: &Path, registry: Option<RegistryConfig>) -> Result<Checked, BackupError> {
    let mut checked = Checked::default();
    let topics = data.join("topics");
    for folder in folders(&topics)? {
        checked.partitions += 1;
        check_partition(&topics.join(&folder), &folder, &mut checked)?;
    }
    if let Some(registry) = registry {
        check_registry(registry, &mut checked).await?;
    }
    Ok(checked)
}

fn folders(parent: &Path) -> Result<Vec<String>, BackupError> {
    if !parent.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(parent).map_err(|error| file_error(parent, error))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

fn check_partition(folder: &Path, name: &str, checked: &mut Checked) -> Result<(), BackupError> {
    let mut segments = folders(folder)?;
    segments.retain(|segment| segment.ends_with(".log"));
    let last = segments.last().cloned();
    let mut next_offset = None;
    for segment in segments {
        let path = folder.join(&segment);
        let bytes = std::fs::read(&path).map_err(|error| file_error(&path, error))?;
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let Ok((batch, after)) = BatchView::parse(rest) else {
                break;
            };
            let whole = rest.get(..rest.len() - after.len()).unwrap_or_default();
            let base = batch.header.base_offset.0;
            if crc_of(whole) != batch.header.crc || next_offset.is_some_and(|next| base < next) {
                break;
            }
            next_offset = Some(batch.header.last_offset().0 + 1);
            checked.batches += 1;
            rest = after;
        }
        if rest.is_empty() {
            continue;
        }
        if Some(&segment) == last.as_ref() {
            checked.cut_bytes += rest.len() as u64;
        } else {
            let at = bytes.len() - rest.len();
            checked
                .faults
                .push(format!("{name}/{segment} does not read at byte {at}"));
        }
    }
    Ok(())
}

async fn check_registry(config: RegistryConfig, checked: &mut Checked) -> Result<(), BackupError> {
    let registry = Registry::open(config).await;
    let registry = registry.map_err(|error| BackupError::Registry(error.to_string()))?;
    let snapshot = registry.snapshot();
    for subject in snapshot.subjects().iter() {
        let versions = snapshot.subject(subject).into_iter();
        for (version, image) in versions.flat_map(|image| image.versions()) {
            checked.versions += 1;
            if let Err(error) = image.schema.parsed() {
                let place = format!("{subject} version {}", version.0);
                checked
                    .faults
                    .push(format!("{place} does not parse: {error}"));
            }
        }
    }
    drop(snapshot);
    registry.close().await;
    Ok(())
}
