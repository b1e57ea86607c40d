//! Writes that depend on what is there: set with options, compare and swap, update, counters.
//!
//! All of them are one thing: read the key, decide, and write on the condition that the key is
//! still the same; if it is not, begin again. The condition is checked by the leader of the group
//! that the write comes into, so a change is linearizable with everything queued before it, and
//! so is the finding that there is nothing to change. Of several that change a key at the same
//! time, one gets on with each group.

use super::Store;
use super::core::Core;
use super::group::Written;
use super::prepare::check_expiry;
use super::read::{Current, Value};
use crate::batch::{Batch, Expected, Operation};
use crate::error::{KvsError, Result};
use crate::options::{Expiry, SetOptions, WriteOptions, check_value_len};

/// What becomes of a key.
pub(crate) enum Change {
    /// It stays as it is.
    Nothing,
    /// It gets a value and, if it says so, an expiry.
    Set {
        value: Vec<u8>,
        expires_at_ms: Option<u64>,
    },
    Remove,
}

impl Core {
    /// Lets `decide` change a key, given its value, until the key is at the time of the write as
    /// it was when that was decided. None: nothing was to be changed.
    pub(crate) fn change(
        &self,
        key: &[u8],
        options: WriteOptions,
        mut decide: impl FnMut(Option<Current<'_>>) -> Result<Change>,
    ) -> Result<Option<Written>> {
        let hash = self.hasher.hash(key);
        let mut batch = Batch::new();
        loop {
            let mut expected = Expected::Absent;
            let mut change = None;
            self.with_current(key, hash, |current| {
                if !self.time.is_over(current.expires_at_ms) {
                    expected = Expected::Version(current.seq);
                    change = Some(decide(Some(current)));
                }
            })?;
            let change = change.unwrap_or_else(|| decide(None))?;
            batch.clear();
            batch.require(key, expected);
            let is_nothing = matches!(change, Change::Nothing);
            match change {
                Change::Nothing => {}
                Change::Remove => drop(batch.remove(key)),
                Change::Set { value, expires_at_ms: None } => drop(batch.set(key, value)),
                Change::Set { value, expires_at_ms: Some(at) } => {
                    batch.set_until(key, value, at);
                }
            }
            match self.write_checked(&batch, options) {
                Err(KvsError::PreconditionFailed { .. }) => {}
                written => return written.map(|written| (!is_nothing).then_some(written)),
            }
        }
    }
}

impl Store {
    /// Gives a key a value, with an expiry or a condition. None: the condition does not hold, and
    /// nothing was written.
    ///
    /// When this returns, the write is as durable as [`set`](Store::set) makes it. That a condition
    /// does not hold is found out after every write that was queued before.
    ///
    /// # Errors
    /// As [`set`](Store::set), and [`KvsError::InvalidExpiry`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::SetOptions;
    /// store.set_with("session", "alice", SetOptions::new().expire_after_ms(60_000))?;
    /// assert!(store.set_with("session", "bob", SetOptions::new().if_absent())?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<Option<Written>> {
        let (core, key, value) = (self.core(), key.as_ref(), value.as_ref());
        let now_ms = core.time.now_ms();
        let expires_at_ms = match options.expiry {
            Expiry::Never | Expiry::Keep => None,
            Expiry::AtMs(at) => Some(at),
            Expiry::AfterMs(ms) => Some(now_ms.saturating_add(ms)),
        };
        expires_at_ms.map_or(Ok(()), |at_ms| check_expiry(at_ms, now_ms))?;
        if options.expiry == Expiry::Keep {
            return core.change(key, options.write, |current| {
                if options.if_present.is_some_and(|present| present != current.is_some()) {
                    return Ok(Change::Nothing);
                }
                let expires_at_ms = current.and_then(|current| current.expiry());
                Ok(Change::Set { value: value.to_vec(), expires_at_ms })
            });
        }
        let Some(present) = options.if_present else {
            let set = Operation::Set { key, value, expires_at_ms };
            return core.write_one(set, options.write).map(Some);
        };
        let mut batch = Batch::new();
        batch.require(key, if present { Expected::Present } else { Expected::Absent });
        match expires_at_ms {
            Some(at) => batch.set_until(key, value, at),
            None => batch.set(key, value),
        };
        unless_refused(core.write_checked(&batch, options.write))
    }

    /// Gives a key a value, or with none removes it, if it is as expected. None: it is not, and
    /// nothing was written. The key does not expire afterwards.
    ///
    /// # Errors
    /// As [`set`](Store::set).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// use kvs::Expected;
    /// let version = store.set("key", "1")?.seq;
    /// assert!(store.compare_and_swap("key", Expected::Version(version), Some("2"))?.is_some());
    /// assert!(store.compare_and_swap("key", Expected::Version(version), Some("3"))?.is_none());
    /// assert!(store.compare_and_swap("key", Expected::value("2"), None::<&str>)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Expected,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<Option<Written>> {
        let key = key.as_ref();
        let mut batch = Batch::new();
        batch.require(key, expected);
        match new {
            Some(value) => batch.set(key, value),
            None => batch.remove(key),
        };
        unless_refused(self.core().write_batch(&batch, WriteOptions::new()))
    }

    /// Changes a key as a function of its value: the function gets the value, none if there is
    /// none, and answers with the new one, none to remove the key. The expiry stays. Answers with
    /// the new value.
    ///
    /// The function is called again if the key was changed meanwhile; what it answered last is
    /// what was written.
    ///
    /// # Errors
    /// As [`set`](Store::set) and [`get`](Store::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let add = |old: Option<&[u8]>| Some([old.unwrap_or_default(), b"x"].concat());
    /// store.update("key", add)?;
    /// assert_eq!(store.update("key", add)?.as_deref(), Some(&b"xx"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(
        &self,
        key: impl AsRef<[u8]>,
        mut update: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Value>> {
        let mut new = None;
        self.core().change(key.as_ref(), WriteOptions::new(), |current| {
            new = update(current.map(|current| current.value));
            let expires_at_ms = current.and_then(|current| current.expiry());
            Ok(match (&new, current) {
                (Some(value), _) => Change::Set { value: value.clone(), expires_at_ms },
                (None, Some(_)) => Change::Remove,
                (None, None) => Change::Nothing,
            })
        })?;
        Ok(new.map(Value::from))
    }

    /// Adds to a number that is kept as decimal digits, as Redis does; a key that is not there
    /// counts as 0. The expiry stays. Answers with the sum.
    ///
    /// # Errors
    /// [`KvsError::NotAnInteger`], [`KvsError::IntegerOverflow`]: the value is as it was. And as
    /// [`set`](Store::set).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert_eq!(store.increment("visits", 1)?, 1);
    /// assert_eq!(store.increment("visits", 41)?, 42);
    /// assert_eq!(store.get("visits")?.as_deref(), Some(&b"42"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        let key = key.as_ref();
        let mut sum = 0;
        self.core().change(key, WriteOptions::new(), |current| {
            let number = match current {
                None => 0,
                Some(current) => parse_integer(current.value)
                    .ok_or_else(|| KvsError::NotAnInteger { key: key.to_vec() })?,
            };
            let overflow = || KvsError::IntegerOverflow { key: key.to_vec(), by };
            sum = number.checked_add(by).ok_or_else(overflow)?;
            let expires_at_ms = current.and_then(|current| current.expiry());
            Ok(Change::Set { value: sum.to_string().into_bytes(), expires_at_ms })
        })?;
        Ok(sum)
    }

    /// Puts bytes behind the value of a key; a key that is not there counts as empty. The expiry
    /// stays. Answers with the length of the new value in bytes.
    ///
    /// # Errors
    /// As [`set`](Store::set); [`KvsError::ValueTooLarge`]: the value is as it was.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("log", "one")?;
    /// assert_eq!(store.append("log", ", two")?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<usize> {
        let mut len = 0;
        self.core().change(key.as_ref(), WriteOptions::new(), |current| {
            let old = current.map(|current| current.value).unwrap_or_default();
            len = old.len().saturating_add(bytes.as_ref().len());
            // Before it is put together: it may be far too long.
            check_value_len(len)?;
            let value = [old, bytes.as_ref()].concat();
            let expires_at_ms = current.and_then(|current| current.expiry());
            Ok(Change::Set { value, expires_at_ms })
        })?;
        Ok(len)
    }
}

/// None for a write that was refused because of what it depends on.
fn unless_refused(written: Result<Written>) -> Result<Option<Written>> {
    match written {
        Err(KvsError::PreconditionFailed { .. }) => Ok(None),
        written => written.map(Some),
    }
}

/// A decimal integer as `i64` prints it: no sign but `-`, no leading zeros, no blanks.
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let is_canonical = match digits {
        [b'0'] => bytes == digits,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_canonical.then(|| std::str::from_utf8(bytes).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integers_are_strict() {
        let good = ["0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808"];
        for number in good {
            assert_eq!(parse_integer(number.as_bytes()), number.parse().ok(), "{number}");
        }
        let bad = ["", "-", "-0", "+1", "01", " 1", "1 ", "1.0", "0x1", "1e3", "٣"];
        for text in bad.iter().chain(&["9223372036854775808", "-9223372036854775809"]) {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }
}
