//! An engine that blocks, and a thread pool that makes it one that does not.
//!
//! Snapshots and watches are left out: an engine that has them is better off with `KvsEngine`
//! itself.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Answer, Capabilities, EngineStats, FIRST_TOGETHER, Found, KvsEngine, MORE_TOGETHER, Pages,
    Scan, Walked, Write, check_range, value_bytes, without_values,
};
use crate::error::{KvsError, Result};
use crate::store::{Versioned, Written};
use crate::thread_pool::{ThreadPool, run_on, run_while_wanted};

/// The synchronous twin of [`KvsEngine`]: the same calls with the same promises, but each keeps
/// its thread until it has its answer.
pub trait BlockingEngine: Send + Sync + 'static {
    /// As [`KvsEngine::name`].
    fn name(&self) -> &'static str;

    /// As [`KvsEngine::capabilities`], without snapshots and watches.
    fn capabilities(&self) -> Capabilities;

    /// As [`KvsEngine::now_ms`]; it does not block.
    fn now_ms(&self) -> u64;

    /// As [`KvsEngine::get_many`].
    ///
    /// # Errors
    /// As there.
    fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Versioned>>>;

    /// As [`KvsEngine::get_some`].
    ///
    /// # Errors
    /// As there.
    fn get_some(&self, keys: &[Bytes], bytes_max: usize) -> Result<Vec<Option<Versioned>>> {
        let mut count = FIRST_TOGETHER;
        loop {
            let found = self.get_many(keys.get(..count).unwrap_or(keys))?;
            if count >= keys.len() || value_bytes(&found) >= bytes_max {
                return Ok(found);
            }
            count = count.saturating_mul(MORE_TOGETHER);
        }
    }

    /// As [`KvsEngine::get_versions`].
    ///
    /// # Errors
    /// As there.
    fn get_versions(&self, keys: &[Bytes]) -> Result<Vec<Option<Versioned>>> {
        self.get_many(keys).map(without_values)
    }

    /// As [`KvsEngine::write`].
    ///
    /// # Errors
    /// As there.
    fn write(&self, writes: &[Write]) -> Result<Vec<Result<Written>>>;

    /// The first records of a range, as many as fit both limits, but at least one; none are left
    /// where the answer is empty. The range was checked.
    ///
    /// # Errors
    /// As [`KvsEngine::get_many`].
    fn page(&self, scan: &Scan, records_max: usize, bytes_max: usize) -> Result<Vec<Found>>;

    /// As [`KvsEngine::walk`].
    ///
    /// # Errors
    /// As there.
    fn walk(&self, cursor: u64, count: usize) -> Result<Walked>;

    /// As [`KvsEngine::random_key`].
    ///
    /// # Errors
    /// As there.
    fn random_key(&self) -> Result<Option<Vec<u8>>>;

    /// As [`KvsEngine::len`].
    ///
    /// # Errors
    /// As there.
    fn len(&self) -> Result<u64>;

    /// Whether there is no key.
    ///
    /// # Errors
    /// As [`len`](BlockingEngine::len).
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// As [`KvsEngine::clear`].
    ///
    /// # Errors
    /// As there.
    fn clear(&self) -> Result<()>;

    /// As [`KvsEngine::sync`].
    ///
    /// # Errors
    /// As there.
    fn sync(&self) -> Result<()>;

    /// As [`KvsEngine::stats`].
    ///
    /// # Errors
    /// As there.
    fn stats(&self) -> Result<EngineStats>;

    /// As [`KvsEngine::compact`].
    ///
    /// # Errors
    /// As there.
    fn compact(&self) -> Result<()> {
        Err(KvsError::Unsupported { engine: self.name(), capability: "compact" })
    }

    /// As [`KvsEngine::close`].
    ///
    /// # Errors
    /// As there.
    fn close(&self) -> Result<()>;
}

/// A [`BlockingEngine`] as a [`KvsEngine`]: each call is a job of a thread pool.
///
/// A call is on its way when it is made, whether or not its answer is waited for; one that changes
/// nothing is left out if its answer was dropped before its turn came.
///
/// ```
/// # #[cfg(feature = "sled")] {
/// use kvs::engine::{Pooled, SledKvsEngine};
/// use kvs::thread_pool::{SharedQueueThreadPool, ThreadPool};
/// # let dir = tempfile::tempdir()?;
/// let engine = SledKvsEngine::open(dir.path(), kvs::Durability::Os)?;
/// let engine = Pooled::new(engine, SharedQueueThreadPool::new(4)?);
/// # let _: std::sync::Arc<dyn kvs::KvsEngine> = std::sync::Arc::new(engine);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pooled<E, P> {
    engine: Arc<E>,
    pool: Arc<P>,
}

impl<E: BlockingEngine, P: ThreadPool> Pooled<E, P> {
    /// Runs the calls of an engine on a pool.
    pub fn new(engine: E, pool: P) -> Pooled<E, P> {
        Pooled { engine: Arc::new(engine), pool: Arc::new(pool) }
    }

    fn run<'a, T: Send + 'static>(
        &self,
        call: impl FnOnce(&E) -> Result<T> + Send + 'static,
    ) -> Answer<'a, T> {
        let engine = Arc::clone(&self.engine);
        Answer::later(run_on(&*self.pool, move || call(&engine)))
    }

    /// The same for what changes nothing: it is not begun if nobody waits for it any more.
    fn read<'a, T: Send + 'static>(
        &self,
        call: impl FnOnce(&E) -> Result<T> + Send + 'static,
    ) -> Answer<'a, T> {
        let engine = Arc::clone(&self.engine);
        Answer::later(run_while_wanted(|job| self.pool.spawn(job), move |_| call(&engine)))
    }
}

impl<E: BlockingEngine, P: ThreadPool> KvsEngine for Pooled<E, P> {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { snapshots: false, watch: false, ..self.engine.capabilities() }
    }

    fn now_ms(&self) -> u64 {
        self.engine.now_ms()
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        let keys = keys.to_vec();
        self.read(move |engine| engine.get_many(&keys))
    }

    fn get_some<'a>(
        &'a self,
        keys: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Vec<Option<Versioned>>> {
        let keys = keys.to_vec();
        self.read(move |engine| engine.get_some(&keys, bytes_max))
    }

    fn get_versions<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        let keys = keys.to_vec();
        self.read(move |engine| engine.get_versions(&keys))
    }

    fn write(&self, writes: Vec<Write>) -> Answer<'_, Vec<Result<Written>>> {
        self.run(move |engine| engine.write(&writes))
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        let (engine, pool) = (Arc::clone(&self.engine), Arc::clone(&self.pool));
        Answer::ready(check_range(&scan.from, &scan.to).map(|()| {
            let pages: Box<dyn Pages> = Box::new(PooledPages { engine, pool, rest: scan });
            pages
        }))
    }

    fn walk(&self, cursor: u64, count: usize) -> Answer<'_, Walked> {
        self.read(move |engine| engine.walk(cursor, count))
    }

    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>> {
        self.read(|engine| engine.random_key())
    }

    fn len(&self) -> Answer<'_, u64> {
        self.read(|engine| engine.len())
    }

    fn clear(&self) -> Answer<'_, ()> {
        self.run(|engine| engine.clear())
    }

    fn sync(&self) -> Answer<'_, ()> {
        self.run(|engine| engine.sync())
    }

    fn stats(&self) -> Answer<'_, EngineStats> {
        self.read(|engine| engine.stats())
    }

    fn compact(&self) -> Answer<'_, ()> {
        self.run(|engine| engine.compact())
    }

    fn close(&self) -> Answer<'_, ()> {
        self.run(|engine| engine.close())
    }
}

/// A scan that takes up each page where the last one ended.
struct PooledPages<E, P> {
    engine: Arc<E>,
    pool: Arc<P>,
    rest: Scan,
}

impl<E: BlockingEngine, P: ThreadPool> Pages for PooledPages<E, P> {
    fn next(&mut self, records_max: usize, bytes_max: usize) -> Answer<'_, Vec<Found>> {
        let (engine, scan) = (Arc::clone(&self.engine), self.rest.clone());
        let read = move |_: &dyn Fn() -> bool| engine.page(&scan, records_max, bytes_max);
        let page = run_while_wanted(|job| self.pool.spawn(job), read);
        Answer::later(async move {
            let page = page.await?;
            if let Some((key, _)) = page.last() {
                self.rest.go_on_after(key);
            }
            Ok(page)
        })
    }
}

impl Scan {
    /// Leaves out what comes up to a key, that one included.
    pub(crate) fn go_on_after(&mut self, key: &[u8]) {
        let bound = if self.reverse { &mut self.to } else { &mut self.from };
        *bound = Bound::Excluded(key.to_vec());
    }
}
