//! The engine under test, with the calls that the checks are written in.

use std::ops::Bound;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;

use super::Open;
use crate::batch::Batch;
use crate::engine::{KvsEngine, Pages, Scan, Write};
use crate::error::{KvsError, Result};
use crate::store::{Versioned, Written};

/// An engine under test, and how to open it again.
pub struct Subject {
    pub(super) engine: Arc<dyn KvsEngine>,
    open: Open,
}

impl Subject {
    /// Opens the engine.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn new(open: Open) -> Result<Subject> {
        Ok(Subject { engine: open()?, open })
    }

    /// Closes the engine.
    pub(super) fn close(&self) -> Result<()> {
        wait(self.engine.close())
    }

    /// Closes the engine and opens it again.
    pub(super) fn reopen(&mut self) -> Result<()> {
        self.close()?;
        self.engine = (self.open)()?;
        Ok(())
    }

    pub(super) fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
        get(&*self.engine, key)
    }

    /// The value of a key.
    pub(super) fn value(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        Ok(self.get(key)?.map(|found| found.value.into_vec()))
    }

    pub(super) fn write(&self, batch: Batch) -> Result<Written> {
        write(&*self.engine, batch)
    }

    pub(super) fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written> {
        let mut batch = Batch::new();
        batch.set(key, value);
        self.write(batch)
    }

    pub(super) fn set_until(&self, key: impl AsRef<[u8]>, at_ms: u64) -> Result<Written> {
        let mut batch = Batch::new();
        batch.set_until(key, "expiring", at_ms);
        self.write(batch)
    }

    pub(super) fn remove(&self, key: impl AsRef<[u8]>) -> Result<Written> {
        let mut batch = Batch::new();
        batch.remove(key);
        self.write(batch)
    }

    pub(super) fn len(&self) -> Result<u64> {
        wait(self.engine.len())
    }

    /// The keys of a scan, in its order.
    pub(super) fn scan(&self, scan: Scan) -> Result<Vec<Vec<u8>>> {
        let mut pages = wait(self.engine.scan(scan))?;
        let found = read_all(&mut *pages, (7, usize::MAX))?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// All keys, in order, by a scan.
    pub(super) fn keys(&self) -> Result<Vec<Vec<u8>>> {
        self.scan(everything())
    }

    /// All keys, in order, by a walk; each may have come more than once.
    pub(super) fn walk(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        let (mut keys, mut cursor) = (Vec::new(), 0);
        loop {
            let walked = wait(self.engine.walk(cursor, count))?;
            keys.extend(walked.keys);
            cursor = walked.cursor;
            if cursor == 0 {
                break;
            }
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Asserts that a call is answered as one that the engine cannot do.
    pub(super) fn assert_unsupported<T>(&self, answer: Result<T>) {
        let name = self.engine.name();
        assert!(
            matches!(answer, Err(KvsError::Unsupported { engine, .. }) if engine == name),
            "what it cannot do must be answered with Unsupported"
        );
    }
}

pub(super) fn get(engine: &dyn KvsEngine, key: impl AsRef<[u8]>) -> Result<Option<Versioned>> {
    let keys = [Bytes::copy_from_slice(key.as_ref())];
    let mut found = wait(engine.get_many(&keys))?;
    assert_eq!(found.len(), 1, "a place in the answer for each key");
    Ok(found.pop().flatten())
}

pub(super) fn write(engine: &dyn KvsEngine, batch: Batch) -> Result<Written> {
    let mut outcomes = wait(engine.write(vec![Write { batch, ..Write::default() }]))?;
    assert_eq!(outcomes.len(), 1, "an outcome for each write");
    outcomes.pop().unwrap_or(Err(KvsError::JobLost))
}

/// A scan of all keys.
pub(super) fn everything() -> Scan {
    Scan { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false, keys_only: false }
}

/// Reads a scan to its end, in pages of these limits.
pub(super) fn read_all(
    pages: &mut dyn Pages,
    (records_max, bytes_max): (usize, usize),
) -> Result<Vec<(Vec<u8>, Versioned)>> {
    let mut found = Vec::new();
    loop {
        let page = wait(pages.next(records_max, bytes_max))?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
