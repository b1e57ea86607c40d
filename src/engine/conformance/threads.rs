//! Many callers at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::subject::{Subject, everything, get, read_all, wait, write};
use crate::batch::{Batch, Expected};
use crate::engine::KvsEngine;
use crate::error::Result;
use crate::store::Versioned;

const THREADS: u32 = 8;

/// Runs a job on several threads, each with its number, beside one on this thread.
fn beside(
    it: &Subject,
    job: impl Fn(&dyn KvsEngine, u32) -> Result<()> + Sync,
    own: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let job = &job;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let engine = &*it.engine;
                scope.spawn(move || job(engine, number))
            })
            .collect();
        own()?;
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

/// Counters that are read, added to and swapped: no addition is lost.
pub(super) fn counters_add_up(it: &mut Subject) -> Result<()> {
    const ADDITIONS: u64 = 40;
    const COUNTERS: u32 = 3;
    let number_in = |value: &[u8]| String::from_utf8_lossy(value).parse::<u64>().unwrap_or(0);
    let add = |engine: &dyn KvsEngine, key: &str| -> Result<bool> {
        let found = get(engine, key)?;
        let (expected, number) = match &found {
            None => (Expected::Absent, 0),
            Some(found) => (Expected::Version(found.seq), number_in(&found.value)),
        };
        let sum = (number + 1).to_string();
        let swapped =
            wait(engine.compare_and_swap(key.as_bytes(), expected, Some(sum.as_bytes()), None));
        Ok(swapped?.is_some())
    };
    let job = |engine: &dyn KvsEngine, thread: u32| {
        let key = format!("counter {}", thread % COUNTERS);
        let mut added = 0;
        while added < ADDITIONS {
            added += u64::from(add(engine, &key)?);
        }
        Ok(())
    };
    beside(it, job, || Ok(()))?;
    let mut sum = 0;
    for counter in 0..COUNTERS {
        sum += it.value(format!("counter {counter}"))?.map_or(0, |value| number_in(&value));
    }
    assert_eq!(sum, u64::from(THREADS) * ADDITIONS);
    Ok(())
}

/// Keys that are written one after the other: whoever reads both sees no later one without the
/// earlier one.
pub(super) fn several_keys_are_read_at_one_moment(it: &mut Subject) -> Result<()> {
    const ROUNDS: u64 = 300;
    let keys = [Bytes::from_static(b"first"), Bytes::from_static(b"second")];
    let set = |engine: &dyn KvsEngine, round: u64| {
        keys.iter().try_for_each(|key| {
            let mut batch = Batch::new();
            batch.set(key, round.to_string());
            write(engine, batch).map(|_| ())
        })
    };
    set(&*it.engine, 0)?;
    let is_over = AtomicBool::new(false);
    let job = |engine: &dyn KvsEngine, thread: u32| {
        if thread == 0 {
            let done = (1..=ROUNDS).try_for_each(|round| set(engine, round));
            is_over.store(true, Ordering::Relaxed);
            return done;
        }
        while !is_over.load(Ordering::Relaxed) {
            let found = match thread % 2 {
                0 => wait(engine.get_many(&keys))?,
                _ => wait(engine.get_some(&keys, usize::MAX))?,
            };
            let rounds: Vec<Option<u64>> = found
                .iter()
                .flatten()
                .map(|found| String::from_utf8_lossy(&found.value).parse().ok())
                .collect();
            let [Some(first), Some(second)] = rounds[..] else {
                panic!("{rounds:?}");
            };
            assert!(first == second || first == second + 1, "{first} and {second}");
        }
        Ok(())
    };
    beside(it, job, || Ok(()))
}

/// Of a batch, reading several keys sees all or nothing, in each of its ways.
pub(super) fn batches_are_seen_whole(it: &mut Subject) -> Result<()> {
    seen_whole(it, 10, |engine, keys| wait(engine.get_many(keys)))
}

/// So does `get_some`, as far as it reads, also of more keys than it may read first.
pub(super) fn batches_are_seen_whole_in_part(it: &mut Subject) -> Result<()> {
    seen_whole(it, 70, |engine, keys| {
        let some = wait(engine.get_some(keys, usize::MAX))?;
        assert_eq!(some.len(), keys.len(), "nothing is too long here");
        Ok(some)
    })?;
    seen_whole(it, 70, |engine, keys| wait(engine.get_some(keys, 150)))?;
    seen_whole(it, 70, |engine, keys| wait(engine.get_versions(keys)))
}

/// Reads keys beside writers of batches, each of all keys.
fn seen_whole(
    it: &Subject,
    keys: u32,
    read: impl Fn(&dyn KvsEngine, &[Bytes]) -> Result<Vec<Option<Versioned>>> + Sync,
) -> Result<()> {
    const ROUNDS: u32 = 50;
    let keys: Vec<Bytes> = (0..keys).map(|key| Bytes::from(format!("key {key}"))).collect();
    let is_over = AtomicBool::new(false);
    let job = |engine: &dyn KvsEngine, thread: u32| {
        if thread.is_multiple_of(2) {
            for round in 0..ROUNDS {
                let mut batch = Batch::new();
                for key in &keys {
                    batch.set(key, format!("{thread} {round}"));
                }
                write(engine, batch)?;
            }
            return Ok(());
        }
        while !is_over.load(Ordering::Relaxed) {
            let found = read(engine, &keys)?;
            let seq = |found: &Option<Versioned>| found.as_ref().map(|it| it.seq);
            let first = found.first().and_then(seq);
            assert!(found.iter().all(|found| seq(found) == first), "half a batch was seen");
            if first.is_some() && thread % 4 == 1 {
                break;
            }
        }
        Ok(())
    };
    let own = || {
        while it.get("key 0")?.is_none_or(|found| !found.value.ends_with(b" 49")) {
            std::thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
        Ok(())
    };
    let read = beside(it, job, own);
    wait(it.engine.clear())?;
    read
}

/// Keys that stay come in each scan and each walk, whatever the writers do.
pub(super) fn scans_beside_writers(it: &mut Subject) -> Result<()> {
    const STAYING: usize = 100;
    let mut batch = Batch::new();
    for number in 0..STAYING {
        batch.set(format!("stays {number:03}"), "value");
    }
    it.write(batch)?;
    let job = |engine: &dyn KvsEngine, thread: u32| {
        for number in 0..60 {
            let mut batch = Batch::new();
            batch.set(format!("passes {thread} {number}"), "value");
            batch.set(format!("stays {:03}", (number + thread) % 100), "again");
            write(engine, batch)?;
            let mut batch = Batch::new();
            batch.remove(format!("passes {thread} {number}"));
            write(engine, batch)?;
        }
        Ok(())
    };
    let staying = |keys: &[Vec<u8>]| keys.iter().filter(|key| key.starts_with(b"stays")).count();
    let own = || {
        for _ in 0..5 {
            let mut pages = wait(it.engine.scan(everything()))?;
            let found = read_all(&mut *pages, (9, usize::MAX))?;
            let keys: Vec<Vec<u8>> = found.into_iter().map(|(key, _)| key).collect();
            assert!(keys.is_sorted_by(|a, b| a < b));
            assert_eq!(staying(&keys), STAYING);
            assert_eq!(staying(&it.walk(9)?), STAYING);
        }
        Ok(())
    };
    beside(it, job, own)?;
    assert_eq!(it.len()?, STAYING as u64);
    Ok(())
}
