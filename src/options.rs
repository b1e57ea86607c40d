//! `Options`: how a store is opened, with the hard limits; nonsense is refused before a file is
//! touched.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{KvsError, Result};
use crate::store::Store;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1 << 20;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// The latest time at which a key can expire, in milliseconds since 1970-01-01 UTC.
pub const EXPIRES_AT_MS_MAX: u64 = i64::MAX.cast_unsigned();
/// The most bytes that a batch of more than one operation may take: its keys and values, and 56
/// bytes for each operation.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// What an operation takes at most beside its key and value.
pub(crate) const OPERATION_BYTES: usize = 56;
/// The smallest and the largest segment that can be asked for, in bytes.
pub const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (4 << 10)..=(128 << 20);

/// When a write is acknowledged.
///
/// The death of the process (kill -9 included) loses nothing acknowledged in any of them.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::{Durability, Options};
/// let store = Options::new().durability(Durability::Always).open(dir.path())?;
/// store.set("key", "on disk when this returns")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Once the operating system has it. Power loss loses what it had not written by itself.
    Os,
    /// Like `Os`, and the log is synced at least every so many milliseconds: power loss loses at
    /// most the writes of that time and of one sync (of a few, while the next segment is made),
    /// always the newest ones, never a gap.
    Interval(
        /// The longest time between two syncs, in milliseconds.
        u64,
    ),
    /// Once it is on the disk (fdatasync). Writers that wait at the same time share a sync.
    Always,
}

impl Default for Durability {
    fn default() -> Durability {
        Durability::Interval(1000)
    }
}

/// How records are read.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::{Options, ReadPath};
/// let store = Options::new().read_path(ReadPath::Pread).open(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ReadPath {
    /// Through a read-only mapping: no system call, no copy for `get_with`. An I/O error there is
    /// a SIGBUS, which the store's signal handler turns into an error for that key.
    #[default]
    Mapped,
    /// With `pread`: slower, and without a signal handler.
    Pread,
}

/// Which index is kept in memory. The files are the same: a directory opens with either.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::{Index, Options};
/// let store = Options::new().index(Index::Ordered).open(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Index {
    /// Where the record of each key lies: about 14 bytes a key, whatever its length. Ranges are
    /// sorted when they are asked for.
    #[default]
    Hash,
    /// The keys in order as well: the key and about 8 bytes more. Ranges are lazy. Opening reads
    /// all keys.
    Ordered,
}

/// Options for one write.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// use kvs::{Durability, WriteOptions};
/// store.set_opt("key", "value", WriteOptions::new().durability(Durability::Always))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    pub(crate) durability: Option<Durability>,
    pub(crate) chained: bool,
}

impl WriteOptions {
    /// The store's own options.
    ///
    /// ```
    /// let options = kvs::WriteOptions::new();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn new() -> WriteOptions {
        WriteOptions::default()
    }

    /// When this write is acknowledged, whatever the store's durability is. `Interval` counts as
    /// `Os` here: how often the log is synced belongs to the store.
    ///
    /// ```
    /// use kvs::{Durability, WriteOptions};
    /// let options = WriteOptions::new().durability(Durability::Os);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> WriteOptions {
        self.durability = Some(durability);
        self
    }

    /// This write is skipped if the one before it in the same
    /// [`Store::write_many`](crate::Store::write_many) was refused for what it requires or for
    /// an expiry that cannot be, or was skipped itself. So writes that come one after the other do
    /// not overtake each other.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::{Batch, Expected, KvsError, WriteOptions};
    /// let (mut first, mut second) = (Batch::new(), Batch::new());
    /// first.require("key", Expected::Present).set("key", "1");
    /// second.set("other", "2");
    /// let chained = WriteOptions::new().chained();
    /// let outcomes = store.write_many(&[(&first, WriteOptions::new()), (&second, chained)]);
    /// assert!(matches!(outcomes[1], Err(KvsError::Skipped)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn chained(mut self) -> WriteOptions {
        self.chained = true;
        self
    }
}

/// When a key expires that is set with [`SetOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Expiry {
    #[default]
    Never,
    /// As the key did before.
    Keep,
    /// So many milliseconds from now.
    AfterMs(u64),
    /// At this time, in milliseconds since 1970-01-01 UTC.
    AtMs(u64),
}

/// Options for [`Store::set_with`](crate::Store::set_with): when the key expires, and on what the
/// write depends.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// use kvs::SetOptions;
/// let lease = SetOptions::new().if_absent().expire_after_ms(30_000);
/// assert!(store.set_with("lock", "me", lease)?.is_some());
/// assert!(store.set_with("lock", "you", lease)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetOptions {
    pub(crate) expiry: Expiry,
    /// Whether the key must have a value, or must have none.
    pub(crate) if_present: Option<bool>,
    pub(crate) write: WriteOptions,
}

impl SetOptions {
    /// No expiry and no condition: as [`Store::set`](crate::Store::set).
    ///
    /// ```
    /// let options = kvs::SetOptions::new();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn new() -> SetOptions {
        SetOptions::default()
    }

    /// The key expires so many milliseconds from now; at least 1.
    ///
    /// ```
    /// let options = kvs::SetOptions::new().expire_after_ms(60_000);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn expire_after_ms(mut self, ms: u64) -> SetOptions {
        self.expiry = Expiry::AfterMs(ms);
        self
    }

    /// The key expires at this time, in milliseconds since 1970-01-01 UTC.
    ///
    /// ```
    /// let options = kvs::SetOptions::new().expire_at_ms(4_102_444_800_000);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn expire_at_ms(mut self, ms: u64) -> SetOptions {
        self.expiry = Expiry::AtMs(ms);
        self
    }

    /// The key expires when it did before, if it did.
    ///
    /// ```
    /// let options = kvs::SetOptions::new().keep_expiry();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn keep_expiry(mut self) -> SetOptions {
        self.expiry = Expiry::Keep;
        self
    }

    /// Only if the key has no value.
    ///
    /// ```
    /// let options = kvs::SetOptions::new().if_absent();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn if_absent(mut self) -> SetOptions {
        self.if_present = Some(false);
        self
    }

    /// Only if the key has a value.
    ///
    /// ```
    /// let options = kvs::SetOptions::new().if_present();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn if_present(mut self) -> SetOptions {
        self.if_present = Some(true);
        self
    }

    /// When this write is acknowledged, as [`WriteOptions::durability`].
    ///
    /// ```
    /// let options = kvs::SetOptions::new().durability(kvs::Durability::Always);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> SetOptions {
        self.write = self.write.durability(durability);
        self
    }
}

type ErrorCallback = Arc<dyn Fn(&KvsError) + Send + Sync>;

/// How to open a store: a builder that ends in [`open`](Options::open).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::{Durability, Options};
/// let store = Options::new()
///     .durability(Durability::Interval(100))
///     .segment_bytes(8 << 20)
///     .open(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: Option<u64>,
    pub(crate) space_amplification: f64,
    pub(crate) index: Index,
    pub(crate) read_path: ReadPath,
    pub(crate) sigbus_guard: bool,
    pub(crate) ballast_bytes: u64,
    pub(crate) snapshot_bytes: u64,
    pub(crate) retain_history: u64,
    pub(crate) compaction: bool,
    pub(crate) must_exist: bool,
    /// Whether time begins at the wall clock, even if the floor on disk is ahead of it.
    pub(crate) reset_clock: bool,
    pub(crate) on_background_error: Option<ErrorCallback>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::default(),
            segment_bytes: None,
            space_amplification: 1.5,
            index: Index::default(),
            read_path: ReadPath::default(),
            sigbus_guard: true,
            ballast_bytes: 1 << 20,
            snapshot_bytes: 1 << 30,
            retain_history: 0,
            compaction: true,
            must_exist: false,
            reset_clock: false,
            on_background_error: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .field("space_amplification", &self.space_amplification)
            .field("index", &self.index)
            .field("read_path", &self.read_path)
            .field("sigbus_guard", &self.sigbus_guard)
            .field("ballast_bytes", &self.ballast_bytes)
            .field("snapshot_bytes", &self.snapshot_bytes)
            .field("retain_history", &self.retain_history)
            .field("compaction", &self.compaction)
            .field("must_exist", &self.must_exist)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::Options::new().open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// When a write is acknowledged. Default: `Interval(1000)`.
    ///
    /// ```
    /// let options = kvs::Options::new().durability(kvs::Durability::Os);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// The size of a segment in bytes, from 4 KiB to 128 MiB. Default: a sixteenth of the live
    /// bytes, at least 1 MiB and at most 128 MiB.
    ///
    /// ```
    /// let options = kvs::Options::new().segment_bytes(64 << 20);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = Some(bytes);
        self
    }

    /// The bound on disk space: segment files take at most this many times the live bytes, plus
    /// two segments. From 1.1 to 100; default 1.5. The smaller, the more is rewritten.
    ///
    /// ```
    /// let options = kvs::Options::new().space_amplification(2.0);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn space_amplification(mut self, factor: f64) -> Options {
        self.space_amplification = factor;
        self
    }

    /// Which index is kept in memory. Default: `Hash`.
    ///
    /// ```
    /// let options = kvs::Options::new().index(kvs::Index::Ordered);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn index(mut self, index: Index) -> Options {
        self.index = index;
        self
    }

    /// How records are read. Default: `Mapped`.
    ///
    /// ```
    /// let options = kvs::Options::new().read_path(kvs::ReadPath::Pread);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn read_path(mut self, read_path: ReadPath) -> Options {
        self.read_path = read_path;
        self
    }

    /// Whether mapped reads install the SIGBUS handler. Default: true. Without it an I/O error
    /// under a mapped read ends the process. The handler passes on faults that are not its own.
    ///
    /// ```
    /// let options = kvs::Options::new().sigbus_guard(false);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn sigbus_guard(mut self, install: bool) -> Options {
        self.sigbus_guard = install;
        self
    }

    /// The size in bytes of the ballast, a file that is given up when the disk is full so that
    /// removes and compaction can go on; when it is used up, the hint files are given up too. While
    /// there is no room for it, no hints are written. 0 turns it off. Default: 1 MiB.
    ///
    /// ```
    /// let options = kvs::Options::new().ballast_bytes(0);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn ballast_bytes(mut self, bytes: u64) -> Options {
        self.ballast_bytes = bytes;
        self
    }

    /// How many bytes snapshots (and iterators, which run on one) may pin: segment files that would
    /// otherwise be gone, and the memory of places that were superseded since. When they pin more,
    /// the oldest one ends, and answers [`KvsError::SnapshotEnded`] from then on. Default: 1 GiB.
    ///
    /// ```
    /// let options = kvs::Options::new().snapshot_bytes(8 << 30);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn snapshot_bytes(mut self, bytes: u64) -> Options {
        self.snapshot_bytes = bytes;
        self
    }

    /// How many of the last writes, and what they superseded, compaction leaves alone: a
    /// [`watch`](crate::Store::watch) can begin so far back, and a backup be
    /// [restored](crate::restore) as of any seq since. That holds over closes and crashes, as long
    /// as every open asks for it; what was compacted before, or cleared, is gone. What is kept
    /// counts as alive for the bound on disk space; each of these writes takes 24 to 40 bytes of
    /// memory, and an open reads the hints once more. Default: 0.
    ///
    /// ```
    /// let options = kvs::Options::new().retain_history(1_000_000);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn retain_history(mut self, writes: u64) -> Options {
        self.retain_history = writes;
        self
    }

    /// Whether compaction runs in the background. Default: true. Without it the bound on disk
    /// space is yours to keep, with [`Store::compact`](crate::Store::compact).
    ///
    /// ```
    /// let options = kvs::Options::new().compaction(false);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn compaction(mut self, in_background: bool) -> Options {
        self.compaction = in_background;
        self
    }

    /// Whether opening a directory without a store is an error. Default: false, one is made.
    ///
    /// ```
    /// let options = kvs::Options::new().must_exist(true);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn must_exist(mut self, required: bool) -> Options {
        self.must_exist = required;
        self
    }

    /// A function that is told of each error of the background work. It is called from a thread
    /// of the store, and must neither block nor write to the store nor close or open it. The
    /// last such error also stands in [`Stats`](crate::Stats).
    ///
    /// ```
    /// let options = kvs::Options::new().on_background_error(|error| eprintln!("{error}"));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn on_background_error(
        mut self,
        callback: impl Fn(&KvsError) + Send + Sync + 'static,
    ) -> Options {
        self.on_background_error = Some(Arc::new(callback));
        self
    }

    /// Opens the store in `directory`, making it first if it is not there.
    ///
    /// A directory that this process already has open gives another handle to the same store.
    /// When this returns, everything that was acknowledged as durable before is readable.
    ///
    /// # Errors
    /// [`KvsError::InvalidOption`], [`KvsError::OptionsDiffer`], [`KvsError::Locked`],
    /// [`KvsError::NotAStore`], [`KvsError::WrongEngine`], [`KvsError::UnsupportedVersion`],
    /// [`KvsError::Corrupt`], [`KvsError::SegmentMissing`], [`KvsError::ManifestMissing`],
    /// [`KvsError::DiskFull`], [`KvsError::Io`], and [`KvsError::Poisoned`] if what an earlier
    /// process left cannot be made durable. No record is lost by an open that fails.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::Options::new().open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<Store> {
        self.check()?;
        Store::open_with(directory.as_ref(), self)
    }

    /// Refuses values that make no sense, naming the option.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |option, value: String, expected| {
            Err(KvsError::InvalidOption { option, value, expected })
        };
        if let Durability::Interval(0) = self.durability {
            return invalid("durability", "Interval(0)".to_owned(), "at least 1 ms");
        }
        if let Some(bytes) = self.segment_bytes
            && !SEGMENT_BYTES.contains(&bytes)
        {
            return invalid("segment_bytes", bytes.to_string(), "from 4096 to 134217728");
        }
        if !(1.1..=100.0).contains(&self.space_amplification) {
            let value = self.space_amplification.to_string();
            return invalid("space_amplification", value, "from 1.1 to 100");
        }
        if self.ballast_bytes > 1 << 30 {
            return invalid("ballast_bytes", self.ballast_bytes.to_string(), "at most 1073741824");
        }
        Ok(())
    }

    /// The first option in which `self` and `other` differ, of those that must agree for two
    /// handles to share a store.
    pub(crate) fn difference(&self, other: &Options) -> Option<&'static str> {
        let same = [
            ("durability", self.durability == other.durability),
            ("segment_bytes", self.segment_bytes == other.segment_bytes),
            (
                "space_amplification",
                self.space_amplification.to_bits() == other.space_amplification.to_bits(),
            ),
            ("index", self.index == other.index),
            ("read_path", self.read_path == other.read_path),
            ("sigbus_guard", self.sigbus_guard == other.sigbus_guard),
            ("ballast_bytes", self.ballast_bytes == other.ballast_bytes),
            ("snapshot_bytes", self.snapshot_bytes == other.snapshot_bytes),
            ("retain_history", self.retain_history == other.retain_history),
            ("compaction", self.compaction == other.compaction),
        ];
        same.iter().find(|(_, same)| !same).map(|(option, _)| *option)
    }
}

/// Answers with an error if the key is over its limit.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > KEY_BYTES_MAX {
        return Err(KvsError::KeyTooLarge { bytes: key.len(), limit: KEY_BYTES_MAX });
    }
    Ok(())
}

/// Answers with an error if the value is over its limit.
pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    check_value_len(value.len())
}

/// Answers with an error if a value of that length is over its limit.
pub(crate) fn check_value_len(bytes: usize) -> Result<()> {
    if bytes > VALUE_BYTES_MAX {
        return Err(KvsError::ValueTooLarge { bytes, limit: VALUE_BYTES_MAX });
    }
    Ok(())
}
