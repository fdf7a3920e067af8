//! The disk as a small synchronous trait, so that a crash can be rehearsed.
//!
//! Two implementations: [`disk::Disk`] and its twin [`simulated::SimulatedStorage`], which loses
//! and tears what was not synced. Knows nothing of batches, offsets or topics.

pub mod disk;
pub mod simulated;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A tree of files.
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// Creates an empty file, or empties it when there is one. Its name is durable after
    /// [`Storage::sync_dir`] of its directory.
    ///
    /// # Errors
    /// Those of the system.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Names in a directory, in no order.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Renames a file or directory, replacing a file of the new name.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or a directory and all that is in it. Absence is success.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its parents; success when it is there.
    ///
    /// # Errors
    /// Those of the system.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Makes all that was written so far to the file system of `directory` durable, contents and
    /// names: one wait for the disk where thousands of files would each need theirs.
    ///
    /// # Errors
    /// Those of the system. Whatever this says, an error that belongs to a file is also told to
    /// whoever syncs that file next, if it was open when the error happened.
    fn sync_file_system(&self, directory: &Path) -> io::Result<()>;
}

/// An open file. Positions are bytes from its start.
#[expect(clippy::len_without_is_empty, reason = "a file, not a collection")]
pub trait StorageFile: Send + Sync + fmt::Debug + 'static {
    /// Reads some bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes some bytes, perhaps fewer than given.
    ///
    /// # Errors
    /// Those of the system.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;

    /// Makes the contents and the length durable (`fdatasync`).
    ///
    /// # Errors
    /// After any error nothing may be assumed of what was written since the last success.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// Those of the system.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn len(&self) -> io::Result<u64>;
}

/// Largest single write: above it the copy falls out of the CPU's cache and slows down.
pub const WRITE_BYTES_MAX: usize = 512 << 10;

/// Writes all of `bytes`, in pieces of at most [`WRITE_BYTES_MAX`].
///
/// # Errors
/// Those of the system; some of the bytes may have been written.
pub fn write_all_at(file: &dyn StorageFile, bytes: &[u8], position: u64) -> io::Result<()> {
    let mut position = position;
    for piece in bytes.chunks(WRITE_BYTES_MAX) {
        let mut left = piece;
        while !left.is_empty() {
            match file.write_at(left, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left = left.get(written..).unwrap_or_default();
                    position += u64::try_from(written).unwrap_or(0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; answers how many bytes were read.
///
/// # Errors
/// Those of the system.
pub fn read_full_at(file: &dyn StorageFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(left) = buffer.get_mut(done..)
        && !left.is_empty()
    {
        match file.read_at(left, position + u64::try_from(done).unwrap_or(0)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A small file's contents; `None` when there is none.
///
/// # Errors
/// Those of the system; `InvalidData` when it is larger than `bytes_max`.
pub fn read_file(
    storage: &dyn Storage,
    path: &Path,
    bytes_max: u64,
) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.len()?;
    if length > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} has {length} bytes, more than {bytes_max}",
                path.display()
            ),
        ));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = read_full_at(file.as_ref(), &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Whether a small file's replacement must outlive a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// On disk before the call returns.
    Durable,
    /// Whole or old after a crash of the process; perhaps lost at a power loss.
    Advisory,
}

/// Replaces a small file as a whole: written beside it, then renamed over it.
///
/// # Errors
/// Those of the system; the old file is then still there.
pub fn replace_file(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
    persistence: Persistence,
) -> io::Result<()> {
    let beside = path.with_added_extension(TEMPORARY_EXTENSION);
    let file = storage.create(&beside)?;
    write_all_at(file.as_ref(), bytes, 0)?;
    if persistence == Persistence::Durable {
        file.sync_data()?;
    }
    storage.rename(&beside, path)?;
    match path.parent() {
        Some(directory) if persistence == Persistence::Durable => storage.sync_dir(directory),
        _ => Ok(()),
    }
}

/// Extension of files that are not whole yet; removed when a directory is opened.
pub const TEMPORARY_EXTENSION: &str = "tmp";
