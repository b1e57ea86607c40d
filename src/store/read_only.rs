//! `ReadOnlyStore`: a store that another process may have open, to be read.
//!
//! The owner says in the lock file how far others may read. A reader takes the manifest and what
//! was said while that manifest was there, and reads the segments that it names, the last one up
//! to that place: a prefix of the writes. A segment that is gone by the time it is opened sends it
//! back to the manifest; one that is open stays readable though its name is gone.

use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::as_of::Held;
use super::iter::{Iter, Keys, Records};
use super::range::{Range, owned, prefix_bounds};
use super::read::{Value, Versioned};
use super::reading::{Place, Reading, Sight};
use super::real_disk::{RealClock, RealDisk};
use super::recovery::holds_store;
use super::stats::Stats;
use super::sync::lock;
use super::{Store, canonical};
use crate::error::{KvsError, Result};
use crate::options::Options;

impl Store {
    /// Opens the store in `directory` to be read, beside a process that has it open or without
    /// one; any number of processes may. Not a byte of the directory is changed.
    ///
    /// Beside an owner, what is read is a prefix of its writes, batches as a whole: while writes
    /// go on it lags by about a tenth of a second, and a write with
    /// [`Durability::Always`](crate::Durability::Always) is not in it before it is durable, unless
    /// its process was killed before it was acknowledged.
    /// Without an owner it is everything that the next one will find, a torn tail left out; after
    /// a kill the newest of that may not be durable yet.
    ///
    /// # Errors
    /// [`KvsError::NotAStore`]: there is none. [`KvsError::Corrupt`],
    /// [`KvsError::SegmentMissing`], [`KvsError::ManifestMissing`]: it is damaged, as for
    /// [`Store::open`]. [`KvsError::Unsettled`]: the owner was faster each time.
    /// [`KvsError::WrongEngine`], [`KvsError::UnsupportedVersion`], [`KvsError::OutOfMemory`],
    /// [`KvsError::Io`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// store.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert_eq!(reader.get("key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<ReadOnlyStore> {
        ReadOnlyStore::open_in(Place {
            disk: Arc::new(RealDisk),
            clock: Arc::new(RealClock),
            directory: canonical(directory.as_ref())?,
            options: Options::new(),
        })
    }
}

/// A handle to a store that is only read, from [`Store::open_read_only`]. Clones are handles to
/// the same; what it shows changes with [`refresh`](ReadOnlyStore::refresh) alone.
///
/// Keys expire by the clock of this machine, which counts as never earlier than what the store
/// has on disk: beside an owner they may expire up to a second earlier than for that one. A reader
/// cannot write down what time it saw: if the clock is set back and no owner has been there since,
/// a later reader may see a key again.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let store = kvs::Store::open(dir.path())?;
/// let reader = kvs::Store::open_read_only(dir.path())?;
/// store.set("key", "value")?;
/// store.close()?;
/// assert!(!reader.contains_key("key")?);
/// assert!(reader.refresh()?);
/// assert!(reader.contains_key("key")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ReadOnlyStore {
    shared: Arc<Shared>,
}

/// What the handles have in common.
struct Shared {
    place: Place,
    /// Replaced as a whole where more has changed than that the log has grown; who is reading goes
    /// on in what it was.
    reading: RwLock<Arc<Reading>>,
    /// At what the directory looked like then. Held by the one refresh that runs.
    sight: Mutex<Sight>,
}

impl ReadOnlyStore {
    pub(crate) fn open_in(place: Place) -> Result<ReadOnlyStore> {
        if !holds_store(&*place.disk, &place.directory)? {
            return Err(KvsError::NotAStore { path: place.directory });
        }
        let sight = place.look(None)?;
        let (sight, reading) = place.read(sight, 0)?;
        let (reading, sight) = (RwLock::new(Arc::new(reading)), Mutex::new(sight));
        Ok(ReadOnlyStore { shared: Arc::new(Shared { place, reading, sight }) })
    }

    pub(crate) fn reading(&self) -> Arc<Reading> {
        Arc::clone(&self.shared.reading.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is shown, and at what the directory looked like when that was read: of one moment.
    pub(crate) fn shown<R>(&self, look: impl FnOnce(&Arc<Reading>, &Sight) -> R) -> R {
        let sight = lock(&self.shared.sight);
        look(&self.reading(), &sight)
    }

    fn held(&self) -> Arc<Held> {
        Arc::new(Held::of_reader(self.reading()))
    }

    /// Takes in what was written since it was opened or refreshed last. False: nothing was. True
    /// may also mean that an owner came, went, or did nothing but compact.
    ///
    /// Where the log has grown and nothing else has changed, as much is read as was written; else
    /// (about once a segment) the index is built anew, from hints, in memory of its own until
    /// nobody uses the old one. Of a batch, [`get_many`](ReadOnlyStore::get_many) sees all or
    /// nothing. Iterations that have begun go on, and may or may not meet what is new.
    ///
    /// # Errors
    /// As [`Store::open_read_only`]; what was readable stays so.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert!(!reader.refresh()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh(&self) -> Result<bool> {
        let mut sight = lock(&self.shared.sight);
        let now = self.shared.place.look(Some(&sight))?;
        if now == *sight {
            return Ok(false);
        }
        let reading = self.reading();
        let growth = now.growth_since(&sight);
        if let Some(end) = growth
            && reading.catch_up(end)?
        {
            *sight = now;
            return Ok(true);
        }
        let (now, new) = self.shared.place.read(now, reading.view.time.now_ms())?;
        let mut current = self.shared.reading.write().unwrap_or_else(PoisonError::into_inner);
        // Time never goes back for those who have this handle, and it went on meanwhile.
        new.view.time.not_before(current.view.time.now_ms());
        *current = Arc::new(new);
        drop(current);
        *sight = now;
        Ok(true)
    }

    /// The value of a key; none if it has no value. The bytes are a verified copy.
    ///
    /// # Errors
    /// [`KvsError::Corrupt`]: the record is damaged; never an older value instead.
    /// [`KvsError::Io`], [`KvsError::OutOfMemory`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert!(kvs::Store::open_read_only(dir.path())?.get("key")?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.reading().view.get(key.as_ref())
    }

    /// Hands the value of a key to a function, without a copy.
    ///
    /// # Errors
    /// As [`get`](ReadOnlyStore::get). If the medium fails while the function runs, it may have
    /// seen zeros: the error then comes instead of its result.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert_eq!(reader.get_with("key", |value| value.len())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        use_value: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.reading().view.get_with(key.as_ref(), use_value)
    }

    /// The values of many keys, all of the same state: of a batch, all is seen or nothing.
    ///
    /// # Errors
    /// As [`get`](ReadOnlyStore::get), for the first key that fails.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert_eq!(reader.get_many(&["a", "b"])?, [None, None]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.reading().view.get_many(keys, usize::MAX, |found| found.value)
    }

    /// The value of a key with its version and its expiry; none if it has no value.
    ///
    /// # Errors
    /// As [`get`](ReadOnlyStore::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let seq = store.set("key", "value")?.seq;
    /// store.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert_eq!(reader.get_versioned("key")?.map(|found| found.seq), Some(seq));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_versioned(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        self.reading().view.get_versioned(key.as_ref())
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As [`get`](ReadOnlyStore::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert!(!kvs::Store::open_read_only(dir.path())?.contains_key("key")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.reading().view.contains_key(key.as_ref())
    }

    /// When a key expires, in milliseconds since 1970-01-01 UTC. The outer none: it has no value;
    /// the inner one: it does not expire.
    ///
    /// # Errors
    /// As [`get`](ReadOnlyStore::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// store.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert_eq!(reader.expires_at("key")?, Some(None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<u64>>> {
        self.reading().view.expires_at(key.as_ref())
    }

    /// The time by which keys expire, in milliseconds since 1970-01-01 UTC: the clock of this
    /// machine, but never earlier than any time that the store or this handle has seen.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert!(kvs::Store::open_read_only(dir.path())?.now_ms() > 1_700_000_000_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.reading().view.time.now_ms()
    }

    /// Goes over all keys with their values, in no order. Each key comes once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.iter().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter {
        Iter::new(self.held(), true)
    }

    /// Goes over all keys, as [`iter`](ReadOnlyStore::iter) does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.keys().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys(Iter::new(self.held(), false))
    }

    /// Goes over all keys with values, versions and expiries, as [`iter`](ReadOnlyStore::iter)
    /// does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.records().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn records(&self) -> Records {
        Records(self.iter())
    }

    /// Goes over the keys of a range with their values, in the order of their bytes, from both
    /// ends. All keys of the store are read for it, and those of the range are held in memory.
    ///
    /// # Errors
    /// [`KvsError::InvalidRange`] if its start is after its end; what reading the keys can answer.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.range("a".."b")?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Range> {
        let bounds = (owned(bounds.start_bound()), owned(bounds.end_bound()));
        Range::new(self.held(), bounds, &|| true)
    }

    /// Goes over the keys that begin with a prefix, as [`range`](ReadOnlyStore::range).
    ///
    /// # Errors
    /// As [`range`](ReadOnlyStore::range).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.prefix("user/")?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range> {
        Range::new(self.held(), prefix_bounds(prefix.as_ref()), &|| true)
    }

    /// The number of keys that have a value. One that has expired since it was read is counted
    /// until the index is built anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        self.reading().view.keydir.len()
    }

    /// Whether no key has a value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert!(kvs::Store::open_read_only(dir.path())?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What can be said of the store from outside. What only its owner knows (compactions, syncs,
    /// background errors) is 0 or none; `truncated_bytes` is what the next owner will cut off.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// assert_eq!(kvs::Store::open_read_only(dir.path())?.stats().live_keys, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.reading().stats()
    }
}

impl std::fmt::Debug for ReadOnlyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = &self.shared.place.directory;
        f.debug_struct("ReadOnlyStore").field("directory", directory).finish_non_exhaustive()
    }
}

const _: () = {
    const fn is_shared_between_threads<T: Clone + Send + Sync>() {}
    is_shared_between_threads::<ReadOnlyStore>();
};

/// The methods by which a simulation reads.
#[cfg(any(test, fuzzing))]
impl ReadOnlyStore {
    pub(crate) fn expiring_keys(&self) -> u64 {
        self.reading().expiring_keys.load(std::sync::atomic::Ordering::SeqCst)
    }
}
