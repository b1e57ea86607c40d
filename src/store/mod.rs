//! The engine: an append-only log in segments, the keydir, group commit, compaction.
//!
//! The files stand here in the order in which to read them: each uses only those before it.

#[macro_use]
mod bug;
pub(crate) mod names;
mod clock;
mod record;
mod hash;
mod sync;
mod fork;
mod map;
mod disk;
mod real_disk;
mod notice;
mod pins;
mod segment;
mod appender;
mod scan;
mod hint;
mod manifest;
mod keydir;
mod mark;
mod segments;
mod durable;
mod history;
mod ordered;
mod queue;
mod load;
pub(crate) mod engine_file;
mod retained;
mod recovery;
mod compaction;
mod group;
mod view;
mod core;
mod space;
mod ballast;
mod read;
mod together;
mod as_of;
mod condition;
mod commit;
mod prepare;
mod rotation;
mod rewrite;
mod write_hint;
mod sweep;
mod clear;
mod iter;
mod snapshot;
mod page;
mod range;
mod feed;
mod watch;
mod stats;
mod worker;
mod open;
mod registry;
mod many;
mod walk;
mod change;
mod expiry;
mod clock_floor;
mod reading;
mod read_only;
mod read_only_watch;
mod damage;
mod verify;
mod restore;
mod backup;
mod read_only_backup;
mod salvage;
mod inspect;
mod machine;
mod survey;
mod doctor;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code, reason = "the tests use all of it"))]
pub(crate) mod sim_disk;
#[cfg(test)]
pub(crate) mod tests;
// Apart from the tests, which it has not.
#[cfg(all(fuzzing, not(test)))]
#[allow(dead_code, reason = "the tests use the rest")]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

#[cfg(all(any(test, fuzzing), feature = "server"))]
pub(crate) use tests::fuzzed;

pub use backup::BackupReport;
#[cfg(feature = "server")]
pub(crate) use change::parse_integer;
pub use clock_floor::{ClockReset, reset_clock};
pub use damage::Damage;
pub use doctor::{Finding, Verdict, doctor};
pub use feed::Change;
#[cfg(feature = "server")]
pub(crate) use feed::Look;
pub use group::Written;
pub use inspect::{Content, Inspected, inspect};
pub use iter::{Iter, Keys, Records};
pub use range::{Range, RangeKeys};
pub use read::{Value, Versioned};
pub use read_only::ReadOnlyStore;
pub use read_only_watch::ReadOnlyWatch;
pub use restore::{RestoreReport, restore};
pub use salvage::{SalvageReport, salvage};
pub use snapshot::Snapshot;
pub use stats::{SegmentStats, Stats};
pub use verify::{Progress, VerifyReport, verify};
pub(crate) use walk::WALK_BYTES_MAX;
pub use walk::Walked;
pub use watch::Watch;

#[cfg(feature = "server")]
pub(crate) use clock::Time;
#[cfg(feature = "sled")]
pub(crate) use disk::{Disk, DiskLock, replace};
#[cfg(feature = "server")]
pub(crate) use hash::{HashSeed, Hasher};
#[cfg(feature = "sled")]
pub(crate) use notice::lock_directory;
#[cfg(feature = "server")]
pub(crate) use prepare::check_expiry;
#[cfg(feature = "server")]
pub(crate) use real_disk::{RealClock, RealDisk};
#[cfg(feature = "sled")]
pub(crate) use recovery::refuse_backup;
pub(crate) use sync::lock;

use self::core::{Core, Environment};
use crate::batch::{Batch, Operation};
use crate::error::{KvsError, Result};
use crate::options::{Options, WriteOptions};
use as_of::Held;
#[cfg(not(feature = "sled"))]
use disk::DiskLock;

/// A handle to an open store. Clones are handles to the same store; it is closed when the last
/// one is dropped, or by [`close`](Store::close).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let store = kvs::Store::open(dir.path())?;
/// store.set("key", "value")?;
/// assert_eq!(store.get("key")?.as_deref(), Some(&b"value"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

/// What ends with the last handle.
struct Handle {
    core: Arc<Core>,
    life: Mutex<Life>,
}

/// What an open store has and a closed one has not.
enum Life {
    Open { threads: Vec<JoinHandle<()>>, lock: Arc<dyn DiskLock> },
    Closed(Result<()>),
}

impl Store {
    /// Opens the store in `directory` with the default [`Options`], making it if it is not there.
    ///
    /// # Errors
    /// As [`Options::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::Store::open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>) -> Result<Store> {
        Options::new().open(directory)
    }

    /// Opens a directory of the real disk, or shares the store that is open there.
    pub(crate) fn open_with(directory: &Path, options: &Options) -> Result<Store> {
        if !options.must_exist {
            let made = std_create_dir(directory);
            made.map_err(|error| KvsError::io("create", directory, error))?;
        }
        let canonical = canonical(directory)?;
        let found = registry::find_or_open(&canonical, || {
            let seed = getrandom::u64().map_err(|error| {
                KvsError::io("get random numbers for", directory, std::io::Error::other(error))
            })?;
            let disk = Arc::new(real_disk::RealDisk);
            let clock = Arc::new(real_disk::RealClock);
            let environment = Environment { disk, clock, seed, background: true };
            Store::open_in(&canonical, options, environment)
        });
        let store = found?;
        match store.core().options.difference(options) {
            Some(option) => Err(KvsError::OptionsDiffer { path: canonical, option }),
            None => Ok(store),
        }
    }

    pub(crate) fn open_in(
        directory: &Path,
        options: &Options,
        environment: Environment,
    ) -> Result<Store> {
        let disk = Arc::clone(&environment.disk);
        recovery::refuse_backup(&*disk, directory)?;
        if options.must_exist && !recovery::holds_store(&*disk, directory)? {
            return Err(KvsError::NotAStore { path: directory.to_owned() });
        }
        disk.create_dir(directory).map_err(|error| KvsError::io("create", directory, error))?;
        let lock: Arc<dyn DiskLock> = notice::lock_directory(&*disk, directory)?.into();
        // Once more: a backup may have been made there meanwhile.
        recovery::refuse_backup(&*disk, directory)?;
        let core = Core::open(directory, options, &environment, Arc::downgrade(&lock))?;
        let core = Arc::new(core);
        let threads = if environment.background { worker::start(&core)? } else { Vec::new() };
        let life = Mutex::new(Life::Open { threads, lock });
        Ok(Store { handle: Arc::new(Handle { core, life }) })
    }

    fn core(&self) -> &Core {
        &self.handle.core
    }

    /// Gives a key a value.
    ///
    /// When this returns, the write is in the log, seen by every later read, and as durable as
    /// the store's [`Durability`](crate::Durability) says.
    ///
    /// # Errors
    /// [`KvsError::KeyTooLarge`], [`KvsError::ValueTooLarge`], [`KvsError::DiskFull`],
    /// [`KvsError::StoreFull`], [`KvsError::Closed`]: nothing was written.
    /// [`KvsError::Poisoned`]: the write is not visible; a sync failed, and whether it is durable
    /// is known after the next open. [`KvsError::Corrupt`] or [`KvsError::Io`]: the record that
    /// this write would supersede cannot be read and has no hint; nothing was written.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let written = store.set("key", "value")?;
    /// assert!(!written.existed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written> {
        self.set_opt(key, value, WriteOptions::new())
    }

    /// As [`set`](Store::set), with options for this write.
    ///
    /// # Errors
    /// As [`set`](Store::set).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Durability, WriteOptions};
    /// store.set_opt("key", "value", WriteOptions::new().durability(Durability::Always))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_opt(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Written> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.core().write_one(Operation::Set { key, value, expires_at_ms: None }, options)
    }

    /// The value of a key; none if it has no value. The bytes are a verified copy.
    ///
    /// # Errors
    /// [`KvsError::Corrupt`]: the record is damaged; never an older value instead.
    /// [`KvsError::Io`], [`KvsError::OutOfMemory`], [`KvsError::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(store.get("key")?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.core().get(key.as_ref())
    }

    /// Hands the value of a key to a function, without a copy. While it runs, the disk space of
    /// superseded records is not given back.
    ///
    /// # Errors
    /// As [`get`](Store::get). If the medium fails while the function runs, it may have seen
    /// zeros: the error then comes instead of its result.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// assert_eq!(store.get_with("key", |value| value.len())?, Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        use_value: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.core().get_with(key.as_ref(), use_value)
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(!store.contains_key("key")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.core().contains_key(key.as_ref())
    }

    /// Removes a key. Removing one that does not exist writes nothing and is no error; it is
    /// answered when every write queued before it is visible.
    ///
    /// # Errors
    /// As [`set`](Store::set). A full disk does not stop removes as long as the ballast lasts, but
    /// those that are committed together with a set that fails may fail with it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// assert!(store.remove("key")?.existed);
    /// assert!(!store.remove("key")?.existed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<Written> {
        self.remove_opt(key, WriteOptions::new())
    }

    /// As [`remove`](Store::remove), with options for this write.
    ///
    /// # Errors
    /// As [`remove`](Store::remove).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Durability, WriteOptions};
    /// store.remove_opt("key", WriteOptions::new().durability(Durability::Os))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_opt(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<Written> {
        self.core().write_one(Operation::Remove { key: key.as_ref() }, options)
    }

    /// Writes a batch, all or nothing, with one seq; if it has requirements, only if all hold.
    ///
    /// Single gets at the same time may see a part of it; [`get_many`](Store::get_many) does not.
    ///
    /// # Errors
    /// As [`set`](Store::set), and [`KvsError::BatchTooLarge`], [`KvsError::InvalidExpiry`],
    /// [`KvsError::PreconditionFailed`]: nothing was written.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let mut batch = kvs::Batch::new();
    /// batch.set("a", "1").remove("b");
    /// store.write(&batch)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, batch: &Batch) -> Result<Written> {
        self.write_opt(batch, WriteOptions::new())
    }

    /// As [`write`](Store::write), with options for this write.
    ///
    /// # Errors
    /// As [`write`](Store::write).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Batch, Durability, WriteOptions};
    /// let mut batch = Batch::new();
    /// batch.set("a", "1");
    /// store.write_opt(&batch, WriteOptions::new().durability(Durability::Always))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_opt(&self, batch: &Batch, options: WriteOptions) -> Result<Written> {
        self.core().write_batch(batch, options)
    }

    /// Makes everything that was acknowledged before durable.
    ///
    /// # Errors
    /// [`KvsError::Poisoned`] if the disk refuses, or did before; [`KvsError::Closed`],
    /// [`KvsError::Forked`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// store.sync()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.core().sync()
    }

    /// Goes over all keys with their values, in no order.
    ///
    /// It runs on a [`snapshot`](Store::snapshot) of its own: each key comes once, with the value
    /// that it has now, whatever is written meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// for pair in store.iter() {
    ///     let (key, value) = pair?;
    ///     assert_eq!((&key[..], &value[..]), (&b"key"[..], &b"value"[..]));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter {
        Iter::new(Arc::new(Held::new(Arc::clone(&self.handle.core))), true)
    }

    /// Goes over all keys, as [`iter`](Store::iter) does. The keys are read from the disk: they
    /// are not in memory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// assert_eq!(store.keys().collect::<kvs::Result<Vec<_>>>()?, [b"key"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys(Iter::new(Arc::new(Held::new(Arc::clone(&self.handle.core))), false))
    }

    /// The number of keys that have a value. Keys that have expired are counted for about a second
    /// more, in a store of many millions of keys for up to a minute.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert_eq!(kvs::Store::open(dir.path())?.len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        self.core().keydir.len()
    }

    /// Whether no key has a value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(kvs::Store::open(dir.path())?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all keys, at once and for good: durable when this returns, and the disk space is
    /// given back. Of a write at the same time either nothing stays or all.
    ///
    /// # Errors
    /// [`KvsError::DiskFull`], [`KvsError::Io`]: nothing was removed. [`KvsError::Poisoned`],
    /// [`KvsError::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// store.clear()?;
    /// assert!(store.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        self.core().clear()
    }

    /// Rewrites every segment, so that only what is alive is left. Reads and writes go on.
    ///
    /// # Errors
    /// [`KvsError::DiskFull`], [`KvsError::Io`], [`KvsError::Corrupt`]: every segment that could
    /// not be rewritten is still there. [`KvsError::Poisoned`], [`KvsError::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "1")?;
    /// store.set("key", "2")?;
    /// store.compact()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self) -> Result<()> {
        self.core().compact()
    }

    /// What the store says about itself.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let stats = kvs::Store::open(dir.path())?.stats();
    /// assert_eq!(stats.live_keys, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// Closes the store for all its handles: later calls answer [`KvsError::Closed`]. Everything
    /// acknowledged is durable when this returns without an error.
    ///
    /// # Errors
    /// [`KvsError::Poisoned`] or what the disk answered; the store is closed all the same.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// store.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(self) -> Result<()> {
        self.handle.close()
    }
}

impl Handle {
    /// Closes the store; who comes second waits and hears what came of it.
    fn close(&self) -> Result<()> {
        if self.core.owner.is_gone() {
            // The threads and the lock are the parent's, and who holds `life` may not be here.
            if let Ok(mut life) = self.life.try_lock() {
                std::mem::forget(std::mem::replace(&mut *life, Life::Closed(Ok(()))));
            }
            return self.core.close();
        }
        let mut life = lock(&self.life);
        let begun = std::mem::replace(&mut *life, Life::Closed(Err(KvsError::Closed)));
        let closed = match begun {
            Life::Closed(closed) => closed,
            Life::Open { threads, lock } => {
                // Nothing is acknowledged any more that no thread would sync.
                self.core.queue.close();
                worker::stop(&self.core, threads);
                if self.core.background {
                    self.core.write_hints();
                }
                let closed = self.core.close();
                if closed.is_ok() {
                    self.core.board.clear();
                }
                // Only now may another process have the directory.
                drop(lock);
                closed
            }
        };
        *life = Life::Closed(closed.clone());
        closed
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Who wants to know calls `close`.
        let _ = self.close();
        if !self.core.owner.is_gone() {
            registry::forget(self);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = &self.core().shelf.directory;
        f.debug_struct("Store").field("directory", directory).finish_non_exhaustive()
    }
}

/// The methods by which a simulation drives a store.
#[cfg(any(test, fuzzing))]
impl Store {
    pub(crate) fn sync_step(&self) -> Result<()> {
        self.core().sync_step()?;
        self.core().prepare_step()?;
        self.core().post_notice()
    }

    pub(crate) fn compact_step(&self) -> Result<bool> {
        self.core().compact_step(&mut || ())
    }

    pub(crate) fn sweep_step(&self) -> Result<()> {
        self.core().sweep_step()
    }

    pub(crate) fn expiry_ms(&self) -> u64 {
        self.core().time.expiry_ms()
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.core().ordered.is_some()
    }

    pub(crate) fn expiring_keys(&self) -> u64 {
        self.core().space.expiring_keys.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) fn compact_segments(&self, ids: &[u64]) -> Result<()> {
        let core = self.core();
        let _compaction = lock(&core.compaction);
        let floor = core.retained_floor();
        let by_id = |id: &u64| {
            let found = core.segments.by_id(names::SegmentId(*id))?;
            (found.facts().max_seq <= floor).then_some(found)
        };
        let inputs: Vec<_> = ids.iter().filter_map(by_id).collect();
        if inputs.is_empty() { Ok(()) } else { core.compact_together(&inputs, &mut || ()) }
    }

    /// Of each segment with retained records, their bytes.
    pub(crate) fn retained_bytes(&self) -> Vec<(u64, u64)> {
        self.core().trim_retained();
        let all = self.core().segments.all();
        let bytes = |it: &segment::Segment| {
            (it.id.0, it.retained_bytes.load(std::sync::atomic::Ordering::SeqCst))
        };
        all.iter().map(|it| bytes(it)).filter(|(_, bytes)| *bytes > 0).collect()
    }

    pub(crate) fn rotate(&self) -> Result<()> {
        self.core().rotate_now()
    }

    pub(crate) fn segment_ids(&self) -> Vec<u64> {
        // The log's last segment comes last: outputs of a compaction have higher ids.
        let active = lock(&self.core().log).appender.segment.id;
        let all = self.core().segments.all();
        let sealed = all.iter().filter(|it| it.sealed.load(std::sync::atomic::Ordering::SeqCst));
        sealed.map(|it| it.id.0).chain([active.0]).collect()
    }

    /// Forgets the store without a further access to the disk, as if the process had died.
    pub(crate) fn abandon(self) {
        self.core().queue.close();
        self.core().closed.store(true, std::sync::atomic::Ordering::SeqCst);
        *lock(&self.handle.life) = Life::Closed(Ok(()));
    }
}

/// The path of a directory whatever the current one will be.
fn canonical(directory: &Path) -> Result<PathBuf> {
    match directory.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(KvsError::NotAStore { path: directory.to_owned() })
        }
        canonical => canonical.map_err(|error| KvsError::io("open", directory, error)),
    }
}

fn std_create_dir(directory: &Path) -> std::io::Result<()> {
    disk::Disk::create_dir(&real_disk::RealDisk, directory)
}
