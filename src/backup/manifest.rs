//! `backup.json`: what was copied, so that a restore can tell that it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::{BackupError, file_error};

/// Its name in the backup's folder.
pub const MANIFEST: &str = "backup.json";

/// Name of the registry's file, in a data directory and in a backup.
pub const REGISTRY: &str = "registry.db";

const FORMAT: u32 = 1;

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Raised when an older release could not read it.
    pub format: u32,
    /// When the backup was complete, in ms since the Unix epoch.
    pub completed_ms: i64,
    /// Where the registry was, when not in the data directory: `postgresql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_of: Option<String>,
    /// Files by path relative to the folder.
    pub files: BTreeMap<String, Copied>,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Its length.
    pub bytes: u64,
    /// Of its content.
    pub crc32c: u32,
}

impl Manifest {
    /// Of these files.
    #[must_use]
    pub fn new(completed_ms: i64, files: BTreeMap<String, Copied>) -> Self {
        Self {
            format: FORMAT,
            completed_ms,
            registry_of: None,
            files,
        }
    }

    /// Whether it holds anything but a registry.
    #[must_use]
    pub fn has_log(&self) -> bool {
        self.files.keys().any(|name| name != REGISTRY)
    }

    /// Reads that of a folder.
    ///
    /// # Errors
    /// When there is none, or it is of another format or names files elsewhere.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|error| file_error(&path, error))?;
        let manifest: Self =
            serde_json::from_str(&text).map_err(|error| file_error(&path, error))?;
        if manifest.format != FORMAT {
            return Err(file_error(&path, format!("its format is not {FORMAT}")));
        }
        for name in manifest.files.keys() {
            let mut components = Path::new(name).components();
            if !components.all(|component| matches!(component, Component::Normal(_))) {
                return Err(file_error(&path, format!("it names {name:?}")));
            }
        }
        Ok(manifest)
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(self).map_err(|error| file_error(&path, error))?;
        std::fs::write(&path, text + "\n").map_err(|error| file_error(&path, error))?;
        super::copy::sync(&path)
    }
}

/// Length and checksum of a file.
///
/// # Errors
/// When it cannot be read.
pub fn measure(path: &Path) -> Result<Copied, BackupError> {
    let mut file = File::open(path).map_err(|error| file_error(path, error))?;
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| file_error(path, error))?;
        if read == 0 {
            break;
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
    Ok(Copied {
        bytes,
        crc32c: u32::try_from(digest.finalize()).unwrap_or(u32::MAX),
    })
}

const BUFFER_BYTES: usize = 1024 * 1024;
