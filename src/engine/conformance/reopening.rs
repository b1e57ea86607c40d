//! What outlives the engine, where it is durable.

use super::subject::{Subject, everything, read_all, wait};
use crate::batch::Batch;
use crate::error::Result;

pub(super) fn everything_is_there_again(it: &mut Subject) -> Result<()> {
    let at_ms = it.engine.now_ms() + 3_600_000;
    for number in 0..300 {
        it.set(format!("key {number}"), format!("value {number}"))?;
    }
    let mut batch = Batch::new();
    batch.set("", "").set_until("expiring", "value", at_ms).remove("key 7");
    batch.set("large", vec![b'v'; 1 << 20]);
    it.write(batch)?;
    it.remove("key 8")?;
    let read = |it: &Subject| {
        let mut pages = wait(it.engine.scan(everything()))?;
        read_all(&mut *pages, (100, usize::MAX))
    };
    let before = read(it)?;
    it.reopen()?;
    if !it.engine.capabilities().durable {
        assert_eq!(it.len()?, 0, "it keeps what it says it does not");
        return Ok(());
    }
    // Keys, values, versions and expiries.
    assert!(read(it)? == before, "it is not as it was");
    assert_eq!(it.len()?, 301);
    let stats = wait(it.engine.stats())?;
    assert_eq!((stats.keys, stats.expiring_keys), (301, 1));
    assert_eq!(it.get("expiring")?.and_then(|found| found.expires_at_ms), Some(at_ms));
    Ok(())
}

pub(super) fn versions_rise_over_a_reopen(it: &mut Subject) -> Result<()> {
    if !it.engine.capabilities().durable {
        return Ok(());
    }
    let mut last = 0;
    for _ in 0..4 {
        it.set("key", "value")?;
        // The highest version may be one that no key has any more.
        let seq = it.remove("key")?.seq;
        assert!(seq > last, "{seq} after {last}");
        last = seq;
        it.reopen()?;
    }
    assert!(it.set("key", "value")?.seq > last);
    Ok(())
}

pub(super) fn clear_is_for_good(it: &mut Subject) -> Result<()> {
    if !it.engine.capabilities().durable {
        return Ok(());
    }
    for number in 0..50 {
        it.set(format!("key {number}"), "value")?;
    }
    wait(it.engine.clear())?;
    let seq = it.set("new", "value")?.seq;
    it.reopen()?;
    assert_eq!(it.keys()?, [b"new"]);
    assert_eq!(it.len()?, 1);
    assert!(it.set("newer", "value")?.seq > seq);
    Ok(())
}
