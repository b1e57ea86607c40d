//! `KvsEngine`: what the server needs of whatever keeps the data.
//!
//! It is asynchronous, speaks bytes, and takes several operations in a call, so that what one
//! connection sent at once costs one append and one wait. What an engine cannot do, it answers
//! with [`KvsError::Unsupported`], and says beforehand in its [`Capabilities`].

mod checks;
mod committer;
mod jobs;
mod pages;
mod watchers;
mod store;
mod blocking;
mod memory;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sled")]
mod migrate;
pub mod conformance;

use std::ops::Bound;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

pub use self::memory::MemoryEngine;
#[cfg(feature = "sled")]
pub use self::migrate::{MigrateProgress, MigrateReport, StoredEngine, migrate};
#[cfg(feature = "sled")]
pub use self::sled::SledKvsEngine;
pub use self::store::StoreEngine;
pub use blocking::{BlockingEngine, Pooled};

use crate::batch::{Batch, Expected};
use crate::error::{KvsError, Result};
use crate::options::Durability;
use crate::store::{Change, RealDisk, Versioned, Walked, Written, engine_file};

/// An engine: a map from keys to values, with versions, expiries and conditions.
///
/// Every call is linearizable. An expired key is absent, in every call. A dropped future may or
/// may not have had its effect.
#[expect(clippy::len_without_is_empty, reason = "an answer of an engine is not a collection")]
pub trait KvsEngine: Send + Sync + 'static {
    /// Its name, as in the file `ENGINE` and on the command line.
    fn name(&self) -> &'static str;

    /// What it can do beyond what every engine can.
    fn capabilities(&self) -> Capabilities;

    /// The time by which keys expire, in milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> u64;

    /// Reads keys, at one moment: of a batch, all is seen or nothing, and of several writes none
    /// without those before it. A place in the answer for each, none where the key is absent.
    ///
    /// # Errors
    /// [`KvsError::Corrupt`], [`KvsError::Io`], [`KvsError::Closed`].
    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>>;

    /// As [`get_many`](KvsEngine::get_many), but of as many of the first keys as have values of
    /// about `bytes_max` bytes together, and of one at least: the answer may be shorter than the
    /// list of keys. What it has is of one moment, as there. Unless an engine knows better, it
    /// reads a few, and if they are short it reads those and several times as many at once.
    ///
    /// # Errors
    /// As [`get_many`](KvsEngine::get_many).
    fn get_some<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        Answer::later(async move {
            let mut count = FIRST_TOGETHER;
            loop {
                let found = self.get_many(keys.get(..count).unwrap_or(keys)).await?;
                if count >= keys.len() || value_bytes(&found) >= bytes_max {
                    return Ok(found);
                }
                // All again: what two calls answer may have half of a batch between them.
                count = count.saturating_mul(MORE_TOGETHER);
            }
        })
    }

    /// As [`get_some`](KvsEngine::get_some), but each key for itself, in this order: there need not
    /// be a moment at which all of them were so. It costs less where others write the same keys.
    ///
    /// # Errors
    /// As [`get_many`](KvsEngine::get_many).
    fn get_each<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        self.get_some(keys, bytes_max)
    }

    /// As [`get_many`](KvsEngine::get_many), without the values, which are empty in the answer. An
    /// engine that does not know better reads all of them first.
    ///
    /// # Errors
    /// As [`get_many`](KvsEngine::get_many).
    fn get_versions<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        let all = self.get_many(keys);
        Answer::later(async move { Ok(without_values(all.await?)) })
    }

    /// Writes in this order, each for itself: all of a batch or nothing, if what it requires
    /// holds. An outcome for each is in the answer. On return each is as durable as it asked for.
    ///
    /// # Errors
    /// Of each write: [`KvsError::PreconditionFailed`], [`KvsError::Skipped`],
    /// [`KvsError::KeyTooLarge`],
    /// [`KvsError::ValueTooLarge`], [`KvsError::BatchTooLarge`], [`KvsError::InvalidExpiry`],
    /// [`KvsError::DiskFull`], [`KvsError::Io`], [`KvsError::Poisoned`], [`KvsError::Closed`].
    fn write(&self, writes: Vec<Write>) -> Answer<'_, Vec<Result<Written>>>;

    /// Gives a key a value, or with none removes it, if it is as expected. None: it is not.
    ///
    /// # Errors
    /// As [`write`](KvsEngine::write).
    fn compare_and_swap<'a>(
        &'a self,
        key: &'a [u8],
        expected: Expected,
        new: Option<&'a [u8]>,
        durability: Option<Durability>,
    ) -> Answer<'a, Option<Written>> {
        let mut batch = Batch::new();
        batch.require(key, expected);
        match new {
            Some(value) => batch.set(key, value),
            None => batch.remove(key),
        };
        let written = self.write(vec![Write { batch, durability, chained: false }]);
        Answer::later(async move {
            match written.await?.pop().unwrap_or(Err(KvsError::JobLost)) {
                Err(KvsError::PreconditionFailed { .. }) => Ok(None),
                written => written.map(Some),
            }
        })
    }

    /// Begins to read a range in the order of the keys.
    ///
    /// # Errors
    /// [`KvsError::InvalidRange`], and as [`get_many`](KvsEngine::get_many).
    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>>;

    /// Goes on through all keys in an order of the engine's own, about `count` of them, or fewer
    /// where they have more than 16 MiB together. The walk begins with cursor 0 and ends when the
    /// answer's cursor is 0; a key that is there from begin to end comes at least once.
    ///
    /// # Errors
    /// [`KvsError::InvalidCursor`] for a cursor that this engine did not give, where it can tell;
    /// and as [`get_many`](KvsEngine::get_many).
    fn walk(&self, cursor: u64, count: usize) -> Answer<'_, Walked>;

    /// A key by chance; none if there is none.
    ///
    /// # Errors
    /// As [`get_many`](KvsEngine::get_many).
    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>>;

    /// How many keys there are; keys that expired a moment ago may still count.
    ///
    /// # Errors
    /// [`KvsError::Closed`].
    fn len(&self) -> Answer<'_, u64>;

    /// Removes everything. It is durable on return.
    ///
    /// # Errors
    /// As [`write`](KvsEngine::write).
    fn clear(&self) -> Answer<'_, ()>;

    /// Makes everything that was acknowledged durable.
    ///
    /// # Errors
    /// As [`write`](KvsEngine::write).
    fn sync(&self) -> Answer<'_, ()>;

    /// What it says of itself.
    ///
    /// # Errors
    /// [`KvsError::Closed`].
    fn stats(&self) -> Answer<'_, EngineStats>;

    /// A view of this moment.
    ///
    /// # Errors
    /// [`KvsError::Unsupported`], [`KvsError::Closed`].
    fn snapshot(&self) -> Answer<'_, Box<dyn EngineSnapshot>> {
        Answer::ready(Err(self.unsupported("take snapshots")))
    }

    /// A feed of the changes after a seq, or from now on, of the keys with a prefix.
    ///
    /// # Errors
    /// [`KvsError::Unsupported`], [`KvsError::HistoryGone`], [`KvsError::Closed`].
    fn watch(&self, _after: Option<u64>, _prefix: &[u8]) -> Answer<'_, Box<dyn Changes>> {
        Answer::ready(Err(self.unsupported("watch changes")))
    }

    /// Gives back the space of what is dead.
    ///
    /// # Errors
    /// [`KvsError::Unsupported`], and as [`write`](KvsEngine::write).
    fn compact(&self) -> Answer<'_, ()> {
        Answer::ready(Err(self.unsupported("compact")))
    }

    /// Syncs and closes. Later calls answer [`KvsError::Closed`].
    ///
    /// # Errors
    /// As [`sync`](KvsEngine::sync).
    fn close(&self) -> Answer<'_, ()>;

    /// The error for what this engine cannot do.
    fn unsupported(&self, capability: &'static str) -> KvsError {
        KvsError::Unsupported { engine: self.name(), capability }
    }
}

/// The keys that are read together where it is not known how long their values are, and how many
/// times as many where they turn out to be short.
const FIRST_TOGETHER: usize = 16;
const MORE_TOGETHER: usize = 4;

/// The bytes of all values.
fn value_bytes(found: &[Option<Versioned>]) -> usize {
    found.iter().flatten().map(|found| found.value.len()).sum()
}

/// What an engine can do beyond what every engine can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// What is written outlives the process.
    pub durable: bool,
    /// Scans cost no sorting of all keys.
    pub ordered: bool,
    /// [`KvsEngine::snapshot`] works.
    pub snapshots: bool,
    /// [`KvsEngine::watch`] works.
    pub watch: bool,
    /// [`KvsEngine::compact`] works.
    pub compaction: bool,
}

/// A write of its own: a batch, and how durable it is to be on return.
#[derive(Debug, Clone, Default)]
pub struct Write {
    /// What is written, and what it requires.
    pub batch: Batch,
    /// None: as the engine was opened.
    pub durability: Option<Durability>,
    /// Not written if the write before it in the same call was refused for what it requires or for
    /// an expiry that cannot be, or was itself skipped for that reason; it is then answered with
    /// [`KvsError::Skipped`]. So writes that come one after the other never overtake each other.
    pub chained: bool,
}

/// A range to read in the order of its keys.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Where it begins.
    pub from: Bound<Vec<u8>>,
    /// Where it ends.
    pub to: Bound<Vec<u8>>,
    /// From the highest key to the lowest.
    pub reverse: bool,
    /// Keys only: the values are empty.
    pub keys_only: bool,
}

/// One record of a scan.
pub type Found = (Vec<u8>, Versioned);

/// A scan that has begun. It holds what it needs until it is dropped.
pub trait Pages: Send {
    /// What it holds in memory between two calls, in bytes: the keys of a range that had to be
    /// sorted.
    fn held_bytes(&self) -> usize {
        0
    }

    /// The next records, as many as fit both limits, but at least one; none are left where the
    /// answer is empty.
    ///
    /// # Errors
    /// As [`KvsEngine::get_many`]; [`KvsError::SnapshotEnded`] if the scan took too long.
    fn next(&mut self, records_max: usize, bytes_max: usize) -> Answer<'_, Vec<Found>>;
}

/// A view of one moment.
pub trait EngineSnapshot: Send + Sync {
    /// The seq of the last write that it sees.
    fn seq(&self) -> u64;

    /// As [`KvsEngine::get_many`], at that moment.
    ///
    /// # Errors
    /// As there; [`KvsError::SnapshotEnded`].
    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>>;

    /// As [`KvsEngine::scan`], at that moment.
    ///
    /// # Errors
    /// As there; [`KvsError::SnapshotEnded`].
    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>>;
}

/// A feed of changes.
pub trait Changes: Send {
    /// The next changes, at least one and about as many as `count`; it waits until there is one.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`], and as [`KvsEngine::get_many`].
    fn next(&mut self, count: usize) -> Answer<'_, Vec<Change>>;
}

/// What an engine says of itself: figures with names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineStats {
    /// The keys that there are.
    pub keys: u64,
    /// Of those, the ones that expire some time.
    pub expiring_keys: u64,
    /// What the files take, in bytes.
    pub disk_bytes: u64,
    /// What the index takes in memory, in bytes.
    pub index_bytes: u64,
    /// Whatever else it counts.
    pub figures: Vec<Figure>,
}

/// A figure of an engine, for `INFO` and for metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its name, in lower case with underlines, the unit last.
    pub name: &'static str,
    /// What it counts, a sentence.
    pub help: &'static str,
    /// Whether it only grows while the process lives.
    pub is_counter: bool,
    /// Its value.
    pub value: f64,
}

/// The answer of an engine: a future that may have its answer already, which then costs no
/// allocation.
pub struct Answer<'a, T>(State<'a, T>);

enum State<'a, T> {
    Ready(Option<Result<T>>),
    Later(Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>),
}

impl<'a, T> Answer<'a, T> {
    /// An answer that is there.
    pub fn ready(answer: Result<T>) -> Answer<'a, T> {
        Answer(State::Ready(Some(answer)))
    }

    /// An answer that comes later.
    pub fn later(answer: impl Future<Output = Result<T>> + Send + 'a) -> Answer<'a, T> {
        Answer(State::Later(Box::pin(answer)))
    }
}

// Nothing in it is pinned in place: the future has a box of its own.
impl<T> Unpin for Answer<'_, T> {}

impl<T> Future for Answer<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().unwrap_or(Err(KvsError::JobLost))),
            State::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// The name of the engine that a directory belongs to, as in its file `ENGINE`; where that is
/// missing, by its other files. None: it is not there, or holds nothing of any engine.
///
/// # Errors
/// [`KvsError::Io`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// assert_eq!(kvs::engine::engine_of(dir.path())?, None);
/// kvs::Store::open(dir.path())?;
/// assert_eq!(kvs::engine::engine_of(dir.path())?.as_deref(), Some("kvs"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn engine_of(directory: &Path) -> Result<Option<String>> {
    engine_file::read(&RealDisk, directory)
}

/// Reads keys one after the other, until their values have so many bytes together.
fn read_some(
    keys: &[Bytes],
    bytes_max: usize,
    mut get: impl FnMut(&Bytes) -> Result<Option<Versioned>>,
) -> Result<Vec<Option<Versioned>>> {
    let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        let next = get(key)?;
        bytes += next.as_ref().map_or(0, |next| next.value.len());
        found.push(next);
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(found)
}

/// The first of what was read, until there are values of so many bytes.
fn cut(mut found: Vec<Option<Versioned>>, bytes_max: usize) -> Vec<Option<Versioned>> {
    let mut bytes = 0;
    let is_enough = |found: &Option<Versioned>| {
        bytes += found.as_ref().map_or(0, |found| found.value.len());
        bytes >= bytes_max
    };
    if let Some(last) = found.iter().position(is_enough) {
        found.truncate(last + 1);
    }
    found
}

fn without_values(mut found: Vec<Option<Versioned>>) -> Vec<Option<Versioned>> {
    found.iter_mut().flatten().for_each(|found| found.value = Vec::new().into());
    found
}

/// Refuses a range that starts after its end.
pub(crate) fn check_range(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> Result<()> {
    match (from, to) {
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) if low > high => Err(KvsError::InvalidRange { from: low.clone(), to: high.clone() }),
        _ => Ok(()),
    }
}

/// Whether a range that was checked has room for no key. The ranges of ordered maps take none such.
fn is_void(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
        (Bound::Included(low), Bound::Excluded(high)) => low >= high,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        _ => false,
    }
}
