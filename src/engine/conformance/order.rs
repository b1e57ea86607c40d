//! Scans: ranges in the order of their keys, page by page.

use std::ops::{Bound, RangeBounds};

use super::subject::{Subject, everything, read_all, wait};
use crate::batch::Batch;
use crate::engine::Scan;
use crate::error::{KvsError, Result};

/// Gives the engine keys that are not in order.
fn fill(it: &Subject, count: u32) -> Result<Vec<Vec<u8>>> {
    let mut batch = Batch::new();
    let mut keys = Vec::new();
    for number in 0..count {
        let key = format!("{:05}", number.wrapping_mul(7919) % 100_003);
        batch.set(&key, format!("value of {key}"));
        keys.push(key.into_bytes());
    }
    it.write(batch)?;
    keys.sort();
    Ok(keys)
}

pub(super) fn scans_are_in_order(it: &mut Subject) -> Result<()> {
    let mut keys = fill(it, 500)?;
    let mut pages = wait(it.engine.scan(everything()))?;
    let found = read_all(&mut *pages, (100, usize::MAX))?;
    for (key, versioned) in &found {
        let key = String::from_utf8_lossy(key);
        assert_eq!(*versioned.value, *format!("value of {key}").as_bytes());
        assert_eq!(it.get(&*key)?.as_ref(), Some(versioned));
    }
    assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), keys);
    assert!(wait(pages.next(100, usize::MAX))?.is_empty(), "what has ended stays ended");
    keys.reverse();
    assert_eq!(it.scan(Scan { reverse: true, ..everything() })?, keys);
    Ok(())
}

pub(super) fn scans_keep_to_their_bounds(it: &mut Subject) -> Result<()> {
    let keys = ["", "a", "aa", "b", "d"];
    for key in keys {
        it.set(key, "value")?;
    }
    let mut bounds = vec![Bound::Unbounded];
    for key in ["", "a", "aa", "ab", "b", "c", "d", "e"] {
        bounds.push(Bound::Included(key.as_bytes().to_vec()));
        bounds.push(Bound::Excluded(key.as_bytes().to_vec()));
    }
    for from in &bounds {
        for to in &bounds {
            if is_turned(from, to) {
                continue;
            }
            let range = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let is_in = |key: &&str| RangeBounds::<[u8]>::contains(&range, key.as_bytes());
            let mut expected: Vec<&str> = keys.into_iter().filter(is_in).collect();
            for reverse in [false, true] {
                let scan = Scan { from: from.clone(), to: to.clone(), reverse, keys_only: false };
                let found: Vec<String> = it
                    .scan(scan)?
                    .iter()
                    .map(|key| String::from_utf8_lossy(key).into_owned())
                    .collect();
                assert_eq!(found, expected, "{from:?} {to:?} {reverse}");
                expected.reverse();
            }
        }
    }
    Ok(())
}

fn is_turned(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    let key = |bound: &Bound<Vec<u8>>| match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
        Bound::Unbounded => None,
    };
    key(from).zip(key(to)).is_some_and(|(from, to)| from > to)
}

pub(super) fn scans_of_keys_only(it: &mut Subject) -> Result<()> {
    let written = it.set("key", "value")?;
    let mut pages = wait(it.engine.scan(Scan { keys_only: true, ..everything() }))?;
    let found = read_all(&mut *pages, (10, usize::MAX))?;
    let found: Vec<_> = found.iter().map(|(key, it)| (&key[..], &*it.value, it.seq)).collect();
    assert_eq!(found, [(&b"key"[..], &b""[..], written.seq)]);
    Ok(())
}

pub(super) fn pages_keep_their_limits(it: &mut Subject) -> Result<()> {
    let keys = fill(it, 100)?;
    for (records_max, bytes_max) in
        [(1, usize::MAX), (7, usize::MAX), (100, usize::MAX), (100, 60), (usize::MAX, usize::MAX)]
    {
        let mut pages = wait(it.engine.scan(everything()))?;
        let mut found = Vec::new();
        loop {
            let page = wait(pages.next(records_max, bytes_max))?;
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= records_max, "{} records", page.len());
            let bytes: usize = page.iter().map(|(key, it)| key.len() + it.value.len()).sum();
            assert!(bytes <= bytes_max, "{bytes} bytes");
            found.extend(page.into_iter().map(|(key, _)| key));
        }
        assert_eq!(found, keys, "{records_max} {bytes_max}");
    }
    // One at least, whatever the limits.
    for limits in [(0, 0), (1, 0), (10, 1)] {
        let mut pages = wait(it.engine.scan(everything()))?;
        assert_eq!(wait(pages.next(limits.0, limits.1))?.len(), 1, "{limits:?}");
        assert_eq!(read_all(&mut *pages, limits)?.len(), 99, "{limits:?}");
    }
    Ok(())
}

pub(super) fn turned_ranges_are_refused(it: &mut Subject) -> Result<()> {
    it.set("key", "value")?;
    let bound = |key: &str, included: bool| match included {
        true => Bound::Included(key.as_bytes().to_vec()),
        false => Bound::Excluded(key.as_bytes().to_vec()),
    };
    for (from_included, to_included) in [(true, true), (true, false), (false, true)] {
        let (from, to) = (bound("b", from_included), bound("a", to_included));
        let begun = wait(it.engine.scan(Scan { from, to, ..everything() }));
        assert!(matches!(begun, Err(KvsError::InvalidRange { from, to })
            if (&from[..], &to[..]) == (b"b", b"a")));
    }
    Ok(())
}

/// A key that is there from begin to end comes once, in its place.
pub(super) fn scans_while_keys_change(it: &mut Subject) -> Result<()> {
    let keys = fill(it, 200)?;
    for reverse in [false, true] {
        let mut pages = wait(it.engine.scan(Scan { reverse, ..everything() }))?;
        let mut found = Vec::new();
        for round in 0.. {
            let page = wait(pages.next(10, usize::MAX))?;
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|(key, _)| key));
            let passing = |number: u32| format!("{:05} passing", (round * 31 + number) % 1000 * 97);
            for number in 0..5 {
                it.set(passing(number), "value")?;
                it.remove(passing(number + 100))?;
            }
        }
        assert!(found.is_sorted_by(|a, b| if reverse { a > b } else { a < b }));
        found.retain(|key| !key.ends_with(b"passing"));
        found.sort();
        assert_eq!(found, keys);
    }
    Ok(())
}
