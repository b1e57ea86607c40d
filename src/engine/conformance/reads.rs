//! Single keys: what was written is what is read.

use bytes::Bytes;

use super::subject::{Subject, wait};
use crate::batch::Batch;
use crate::error::Result;
use crate::options::KEY_BYTES_MAX;

pub(super) fn values_come_back(it: &mut Subject) -> Result<()> {
    assert_eq!(it.get("key")?, None);
    let first = it.set("key", "1")?;
    let found = it.get("key")?;
    assert_eq!(found.as_ref().map(|found| &*found.value), Some(&b"1"[..]));
    assert_eq!(found.map(|found| (found.seq, found.expires_at_ms)), Some((first.seq, None)));
    it.set("key", "2")?;
    assert_eq!(it.value("key")?.as_deref(), Some(&b"2"[..]));
    assert_eq!(it.value("kez")?, None);
    it.remove("key")?;
    assert_eq!(it.get("key")?, None);
    it.set("key", "3")?;
    assert_eq!(it.value("key")?.as_deref(), Some(&b"3"[..]));
    Ok(())
}

/// A place for each key, in the order in which they were asked for, also for one asked for twice.
pub(super) fn many_keys_at_once(it: &mut Subject) -> Result<()> {
    let mut batch = Batch::new();
    batch.set("a", "1").set("b", "2").set("c", "3");
    let written = it.write(batch)?;
    let keys = ["c", "none", "a", "c", ""].map(|key| Bytes::copy_from_slice(key.as_bytes()));
    let found = wait(it.engine.get_many(&keys))?;
    let values: Vec<Option<&[u8]>> =
        found.iter().map(|found| found.as_ref().map(|found| &*found.value)).collect();
    assert_eq!(values, [Some(&b"3"[..]), None, Some(b"1"), Some(b"3"), None]);
    assert!(found.iter().flatten().all(|found| found.seq == written.seq));
    assert!(wait(it.engine.get_many(&[]))?.is_empty());
    Ok(())
}

pub(super) fn keys_and_values_are_bytes(it: &mut Subject) -> Result<()> {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let keys: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\xff", b"\xff\xff", &every_byte];
    for (number, key) in keys.iter().enumerate() {
        let value = if number % 2 == 0 { Vec::new() } else { [key, &every_byte[..]].concat() };
        it.set(key, &value)?;
        assert_eq!(it.value(key)?, Some(value), "{key:?}");
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(it.keys()?, sorted);
    assert_eq!(it.walk(3)?, sorted);
    for key in keys {
        assert!(it.remove(key)?.existed, "{key:?}");
        assert_eq!(it.get(key)?, None, "{key:?}");
    }
    assert!(it.keys()?.is_empty());
    Ok(())
}

pub(super) fn long_keys_and_values(it: &mut Subject) -> Result<()> {
    let longest = vec![b'k'; KEY_BYTES_MAX];
    let nearly = longest.get(1..).unwrap_or_default();
    let value = vec![b'v'; 3 << 20];
    it.set(&longest, &value)?;
    it.set(nearly, "short")?;
    assert_eq!(it.value(&longest)?, Some(value));
    assert_eq!(it.value(nearly)?.as_deref(), Some(&b"short"[..]));
    assert_eq!(it.keys()?, [nearly, &longest[..]]);
    Ok(())
}

/// A list of keys that is too much at once is read in part, from its begin.
pub(super) fn some_of_many_keys(it: &mut Subject) -> Result<()> {
    let keys: Vec<Bytes> = (0..40).map(|number| Bytes::from(format!("key {number}"))).collect();
    for key in keys.iter().skip(1) {
        it.set(key, vec![1; 100])?;
    }
    for (bytes_max, least) in [(0, 1), (1, 1), (250, 4), (100_000, 40)] {
        let some = wait(it.engine.get_some(&keys, bytes_max))?;
        assert!(some.len() >= least && some.len() <= keys.len(), "{bytes_max}: {}", some.len());
        let all = wait(it.engine.get_many(&keys))?;
        assert!(all.starts_with(&some), "{bytes_max}");
    }
    assert!(wait(it.engine.get_some(&[], 0))?.is_empty());
    Ok(())
}

/// Versions and expiries can be had without the values.
pub(super) fn versions_of_many_keys(it: &mut Subject) -> Result<()> {
    let keys: Vec<Bytes> = ["absent", "a", "b", "a"].map(Bytes::from).into();
    it.set(b"a", vec![1; 1000])?;
    it.set(b"b", "")?;
    let mut expected = wait(it.engine.get_many(&keys))?;
    expected.iter_mut().flatten().for_each(|found| found.value = Vec::new().into());
    assert_eq!(wait(it.engine.get_versions(&keys))?, expected);
    assert!(wait(it.engine.get_versions(&[]))?.is_empty());
    Ok(())
}
