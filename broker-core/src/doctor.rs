//! Examines a data directory that no broker has open, and repairs it when told.
//!
//! Everything but the registry's database. What it finds names the file, what is wrong, what that
//! means and what helps; [`crate::log::examine`] looks through each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::broker::{self, OpenError};
use crate::log::examine::{Examined, examine, repair};
use crate::log::{encode_id, parse_partition_directory, partition_directory};
use crate::storage::Storage;
use crate::storage::disk::Disk;
use crate::topics::{DELETED_SUFFIX, MetadataStore, TopicEntry};

pub use crate::log::examine::{Finding, Repair};

/// What a data directory is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Format number of the directory.
    pub format: u32,
    /// Whether a process has it open: what is being written may then look torn.
    pub in_use: bool,
    /// Whether the last process that had it stopped in order.
    pub stopped_in_order: bool,
    /// Topics of the metadata log.
    pub topics: usize,
    /// Partitions examined.
    pub partitions: usize,
    /// Good batches in them.
    pub batches: u64,
    /// Bytes of their logs.
    pub bytes: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Examines a data directory, reading every byte of every log, and changes nothing.
///
/// # Errors
/// A text, when this is no data directory, or one that cannot be listed.
pub fn diagnose(data_dir: &Path) -> Result<Diagnosis, OpenError> {
    let storage = Disk;
    let fail = |error: std::io::Error| OpenError(format!("{}: {error}", data_dir.display()));
    let Some(format) = broker::read_format(&storage, data_dir).map_err(OpenError)? else {
        return Err(OpenError(format!(
            "{} is no data directory: it has no file `format`",
            data_dir.display()
        )));
    };
    let mut diagnosis = Diagnosis {
        format,
        in_use: broker::is_locked(data_dir).map_err(fail)?,
        stopped_in_order: broker::stopped_in_order(&storage, data_dir).map_err(fail)?,
        ..Diagnosis::default()
    };
    if let Err(what) = broker::read_cluster_id(&storage, data_dir) {
        let path = data_dir.join("meta.properties");
        diagnosis.find(&path, what, CLUSTER_ID, None);
    }
    let meta = data_dir.join("meta");
    let topics_dir = data_dir.join("topics");
    let mut entries: Vec<TopicEntry> = Vec::new();
    match MetadataStore::look(&storage, &meta) {
        Ok(Some((catalog, torn_bytes))) => {
            if torn_bytes > 0 {
                let what = format!("{torn_bytes} bytes of a change follow the last whole one");
                diagnosis.find(&meta, what, TORN_CHANGE, None);
            }
            entries.extend(catalog.topics.into_values());
        }
        Ok(None) => diagnosis.find(&meta, "there is no metadata log".to_owned(), NO_META, None),
        Err(what) => diagnosis.find(&meta, what, BAD_META, None),
    }
    diagnosis.topics = entries.len();
    let knows_topics = diagnosis
        .findings
        .iter()
        .all(|finding| finding.path != meta)
        || !entries.is_empty();
    let listed = match storage.list(&topics_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    };
    let mut names: BTreeSet<String> = listed.map_err(fail)?.into_iter().collect();
    for entry in &entries {
        for index in 0..entry.partitions {
            let directory = partition_directory(&topics_dir, &entry.name, index);
            let name = format!("{}-{index}", entry.name);
            if !names.remove(&name) {
                let what = "is missing".to_owned();
                diagnosis.find(&directory, what, MISSING_PARTITION, None);
                continue;
            }
            let examined = diagnosis.partition(&storage, &directory)?;
            if let Some(id) = examined.topic_id.filter(|id| *id != entry.id) {
                let what = format!(
                    "belongs to topic id {}, and {} has {}",
                    encode_id(id),
                    entry.name,
                    encode_id(entry.id)
                );
                diagnosis.find(&directory, what, OTHER_INCARNATION, None);
            }
        }
    }
    for name in names {
        let path = topics_dir.join(&name);
        if name.ends_with(DELETED_SUFFIX) {
            continue;
        }
        if parse_partition_directory(&name).is_none() {
            diagnosis.find(&path, "is no partition".to_owned(), NO_PARTITION, None);
        } else if knows_topics {
            let what = "belongs to no topic of the metadata log".to_owned();
            diagnosis.find(&path, what, UNKNOWN_TOPIC, None);
        } else {
            diagnosis.partition(&storage, &path)?;
        }
    }
    Ok(diagnosis)
}

/// Carries out the repairs that the findings of [`diagnose`] offer, in a directory that no process has
/// open; what they take away is first copied below `keep`. Answers how many were made.
///
/// # Errors
/// When the directory is in use, or a repair fails.
pub fn repair_all(data_dir: &Path, findings: &[Finding], keep: &Path) -> Result<usize, OpenError> {
    let _lock = broker::lock_directory(data_dir).map_err(OpenError)?;
    let mut repaired = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.repair.is_some()) {
        // Two findings may ask for one repair.
        let key = (finding.path.parent(), format!("{:?}", finding.repair));
        let key = match &finding.repair {
            Some(Repair::Rebuild { .. }) => key,
            _ => (Some(finding.path.as_path()), key.1),
        };
        if repaired.insert(key, ()).is_some() {
            continue;
        }
        repair(&Disk, finding, keep)
            .map_err(|error| OpenError(format!("{}: {error}", finding.path.display())))?;
    }
    Ok(repaired.len())
}

impl Diagnosis {
    fn find(&mut self, path: &Path, what: String, then: &'static str, repair: Option<Repair>) {
        self.findings.push(Finding {
            path: path.to_owned(),
            what,
            then,
            repair,
        });
    }

    fn partition(
        &mut self,
        storage: &dyn Storage,
        directory: &Path,
    ) -> Result<Examined, OpenError> {
        let mut examined = examine(storage, directory)
            .map_err(|error| OpenError(format!("{}: {error}", directory.display())))?;
        self.partitions += 1;
        self.batches += examined.batches;
        self.bytes += examined.bytes;
        self.findings.append(&mut examined.findings);
        Ok(examined)
    }
}

const CLUSTER_ID: &str = "the start is refused until meta.properties has a cluster.id again";
const TORN_CHANGE: &str = "a change that was never answered; the next start cuts it";
const NO_META: &str =
    "a start with partitions and without it is refused: restore meta/ from a backup";
const BAD_META: &str = "the start is refused: restore meta/ from a backup";
const MISSING_PARTITION: &str =
    "the next start makes it anew, empty: restore it from a backup first";
const OTHER_INCARNATION: &str = "the next start removes it: the topic of its id was deleted; move it \
                                 away to keep it";
const NO_PARTITION: &str = "no start touches it; move it away";
const UNKNOWN_TOPIC: &str = "the next start removes it; move it away to keep it";
