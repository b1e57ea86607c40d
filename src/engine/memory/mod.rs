//! The engine `memory`: everything in the memory of the process, gone with it.
//!
//! It is a cache, and the model that other engines are compared with. A write holds the one lock
//! of the state while it is applied, so every call is a point in one order. Nothing waits: each
//! answer is there when the call returns, but for a watch that has nothing to tell yet.

mod state;
mod feed;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Poll;

use bytes::Bytes;

use super::checks::apply_each;
use super::{
    Answer, Capabilities, Changes, EngineSnapshot, EngineStats, Figure, Found, KvsEngine, Pages,
    Scan, Walked, Write, check_range, read_some,
};
use crate::error::{KvsError, Result};
use crate::store::{Change, HashSeed, Hasher, RealClock, Time, Versioned, Written};
use feed::Place;
use state::{Records, State, page_of, versioned};

/// What `len` and `stats` take out of expired keys before they count, at most.
const RECLAIMED_BY_COUNT: usize = 1024;

/// An engine that keeps everything in memory.
///
/// It can do everything that an engine can, but outlive the process. What a snapshot costs is paid
/// by the first write after it, which copies the index (not keys and values) if the snapshot is
/// still there. Changes are kept for watches while there is one, up to a bound; a watch that falls
/// behind it ends with [`KvsError::HistoryGone`].
///
/// ```
/// use kvs::KvsEngine;
/// use kvs::engine::MemoryEngine;
/// let engine = MemoryEngine::new()?;
/// assert_eq!(engine.name(), "memory");
/// # Ok::<(), kvs::KvsError>(())
/// ```
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

/// What scans, snapshots and watches share with the engine.
struct Shared {
    hasher: Hasher,
    time: Time,
    /// None: it is closed.
    state: RwLock<Option<State>>,
}

impl MemoryEngine {
    /// An engine without keys.
    ///
    /// # Errors
    /// [`KvsError::Io`] if the operating system gives no random numbers.
    ///
    /// ```
    /// let engine = kvs::engine::MemoryEngine::new()?;
    /// # let _ = engine;
    /// # Ok::<(), kvs::KvsError>(())
    /// ```
    pub fn new() -> Result<MemoryEngine> {
        let seed = HashSeed([random()?, random()?]);
        let shared = Shared {
            hasher: Hasher::new(seed),
            time: Time::new(Arc::new(RealClock), 0),
            state: RwLock::new(Some(State::default())),
        };
        Ok(MemoryEngine { shared: Arc::new(shared) })
    }
}

/// A random number.
pub(super) fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| KvsError::Io {
        action: "read",
        path: "random numbers".into(),
        source: Arc::new(std::io::Error::other(error)),
    })
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Option<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Option<State>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state at a time that is taken while it does not change.
    fn with<T>(&self, read: impl FnOnce(&State, u64) -> Result<T>) -> Result<T> {
        let state = self.read();
        read(state.as_ref().ok_or(KvsError::Closed)?, self.time.now_ms())
    }

    /// Changes the state.
    fn with_mut<T>(&self, change: impl FnOnce(&mut State, u64) -> Result<T>) -> Result<T> {
        let mut state = self.change();
        change(state.as_mut().ok_or(KvsError::Closed)?, self.time.now_ms())
    }

    fn write(&self, writes: &[Write]) -> Result<Vec<Result<Written>>> {
        let (outcomes, wakers) = self.with_mut(|state, now_ms| {
            let apply = |write: &Write| state.write(&write.batch, &self.hasher, now_ms);
            let outcomes = apply_each(writes, apply);
            Ok((outcomes, state.feed.take_wakers()))
        })?;
        // Outside of the lock, which they are about to take.
        wakers.into_iter().for_each(|waker| waker.wake());
        Ok(outcomes)
    }

    fn stats(&self) -> Result<EngineStats> {
        self.with_mut(|state, now_ms| {
            state.reclaim(&self.hasher, now_ms, RECLAIMED_BY_COUNT);
            let figures = vec![
                Figure {
                    name: "value_bytes",
                    help: "The bytes of all keys and values.",
                    is_counter: false,
                    value: to_float(state.bytes),
                },
                Figure {
                    name: "expired_keys",
                    help: "Keys that were taken out because they had expired.",
                    is_counter: true,
                    value: to_float(state.reclaimed),
                },
            ];
            Ok(EngineStats {
                keys: state.len(now_ms),
                expiring_keys: state.expiring(now_ms),
                disk_bytes: 0,
                index_bytes: state.index_bytes(),
                figures,
            })
        })
    }
}

/// A count as a figure: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "figures are for people and graphs")]
pub(super) fn to_float(count: u64) -> f64 {
    count as f64
}

impl KvsEngine for MemoryEngine {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            ordered: true,
            snapshots: true,
            watch: true,
            compaction: true,
        }
    }

    fn now_ms(&self) -> u64 {
        self.shared.time.now_ms()
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        self.get_some(keys, usize::MAX)
    }

    fn get_some<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        Answer::ready(self.shared.with(|state, now_ms| {
            read_some(keys, bytes_max, |key| Ok(get(&state.records, key, now_ms, false)))
        }))
    }

    fn get_versions<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        Answer::ready(self.shared.with(|state, now_ms| {
            Ok(keys.iter().map(|key| get(&state.records, key, now_ms, true)).collect())
        }))
    }

    fn write(&self, writes: Vec<Write>) -> Answer<'_, Vec<Result<Written>>> {
        Answer::ready(self.shared.write(&writes))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        Answer::ready(check_range(&scan.from, &scan.to).and_then(|()| {
            self.shared.with(|_, _| {
                let pages = LivePages { shared: Arc::clone(&self.shared), rest: scan };
                Ok(Box::new(pages) as Box<dyn Pages>)
            })
        }))
    }

    fn walk(&self, cursor: u64, count: usize) -> Answer<'_, Walked> {
        Answer::ready(self.shared.with(|state, now_ms| Ok(state.walk(cursor, count, now_ms))))
    }

    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>> {
        Answer::ready(
            random().and_then(|place| {
                self.shared.with(|state, now_ms| Ok(state.key_from(place, now_ms)))
            }),
        )
    }

    fn len(&self) -> Answer<'_, u64> {
        Answer::ready(self.shared.with_mut(|state, now_ms| {
            state.reclaim(&self.shared.hasher, now_ms, RECLAIMED_BY_COUNT);
            Ok(state.len(now_ms))
        }))
    }

    fn clear(&self) -> Answer<'_, ()> {
        let wakers = self.shared.with_mut(|state, _| {
            state.clear();
            Ok(state.feed.take_wakers())
        });
        Answer::ready(wakers.map(|wakers| wakers.into_iter().for_each(|waker| waker.wake())))
    }

    fn sync(&self) -> Answer<'_, ()> {
        Answer::ready(self.shared.with(|_, _| Ok(())))
    }

    fn stats(&self) -> Answer<'_, EngineStats> {
        Answer::ready(self.shared.stats())
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn EngineSnapshot>> {
        Answer::ready(self.shared.with(|state, now_ms| {
            let (records, seq) = (Arc::clone(&state.records), state.seq);
            let snapshot =
                MemorySnapshot { shared: Arc::clone(&self.shared), records, seq, now_ms };
            Ok(Box::new(snapshot) as Box<dyn EngineSnapshot>)
        }))
    }

    fn watch(&self, after: Option<u64>, prefix: &[u8]) -> Answer<'_, Box<dyn Changes>> {
        let (shared, prefix) = (Arc::clone(&self.shared), prefix.to_vec());
        Answer::ready(self.shared.with_mut(|state, _| {
            let place = state.feed.begin(after, state.seq)?;
            Ok(Box::new(MemoryChanges { shared, prefix, place }) as Box<dyn Changes>)
        }))
    }

    fn compact(&self) -> Answer<'_, ()> {
        Answer::ready(self.shared.with_mut(|state, now_ms| {
            state.reclaim(&self.shared.hasher, now_ms, usize::MAX);
            Ok(())
        }))
    }

    fn close(&self) -> Answer<'_, ()> {
        let closed = self.shared.change().take();
        let mut wakers = Vec::new();
        if let Some(mut state) = closed {
            wakers = state.feed.take_wakers();
        }
        wakers.into_iter().for_each(|waker| waker.wake());
        Answer::ready(Ok(()))
    }
}

fn get(records: &Records, key: &[u8], now_ms: u64, keys_only: bool) -> Option<Versioned> {
    let record = records.get(key)?;
    (!record.is_over(now_ms)).then(|| versioned(record, keys_only))
}

/// A scan of the state as it is at each page.
struct LivePages {
    shared: Arc<Shared>,
    rest: Scan,
}

impl Pages for LivePages {
    fn next(&mut self, records_max: usize, bytes_max: usize) -> Answer<'_, Vec<Found>> {
        let page = self.shared.with(|state, now_ms| {
            Ok(page_of(&state.records, &self.rest, (records_max, bytes_max), now_ms))
        });
        if let Some((key, _)) = page.as_ref().ok().and_then(|page| page.last()) {
            self.rest.go_on_after(key);
        }
        Answer::ready(page)
    }
}

/// The state of one moment: as long as it is there, whoever writes changes a copy.
struct MemorySnapshot {
    shared: Arc<Shared>,
    records: Arc<Records>,
    seq: u64,
    now_ms: u64,
}

impl EngineSnapshot for MemorySnapshot {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        let get = |key: &Bytes| get(&self.records, key, self.now_ms, false);
        Answer::ready(self.shared.with(|_, _| Ok(keys.iter().map(get).collect())))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        let (shared, records) = (Arc::clone(&self.shared), Arc::clone(&self.records));
        Answer::ready(check_range(&scan.from, &scan.to).map(|()| {
            let pages = FixedPages { shared, records, now_ms: self.now_ms, rest: scan };
            Box::new(pages) as Box<dyn Pages>
        }))
    }
}

/// A scan of a snapshot.
struct FixedPages {
    shared: Arc<Shared>,
    records: Arc<Records>,
    now_ms: u64,
    rest: Scan,
}

impl Pages for FixedPages {
    fn next(&mut self, records_max: usize, bytes_max: usize) -> Answer<'_, Vec<Found>> {
        let limits = (records_max, bytes_max);
        let page =
            self.shared.with(|_, _| Ok(page_of(&self.records, &self.rest, limits, self.now_ms)));
        if let Some((key, _)) = page.as_ref().ok().and_then(|page| page.last()) {
            self.rest.go_on_after(key);
        }
        Answer::ready(page)
    }
}

/// A watch.
struct MemoryChanges {
    shared: Arc<Shared>,
    prefix: Vec<u8>,
    place: Place,
}

impl Changes for MemoryChanges {
    fn next(&mut self, count: usize) -> Answer<'_, Vec<Change>> {
        Answer::later(std::future::poll_fn(move |context| {
            let changes = self.shared.with_mut(|state, _| {
                let changes = state.feed.read(&mut self.place, &self.prefix, count)?;
                if changes.is_empty() {
                    state.feed.wake_later(context.waker());
                }
                Ok(changes)
            });
            match changes {
                Ok(changes) if changes.is_empty() => Poll::Pending,
                changes => Poll::Ready(changes),
            }
        }))
    }
}

impl Drop for MemoryChanges {
    fn drop(&mut self) {
        if let Some(state) = self.shared.change().as_mut() {
            state.feed.end(state.seq);
        }
    }
}
