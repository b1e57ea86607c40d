//! `KvStore`: string keys and string values over a `Store`, as the PingCAP Talent Plan names them.
//!
//! It adds nothing to the engine but the check that what is read is UTF-8. It deliberately has no
//! options, batches or statistics: [`Store::open`] on the same directory gives a handle to the
//! same store, with all of them.

use std::path::PathBuf;

use crate::error::{KvsError, Result};
use crate::store::Store;

/// A key-value store of UTF-8 strings, kept in a directory.
///
/// A `KvStore` is a handle: clones share one store and may be used from many threads at once. The
/// type and its methods are those of the course "Practical Networked Applications in Rust"
/// (PingCAP Talent Plan, projects 1 to 4).
///
/// It opens its store with the default [`Options`](crate::Options): when a write returns, the
/// operating system has it, so the death of the process loses nothing; it is synced to the disk
/// at most a second later ([`Durability::Interval`](crate::Durability::Interval)).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::KvStore;
/// let store = KvStore::open(dir.path())?;
/// store.set("key".to_owned(), "value".to_owned())?;
/// assert_eq!(store.get("key".to_owned())?.as_deref(), Some("value"));
/// store.remove("key".to_owned())?;
/// assert_eq!(store.get("key".to_owned())?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KvStore {
    store: Store,
}

impl KvStore {
    /// Opens the store in the directory `path`, making it first if it is not there.
    ///
    /// # Errors
    /// Those of [`Options::open`](crate::Options::open). The directory is then as it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::KvStore::open(dir.path())?;
    /// let same = kvs::KvStore::open(dir.path())?;
    /// store.set("key".to_owned(), "value".to_owned())?;
    /// assert_eq!(same.get("key".to_owned())?.as_deref(), Some("value"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl Into<PathBuf>) -> Result<KvStore> {
        Ok(KvStore { store: Store::open(path.into())? })
    }

    /// Gives `key` the value `value`, in place of the one that it has.
    ///
    /// When this returns, the write survives the death of the process; at most a second later, it
    /// also survives the loss of power.
    ///
    /// # Errors
    /// [`KvsError::KeyTooLarge`], [`KvsError::ValueTooLarge`], [`KvsError::DiskFull`],
    /// [`KvsError::StoreFull`], [`KvsError::Poisoned`], [`KvsError::Closed`],
    /// [`KvsError::Forked`], [`KvsError::Io`], and [`KvsError::Corrupt`] where the record that
    /// the key has cannot be read. The store is then as it was, but for `Poisoned`, after which
    /// it is unknown whether the value is there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::KvStore::open(dir.path())?;
    /// store.set("key".to_owned(), "old".to_owned())?;
    /// store.set("key".to_owned(), "new".to_owned())?;
    /// assert_eq!(store.get("key".to_owned())?.as_deref(), Some("new"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, key: String, value: String) -> Result<()> {
        self.store.set(key, value).map(|_| ())
    }

    /// The value of `key`; `None` if there is none.
    ///
    /// # Errors
    /// [`KvsError::NotUtf8`] if the value was written through another interface and is not a
    /// string; [`KvsError::Corrupt`] if its record is damaged, which is never answered with
    /// `None` or an older value; [`KvsError::OutOfMemory`], [`KvsError::Closed`] and
    /// [`KvsError::Io`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::KvStore::open(dir.path())?;
    /// assert_eq!(store.get("never set".to_owned())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: String) -> Result<Option<String>> {
        let Some(value) = self.store.get(&key)? else {
            return Ok(None);
        };
        String::from_utf8(value.into_vec()).map(Some).map_err(|_| KvsError::NotUtf8 { key })
    }

    /// Removes `key` and its value. What holds for the durability of [`set`](KvStore::set) holds
    /// here.
    ///
    /// # Errors
    /// [`KvsError::KeyNotFound`] if the key has no value, and those of [`set`](KvStore::set).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::KvStore::open(dir.path())?;
    /// use kvs::KvsError;
    /// store.set("key".to_owned(), "value".to_owned())?;
    /// store.remove("key".to_owned())?;
    /// assert!(matches!(store.remove("key".to_owned()), Err(KvsError::KeyNotFound)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, key: String) -> Result<()> {
        if self.store.remove(key)?.existed { Ok(()) } else { Err(KvsError::KeyNotFound) }
    }
}
