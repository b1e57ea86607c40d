//! Calls on an engine as a whole.

use super::subject::{Subject, everything, wait};
use crate::batch::Batch;
use crate::error::{KvsError, Result};

pub(super) fn keys_are_counted(it: &mut Subject) -> Result<()> {
    assert_eq!(it.len()?, 0);
    for number in 0..10 {
        it.set(format!("key {number}"), "value")?;
        it.set("again", "value")?;
    }
    assert_eq!(it.len()?, 11);
    it.remove("key 1")?;
    it.remove("none")?;
    assert_eq!(it.len()?, 10);
    let mut batch = Batch::new();
    batch.set("new", "1").remove("key 2").set("key 3", "1").set("gone", "1").remove("gone");
    it.write(batch)?;
    assert_eq!(it.len()?, 10);
    Ok(())
}

pub(super) fn clear_removes_everything(it: &mut Subject) -> Result<()> {
    let mut last = 0;
    for number in 0..100 {
        last = it.set(format!("key {number}"), "value")?.seq;
    }
    it.set_until("expiring", it.engine.now_ms() + 3_600_000)?;
    wait(it.engine.clear())?;
    assert_eq!(it.len()?, 0);
    assert_eq!(it.get("key 1")?, None);
    assert!(it.keys()?.is_empty());
    assert!(it.walk(10)?.is_empty());
    assert_eq!(wait(it.engine.random_key())?, None);
    let written = it.set("key 1", "new")?;
    assert!(!written.existed && written.seq > last, "{written:?} after {last}");
    assert_eq!(it.keys()?, [b"key 1"]);
    wait(it.engine.clear())?;
    wait(it.engine.clear())?;
    assert_eq!(it.len()?, 0);
    Ok(())
}

pub(super) fn sync_and_stats(it: &mut Subject) -> Result<()> {
    it.set("key", "value")?;
    it.set_until("expiring", it.engine.now_ms() + 3_600_000)?;
    wait(it.engine.sync())?;
    let stats = wait(it.engine.stats())?;
    assert_eq!((stats.keys, stats.expiring_keys), (2, 1));
    for figure in &stats.figures {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(!figure.name.is_empty() && figure.name.chars().all(is_name), "{}", figure.name);
        assert!(figure.help.ends_with('.') && figure.value >= 0.0, "{figure:?}");
    }
    Ok(())
}

pub(super) fn compact_changes_nothing(it: &mut Subject) -> Result<()> {
    for number in 0..200 {
        it.set(format!("key {}", number % 10), vec![0; 1000])?;
    }
    it.remove("key 3")?;
    let before = it.keys()?;
    let version = it.get("key 1")?.map(|found| found.seq);
    let compacted = wait(it.engine.compact());
    if it.engine.capabilities().compaction {
        compacted?;
    } else {
        it.assert_unsupported(compacted);
    }
    assert_eq!(it.keys()?, before);
    assert_eq!(it.get("key 1")?.map(|found| found.seq), version);
    Ok(())
}

pub(super) fn closed_is_closed(it: &mut Subject) -> Result<()> {
    it.set("key", "value")?;
    let mut pages = wait(it.engine.scan(everything()))?;
    it.close()?;
    it.close()?;
    fn assert_closed<T>(answer: Result<T>, what: &str) {
        assert!(matches!(answer, Err(KvsError::Closed)), "{what} after close");
    }
    assert_closed(it.get("key"), "get");
    // Either is fine: the call fails, or each of its writes.
    assert_closed(it.set("key", "value"), "set");
    // A scan may begin with its first page.
    let begun = wait(it.engine.scan(everything()));
    assert_closed(begun.and_then(|mut pages| wait(pages.next(10, usize::MAX))), "scan");
    assert_closed(wait(it.engine.walk(0, 10)), "walk");
    assert_closed(wait(it.engine.random_key()), "random_key");
    assert_closed(it.len(), "len");
    assert_closed(wait(it.engine.clear()), "clear");
    assert_closed(wait(it.engine.sync()), "sync");
    assert_closed(wait(it.engine.stats()), "stats");
    if it.engine.capabilities().snapshots {
        assert_closed(wait(it.engine.snapshot()), "snapshot");
    }
    if it.engine.capabilities().watch {
        assert_closed(wait(it.engine.watch(None, b"")), "watch");
    }
    if it.engine.capabilities().compaction {
        assert_closed(wait(it.engine.compact()), "compact");
    }
    // A scan that had begun may have read ahead, but it neither hangs nor panics.
    let _ = wait(pages.next(10, usize::MAX));
    Ok(())
}
