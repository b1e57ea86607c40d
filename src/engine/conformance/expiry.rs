//! Expiry: an expired key is absent, in every call.

use std::time::{Duration, Instant};

use super::subject::{Subject, wait};
use crate::batch::{Batch, Expected};
use crate::error::{KvsError, Result};
use crate::options::EXPIRES_AT_MS_MAX;

/// How far ahead a key expires that is to expire soon, in milliseconds, at first. Where that is
/// over before it can be written, twice as far the next time.
const SOON_MS: u64 = 30;
/// How long an engine may take to do what it is to do soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until it is so.
fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !is_so()? {
        assert!(begun.elapsed() < PATIENCE, "it takes longer than {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Writes what is to expire soon. When that is, is the answer, with what the write answers.
fn soon<T>(it: &Subject, write: impl Fn(&Subject, u64) -> Result<T>) -> Result<(u64, T)> {
    let mut ahead_ms = SOON_MS;
    loop {
        let at_ms = it.engine.now_ms() + ahead_ms;
        match write(it, at_ms) {
            Err(KvsError::InvalidExpiry { .. }) if ahead_ms < 10_000 => ahead_ms *= 2,
            written => return written.map(|written| (at_ms, written)),
        }
    }
}

pub(super) fn expired_is_absent_everywhere(it: &mut Subject) -> Result<()> {
    it.set("stays", "value")?;
    let (at_ms, version) = soon(it, |it, at_ms| {
        it.set_until("goes", at_ms)?;
        Ok(it.set_until("goes too", at_ms)?.seq)
    })?;
    until(|| Ok(it.get("goes")?.is_none()))?;
    assert!(it.engine.now_ms() >= at_ms, "it expired before its time");
    assert_eq!(it.get("goes too")?, None);
    assert_eq!(it.keys()?, [b"stays"]);
    assert_eq!(it.walk(10)?, [b"stays"]);
    assert_eq!(wait(it.engine.random_key())?.as_deref(), Some(&b"stays"[..]));
    for expected in [Expected::Present, Expected::Version(version), Expected::value("expiring")] {
        assert_eq!(wait(it.engine.compare_and_swap(b"goes too", expected, None, None))?, None);
    }
    let absent =
        wait(it.engine.compare_and_swap(b"goes too", Expected::Absent, Some(b"new"), None));
    assert!(absent?.is_some_and(|written| !written.existed));
    assert!(!it.remove("goes")?.existed);
    assert_eq!(it.keys()?, [&b"goes too"[..], b"stays"]);
    Ok(())
}

pub(super) fn an_expiry_is_kept_exactly(it: &mut Subject) -> Result<()> {
    let at_ms = it.engine.now_ms() + 3_600_123;
    let expiry = |it: &Subject| Ok::<_, KvsError>(it.get("key")?.map(|found| found.expires_at_ms));
    it.set_until("key", at_ms)?;
    assert_eq!(expiry(it)?, Some(Some(at_ms)));
    it.set_until("key", EXPIRES_AT_MS_MAX)?;
    assert_eq!(expiry(it)?, Some(Some(EXPIRES_AT_MS_MAX)));
    it.set("key", "value")?;
    assert_eq!(expiry(it)?, Some(None), "a set without an expiry takes it away");
    it.set_until("key", at_ms)?;
    it.remove("key")?;
    assert_eq!(expiry(it)?, None);
    Ok(())
}

pub(super) fn impossible_expiries(it: &mut Subject) -> Result<()> {
    it.set("key", "value")?;
    let now_ms = it.engine.now_ms();
    for at_ms in [0, 1, now_ms, EXPIRES_AT_MS_MAX + 1, u64::MAX] {
        let outcome = it.set_until("key", at_ms);
        assert!(matches!(outcome, Err(KvsError::InvalidExpiry { .. })), "{at_ms}: {outcome:?}");
    }
    assert_eq!(it.value("key")?.as_deref(), Some(&b"value"[..]));
    Ok(())
}

/// They are taken out some time, not only hidden, while life goes on.
pub(super) fn expired_keys_are_counted_no_more(it: &mut Subject) -> Result<()> {
    let (at_ms, ()) = soon(it, |it, at_ms| {
        let mut batch = Batch::new();
        for number in 0..200 {
            batch.set_until(format!("goes {number}"), "value", at_ms);
        }
        it.write(batch).map(drop)
    })?;
    for number in 0..20 {
        it.set_until(format!("stays {number}"), at_ms + 3_600_000)?;
    }
    until(|| {
        it.set("other", "value")?;
        let stats = wait(it.engine.stats())?;
        Ok(it.len()? == 21 && (stats.keys, stats.expiring_keys) == (21, 20))
    })
}
