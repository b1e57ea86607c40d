//! The store as an engine.
//!
//! Reads that are not long, and writes that wait for nothing but their own append, are done on the
//! caller's thread: they take a microsecond, and handing them over would take longer. Writes that
//! may wait (for the disk, for another writer, for compaction) go to the committer, one thread
//! that puts all that have come meanwhile into one group. Everything else that may take long goes
//! to other threads.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::committer::Committer;
use super::jobs::Jobs;
use super::pages::StorePages;
use super::watchers::{StoreChanges, Watchers};
use super::{
    Answer, Capabilities, Changes, EngineSnapshot, EngineStats, Figure, KvsEngine, Pages, Scan,
    Write, cut, without_values,
};
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Index, Options, WriteOptions};
use crate::store::{Snapshot, Stats, Store, Versioned, Walked, Written};
use crate::thread_pool::ThreadPool;

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
    jobs: Arc<Jobs<P>>,
    committer: Committer,
    watchers: Arc<Watchers>,
}

impl<P: ThreadPool> StoreEngine<P> {
    /// Opens the store in a directory. The pool runs what may take long: scans, of which half of
    /// its threads at most are at work at a time, many keys at once, what watches read. Three
    /// threads more are the engine's own.
    ///
    /// # Errors
    /// As [`Options::open`]; [`KvsError::Io`] if there is no thread.
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
        let jobs = Arc::new(Jobs::new(pool)?);
        Ok(StoreEngine { store, ordered, jobs, committer, watchers })
    }
}

/// Reads of more keys, or of more bytes of values, are done by the pool.
const KEYS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 256 << 10;

impl<P: ThreadPool> StoreEngine<P> {
    /// Reads on the caller's thread, if that is done soon.
    fn get_small(&self, keys: &[Bytes]) -> Result<Vec<Option<Versioned>>> {
        match keys.len() > KEYS_AT_ONCE {
            true => Err(KvsError::AnswerTooLarge { limit: BYTES_AT_ONCE }),
            false => self.store.get_small(keys, BYTES_AT_ONCE),
        }
    }

    /// Whether writes of so many bytes might have to wait, for the disk or for something else.
    fn would_wait(&self, writes: &[Write], bytes: usize) -> bool {
        writes.iter().any(|write| self.store.is_waited_for(options_of(write)))
            || self.store.would_wait(bytes, WriteOptions::new().durability(Durability::Os))
    }

    /// What was read, or where that was too much at once, what the pool reads.
    fn read<'a>(
        &'a self,
        keys: &'a [Bytes],
        read: Result<Vec<Option<Versioned>>>,
        read_all: impl FnOnce(&Store, &[Bytes]) -> Result<Vec<Option<Versioned>>> + Send + 'static,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        match read {
            Err(KvsError::AnswerTooLarge { .. }) => {
                let (store, keys) = (self.store.clone(), keys.to_vec());
                Answer::later(self.jobs.read(move || read_all(&store, &keys)))
            }
            read => Answer::ready(read),
        }
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
        self.read(keys, self.get_small(keys), |store, keys| store.get_many_versioned(keys))
    }

    fn get_some<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        let read = self.get_small(keys).map(|found| cut(found, bytes_max));
        self.read(keys, read, move |store, keys| store.get_some(keys, bytes_max))
    }

    fn get_each<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        let read = self.store.get_each(keys, (bytes_max.min(BYTES_AT_ONCE), BYTES_AT_ONCE));
        self.read(keys, read, move |store, keys| store.get_each(keys, (bytes_max, usize::MAX)))
    }

    fn get_versions<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        let read = self.get_small(keys).map(without_values);
        self.read(keys, read, |store, keys| store.get_versions(keys))
    }

    fn write(&self, writes: Vec<Write>) -> Answer<'_, Vec<Result<Written>>> {
        let bytes: usize = writes.iter().map(|write| write.batch.byte_len()).sum();
        if self.would_wait(&writes, bytes) {
            return Answer::later(self.committer.commit(writes));
        }
        let writes: Vec<(&Batch, WriteOptions)> =
            writes.iter().map(|write| (&write.batch, options_of(write))).collect();
        Answer::ready(Ok(self.store.write_many(&writes)))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        let (store, jobs) = (self.store.clone(), Arc::clone(&self.jobs));
        let begin =
            move |is_wanted: &dyn Fn() -> bool| pages_of(&store.snapshot()?, scan, jobs, is_wanted);
        Answer::later(self.jobs.scan(begin))
    }

    fn walk(&self, cursor: u64, count: usize) -> Answer<'_, Walked> {
        let store = self.store.clone();
        match count <= KEYS_AT_ONCE {
            true => Answer::later(self.jobs.read(move || store.walk(cursor, count))),
            false => Answer::later(self.jobs.scan(move |_| store.walk(cursor, count))),
        }
    }

    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>> {
        Answer::ready(self.store.random_key())
    }

    fn len(&self) -> Answer<'_, u64> {
        Answer::ready(check_open(&self.store).map(|()| self.store.len()))
    }

    fn clear(&self) -> Answer<'_, ()> {
        let store = self.store.clone();
        Answer::later(self.jobs.in_turn(move || store.clear()))
    }

    fn sync(&self) -> Answer<'_, ()> {
        let durability = Some(Durability::Always);
        let outcomes = self.committer.commit(vec![Write { durability, ..Write::default() }]);
        Answer::later(
            async move { outcomes.await?.pop().unwrap_or(Err(KvsError::JobLost)).map(|_| ()) },
        )
    }

    fn stats(&self) -> Answer<'_, EngineStats> {
        let store = self.store.clone();
        let is_committer_gone = self.committer.is_gone();
        Answer::later(self.jobs.prompt(move || {
            check_open(&store)?;
            let mut stats = store.stats();
            // Writes that wait are lost until the next start, whatever the store would take.
            stats.poisoned |= is_committer_gone;
            Ok(stats_of(&stats))
        }))
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn EngineSnapshot>> {
        let (store, jobs) = (self.store.clone(), Arc::clone(&self.jobs));
        Answer::later(self.jobs.read(move || {
            let snapshot = store.snapshot()?;
            let snapshot: Box<dyn EngineSnapshot> = Box::new(StoreSnapshot { snapshot, jobs });
            Ok(snapshot)
        }))
    }

    fn watch(&self, after: Option<u64>, prefix: &[u8]) -> Answer<'_, Box<dyn Changes>> {
        let watch = self.store.watch(after, prefix);
        let (jobs, watchers) = (Arc::clone(&self.jobs), Arc::clone(&self.watchers));
        Answer::ready(watch.map(|watch| {
            let changes: Box<dyn Changes> = Box::new(StoreChanges::new(watch, jobs, watchers));
            changes
        }))
    }

    fn compact(&self) -> Answer<'_, ()> {
        let store = self.store.clone();
        Answer::later(self.jobs.in_turn(move || store.compact()))
    }

    fn close(&self) -> Answer<'_, ()> {
        let store = self.store.clone();
        Answer::later(self.jobs.prompt(move || store.close()))
    }
}

/// A snapshot of a store.
struct StoreSnapshot<P: ThreadPool> {
    snapshot: Snapshot,
    jobs: Arc<Jobs<P>>,
}

impl<P: ThreadPool> EngineSnapshot for StoreSnapshot<P> {
    fn seq(&self) -> u64 {
        self.snapshot.seq()
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        let get_many = |snapshot: &Snapshot, keys: &[Bytes]| {
            keys.iter().map(|key| snapshot.get_versioned(key)).collect()
        };
        if keys.len() <= KEYS_AT_ONCE {
            return Answer::ready(get_many(&self.snapshot, keys));
        }
        let (snapshot, keys) = (self.snapshot.clone(), keys.to_vec());
        Answer::later(self.jobs.read(move || get_many(&snapshot, &keys)))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        let (snapshot, jobs) = (self.snapshot.clone(), Arc::clone(&self.jobs));
        Answer::later(self.jobs.scan(move |is_wanted| pages_of(&snapshot, scan, jobs, is_wanted)))
    }
}

fn pages_of<P: ThreadPool>(
    snapshot: &Snapshot,
    scan: Scan,
    jobs: Arc<Jobs<P>>,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Box<dyn Pages>> {
    let range = snapshot.range_while((scan.from, scan.to), is_wanted)?;
    Ok(Box::new(StorePages::new(range, scan.reverse, scan.keys_only, jobs)))
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

#[cfg(test)]
mod tests {
    use super::{Batch, Committer, Durability, KvsEngine, KvsError, Options, StoreEngine, Write};
    use crate::engine::conformance::wait;
    use crate::thread_pool::{SharedQueueThreadPool, ThreadPool};

    #[test]
    fn without_its_committer_it_says_that_the_outcome_is_unknown_and_that_it_is_not_well() {
        let dir = tempfile::tempdir().unwrap();
        let pool = SharedQueueThreadPool::new(1).unwrap();
        let mut engine = StoreEngine::open(dir.path(), &Options::new(), pool).unwrap();
        let poisoned = |engine: &StoreEngine<SharedQueueThreadPool>| {
            let stats = wait(engine.stats()).unwrap();
            stats.figures.iter().find(|figure| figure.name == "poisoned").unwrap().value
        };
        assert_eq!(poisoned(&engine), 0.0);
        engine.committer = Committer::lost();
        let mut batch = Batch::new();
        batch.set("key", "value");
        let durability = Some(Durability::Always);
        let lost = wait(engine.write(vec![Write { batch, durability, chained: false }]));
        assert!(matches!(lost, Err(KvsError::JobLost)), "{lost:?}");
        assert!(matches!(wait(engine.sync()), Err(KvsError::JobLost)));
        assert_eq!(poisoned(&engine), 1.0);
    }
}
