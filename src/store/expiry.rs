//! When keys expire, and versions: what a key has beside its value.

use super::Store;
use super::change::Change;
use super::group::Written;
use super::iter::Records;
use super::prepare::check_expiry;
use super::read::Versioned;
use crate::error::Result;
use crate::options::WriteOptions;

impl Store {
    /// The value of a key with its version and its expiry; none if it has no value.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let first = store.set("key", "1")?;
    /// assert_eq!(store.get_versioned("key")?.map(|found| found.seq), Some(first.seq));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_versioned(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        self.core().get_versioned(key.as_ref())
    }

    /// Goes over all keys with values, versions and expiries, as [`iter`](Store::iter) does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let seq = store.set("key", "value")?.seq;
    /// for record in store.records() {
    ///     let (key, found) = record?;
    ///     assert_eq!((&key[..], &found.value[..], found.seq), (&b"key"[..], &b"value"[..], seq));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn records(&self) -> Records {
        Records(self.iter())
    }

    /// When a key expires, in milliseconds since 1970-01-01 UTC. The outer none: it has no value;
    /// the inner one: it does not expire.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert_eq!(store.expires_at("key")?, None);
    /// store.set("key", "value")?;
    /// assert_eq!(store.expires_at("key")?, Some(None));
    /// let at_ms = store.now_ms() + 60_000;
    /// store.expire_at("key", at_ms)?;
    /// assert_eq!(store.expires_at("key")?, Some(Some(at_ms)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<u64>>> {
        self.core().expires_at(key.as_ref())
    }

    /// Lets a key expire at a time, in milliseconds since 1970-01-01 UTC: from then on it is
    /// absent. Its value is written again. None: the key has no value.
    ///
    /// # Errors
    /// [`KvsError::InvalidExpiry`](crate::KvsError::InvalidExpiry) if that is in the past; as
    /// [`set`](Store::set) and [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// assert!(store.expire_at("key", store.now_ms() + 60_000)?.is_some());
    /// assert!(store.expire_at("none", store.now_ms() + 60_000)?.is_none());
    /// assert!(matches!(store.expire_at("key", 1), Err(kvs::KvsError::InvalidExpiry { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expire_at(&self, key: impl AsRef<[u8]>, at_ms: u64) -> Result<Option<Written>> {
        let core = self.core();
        let now_ms = core.time.now_ms();
        check_expiry(at_ms, now_ms)?;
        core.change(key.as_ref(), WriteOptions::new(), |current| {
            Ok(current.map_or(Change::Nothing, |current| Change::Set {
                value: current.value.to_vec(),
                expires_at_ms: Some(at_ms),
            }))
        })
    }

    /// Takes the expiry of a key away. None: it has no value or no expiry.
    ///
    /// # Errors
    /// As [`set`](Store::set) and [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set_with("key", "value", kvs::SetOptions::new().expire_after_ms(60_000))?;
    /// assert!(store.persist("key")?.is_some());
    /// assert!(store.persist("key")?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<Option<Written>> {
        self.core().change(key.as_ref(), WriteOptions::new(), |current| {
            let expiring = current.filter(|current| current.expiry().is_some());
            Ok(expiring.map_or(Change::Nothing, |current| Change::Set {
                value: current.value.to_vec(),
                expires_at_ms: None,
            }))
        })
    }

    /// The time by which keys expire, in milliseconds since 1970-01-01 UTC: the clock of this
    /// machine, but as long as the store is open never earlier than before, and after that never
    /// earlier than a time at which a key was seen to have expired.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(store.now_ms() > 1_700_000_000_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.core().time.now_ms()
    }
}
