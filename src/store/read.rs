//! Reads: keydir, then record, then checksum, key and value. No lock, no shared counter.

use std::ops::Deref;
use std::sync::atomic::Ordering;

use super::clock::{Moment, NEVER};
use super::group::Seen;
use super::hash::KeyHash;
use super::hint::{Entry, Subject};
use super::keydir::Location;
use super::map::prefetch;
use super::pins::Pin;
use super::record::{Invalid, Record};
use super::recovery::load_hint;
use super::segment::Segment;
use super::view::View;
use crate::error::{KvsError, Result};

/// How many keys `get_many` asks memory for at once: about what a core can wait for.
const WINDOW: usize = 16;

/// A value that was read: owned bytes.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// store.set("key", "value")?;
/// let value: kvs::Value = store.get("key")?.expect("it was just set");
/// assert_eq!(&*value, b"value");
/// assert_eq!(value.into_vec(), b"value".to_vec());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Value(Vec<u8>);

impl Value {
    /// The bytes, without a copy.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("key", "value")?;
    /// assert_eq!(store.get("key")?.map(|value| value.into_vec()), Some(b"value".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// A value with its version and its expiry, as
/// [`Store::get_versioned`](crate::Store::get_versioned) gives it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let written = store.set("key", "value")?;
/// let found = store.get_versioned("key")?.expect("it was just set");
/// assert_eq!((found.seq, found.expires_at_ms), (written.seq, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned {
    /// The value.
    pub value: Value,
    /// The seq of the write that gave the key this value: its version.
    pub seq: u64,
    /// When the key expires, in milliseconds since 1970-01-01 UTC; none: never.
    pub expires_at_ms: Option<u64>,
}

impl Versioned {
    /// What an engine of another crate has read.
    ///
    /// ```
    /// let found = kvs::Versioned::new(b"value".to_vec().into(), 1, None);
    /// assert_eq!((&*found.value, found.seq), (&b"value"[..], 1));
    /// ```
    #[must_use]
    pub fn new(value: Value, seq: u64, expires_at_ms: Option<u64>) -> Versioned {
        Versioned { value, seq, expires_at_ms }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The record that a key has now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current<'a> {
    pub(crate) seq: u64,
    /// 0: never.
    pub(crate) expires_at_ms: u64,
    pub(crate) value: &'a [u8],
}

impl Current<'_> {
    /// When it expires; none: never.
    pub(crate) fn expiry(&self) -> Option<u64> {
        (self.expires_at_ms != NEVER).then_some(self.expires_at_ms)
    }

    pub(crate) fn to_versioned(self) -> Versioned {
        let (seq, expires_at_ms) = (self.seq, self.expiry());
        Versioned { value: Value(self.value.to_vec()), seq, expires_at_ms }
    }
}

impl View {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.check_open()?;
        let found = self.get_at(key, self.hasher.hash(key), &self.time.moment())?;
        Ok(found.map(|found| found.value))
    }

    /// What a key has at a moment.
    #[inline]
    fn get_at(&self, key: &[u8], hash: KeyHash, moment: &Moment<'_>) -> Result<Option<Versioned>> {
        let pin = self.pins.pin();
        for location in self.keydir.candidates(&pin, hash) {
            let segment = self.segment(&pin, location)?;
            segment.prefetch(location.offset());
            match value_at(segment, location.offset(), key, moment) {
                Ok(None) => {}
                Err(error) => self.unless_other_key(segment, location, hash, error)?,
                Ok(value) => return Ok(value),
            }
        }
        Ok(None)
    }

    pub(crate) fn get_with<R>(
        &self,
        key: &[u8],
        use_value: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        let used = self.with_current(key, self.hasher.hash(key), |current| {
            (!self.time.is_over(current.expires_at_ms)).then(|| use_value(current.value))
        });
        used.map(Option::flatten)
    }

    pub(crate) fn get_versioned(&self, key: &[u8]) -> Result<Option<Versioned>> {
        let found = self.with_current(key, self.hasher.hash(key), |current| {
            (!self.time.is_over(current.expires_at_ms)).then(|| current.to_versioned())
        });
        found.map(Option::flatten)
    }

    pub(crate) fn contains_key(&self, key: &[u8]) -> Result<bool> {
        self.check_open()?;
        let seen = self.find(&self.pins.pin(), key, self.hasher.hash(key))?;
        Ok(seen.is_some_and(|seen| !self.time.is_over(seen.expires_at_ms)))
    }

    pub(crate) fn expires_at(&self, key: &[u8]) -> Result<Option<Option<u64>>> {
        let found = self.with_current(key, self.hasher.hash(key), |current| {
            (!self.time.is_over(current.expires_at_ms)).then(|| current.expiry())
        });
        found.map(Option::flatten)
    }

    /// Hands the record of a key to a function, be it expired or not; none: the key has no record.
    pub(crate) fn with_current<R>(
        &self,
        key: &[u8],
        hash: KeyHash,
        use_current: impl FnOnce(Current<'_>) -> R,
    ) -> Result<Option<R>> {
        self.check_open()?;
        let pin = self.pins.pin();
        let mut use_current = Some(use_current);
        for location in self.keydir.candidates(&pin, hash) {
            let segment = self.segment(&pin, location)?;
            segment.prefetch(location.offset());
            let used = segment.read(location.offset(), |record, _| match record {
                Record::Set { seq, expires_at_ms, key: found, value } if found == key => {
                    let current = Current { seq, expires_at_ms, value };
                    use_current.take().map(|use_current| use_current(current))
                }
                _ => None,
            });
            match used {
                Ok(None) => {}
                Err(error) => self.unless_other_key(segment, location, hash, error)?,
                Ok(used) => return Ok(used),
            }
        }
        Ok(None)
    }

    /// Reads many keys; of a batch, all is seen or nothing. The processor waits for several keys at
    /// a time instead of one after the other. It ends, after one key at the earliest, when the
    /// values have `bytes_max` bytes together.
    pub(crate) fn get_many<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        bytes_max: usize,
        take: impl Fn(Versioned) -> R,
    ) -> Result<Vec<Option<R>>> {
        self.check_open()?;
        let hashes: Vec<KeyHash> = keys.iter().map(|key| self.hasher.hash(key.as_ref())).collect();
        self.keydir.consistently(|| {
            let moment = self.time.moment();
            let pin = self.pins.pin();
            let mut values = Vec::with_capacity(keys.len());
            let mut bytes = 0;
            for (keys, hashes) in keys.chunks(WINDOW).zip(hashes.chunks(WINDOW)) {
                self.prefetch(&pin, hashes);
                for (key, hash) in keys.iter().zip(hashes) {
                    let found = self.get_at(key.as_ref(), *hash, &moment)?;
                    bytes += found.as_ref().map_or(0, |found| found.value.0.len());
                    values.push(found.map(&take));
                    if bytes >= bytes_max {
                        return Ok(values);
                    }
                }
            }
            Ok(values)
        })
    }

    /// Asks for the slots of these keys, then for the records that they point to.
    pub(crate) fn prefetch(&self, pin: &Pin<'_>, hashes: &[KeyHash]) {
        self.locate(pin, hashes, |_, _| ());
    }

    /// As `prefetch`, and tells of each key where a record of it may lie, if there is one.
    #[inline]
    pub(crate) fn locate(
        &self,
        pin: &Pin<'_>,
        hashes: &[KeyHash],
        mut tell: impl FnMut(KeyHash, Option<Location>),
    ) {
        for hash in hashes {
            prefetch(self.keydir.address(pin, *hash));
        }
        for hash in hashes {
            let location = self.keydir.candidates(pin, *hash).next();
            if let Some(location) = location
                && let Ok(segment) = self.segment(pin, location)
            {
                segment.prefetch(location.offset());
            }
            tell(*hash, location);
        }
    }

    /// The record of a key, be it expired or not.
    pub(crate) fn find(&self, pin: &Pin<'_>, key: &[u8], hash: KeyHash) -> Result<Option<Seen>> {
        for location in self.keydir.candidates(pin, hash) {
            if let Some(seen) = self.key_at(pin, location, key, hash)? {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    /// The record at `location`, if it is that key's. Where the record cannot be
    /// read, the segment's hint says whose it is; without a hint nobody knows, and the error
    /// stands: to take it for another key's would bring back an older value later.
    pub(crate) fn key_at(
        &self,
        pin: &Pin<'_>,
        location: Location,
        key: &[u8],
        hash: KeyHash,
    ) -> Result<Option<Seen>> {
        let segment = self.segment(pin, location)?;
        let read = segment.read(location.offset(), |record, len| match record {
            Record::Set { seq, key: found, expires_at_ms, .. } if found == key => {
                Some(Seen { location, len: len as u64, seq, expires_at_ms })
            }
            _ => None,
        });
        read.or_else(|error| {
            if kvs_bug!("unreadable_is_another_key") {
                return Ok(None);
            }
            let entry = self.hinted(segment, location.offset()).ok_or(error)?;
            let Entry { len, seq, expires_at_ms, .. } = entry;
            let is_same = entry.hash.identity() == hash.identity();
            Ok(is_same.then_some(Seen { location, len, seq, expires_at_ms }))
        })
    }

    pub(crate) fn segment<'p>(
        &'p self,
        pin: &'p Pin<'_>,
        location: Location,
    ) -> Result<&'p Segment> {
        let segment = self.segments.get(pin, location.number());
        segment.ok_or(KvsError::StoreFull { what: "segment behind a location" })
    }

    /// Swallows the error of a record that its hint says is another key's.
    fn unless_other_key(
        &self,
        segment: &Segment,
        location: Location,
        hash: KeyHash,
        error: KvsError,
    ) -> Result<()> {
        match self.hinted(segment, location.offset()) {
            Some(entry) if entry.hash.identity() != hash.identity() => Ok(()),
            _ => Err(error),
        }
    }

    /// What the hint of a sealed segment says about the record at an offset.
    fn hinted(&self, segment: &Segment, offset: u64) -> Option<Entry> {
        if !segment.sealed.load(Ordering::Acquire) {
            return None;
        }
        let hint = load_hint(&self.shelf, Subject::new(&self.shelf, segment))?;
        hint.iter(segment.end()).find(|entry| entry.offset == offset)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value(bytes)
    }
}

/// The value of the record at `offset`, if it is that key's and not expired. What is returned
/// is a copy that was itself verified: the page may go bad at any moment.
#[inline]
fn value_at(
    segment: &Segment,
    offset: u64,
    key: &[u8],
    moment: &Moment<'_>,
) -> Result<Option<Versioned>> {
    let found_now = |seq, expires_at_ms: u64, value| {
        let expiry = (expires_at_ms != NEVER).then_some(expires_at_ms);
        let found = Versioned { value: Value(value), seq, expires_at_ms: expiry };
        (!moment.is_over(expires_at_ms)).then_some(found)
    };
    if let Some(Ok(unverified)) = segment.mapped(offset)
        && let Ok(Record::Set { seq, expires_at_ms, key: found, value }) = unverified.decode()
    {
        if found == key {
            let copy = value.to_vec();
            if unverified.verify_copy(segment.salt, offset, &copy).is_ok() {
                return Ok(found_now(seq, expires_at_ms, copy));
            }
        } else if unverified.verify(segment.salt, offset).is_ok() {
            return Ok(None);
        }
    }
    // No mapping, or one that shows something wrong.
    segment.read_file(offset, |record, _| match record {
        Record::Set { seq, expires_at_ms, key: found, value } => {
            Ok((found == key).then(|| found_now(seq, expires_at_ms, value.to_vec())).flatten())
        }
        _ => Err(segment.corrupt(offset, Invalid::Encoding.reason())),
    })?
}
