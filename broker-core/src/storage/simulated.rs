//! A disk in memory that can lose power.
//!
//! Until `sync_data` a write may survive a crash whole, in part, or not at all, whatever became
//! of the writes before and after it; until `sync_dir` so may a name. That is the freedom a real
//! disk with a volatile cache has: what survives of a write is a part of its front, or any of its
//! sectors. Only a rename is one change, as journals make it: both of its names are as before, or
//! both as after. The same seed makes the same choices.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Storage, StorageFile};

/// A disk in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimulatedStorage(Arc<Mutex<World>>);

/// A failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The write fails with ENOSPC after half of its bytes.
    DiskFull,
    /// The write fails with EIO.
    WriteError,
    /// The write takes half of its bytes and says so.
    ShortWrite,
    /// `sync_data` fails with EIO. What it should have kept is still read, and never reaches the
    /// disk, whatever is synced later: Linux drops such pages' marks.
    SyncError,
}

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Called at every sync.
#[derive(Clone)]
struct SyncHook(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for SyncHook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SyncHook")
    }
}

#[derive(Debug, Default)]
struct World {
    /// Names as a running process sees them.
    names: BTreeMap<PathBuf, usize>,
    /// Names that survive a power loss.
    durable_names: BTreeMap<PathBuf, usize>,
    /// The two names of every rename that is not durable.
    renamed: Vec<(PathBuf, PathBuf)>,
    directories: BTreeSet<PathBuf>,
    files: Vec<Contents>,
    faults: Vec<Fault>,
    /// Changes until the process dies, if it is to.
    changes_left: Option<usize>,
    /// Bytes that files may still grow by, if the disk is to be full then.
    bytes_left: Option<usize>,
    sync_hook: Option<SyncHook>,
}

#[derive(Debug, Default)]
struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Some of it did not reach the disk, which whoever syncs the file next is told.
    failed: bool,
}

#[derive(Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl SimulatedStorage {
    /// A fault for the next operation of its kind; several queue up.
    pub fn inject(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    /// Files may grow by so many bytes; then every growth, and every new file, fails with ENOSPC.
    pub fn fill_up_after(&self, bytes: usize) {
        self.0.lock().bytes_left = Some(bytes);
    }

    /// There is space again.
    pub fn make_space(&self) {
        self.0.lock().bytes_left = None;
    }

    /// Calls `hook` at the beginning of every sync.
    pub fn on_sync(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.0.lock().sync_hook = Some(SyncHook(Arc::new(hook)));
    }

    fn call_sync_hook(&self) {
        let hook = self.0.lock().sync_hook.clone();
        if let Some(SyncHook(hook)) = hook {
            hook();
        }
    }

    /// The process dies after `changes` more: none reaches the disk any more, every one fails.
    pub fn stop_after(&self, changes: usize) {
        self.0.lock().changes_left = Some(changes);
    }

    /// Whether the process died.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.lock().changes_left == Some(0)
    }

    /// Another process takes over what the page cache holds: as after kill -9.
    pub fn revive(&self) {
        self.0.lock().changes_left = None;
    }

    /// The power fails: what was not synced is kept, torn or lost by the seed's choice. Files
    /// opened before must not be used again.
    pub fn crash(&self, seed: u64) {
        let mut chance = Chance(seed | 1);
        let mut world = self.0.lock();
        world.changes_left = None;
        let World {
            names,
            durable_names,
            renamed,
            files,
            ..
        } = &mut *world;
        let mut survivors = BTreeMap::new();
        let all: BTreeSet<PathBuf> = names.keys().chain(durable_names.keys()).cloned().collect();
        let mut survives: BTreeMap<PathBuf, bool> = BTreeMap::new();
        for path in &all {
            if let Some((from, to)) = renamed.iter().find(|(from, to)| from == path || to == path) {
                let known = survives.get(from).or_else(|| survives.get(to)).copied();
                let choice = known.unwrap_or_else(|| chance.one_in(2));
                survives.insert(from.clone(), choice);
                survives.insert(to.clone(), choice);
            }
        }
        renamed.clear();
        for path in all {
            let (now, before) = (names.get(&path), durable_names.get(&path));
            let choice = survives.get(&path).copied();
            let kept = if now == before || choice.unwrap_or_else(|| chance.one_in(2)) {
                now
            } else {
                before
            };
            if let Some(&file) = kept {
                survivors.insert(path, file);
            }
        }
        names.clone_from(&survivors);
        *durable_names = survivors;
        for file in files {
            let mut contents = std::mem::take(&mut file.durable);
            for change in file.pending.drain(..) {
                change.survive(&mut contents, &mut chance);
            }
            file.current.clone_from(&contents);
            file.durable = contents;
            file.failed = false;
        }
    }

    /// The bytes of a file as a running process sees them, for tests to look at.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.0.lock();
        let file = *world.names.get(path)?;
        world.files.get(file).map(|file| file.current.clone())
    }

    fn file(&self, index: usize) -> Arc<dyn StorageFile> {
        Arc::new(SimulatedFile {
            storage: self.clone(),
            index,
        })
    }
}

impl World {
    /// Takes the first queued fault that is one of `kinds`.
    fn fault(&mut self, kinds: &[Fault]) -> Option<Fault> {
        let at = self.faults.iter().position(|fault| kinds.contains(fault))?;
        Some(self.faults.remove(at))
    }

    /// Counts a change; fails once the process is dead.
    fn begin_change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("simulated death")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => write(contents, *position, bytes),
            Self::Truncate(length) => contents.resize(*length, 0),
        }
    }

    fn survive(self, contents: &mut Vec<u8>, chance: &mut Chance) {
        match self {
            Self::Write { position, bytes } => match chance.below(5) {
                0 => {}
                1 => {
                    let kept = chance.below(bytes.len() + 1);
                    write(contents, position, bytes.get(..kept).unwrap_or_default());
                }
                2 => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let in_sector = (position + from) % SECTOR_BYTES;
                        let until = (from + SECTOR_BYTES - in_sector).min(bytes.len());
                        if chance.one_in(2) {
                            let sector = bytes.get(from..until).unwrap_or_default();
                            write(contents, position + from, sector);
                        }
                        from = until;
                    }
                }
                _ => write(contents, position, &bytes),
            },
            Self::Truncate(length) => {
                if chance.one_in(2) {
                    contents.resize(length, 0);
                }
            }
        }
    }
}

fn write(contents: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = position + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    if let Some(target) = contents.get_mut(position..end) {
        target.copy_from_slice(bytes);
    }
}

impl Storage for SimulatedStorage {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut world = self.0.lock();
        if !path
            .parent()
            .is_some_and(|parent| world.directories.contains(parent))
        {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.begin_change()?;
        let index = if let Some(&index) = world.names.get(path) {
            if let Some(file) = world.files.get_mut(index) {
                file.current.clear();
                file.pending.push(Change::Truncate(0));
            }
            index
        } else {
            if world.bytes_left == Some(0) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            world.files.push(Contents::default());
            let index = world.files.len() - 1;
            world.names.insert(path.to_owned(), index);
            index
        };
        drop(world);
        Ok(self.file(index))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let index = self.0.lock().names.get(path).copied();
        index
            .map(|index| self.file(index))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let world = self.0.lock();
        if !world.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let children = world
            .names
            .keys()
            .chain(&world.directories)
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(children.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin_change()?;
        if world.directories.contains(from) {
            // Directories move at once and durably: their loss is not rehearsed.
            let moved = |path: &PathBuf| {
                path.strip_prefix(from)
                    .map_or_else(|_| path.clone(), |rest| to.join(rest))
            };
            world.directories = world.directories.iter().map(moved).collect();
            world.directories.insert(to.to_owned());
            for names in [true, false] {
                let map = if names {
                    &mut world.names
                } else {
                    &mut world.durable_names
                };
                *map = map
                    .iter()
                    .map(|(path, file)| (moved(path), *file))
                    .collect();
            }
            return Ok(());
        }
        let file = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), file);
        world.renamed.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin_change()?;
        if world.directories.contains(path) {
            world
                .directories
                .retain(|directory| !directory.starts_with(path));
            world.names.retain(|name, _| !name.starts_with(path));
            world
                .durable_names
                .retain(|name, _| !name.starts_with(path));
        }
        let removed = world.names.remove(path);
        let World {
            files, bytes_left, ..
        } = &mut *world;
        if let (Some(file), Some(left)) = (removed.and_then(|file| files.get(file)), bytes_left) {
            *left += file.current.len();
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin_change()?;
        world
            .directories
            .extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.call_sync_hook();
        let mut world = self.0.lock();
        world.begin_change()?;
        let here = |path: &PathBuf| path.parent() == Some(directory);
        let now: Vec<_> = world
            .names
            .iter()
            .filter(|(path, _)| here(path))
            .map(|(path, file)| (path.clone(), *file))
            .collect();
        world.durable_names.retain(|path, _| !here(path));
        world.durable_names.extend(now);
        world.renamed.retain(|(_, to)| !here(to));
        Ok(())
    }

    fn sync_file_system(&self, _: &Path) -> io::Result<()> {
        self.call_sync_hook();
        let mut world = self.0.lock();
        world.begin_change()?;
        let fails = world.fault(&[Fault::SyncError]).is_some();
        let World {
            names,
            durable_names,
            renamed,
            files,
            ..
        } = &mut *world;
        for file in files.iter_mut().filter(|file| !file.pending.is_empty()) {
            file.failed |= fails;
            file.flush(fails);
        }
        if fails {
            return Err(io::Error::other("simulated EIO"));
        }
        durable_names.clone_from(names);
        renamed.clear();
        Ok(())
    }
}

impl Contents {
    /// Brings what is pending to the disk, or loses it.
    fn flush(&mut self, fails: bool) {
        for change in self.pending.drain(..) {
            if !fails {
                change.apply(&mut self.durable);
            }
        }
    }
}

#[derive(Debug)]
struct SimulatedFile {
    storage: SimulatedStorage,
    index: usize,
}

impl SimulatedFile {
    fn with<T>(&self, action: impl FnOnce(&mut Contents) -> T) -> io::Result<T> {
        let mut world = self.storage.0.lock();
        let file = world
            .files
            .get_mut(self.index)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(action(file))
    }

    /// How many of `length` bytes the disk has room for; fails when it is none of them.
    fn room_for(&self, position: usize, length: usize) -> io::Result<usize> {
        let mut world = self.storage.0.lock();
        let World {
            files, bytes_left, ..
        } = &mut *world;
        let (Some(left), Some(file)) = (bytes_left, files.get(self.index)) else {
            return Ok(length);
        };
        let there = file.current.len().saturating_sub(position).min(length);
        let growth = (length - there).min(*left);
        if there + growth == 0 && length > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *left -= growth;
        Ok(there + growth)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.storage.0.lock().begin_change()?;
        self.with(|file| {
            change.apply(&mut file.current);
            file.pending.push(change);
        })
    }
}

impl StorageFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|file| {
            let from = usize::try_from(position).unwrap_or(usize::MAX);
            let source = file.current.get(from..).unwrap_or_default();
            let length = source.len().min(buffer.len());
            if let (Some(target), Some(source)) = (buffer.get_mut(..length), source.get(..length)) {
                target.copy_from_slice(source);
            }
            length
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let fault =
            self.storage
                .0
                .lock()
                .fault(&[Fault::DiskFull, Fault::WriteError, Fault::ShortWrite]);
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let taken = match fault {
            None => self.room_for(position, bytes.len())?,
            Some(Fault::WriteError) => return Err(io::Error::other("simulated EIO")),
            Some(_) => bytes.len().div_ceil(2),
        };
        self.change(Change::Write {
            position,
            bytes: bytes.get(..taken).unwrap_or_default().to_vec(),
        })?;
        if fault == Some(Fault::DiskFull) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.storage.call_sync_hook();
        self.storage.0.lock().begin_change()?;
        let fails = self.storage.0.lock().fault(&[Fault::SyncError]).is_some();
        let failed = self.with(|file| {
            file.flush(fails);
            std::mem::take(&mut file.failed)
        })?;
        if fails || failed {
            return Err(io::Error::other("simulated EIO"));
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(Change::Truncate(
            usize::try_from(length).map_err(io::Error::other)?,
        ))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|file| u64::try_from(file.current.len()).unwrap_or(u64::MAX))
    }
}

/// xorshift64*: enough to choose, and the same everywhere.
#[derive(Debug, Clone, Copy)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap_or(0) % bound.max(1)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}
