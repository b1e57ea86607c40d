//! Snapshots: a view of one moment, where an engine has them.

use bytes::Bytes;

use super::subject::{Subject, everything, read_all, wait};
use crate::engine::{EngineSnapshot, Scan};
use crate::error::Result;

fn value(snapshot: &dyn EngineSnapshot, key: &str) -> Result<Option<Vec<u8>>> {
    let keys = [Bytes::copy_from_slice(key.as_bytes())];
    let found = wait(snapshot.get_many(&keys))?.pop().flatten();
    Ok(found.map(|found| found.value.into_vec()))
}

pub(super) fn snapshots_stay_as_they_are(it: &mut Subject) -> Result<()> {
    it.set("changed", "old")?;
    it.set("removed", "old")?;
    let last = it.set("kept", "old")?.seq;
    let taken = wait(it.engine.snapshot());
    if !it.engine.capabilities().snapshots {
        it.assert_unsupported(taken);
        return Ok(());
    }
    let snapshot = taken?;
    assert_eq!(snapshot.seq(), last);
    it.set("changed", "new")?;
    it.remove("removed")?;
    let seq = it.set("added", "new")?.seq;
    let later = wait(it.engine.snapshot())?;
    assert_eq!(later.seq(), seq);
    for key in ["changed", "removed", "kept"] {
        assert_eq!(value(&*snapshot, key)?.as_deref(), Some(&b"old"[..]), "{key}");
    }
    assert_eq!(value(&*snapshot, "added")?, None);
    drop(snapshot);
    assert_eq!(value(&*later, "changed")?.as_deref(), Some(&b"new"[..]));
    assert_eq!(value(&*later, "removed")?, None);
    assert_eq!(value(&*later, "added")?.as_deref(), Some(&b"new"[..]));
    Ok(())
}

pub(super) fn scans_of_snapshots(it: &mut Subject) -> Result<()> {
    let taken = wait(it.engine.snapshot());
    if !it.engine.capabilities().snapshots {
        it.assert_unsupported(taken);
        return Ok(());
    }
    drop(taken?);
    for number in 0..100 {
        it.set(format!("key {number:02}"), "old")?;
    }
    let mut expected = it.keys()?;
    let snapshot = wait(it.engine.snapshot())?;
    for reverse in [false, true] {
        let mut pages = wait(snapshot.scan(Scan { reverse, ..everything() }))?;
        let mut found = wait(pages.next(10, usize::MAX))?;
        for number in 0..100 {
            match number % 2 {
                0 => it.set(format!("key {number:02}"), "new")?,
                _ => it.remove(format!("key {number:02}"))?,
            };
        }
        found.extend(read_all(&mut *pages, (10, usize::MAX))?);
        assert!(found.iter().all(|(_, found)| &*found.value == b"old"));
        let keys: Vec<Vec<u8>> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected, "{reverse}");
        expected.reverse();
    }
    Ok(())
}
