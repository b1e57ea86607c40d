//! The seam to the operating system: every file access of the engine goes through `Disk` and
//! `DiskFile`, so that a simulated disk can stand in for the real one.
//!
//! A disk promises no more than POSIX does: a write may be short, nothing is durable before a
//! sync of the file, and a name is durable only after a sync of its directory.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::map::Map;
use crate::error::{KvsError, Result};

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and to write.
    Write,
    /// A new file, to read and to write; an error if the name exists.
    Create,
}

/// A directory tree: names and their files.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory; no error if it exists. The name is durable after a sync of the parent.
    fn create_dir(&self, directory: &Path) -> io::Result<()>;
    /// Gives a file another name in the same directory, atomically, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, in another directory; an error if the name exists.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on a file, making the file if need be. `None` if another has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Whether somebody has the lock on a file, without a change to it; false if there is no file.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes; may be short, 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `bytes.len()` bytes; may be short.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves blocks so that writes below `offset + len` cannot run out of space, and extends
    /// the file to there with zeros.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes the contents durable, and of the metadata what is needed to read them.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes contents and metadata durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Maps the first `len` bytes read-only; `None` if this disk has no mappings.
    fn map(&self, len: usize, guarded: bool) -> io::Result<Option<Map>>;
}

/// The exclusive lock on a file, held until it is dropped.
pub trait DiskLock: Send + Sync {
    /// Writes at the start of the lock file, in place: what has its blocks already fits on a full
    /// disk. The contents are a notice to others, never the lock itself.
    fn write(&self, contents: &[u8]) -> io::Result<()>;
}

/// Reads exactly `buffer.len()` bytes, or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if read_full_at(file, buffer, offset)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends. A short read is not taken for the end.
pub fn read_full_at(file: &dyn DiskFile, buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `bytes`, going on after short writes.
pub fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = bytes.get(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the name of a directory durable, in the one above.
pub fn sync_name(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let Some(parent) = directory.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    disk.sync_dir(parent).map_err(|error| KvsError::io("sync", parent, error))
}

/// Copies bytes of a file, all of which must be there, to an offset of another.
pub fn copy(
    from: &dyn DiskFile,
    range: Range<u64>,
    to: &dyn DiskFile,
    offset: u64,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(bytes.len());
        let piece = bytes.get_mut(..len).unwrap_or_default();
        read_exact_at(from, piece, at)?;
        write_all_at(to, piece, offset + (at - range.start))?;
        at += len as u64;
    }
    Ok(())
}

/// Whether two files have the same first `len` bytes, all of which must be there.
pub fn is_same(one: &dyn DiskFile, other: &dyn DiskFile, len: u64) -> io::Result<bool> {
    let mut bytes = [vec![0; 64 << 10], vec![0; 64 << 10]];
    let mut at = 0;
    while at < len {
        let [ones, others] = &mut bytes;
        let piece = usize::try_from(len - at).unwrap_or(usize::MAX).min(ones.len());
        let (ones, others) = (ones.get_mut(..piece), others.get_mut(..piece));
        let (ones, others) = (ones.unwrap_or_default(), others.unwrap_or_default());
        read_exact_at(one, ones, at)?;
        read_exact_at(other, others, at)?;
        if ones != others {
            return Ok(false);
        }
        at += piece as u64;
    }
    Ok(true)
}

/// Writes bytes again in place: a failed sync may have left their pages clean and not on disk. One
/// that stops half-way has written what was there already.
pub fn rewrite(file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
    let start = range.start;
    copy(file, range, file, start)
}

/// Gives `directory` a file of that name with these bytes, in the place of the one that has it:
/// made under the name `new`, synced, renamed. After a crash it is the old one or the new one, as
/// a whole. The new one is durable after a sync of the directory.
pub fn replace(
    disk: &dyn Disk,
    directory: &Path,
    (new, name): (&str, &str),
    bytes: &[u8],
) -> Result<()> {
    let (new, path) = (directory.join(new), directory.join(name));
    prepare(disk, &new, bytes)?;
    put_in_place(disk, &new, &path)
}

/// Makes a file with these bytes that is to take the place of another. Durable but for its name.
pub fn prepare(disk: &dyn Disk, new: &Path, bytes: &[u8]) -> Result<()> {
    match disk.remove(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(KvsError::io("remove", new, error));
        }
        _ => {}
    }
    let file = disk.open(new, Access::Create);
    let file = file.map_err(|error| KvsError::io("create", new, error))?;
    let written = write_all_at(&*file, bytes, 0)
        .map_err(|error| KvsError::io("write", new, error))
        .and_then(|()| file.sync_all().map_err(|error| KvsError::io("sync", new, error)));
    written.inspect_err(|_| discard(disk, new))
}

/// Gives a file that was prepared the name of another.
pub fn put_in_place(disk: &dyn Disk, new: &Path, path: &Path) -> Result<()> {
    let renamed = disk.rename(new, path).map_err(|error| KvsError::io("rename", path, error));
    renamed.inspect_err(|_| discard(disk, new))
}

/// On a full disk even a few blocks count. What stays is removed by the next open.
fn discard(disk: &dyn Disk, new: &Path) {
    let _ = disk.remove(new);
}
