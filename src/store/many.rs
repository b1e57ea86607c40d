//! Several keys, or several writes, in one call.

use super::Store;
use super::group::Written;
use super::read::{Value, Versioned};
use crate::batch::Batch;
use crate::error::Result;
use crate::options::WriteOptions;

impl Store {
    /// The values of many keys, at one moment: whatever others write meanwhile, there was a time at
    /// which all of them were so, but that a key which expires meanwhile may be among them. Faster
    /// than as many calls of [`get`](Store::get), because the waits for memory overlap.
    ///
    /// # Errors
    /// As [`get`](Store::get), for the first key that fails.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("a", "1")?;
    /// let values = store.get_many(&["a", "b"])?;
    /// assert!(values[0].is_some() && values[1].is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.core().get_many(keys, usize::MAX, |found| found.value)
    }

    /// As [`get_many`](Store::get_many), with versions and expiries.
    ///
    /// # Errors
    /// As [`get_many`](Store::get_many).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let written = store.set("a", "1")?;
    /// let found = store.get_many_versioned(&["a"])?.remove(0);
    /// assert_eq!(found.map(|found| found.seq), Some(written.seq));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many_versioned<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Versioned>>> {
        self.core().get_many(keys, usize::MAX, |found| found)
    }

    /// As [`get_many_versioned`](Store::get_many_versioned), but only of as many of the first keys
    /// as it takes to have values of `bytes_max` bytes together, and of one at least: the answer
    /// may be shorter than the list of keys.
    ///
    /// # Errors
    /// As [`get_many`](Store::get_many).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("a", "long")?;
    /// assert_eq!(store.get_some(&["a", "b", "c"], 3)?.len(), 1);
    /// assert_eq!(store.get_some(&["a", "b", "c"], 5)?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_some<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        bytes_max: usize,
    ) -> Result<Vec<Option<Versioned>>> {
        self.core().get_many(keys, bytes_max, |found| found)
    }

    /// Writes batches in this order, each for itself: each has its own seq and its own outcome, and
    /// sees those before it. As many as fit (1 MiB) take one append and, if any of them asks for
    /// [`Durability::Always`](crate::Durability::Always), one sync. On return each that has
    /// succeeded is as durable as it asked for.
    ///
    /// # Errors
    /// Each as [`write_opt`](Store::write_opt).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Batch, Expected, WriteOptions};
    /// let (mut first, mut second) = (Batch::new(), Batch::new());
    /// first.set("key", "1");
    /// second.require("key", Expected::Absent).set("key", "2");
    /// let options = WriteOptions::new();
    /// let outcomes = store.write_many(&[(&first, options), (&second, options)]);
    /// assert!(outcomes[0].is_ok() && outcomes[1].is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_many(&self, writes: &[(&Batch, WriteOptions)]) -> Vec<Result<Written>> {
        self.core().write_many(writes)
    }

    /// Whether a write of about `bytes` bytes might have to wait for something other than its own
    /// append: another writer, the disk, compaction. For callers that can do it elsewhere.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Durability, WriteOptions};
    /// let synced = WriteOptions::new().durability(Durability::Always);
    /// assert!(store.would_wait(100, synced));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn would_wait(&self, bytes: usize, options: WriteOptions) -> bool {
        self.core().would_wait(bytes, options)
    }
}

/// For engines.
#[cfg(feature = "server")]
impl Store {
    /// Whether a write with these options waits for the disk.
    pub(crate) fn is_waited_for(&self, options: WriteOptions) -> bool {
        self.core().is_waited_for(options)
    }

    /// As [`get_many_versioned`](Store::get_many_versioned), without the values, which are empty in
    /// the answer. None is copied.
    pub(crate) fn get_versions<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
    ) -> Result<Vec<Option<Versioned>>> {
        self.core().get_versions(keys)
    }

    /// As [`get_many_versioned`](Store::get_many_versioned), if no value, and not all together,
    /// have more than `bytes_max` bytes, which is found out before one is copied where files are
    /// mapped.
    pub(crate) fn get_small<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        bytes_max: usize,
    ) -> Result<Vec<Option<Versioned>>> {
        self.core().get_small(keys, bytes_max)
    }

    /// As [`get_some`](Store::get_some), each key for itself, in this order; with a limit for each
    /// value, as with `get_small`.
    pub(crate) fn get_each<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        limits: (usize, usize),
    ) -> Result<Vec<Option<Versioned>>> {
        self.core().get_each(keys, limits)
    }
}
