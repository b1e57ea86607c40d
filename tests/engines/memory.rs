//! The engine `memory`, and that the checks can fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use kvs::engine::{
    Answer, Capabilities, EngineStats, MemoryEngine, Pages, Scan, Write, conformance,
};
use kvs::{Batch, KvsEngine, KvsError, Result, Versioned, Walked, Written};

#[test]
fn memory_conforms() {
    conformance::run(&|| Box::new(|| Ok(Arc::new(MemoryEngine::new()?))));
}

/// The answer of an engine that has it at once.
fn now<T>(answer: Answer<'_, T>) -> Result<T> {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it has no answer yet"),
    }
}

fn set(engine: &MemoryEngine, key: &str, value: &str) -> Written {
    let mut batch = Batch::new();
    batch.set(key, value);
    now(engine.write(vec![Write { batch, ..Write::default() }])).unwrap().remove(0).unwrap()
}

#[test]
fn a_watch_that_falls_too_far_behind_ends_and_others_go_on() {
    let engine = MemoryEngine::new().unwrap();
    let mut behind = now(engine.watch(None, b"")).unwrap();
    let mut beside = now(engine.watch(None, b"")).unwrap();
    for number in 0..70_000 {
        let written = set(&engine, "key", "value");
        if number % 1000 == 0 {
            while now(beside.next(5000)).unwrap().last().unwrap().seq < written.seq {}
        }
    }
    let ended = now(behind.next(1));
    assert!(matches!(ended, Err(KvsError::HistoryGone { .. })), "{ended:?}");
    let last = set(&engine, "key", "last");
    while now(beside.next(5000)).unwrap().last().unwrap().seq < last.seq {}
    // When nobody watches, nothing is kept.
    drop((behind, beside));
    let missed = set(&engine, "key", "missed");
    let late = now(engine.watch(Some(last.seq), b"")).map(|_| ());
    assert!(matches!(late, Err(KvsError::HistoryGone { floor, .. }) if floor == missed.seq));
    now(engine.watch(Some(missed.seq), b"")).unwrap();
}

#[test]
fn a_watch_hears_of_a_clear() {
    let engine = MemoryEngine::new().unwrap();
    set(&engine, "key", "value");
    let mut changes = now(engine.watch(None, b"")).unwrap();
    now(engine.clear()).unwrap();
    assert!(matches!(now(changes.next(1)), Err(KvsError::HistoryGone { .. })));
}

/// An engine that breaks one promise: what is removed comes back as an empty value.
struct Broken(MemoryEngine);

impl KvsEngine for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn get_many<'a>(&'a self, keys: &'a [Bytes]) -> Answer<'a, Vec<Option<Versioned>>> {
        self.0.get_many(keys)
    }

    fn write(&self, writes: Vec<Write>) -> Answer<'_, Vec<Result<Written>>> {
        let changed = writes.into_iter().map(|mut write| {
            let removed: Vec<Vec<u8>> = write
                .batch
                .iter()
                .filter(|it| matches!(it, kvs::Operation::Remove { .. }))
                .map(|it| it.key().to_vec())
                .collect();
            for key in removed {
                write.batch.set(key, "");
            }
            write
        });
        self.0.write(changed.collect())
    }

    fn scan(&self, scan: Scan) -> Answer<'_, Box<dyn Pages>> {
        self.0.scan(scan)
    }

    fn walk(&self, cursor: u64, count: usize) -> Answer<'_, Walked> {
        self.0.walk(cursor, count)
    }

    fn random_key(&self) -> Answer<'_, Option<Vec<u8>>> {
        self.0.random_key()
    }

    fn len(&self) -> Answer<'_, u64> {
        self.0.len()
    }

    fn clear(&self) -> Answer<'_, ()> {
        self.0.clear()
    }

    fn sync(&self) -> Answer<'_, ()> {
        self.0.sync()
    }

    fn stats(&self) -> Answer<'_, EngineStats> {
        self.0.stats()
    }

    fn close(&self) -> Answer<'_, ()> {
        self.0.close()
    }
}

#[test]
fn the_checks_can_fail() {
    let run = || {
        conformance::run(&|| Box::new(|| Ok(Arc::new(Broken(MemoryEngine::new()?)))));
    };
    let failed = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    let told = failed.downcast_ref::<String>().unwrap();
    // What it removes; and it says that it has snapshots, watches and compaction, but has none.
    for name in [
        "values_come_back",
        "outcomes_say_what_existed",
        "keys_are_counted",
        "snapshots_stay_as_they_are",
        "watches_wait",
        "compact_changes_nothing",
    ] {
        assert!(told.contains(&format!("\n{name}: ")), "{name} is not in {told}");
    }
    // It leaves the reading of some keys to what every engine has.
    for name in ["impossible_expiries", "some_of_many_keys", "batches_are_seen_whole_in_part"] {
        assert!(!told.contains(&format!("\n{name}: ")), "{told}");
    }
}
