//! An engine for tests of what is around engines: it keeps nothing, and says what it is told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::engine::{Answer, Capabilities, EngineStats, Figure, KvsEngine, Pages, Scan, Write};
use crate::error::{KvsError, Result};
use crate::store::{Versioned, Walked, Written};

#[derive(Default)]
pub(crate) struct TestEngine {
    pub(crate) stats: Mutex<EngineStats>,
    pub(crate) closed: AtomicBool,
    /// What reading and writing answer, whatever is asked; none: that it cannot do it.
    pub(crate) found: Option<Vec<Option<Versioned>>>,
    pub(crate) outcomes: Option<Vec<Result<Written>>>,
}

impl TestEngine {
    pub(crate) fn poison(&self) {
        let figure = Figure { name: "poisoned", help: "Bad.", is_counter: false, value: 1.0 };
        self.stats.lock().unwrap().figures.push(figure);
    }

    fn none<T>(&self) -> Answer<'_, T> {
        Answer::ready(Err(self.unsupported("do anything")))
    }
}

impl KvsEngine for TestEngine {
    fn name(&self) -> &'static str {
        "test"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn get_many<'a>(&'a self, _: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        self.found.clone().map_or_else(|| self.none(), |found| Answer::ready(Ok(found)))
    }

    fn write(&self, _: Vec<Write>) -> Answer<'_, Vec<Result<Written>>> {
        self.outcomes.clone().map_or_else(|| self.none(), |outcomes| Answer::ready(Ok(outcomes)))
    }

    fn scan(&self, _: Scan) -> Answer<'_, Box<dyn Pages>> {
        self.none()
    }

    fn walk(&self, _: u64, _: usize) -> Answer<'_, Walked> {
        self.none()
    }

    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>> {
        self.none()
    }

    fn len(&self) -> Answer<'_, u64> {
        self.none()
    }

    fn clear(&self) -> Answer<'_, ()> {
        self.none()
    }

    fn sync(&self) -> Answer<'_, ()> {
        self.none()
    }

    fn stats(&self) -> Answer<'_, EngineStats> {
        Answer::ready(match self.closed.load(Ordering::Relaxed) {
            true => Err(KvsError::Closed),
            false => Ok(self.stats.lock().unwrap().clone()),
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        self.closed.store(true, Ordering::Relaxed);
        Answer::ready(Ok(()))
    }
}
