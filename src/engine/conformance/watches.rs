//! Watches: every change in its order, where an engine tells them.

use std::sync::Arc;

use super::subject::{Subject, wait, write};
use crate::batch::Batch;
use crate::engine::Changes;
use crate::error::{KvsError, Result};
use crate::store::Change;

/// A watch; none, and checked, where the engine has none.
fn begin(it: &Subject, after: Option<u64>, prefix: &str) -> Result<Option<Box<dyn Changes>>> {
    let begun = wait(it.engine.watch(after, prefix.as_bytes()));
    if it.engine.capabilities().watch {
        return begun.map(Some);
    }
    it.assert_unsupported(begun);
    Ok(None)
}

/// The next changes, one at a time or several.
fn read(changes: &mut dyn Changes, count: usize) -> Result<Vec<Change>> {
    let mut read = Vec::new();
    while read.len() < count {
        let more = wait(changes.next(count - read.len()))?;
        assert!(!more.is_empty(), "it waits until there is one");
        read.extend(more);
    }
    Ok(read)
}

/// Key and value of a change, for comparing.
fn told(changes: &[Change]) -> Vec<(&[u8], Option<&[u8]>)> {
    changes.iter().map(|change| (&change.key[..], change.value.as_deref())).collect()
}

pub(super) fn watches_tell_every_change(it: &mut Subject) -> Result<()> {
    it.set("a before", "value")?;
    let (Some(mut all), Some(mut some)) = (begin(it, None, "")?, begin(it, None, "a")?) else {
        return Ok(());
    };
    let first = it.set("a", "1")?;
    it.set("b", "2")?;
    let at_ms = it.engine.now_ms() + 3_600_000;
    it.set_until("a too", at_ms)?;
    it.remove("a")?;
    let mut batch = Batch::new();
    batch.set("c", "3").set("a", "4").remove("b");
    let last = it.write(batch)?;
    let changes = read(&mut *all, 7)?;
    let (alone, together) = changes.split_at(4);
    let expected: [(&[u8], Option<&[u8]>); 4] =
        [(b"a", Some(b"1")), (b"b", Some(b"2")), (b"a too", Some(b"expiring")), (b"a", None)];
    assert_eq!(told(alone), expected);
    assert_eq!(alone.first().map(|change| change.seq), Some(first.seq));
    assert_eq!(alone.get(2).and_then(|change| change.expires_at_ms), Some(at_ms));
    assert!(changes.is_sorted_by_key(|change| change.seq));
    // Those of a batch share its seq, in an order of the engine's.
    assert!(together.iter().all(|change| change.seq == last.seq));
    let mut together = told(together);
    together.sort_unstable();
    let expected: [(&[u8], Option<&[u8]>); 3] =
        [(b"a", Some(b"4")), (b"b", None), (b"c", Some(b"3"))];
    assert_eq!(together, expected);
    let changes = read(&mut *some, 4)?;
    let expected: [(&[u8], Option<&[u8]>); 4] =
        [(b"a", Some(b"1")), (b"a too", Some(b"expiring")), (b"a", None), (b"a", Some(b"4"))];
    assert_eq!(told(&changes), expected);
    Ok(())
}

pub(super) fn watches_go_on_after_a_seq(it: &mut Subject) -> Result<()> {
    // As long as there is one, an engine keeps what it has not told.
    let Some(first) = begin(it, None, "")? else {
        return Ok(());
    };
    let seq = it.set("a", "1")?.seq;
    it.set("b", "2")?;
    it.set("a", "3")?;
    let Some(mut changes) = begin(it, Some(seq), "")? else {
        return Ok(());
    };
    let expected: [(&[u8], Option<&[u8]>); 2] = [(b"b", Some(b"2")), (b"a", Some(b"3"))];
    assert_eq!(told(&read(&mut *changes, 2)?), expected);
    drop(first);
    Ok(())
}

/// Who waits hears of a write of another thread, and of the end.
pub(super) fn watches_wait(it: &mut Subject) -> Result<()> {
    let Some(mut changes) = begin(it, None, "key")? else {
        return Ok(());
    };
    let engine = Arc::clone(&it.engine);
    let writer = std::thread::spawn(move || {
        for number in 0..100 {
            let mut batch = Batch::new();
            batch.set("other", "value");
            if number % 2 == 0 {
                batch.set(format!("key {number}"), "value");
            }
            write(&*engine, batch)?;
        }
        wait(engine.sync())
    });
    let told = read(&mut *changes, 50)?;
    assert!(told.is_sorted_by(|a, b| a.seq < b.seq));
    assert!(writer.join().is_ok_and(|done| done.is_ok()), "the writer failed");
    let engine = Arc::clone(&it.engine);
    let closer = std::thread::spawn(move || wait(engine.close()));
    let ended = wait(changes.next(1));
    assert!(matches!(ended, Err(KvsError::Closed)), "{ended:?}");
    assert!(closer.join().is_ok_and(|done| done.is_ok()), "it could not be closed");
    Ok(())
}
