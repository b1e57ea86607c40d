//! The engine `sled`: a database of the `sled` crate (0.34).
//!
//! Keys are as they are; a value has its version and its expiry in front. What sled promises less
//! of than the store, it promises less of here too: a write that is not `Always` is in buffers of
//! the process until sled syncs, and lost if the process dies before that.

mod record;
mod cursors;
mod write;
mod open;
mod chance;

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::checks::apply_each;
use super::memory::{random, to_float};
use super::{
    BlockingEngine, Capabilities, EngineStats, Figure, Found, Scan, Walked, Write, is_void,
    read_some,
};
use crate::error::{KvsError, Result};
use crate::options::Durability;
use crate::store::names::SLED_DB;
use crate::store::{Time, Versioned, WALK_BYTES_MAX, Written, engine_file, lock};
use open::Opened;
use record::Record;

const NAME: &str = engine_file::SLED;

/// How many records `len` and `stats` look at for those that have expired.
const SWEPT_BY_COUNT: usize = 1024;

/// An engine that keeps its data with the `sled` crate.
///
/// It blocks; [`Pooled`](super::Pooled) makes it a [`KvsEngine`](super::KvsEngine). It is not a
/// handle that can be opened twice: a directory that is open, in this process or another, is
/// [`KvsError::Locked`]. Dropping it closes it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::engine::{BlockingEngine, SledKvsEngine, Write};
/// let engine = SledKvsEngine::open(dir.path(), kvs::Durability::default())?;
/// let mut batch = kvs::Batch::new();
/// batch.set("key", "value");
/// engine.write(&[Write { batch, ..Write::default() }])?;
/// assert_eq!(engine.len()?, 1);
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SledKvsEngine {
    time: Time,
    durability: Durability,
    /// None: it is closed.
    opened: RwLock<Option<Opened>>,
}

impl SledKvsEngine {
    /// Opens the database in a directory, making both if they are not there.
    ///
    /// With [`Durability::Always`] a write is flushed to the disk before it is answered, together
    /// with all before it. With [`Durability::Interval`] sled syncs that often, with
    /// [`Durability::Os`] as often as it does by itself (500 ms); what was written since the last
    /// sync is lost with the process, not only with the machine.
    ///
    /// # Errors
    /// [`KvsError::Locked`]; [`KvsError::WrongEngine`]; [`KvsError::NotEmpty`] for a database of
    /// sled that holds what this engine did not write; [`KvsError::IsABackup`],
    /// [`KvsError::UnsupportedVersion`], [`KvsError::InvalidOption`], [`KvsError::Corrupt`],
    /// [`KvsError::DiskFull`], [`KvsError::Io`], [`KvsError::Engine`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kvs::{KvsError, SledKvsEngine, Store};
    /// drop(SledKvsEngine::open(dir.path(), kvs::Durability::Os)?);
    /// assert!(matches!(Store::open(dir.path()), Err(KvsError::WrongEngine { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>, durability: Durability) -> Result<SledKvsEngine> {
        let (opened, time) = open::open(directory.as_ref(), durability)?;
        Ok(SledKvsEngine { time, durability, opened: RwLock::new(Some(opened)) })
    }

    /// Kept for as long as an answer takes to find, so that it cannot be closed meanwhile.
    fn opened(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads keys at one moment, until their values have so many bytes together.
    fn read(
        &self,
        keys: &[Bytes],
        bytes_max: usize,
        keys_only: bool,
    ) -> Result<Vec<Option<Versioned>>> {
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        // No batch is half applied for sled's single reads; several are kept together here.
        let alone =
            (keys.len() > 1).then(|| opened.writer.read().unwrap_or_else(PoisonError::into_inner));
        let now_ms = self.time.now_ms();
        let found = read_some(keys, bytes_max, |key| {
            let bytes = opened.get(key)?;
            let record = bytes.as_deref().map(Record::decode).transpose()?;
            let found = record.filter(|record| !record.is_over(now_ms));
            Ok(found.map(|record| record.to_versioned(keys_only)))
        });
        drop(alone);
        found
    }

    fn opened_mut(&self) -> RwLockWriteGuard<'_, Option<Opened>> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sled answered, as an error of this crate.
fn failed(action: &'static str, directory: &Path, error: ::sled::Error) -> KvsError {
    match error {
        ::sled::Error::Io(source) => KvsError::io(action, directory, source),
        ::sled::Error::Corruption { .. } => KvsError::Corrupt {
            path: directory.join(SLED_DB),
            segment: None,
            // sled says where, but not in bytes.
            offset: 0,
            reason: "sled finds it damaged, somewhere",
        },
        other => KvsError::Engine { engine: NAME, source: Arc::new(other) },
    }
}

/// An error that came after something was applied, or half-way. As it is, it may say that nothing
/// was: that is for those who are certain.
fn in_doubt(error: KvsError) -> KvsError {
    match error {
        KvsError::Io { .. } | KvsError::Engine { .. } => error,
        error => KvsError::Engine { engine: NAME, source: Arc::new(error) },
    }
}

impl BlockingEngine for SledKvsEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, ordered: true, ..Capabilities::default() }
    }

    fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }

    fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Versioned>>> {
        self.read(keys, usize::MAX, false)
    }

    fn get_some(&self, keys: &[Bytes], bytes_max: usize) -> Result<Vec<Option<Versioned>>> {
        self.read(keys, bytes_max, false)
    }

    fn get_versions(&self, keys: &[Bytes]) -> Result<Vec<Option<Versioned>>> {
        self.read(keys, usize::MAX, true)
    }

    fn write(&self, writes: &[Write]) -> Result<Vec<Result<Written>>> {
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        let asks =
            |write: &Write| write.durability.unwrap_or(self.durability) == Durability::Always;
        let apply = |write: &Write| {
            let mut writer = opened.writer.write().unwrap_or_else(PoisonError::into_inner);
            opened.write(&mut writer, &write.batch, self.time.now_ms())
        };
        let mut outcomes = apply_each(writes, apply);
        let done = writes.iter().zip(&outcomes);
        if done.into_iter().any(|(write, outcome)| asks(write) && outcome.is_ok())
            && let Err(error) = opened.flush().map_err(in_doubt)
        {
            for (write, outcome) in writes.iter().zip(&mut outcomes) {
                if asks(write) && outcome.is_ok() {
                    *outcome = Err(error.clone());
                }
            }
        }
        Ok(outcomes)
    }

    fn page(&self, scan: &Scan, records_max: usize, bytes_max: usize) -> Result<Vec<Found>> {
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        let mut page = Vec::new();
        if is_void(&scan.from, &scan.to) {
            return Ok(page);
        }
        let now_ms = self.time.now_ms();
        let mut range = opened.records.range((scan.from.clone(), scan.to.clone()));
        let mut bytes = 0_usize;
        while let Some(pair) = if scan.reverse { range.next_back() } else { range.next() } {
            let (key, found) = pair.map_err(|error| failed("read", &opened.directory, error))?;
            let record = Record::decode(&found)?;
            if record.is_over(now_ms) {
                continue;
            }
            bytes += key.len() + if scan.keys_only { 0 } else { record.value.len() };
            if !page.is_empty() && (page.len() >= records_max || bytes > bytes_max) {
                break;
            }
            page.push((key.to_vec(), record.to_versioned(scan.keys_only)));
        }
        Ok(page)
    }

    fn walk(&self, cursor: u64, count: usize) -> Result<Walked> {
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        let from = match cursor {
            0 => Bound::Unbounded,
            _ => {
                let cursors = lock(&opened.cursors);
                let place = cursors.find(cursor).ok_or(KvsError::InvalidCursor { cursor })?;
                Bound::Excluded(place.to_vec())
            }
        };
        let now_ms = self.time.now_ms();
        let mut range = opened.records.range::<Vec<u8>, _>((from, Bound::Unbounded));
        let (mut keys, mut bytes, mut last) = (Vec::new(), 0, None);
        for pair in range.by_ref().take(count.max(1)) {
            let (key, record) = pair.map_err(|error| failed("read", &opened.directory, error))?;
            bytes += key.len();
            if !Record::decode(&record)?.is_over(now_ms) {
                keys.push(key.to_vec());
            }
            last = Some(key);
            if bytes >= WALK_BYTES_MAX {
                break;
            }
        }
        let cursor = match (range.next(), last) {
            (Some(_), Some(last)) => lock(&opened.cursors).give(last.to_vec()),
            _ => 0,
        };
        Ok(Walked { keys, cursor })
    }

    fn random_key(&self) -> Result<Option<Vec<u8>>> {
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        opened.random_key(self.time.now_ms(), random)
    }

    fn len(&self) -> Result<u64> {
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        let mut writer = opened.writer.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = writer.sweep_error.take() {
            return Err(error);
        }
        opened.sweep(&mut writer, self.time.now_ms(), SWEPT_BY_COUNT)?;
        Ok(writer.keys)
    }

    fn clear(&self) -> Result<()> {
        self.opened_mut().as_mut().ok_or(KvsError::Closed)?.clear()
    }

    fn sync(&self) -> Result<()> {
        self.opened().as_ref().ok_or(KvsError::Closed)?.flush()
    }

    fn stats(&self) -> Result<EngineStats> {
        let keys = self.len()?;
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(KvsError::Closed)?;
        let disk_bytes = opened.db.size_on_disk();
        let writer = opened.writer.read().unwrap_or_else(PoisonError::into_inner);
        let figures = vec![Figure {
            name: "expired_keys",
            help: "Keys that were taken out because they had expired.",
            is_counter: true,
            value: to_float(writer.reclaimed),
        }];
        Ok(EngineStats {
            keys,
            expiring_keys: writer.expiring,
            disk_bytes: disk_bytes.map_err(|error| failed("read", &opened.directory, error))?,
            // It is in sled's cache, and on the disk.
            index_bytes: 0,
            figures,
        })
    }

    fn close(&self) -> Result<()> {
        match self.opened_mut().take() {
            Some(opened) => opened.close(self.time.now_ms()),
            None => Ok(()),
        }
    }
}

impl Drop for SledKvsEngine {
    fn drop(&mut self) {
        // Who wants to know about errors closes it.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, KvsError, in_doubt};

    #[test]
    fn what_was_applied_is_not_said_to_have_left_nothing() {
        let io = |kind: std::io::ErrorKind| KvsError::io("sync", "db".as_ref(), kind.into());
        let full = in_doubt(io(std::io::ErrorKind::StorageFull));
        assert!(matches!(full, KvsError::Engine { .. }), "{full}");
        assert!(full.to_string().contains("no space left"), "{full}");
        let failed = in_doubt(io(std::io::ErrorKind::Other));
        assert!(matches!(failed, KvsError::Io { .. }), "{failed}");
        let other = KvsError::Engine { engine: "sled", source: Arc::new(failed) };
        assert!(matches!(in_doubt(other), KvsError::Engine { .. }));
        assert!(matches!(in_doubt(KvsError::Closed), KvsError::Engine { .. }));
    }
}
