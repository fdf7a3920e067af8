//! Which files a backup copies, in which order.
//!
//! Only a file's content up to the length it has when it is opened is copied: logs grow while they
//! are read. A segment that disappears meanwhile (retention, compaction) makes its partition be copied
//! anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::manifest::{Copied, Manifest, REGISTRY, measure};
use super::{BackupError, file_error};

/// Partitions are copied anew this often when segments disappear.
const ATTEMPTS_MAX: usize = 10;

/// Topics whose records speak of other topics' offsets: they must not be ahead of those.
const FIRST: [&str; 2] = ["__consumer_offsets-", "__transaction_state-"];

/// What is copied.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The data directory; none of a registry that is served alone from a database.
    pub data: Option<&'a Path>,
    /// URL of the registry's PostgreSQL database; none where it is in the data directory.
    pub database: Option<&'a str>,
}

/// Copies what there is to the new folder `to`.
///
/// # Errors
/// When the data directory is none, `to` exists with content, or a file or the database cannot be
/// copied.
pub async fn back_up(origin: Origin<'_>, to: &Path, now_ms: i64) -> Result<Manifest, BackupError> {
    if let Some(data) = origin.data
        && !data.join("format").exists()
    {
        return Err(file_error(
            data,
            "there is no file `format`: this is no data directory",
        ));
    }
    require_empty(to)?;
    let mut names = match origin.data {
        Some(data) => copy_log(data, to)?,
        None => BTreeSet::new(),
    };
    // Last: whatever id a copied record carries was registered before.
    if copy_registry(origin, &to.join(REGISTRY)).await? {
        names.insert(REGISTRY.to_owned());
    }
    let mut files: BTreeMap<String, Copied> = BTreeMap::new();
    for name in names {
        let path = to.join(&name);
        sync(&path)?;
        files.insert(name, measure(&path)?);
    }
    let mut manifest = Manifest::new(now_ms, files);
    manifest.registry_of = origin.database.map(|_| "postgresql".to_owned());
    manifest.write(to)?;
    sync_folders(to)?;
    Ok(manifest)
}

/// Everything but the registry; the names of what was copied.
fn copy_log(data: &Path, to: &Path) -> Result<BTreeSet<String>, BackupError> {
    let mut names = BTreeSet::new();
    for name in ["format", "meta.properties"] {
        if copy_file(&data.join(name), &to.join(name))? {
            names.insert(name.to_owned());
        }
    }
    names.extend(copy_folder(data, to, "meta")?);
    for name in partitions(data)? {
        names.extend(copy_folder(data, to, &format!("topics/{name}"))?);
    }
    Ok(names)
}

/// False when there is none.
async fn copy_registry(origin: Origin<'_>, to: &Path) -> Result<bool, BackupError> {
    let copied = match (origin.database, origin.data) {
        (Some(url), _) => registry::copy_postgres(url, to).await,
        (None, Some(data)) => {
            let database = data.join(REGISTRY);
            if !database.exists() {
                return Ok(false);
            }
            registry::copy_sqlite(&database, to).await
        }
        (None, None) => return Ok(false),
    };
    copied.map_err(|error| BackupError::Registry(error.to_string()))?;
    Ok(true)
}

/// Copies a backup to the new folder `data`, checking each file against the manifest; its registry
/// goes to `database` where one is given.
///
/// # Errors
/// When a file is missing or not the one that was copied, `data` exists with content, or the database
/// holds a registry already.
pub async fn put_back(
    from: &Path,
    data: &Path,
    database: Option<&str>,
) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(from)?;
    let takes_data = manifest.has_log() || database.is_none();
    if takes_data {
        require_empty(data)?;
    }
    // The database first: when it refuses, nothing was touched.
    if let Some(url) = database {
        let source = from.join(REGISTRY);
        let Some(expected) = manifest.files.get(REGISTRY) else {
            return Err(file_error(from, "there is no registry in this backup"));
        };
        require_same(&source, &source, *expected)?;
        let filled = registry::fill_postgres(&source, url).await;
        filled.map_err(|error| BackupError::Registry(error.to_string()))?;
    }
    for (name, expected) in &manifest.files {
        if name == REGISTRY && database.is_some() {
            continue;
        }
        let (source, target) = (from.join(name), data.join(name));
        if !copy_file(&source, &target)? {
            return Err(file_error(&source, "it is missing"));
        }
        sync(&target)?;
        require_same(&source, &target, *expected)?;
    }
    if takes_data {
        sync_folders(data)?;
    }
    Ok(manifest)
}

/// Refuses `source`, of which `copy` was made, when it is not what was backed up.
fn require_same(source: &Path, copy: &Path, expected: Copied) -> Result<(), BackupError> {
    if !source.exists() {
        return Err(file_error(source, "it is missing"));
    }
    if measure(copy)? == expected {
        return Ok(());
    }
    Err(file_error(source, "it is not the file that was backed up"))
}

fn require_empty(folder: &Path) -> Result<(), BackupError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(file_error(folder, "it is not empty: choose another folder")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(folder).map_err(|error| file_error(folder, error))
        }
        Err(error) => Err(file_error(folder, error)),
    }
}

/// Folders of partitions, those first that must not be ahead of others.
fn partitions(data: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = file_names(&data.join("topics"))?;
    names.retain(|name| !name.ends_with(".deleted"));
    names.sort_by_key(|name| !FIRST.iter().any(|first| name.starts_with(first)));
    Ok(names)
}

/// The names in a folder, sorted; none when there is no folder.
fn file_names(folder: &Path) -> Result<Vec<String>, BackupError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| file_error(folder, error))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Hints before logs, so that no hint is ahead of its log; indexes are rebuilt.
fn is_hint(name: &str) -> bool {
    name.ends_with("-checkpoint") || name.ends_with(".metadata") || name.ends_with(".snapshot")
}

fn is_log(name: &str) -> bool {
    name.ends_with(".log") || name.ends_with(".swap")
}

/// Copies the folder of a partition, or of the metadata log; the paths copied.
fn copy_folder(data: &Path, to: &Path, folder: &str) -> Result<Vec<String>, BackupError> {
    let (source, target) = (data.join(folder), to.join(folder));
    for _ in 0..ATTEMPTS_MAX {
        if let Some(names) = try_copy_folder(&source, &target)? {
            return Ok(names
                .into_iter()
                .map(|name| format!("{folder}/{name}"))
                .collect());
        }
        remove_folder(&target)?;
        if !source.exists() {
            // The topic was deleted; the start on the copy makes it anew, empty, and says so.
            return Ok(Vec::new());
        }
    }
    Err(file_error(
        &source,
        "its segments kept disappearing while it was copied",
    ))
}

/// None when a segment disappeared meanwhile.
fn try_copy_folder(source: &Path, target: &Path) -> Result<Option<Vec<String>>, BackupError> {
    let names = file_names(source)?;
    let mut copied = Vec::new();
    for wanted in [is_hint as fn(&str) -> bool, is_log] {
        for name in names.iter().filter(|name| wanted(name)) {
            if copy_file(&source.join(name), &target.join(name))? {
                copied.push(name.clone());
            } else if is_log(name) {
                return Ok(None);
            }
        }
    }
    // A compacted segment may have taken the place of several that were copied already.
    let now = file_names(source)?;
    let is_gone = |name: &&String| is_log(name) && !now.contains(name);
    if names.iter().any(|name| is_gone(&name)) {
        return Ok(None);
    }
    Ok(Some(copied))
}

fn remove_folder(folder: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file_error(folder, error)),
        _ => Ok(()),
    }
}

/// False when the source is not there.
fn copy_file(source: &Path, target: &Path) -> Result<bool, BackupError> {
    let file = match File::open(source) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(file_error(source, error)),
    };
    let length = file
        .metadata()
        .map_err(|error| file_error(source, error))?
        .len();
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(|error| file_error(parent, error))?;
    }
    let mut out = File::create(target).map_err(|error| file_error(target, error))?;
    std::io::copy(&mut file.take(length), &mut out).map_err(|error| file_error(target, error))?;
    Ok(true)
}

/// Makes a file's content survive power loss.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| file_error(path, error))
}

fn sync_folders(root: &Path) -> Result<(), BackupError> {
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        sync(&folder)?;
        for name in file_names(&folder)? {
            let path = folder.join(name);
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}
