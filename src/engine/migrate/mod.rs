//! Moving a directory from one engine to another, in place.
//!
//! Everything is copied, read back and compared before the directory changes hands; see `swap` for
//! how it does. Versions are not kept: the new engine counts its own.

mod side;
mod swap;

use std::path::Path;

use crate::batch::{Batch, Operation};
use crate::engine::engine_of;
use crate::error::{KvsError, Result};
use crate::store::{RealDisk, Versioned, engine_file, lock_directory, refuse_backup};
use side::Side;
pub use side::StoredEngine;

/// How much is written at a time.
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// What a migration is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateProgress {
    /// Whether the records are copied, or else read back.
    pub is_copying: bool,
    /// How many records are done.
    pub done: u64,
    /// Of about how many.
    pub total: u64,
}

/// What a migration has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateReport {
    /// How many records were copied. None: the directory belonged to the new engine already, and
    /// only what an earlier migration had left was removed.
    pub records: Option<u64>,
    /// Whether files of the old engine are still there, because another process was faster in
    /// opening the directory. They do no harm; the next migration removes them.
    pub has_leftovers: bool,
}

/// Moves a directory from one engine to another: all keys, values and expiries.
///
/// It takes as much space again as the data while it is at work. Nobody else may have the
/// directory open. A crash at any moment leaves the directory to one engine or the other, whole;
/// calling this again finishes what was begun. When this returns, everything is durable.
///
/// # Errors
/// [`KvsError::NotAStore`] if the directory holds nothing of any engine; [`KvsError::WrongEngine`];
/// [`KvsError::InvalidOption`] if both engines are the same; [`KvsError::Locked`];
/// [`KvsError::IsABackup`]; [`KvsError::Io`], also if a file has a name that the new engine needs;
/// and those of reading the one and writing the other. The directory is then as it was.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::engine::{StoredEngine, engine_of, migrate};
/// let store = kvs::Store::open(dir.path())?;
/// store.set("key", "value")?;
/// store.close()?;
/// let report = migrate(dir.path(), StoredEngine::Kvs, StoredEngine::Sled, &mut |_| ())?;
/// assert_eq!(report.records, Some(1));
/// assert_eq!(engine_of(dir.path())?.as_deref(), Some("sled"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn migrate(
    directory: &Path,
    from: StoredEngine,
    to: StoredEngine,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<MigrateReport> {
    if from == to {
        let (value, expected) = (to.name().to_owned(), "another engine than the one it has");
        return Err(KvsError::InvalidOption { option: "to", value, expected });
    }
    let canonical = std::fs::canonicalize(directory);
    let directory = canonical.map_err(|error| KvsError::io("open", directory, error))?;
    refuse_backup(&RealDisk, &directory)?;
    match engine_of(&directory)? {
        None => return Err(KvsError::NotAStore { path: directory }),
        Some(found) if found == to.name() => {
            let has_leftovers = clean(&directory, to)?;
            return Ok(MigrateReport { records: None, has_leftovers });
        }
        // Any other is refused when it is opened.
        Some(_) => {}
    }
    let old = Side::open(from, &directory)?;
    // The lock is held from here on, by the old engine.
    let copied = swap::settle(&directory).and_then(|()| {
        let records = build(&directory, &old, to, progress);
        let swapped = records.and_then(|records| {
            swap::swap(&directory, from, to)?;
            Ok(records)
        });
        if swapped.is_err() {
            // Whether or not it works: the next migration does the same.
            let _ = swap::settle(&directory);
        }
        swapped
    });
    let closed = old.close();
    let records = Some(copied?);
    // What the old engine could not note any more is of no use.
    drop(closed);
    let has_leftovers = clean(&directory, to)?;
    Ok(MigrateReport { records, has_leftovers })
}

/// Removes what a migration has left, once the directory belongs to the new engine. True if that
/// has to wait.
fn clean(directory: &Path, to: StoredEngine) -> Result<bool> {
    if !swap::is_begun(directory) {
        return Ok(false);
    }
    let _lock = match lock_directory(&RealDisk, directory) {
        Err(KvsError::Locked { .. }) => return Ok(true),
        locked => locked?,
    };
    // Somebody else may have moved it again meanwhile.
    engine_file::check(&RealDisk, directory, to.name())?;
    swap::settle(directory)?;
    Ok(false)
}

/// Makes the new engine's files beside the old ones and compares them. Answers with how many
/// records there are.
fn build(
    directory: &Path,
    old: &Side,
    to: StoredEngine,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<u64> {
    let path = swap::begin(directory, to)?;
    let new = Side::open(to, &path)?;
    let copied = copy(old, &new, progress);
    let closed = new.close();
    let records = copied?;
    closed?;
    // Read from the disk, not from what the engine still has in memory.
    let new = Side::open(to, &path)?;
    let compared = compare(old, &new, &path, progress);
    let closed = new.close();
    compared.and(closed)?;
    Ok(records)
}

fn copy(old: &Side, new: &Side, progress: &mut dyn FnMut(MigrateProgress)) -> Result<u64> {
    let (mut batch, mut done, total) = (Batch::new(), 0, old.len()?);
    old.for_each(|key, found| {
        if batch.len() >= BATCH_RECORDS || batch.byte_len() >= BATCH_BYTES {
            done += write(new, &batch)?;
            batch.clear();
            progress(MigrateProgress { is_copying: true, done, total });
        }
        match found.expires_at_ms {
            Some(at_ms) => batch.set_until(key, &found.value, at_ms),
            None => batch.set(key, &found.value),
        };
        Ok(())
    })?;
    Ok(done + write(new, &batch)?)
}

/// Writes a batch, without what has expired by now. Answers with how many records it wrote.
fn write(new: &Side, batch: &Batch) -> Result<u64> {
    match new.write(batch) {
        Err(KvsError::InvalidExpiry { .. }) => {}
        written => return written.map(|()| batch.len() as u64),
    }
    let mut records = 0;
    for operation in batch.iter() {
        let mut single = Batch::new();
        match operation {
            Operation::Set { key, value, expires_at_ms: Some(at_ms) } => {
                single.set_until(key, value, at_ms)
            }
            Operation::Set { key, value, expires_at_ms: None } => single.set(key, value),
            Operation::Remove { key } => single.remove(key),
        };
        match new.write(&single) {
            Err(KvsError::InvalidExpiry { .. }) => {}
            written => written.map(|()| records += 1)?,
        }
    }
    Ok(records)
}

/// Answers with an error unless both have the same keys, values and expiries, but for what has
/// expired meanwhile.
fn compare(
    old: &Side,
    new: &Side,
    path: &Path,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<()> {
    let differs =
        |reason| KvsError::Corrupt { path: path.to_owned(), segment: None, offset: 0, reason };
    let (mut done, mut lasting, total) = (0_u64, 0_u64, old.len()?);
    old.for_each(|key, found| {
        let read = new.get(&key)?;
        let is_same = |read: &Versioned| {
            read.value == found.value && read.expires_at_ms == found.expires_at_ms
        };
        let is_over = |at_ms| at_ms <= new.now_ms().max(old.now_ms());
        if !read.as_ref().is_some_and(is_same) && !found.expires_at_ms.is_some_and(is_over) {
            return Err(differs("a copied record is not what it was"));
        }
        lasting += u64::from(found.expires_at_ms.is_none());
        done += 1;
        if done.is_multiple_of(BATCH_RECORDS as u64) {
            progress(MigrateProgress { is_copying: false, done, total });
        }
        Ok(())
    })?;
    let mut copied = 0;
    new.for_each(|_, found| {
        copied += u64::from(found.expires_at_ms.is_none());
        Ok(())
    })?;
    if copied == lasting { Ok(()) } else { Err(differs("there are more records than there were")) }
}
