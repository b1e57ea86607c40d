//! Walks through all keys, and keys by chance.

use std::collections::BTreeSet;

use super::subject::{Subject, wait};
use crate::batch::Batch;
use crate::error::Result;

fn fill(it: &Subject, count: u32) -> Result<Vec<Vec<u8>>> {
    let mut batch = Batch::new();
    let mut keys = Vec::new();
    for number in 0..count {
        let key = format!("key {number:04}");
        batch.set(&key, "value");
        keys.push(key.into_bytes());
    }
    it.write(batch)?;
    Ok(keys)
}

pub(super) fn walks_come_to_an_end(it: &mut Subject) -> Result<()> {
    let nothing = wait(it.engine.walk(0, 10))?;
    assert!(nothing.keys.is_empty() && nothing.cursor == 0, "{nothing:?}");
    let keys = fill(it, 300)?;
    for count in [0, 1, 7, 299, 300, 301, usize::MAX] {
        assert_eq!(it.walk(count)?, keys, "{count}");
    }
    Ok(())
}

/// As many as are asked for, unless they are long.
pub(super) fn walks_over_long_keys(it: &mut Subject) -> Result<()> {
    let mut keys = Vec::new();
    for number in 0..20_u8 {
        let key = vec![number; 1 << 20];
        it.set(&key, "")?;
        keys.push(key);
    }
    let first = wait(it.engine.walk(0, 1000))?;
    assert!(first.cursor != 0 && first.keys.len() <= 16, "{} MiB at once", first.keys.len());
    let found = it.walk(1000)?;
    assert!(found == keys, "{} keys", found.len());
    Ok(())
}

/// A key that is there from begin to end comes at least once, whatever happens to the others.
pub(super) fn walks_while_keys_change(it: &mut Subject) -> Result<()> {
    let keys = fill(it, 300)?;
    let passing = |number: u32| format!("key {:04} passing", number % 300);
    for number in 0..150 {
        it.set(passing(number), "value")?;
    }
    let (mut found, mut cursor, mut round) = (BTreeSet::new(), 0, 0);
    loop {
        let walked = wait(it.engine.walk(cursor, 10))?;
        found.extend(walked.keys);
        cursor = walked.cursor;
        if cursor == 0 {
            break;
        }
        for _ in 0..10 {
            // More come and go than the walk passes, and what stays is written again.
            it.remove(passing(round))?;
            it.set(passing(round + 150), "value")?;
            if let Some(key) = keys.get(round as usize % keys.len()) {
                it.set(key, "again")?;
            }
            round += 1;
        }
        assert!(round < 100_000, "it has no end");
    }
    found.retain(|key| !key.ends_with(b"passing"));
    assert!(found.iter().eq(keys.iter()), "{} of {} keys", found.len(), keys.len());
    Ok(())
}

/// A caller that lost an answer asks once more.
pub(super) fn cursors_may_be_used_again(it: &mut Subject) -> Result<()> {
    let keys = fill(it, 100)?;
    let first = wait(it.engine.walk(0, 10))?;
    assert_ne!(first.cursor, 0);
    let second = wait(it.engine.walk(first.cursor, 10))?;
    let again = wait(it.engine.walk(first.cursor, 10))?;
    assert_eq!(second.keys, again.keys);
    let (mut found, mut cursor) = ([first.keys, again.keys].concat(), again.cursor);
    while cursor != 0 {
        let walked = wait(it.engine.walk(cursor, 10))?;
        found.extend(walked.keys);
        cursor = walked.cursor;
    }
    found.sort();
    found.dedup();
    assert_eq!(found, keys);
    Ok(())
}

pub(super) fn random_keys(it: &mut Subject) -> Result<()> {
    assert_eq!(wait(it.engine.random_key())?, None);
    let keys = fill(it, 100)?;
    let mut found = BTreeSet::new();
    for _ in 0..500 {
        found.extend(wait(it.engine.random_key())?);
    }
    assert!(found.iter().all(|key| keys.contains(key)));
    assert!(found.len() > 1, "it is always the same");
    for key in &keys {
        it.remove(key)?;
    }
    assert_eq!(wait(it.engine.random_key())?, None);
    it.set("last", "value")?;
    assert_eq!(wait(it.engine.random_key())?.as_deref(), Some(&b"last"[..]));
    Ok(())
}
