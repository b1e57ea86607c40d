//! Snapshots: the store as it was at one seq, for as long as somebody looks.
//!
//! A snapshot copies nothing. It is made between two groups of commits, so of a batch it sees all
//! or nothing, and it has a time of its own, so that no key expires in it.

use std::sync::Arc;

use super::Store;
use super::as_of::Held;
use super::iter::{Iter, Keys, Records};
use super::read::{Value, Versioned};
use crate::error::Result;

impl Store {
    /// A read-only view of the store as it is now. It stays so, whatever is written; a batch is in
    /// it as a whole or not at all. Making one copies nothing.
    ///
    /// As long as it lives, the places of records that it sees and that were superseded since take
    /// about 100 bytes of memory each, and the segments in which they lie stay on the disk. When
    /// all snapshots together pin more than
    /// [`Options::snapshot_bytes`](crate::Options::snapshot_bytes), the oldest ends.
    ///
    /// # Errors
    /// [`KvsError::Closed`](crate::KvsError::Closed).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "old")?;
    /// let snapshot = store.snapshot()?;
    /// store.set("key", "new")?;
    /// assert_eq!(snapshot.get("key")?.as_deref(), Some(&b"old"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.core().check_open()?;
        Ok(Snapshot { held: Arc::new(Held::new(Arc::clone(&self.handle.core))) })
    }
}

/// A store as it was at one seq; see [`Store::snapshot`]. Clones are handles to the same snapshot,
/// which ends when the last of them is dropped.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let written = store.set("key", "value")?;
/// let snapshot = store.snapshot()?;
/// store.remove("key")?;
/// assert_eq!(snapshot.seq(), written.seq);
/// assert_eq!(snapshot.keys().collect::<kvs::Result<Vec<_>>>()?, [b"key"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) held: Arc<Held>,
}

impl Snapshot {
    /// The seq of the last write that it sees.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert_eq!(store.set("key", "value")?.seq, store.snapshot()?.seq());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.held.as_of.seq
    }

    /// The value that a key had; none if it had none.
    ///
    /// # Errors
    /// As [`Store::get`], and [`KvsError::SnapshotEnded`](crate::KvsError::SnapshotEnded).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let snapshot = store.snapshot()?;
    /// store.set("key", "value")?;
    /// assert!(snapshot.get("key")?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.get_versioned(key)?.map(|found| found.value))
    }

    /// As [`get`](Snapshot::get), with version and expiry.
    ///
    /// # Errors
    /// As [`get`](Snapshot::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let first = store.set("key", "1")?;
    /// let snapshot = store.snapshot()?;
    /// store.set("key", "2")?;
    /// assert_eq!(snapshot.get_versioned("key")?.map(|found| found.seq), Some(first.seq));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_versioned(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        let key = key.as_ref();
        let hash = self.held.view().hasher.hash(key);
        self.held.with_current(key, hash, |current| current.to_versioned())
    }

    /// Whether a key had a value.
    ///
    /// # Errors
    /// As [`get`](Snapshot::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(!store.snapshot()?.contains_key("key")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        let hash = self.held.view().hasher.hash(key);
        Ok(self.held.with_current(key, hash, |_| ())?.is_some())
    }

    /// Goes over all keys with their values, in no order; each comes once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// let snapshot = store.snapshot()?;
    /// store.clear()?;
    /// assert!(snapshot.iter().next().expect("an error").is_err(), "a clear ends all snapshots");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter {
        Iter::new(Arc::clone(&self.held), true)
    }

    /// Goes over all keys, as [`iter`](Snapshot::iter) does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert_eq!(store.snapshot()?.keys().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys(Iter::new(Arc::clone(&self.held), false))
    }

    /// Goes over all keys with values, versions and expiries, as [`iter`](Snapshot::iter) does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert_eq!(store.snapshot()?.records().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn records(&self) -> Records {
        Records(self.iter())
    }
}
