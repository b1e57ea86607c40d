//! The store as an engine.
//!
//! Reads, and writes that wait for nothing but their own append, are done on the caller's thread:
//! they take a microsecond, and handing them over would take longer. Writes that may wait (for the
//! disk, for another writer, for compaction) go to the committer, one thread that puts all that
//! have come meanwhile into one group. Everything else that may take long goes to a pool.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::committer::Committer;
use super::pages::StorePages;
use super::watchers::{StoreChanges, Watchers};
use super::{
    Answer, Capabilities, Changes, EngineSnapshot, EngineStats, Figure, KvsEngine, Pages, Scan,
    Write,
};
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Index, Options, WriteOptions};
use crate::store::{Snapshot, Stats, Store, Versioned, Walked, Written};
use crate::thread_pool::{ThreadPool, run_on};

/// The engine `kvs`: a [`Store`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::engine::{KvsEngine, StoreEngine};
/// use kvs::thread_pool::{SharedQueueThreadPool, ThreadPool};
/// let pool = SharedQueueThreadPool::new(2)?;
/// let engine = StoreEngine::open(dir.path(), &kvs::Options::new(), pool)?;
/// assert_eq!(engine.name(), "kvs");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StoreEngine<P: ThreadPool> {
    store: Store,
    ordered: bool,
    pool: Arc<P>,
    committer: Committer,
    watchers: Arc<Watchers>,
}

impl<P: ThreadPool> StoreEngine<P> {
    /// Opens the store in a directory. The pool runs what may take long: scans, compaction.
    ///
    /// # Errors
    /// As [`Options::open`]; [`KvsError::Io`] if there is no thread for the committer.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kvs::engine::StoreEngine;
    /// use kvs::thread_pool::{RayonThreadPool, ThreadPool};
    /// let engine = StoreEngine::open(dir.path(), &kvs::Options::new(), RayonThreadPool::new(1)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(directory: impl AsRef<Path>, options: &Options, pool: P) -> Result<StoreEngine<P>> {
        let store = options.open(directory)?;
        let committer = Committer::start(store.clone())?;
        let watchers = Watchers::new(store.clone());
        let ordered = options.index == Index::Ordered;
        Ok(StoreEngine { store, ordered, pool: Arc::new(pool), committer, watchers })
    }

    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(Store) -> Result<T> + Send + 'static,
    ) -> Answer<'_, T> {
        let store = self.store.clone();
        Answer::later(run_on(&*self.pool, move || job(store)))
    }
}

impl<P: ThreadPool> KvsEngine for StoreEngine<P> {
    fn name(&self) -> &'static str {
        "kvs"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            ordered: self.ordered,
            snapshots: true,
            watch: true,
            compaction: true,
        }
    }

    fn now_ms(&self) -> u64 {
        self.store.now_ms()
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        Answer::ready(match keys {
            [key] => self.store.get_versioned(key).map(|found| vec![found]),
            keys => self.store.get_many_versioned(keys),
        })
    }

    fn get_some<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        Answer::ready(self.store.get_some(keys, bytes_max))
    }

    fn write(&self, writes: Vec<Write>) -> Answer<'_, Vec<Result<Written>>> {
        let bytes: usize = writes.iter().map(|write| write.batch.byte_len()).sum();
        if writes.iter().any(|write| self.store.would_wait(bytes, options_of(write))) {
            let outcomes = self.committer.commit(writes);
            return Answer::later(async move { outcomes.await.map_err(|_| KvsError::Closed) });
        }
        let writes: Vec<(&Batch, WriteOptions)> =
            writes.iter().map(|write| (&write.batch, options_of(write))).collect();
        Answer::ready(Ok(self.store.write_many(&writes)))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        let pool = Arc::clone(&self.pool);
        self.run(move |store| {
            let range = store.range((scan.from, scan.to))?;
            let pages: Box<dyn Pages> =
                Box::new(StorePages::new(range, scan.reverse, scan.keys_only, pool));
            Ok(pages)
        })
    }

    fn walk(&self, cursor: u64, count: usize) -> Answer<'_, Walked> {
        self.run(move |store| store.walk(cursor, count))
    }

    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>> {
        Answer::ready(self.store.random_key())
    }

    fn len(&self) -> Answer<'_, u64> {
        Answer::ready(check_open(&self.store).map(|()| self.store.len()))
    }

    fn clear(&self) -> Answer<'_, ()> {
        self.run(|store| store.clear())
    }

    fn sync(&self) -> Answer<'_, ()> {
        let durability = Some(Durability::Always);
        let outcomes = self.committer.commit(vec![Write { durability, ..Write::default() }]);
        Answer::later(async move {
            let mut outcomes = outcomes.await.map_err(|_| KvsError::Closed)?;
            outcomes.pop().unwrap_or(Err(KvsError::Closed)).map(|_| ())
        })
    }

    fn stats(&self) -> Answer<'_, EngineStats> {
        self.run(|store| check_open(&store).map(|()| stats_of(&store.stats())))
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn EngineSnapshot>> {
        let pool = Arc::clone(&self.pool);
        self.run(move |store| {
            let snapshot = Arc::new(store.snapshot()?);
            let snapshot: Box<dyn EngineSnapshot> = Box::new(StoreSnapshot { snapshot, pool });
            Ok(snapshot)
        })
    }

    fn watch(&self, after: Option<u64>, prefix: &[u8]) -> Answer<'_, Box<dyn Changes>> {
        let watch = self.store.watch(after, prefix);
        let watchers = Arc::clone(&self.watchers);
        Answer::ready(watch.map(|watch| {
            let changes: Box<dyn Changes> = Box::new(StoreChanges::new(watch, watchers));
            changes
        }))
    }

    fn compact(&self) -> Answer<'_, ()> {
        self.run(|store| store.compact())
    }

    fn close(&self) -> Answer<'_, ()> {
        self.run(Store::close)
    }
}

/// A snapshot of a store.
struct StoreSnapshot<P> {
    snapshot: Arc<Snapshot>,
    pool: Arc<P>,
}

impl<P: ThreadPool> EngineSnapshot for StoreSnapshot<P> {
    fn seq(&self) -> u64 {
        self.snapshot.seq()
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        Answer::ready(keys.iter().map(|key| self.snapshot.get_versioned(key)).collect())
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        let (snapshot, pool) = (Arc::clone(&self.snapshot), Arc::clone(&self.pool));
        Answer::later(run_on(&*self.pool, move || {
            let range = snapshot.range((scan.from, scan.to))?;
            let pages: Box<dyn Pages> =
                Box::new(StorePages::new(range, scan.reverse, scan.keys_only, pool));
            Ok(pages)
        }))
    }
}

/// Answers with an error if the store is closed: reading no key finds out.
fn check_open(store: &Store) -> Result<()> {
    store.get_many::<&[u8]>(&[]).map(|_| ())
}

/// How a write of its own is to be written.
pub(super) fn options_of(write: &Write) -> WriteOptions {
    let options =
        write.durability.map_or_else(WriteOptions::new, |it| WriteOptions::new().durability(it));
    if write.chained { options.chained() } else { options }
}

fn stats_of(stats: &Stats) -> EngineStats {
    let gauge = |name, help, value| Figure { name, help, is_counter: false, value };
    let count = |name, help, value| Figure { name, help, is_counter: true, value };
    EngineStats {
        keys: stats.live_keys,
        expiring_keys: stats.expiring_keys,
        disk_bytes: stats.disk_bytes,
        index_bytes: stats.keydir_bytes + stats.ordered_bytes,
        figures: vec![
            gauge("live_bytes", "The records that keys point to.", float(stats.live_bytes)),
            gauge("dead_bytes", "What no key needs.", float(stats.dead_bytes)),
            gauge("segments", "Segment files.", float(stats.segments.len() as u64)),
            gauge(
                "segment_file_bytes",
                "What segment files take.",
                float(stats.segment_file_bytes),
            ),
            gauge("snapshots", "Snapshots and iterators.", float(stats.snapshots as u64)),
            gauge("snapshot_bytes", "What snapshots pin.", float(stats.snapshot_bytes)),
            gauge(
                "recovered_bytes",
                "What the last open found without a proof that it was durable, and kept.",
                float(stats.recovered_bytes),
            ),
            gauge(
                "truncated_bytes",
                "What the last open cut off the log.",
                float(stats.truncated_bytes),
            ),
            gauge(
                "background_error",
                "Whether background work has failed.",
                f64::from(u8::from(stats.last_background_error.is_some())),
            ),
            gauge(
                "poisoned",
                "Whether no more writes are taken until the next start.",
                f64::from(u8::from(stats.poisoned)),
            ),
            gauge(
                "retained_bytes",
                "What compaction keeps for retained history.",
                float(stats.retained_bytes),
            ),
            gauge("open_us", "What the last open took, in microseconds.", float(stats.open_us)),
            count("sync_us", "The time of those syncs, in microseconds.", float(stats.sync_us)),
            count("groups", "Groups of writes since the start.", float(stats.groups)),
            count("grouped_writes", "The writes in them.", float(stats.grouped_writes)),
            count("compactions", "Compactions since the start.", float(stats.compactions)),
            count("compacted_bytes", "What they went through.", float(stats.compacted_bytes)),
            count("syncs", "Syncs of the log since the start.", float(stats.syncs)),
        ],
    }
}

/// As a figure; beyond 2^53 it is rounded.
#[expect(clippy::cast_precision_loss, reason = "figures are for people to look at")]
fn float(number: u64) -> f64 {
    number as f64
}
