//! Keys in order: ranges and prefixes, forward and backward, on a snapshot.
//!
//! With the ordered index, keys are copied out of it some at a time, and their records are asked
//! for some ahead. With the hash index there is no order to go by: all keys of the range are read
//! from the log and sorted first.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::Store;
use super::as_of::Held;
use super::hash::KeyHash;
use super::iter::{Iter, Keys};
use super::ordered::Ordered;
#[cfg(feature = "server")]
use super::read::Versioned;
use super::read::{Current, Value};
use super::snapshot::Snapshot;
use crate::error::{KvsError, Result};

/// How many keys are copied at once: few at first, because many ranges are short.
const FIRST_KEYS: usize = 16;
const KEYS: usize = 128;
/// How many records are asked for at once.
const AHEAD: usize = 16;

/// A key that is to come.
struct Due {
    key: Vec<u8>,
    hash: KeyHash,
}

/// Goes over the keys and values of a range, in order, from both ends; see
/// [`Store::range`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// for key in ["a", "b", "c"] {
///     store.set(key, "value")?;
/// }
/// let mut range = store.prefix("")?;
/// assert_eq!(range.next().transpose()?.map(|(key, _)| key), Some(b"a".to_vec()));
/// assert_eq!(range.next_back().transpose()?.map(|(key, _)| key), Some(b"c".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Range {
    held: Arc<Held>,
    /// What was not copied yet.
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    /// Copied from the front, in order, and from the back, the last one first.
    front: VecDeque<Due>,
    back: VecDeque<Due>,
    /// How many of each were asked for and have not come yet.
    front_asked: usize,
    back_asked: usize,
    copied: usize,
    has_ended: bool,
}

impl Range {
    pub(crate) fn new(held: Arc<Held>, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Result<Range> {
        held.check()?;
        if let (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) = (&from, &to)
            && low > high
        {
            return Err(KvsError::InvalidRange { from: low.clone(), to: high.clone() });
        }
        let mut range = Range {
            held,
            from,
            to,
            front: VecDeque::new(),
            back: VecDeque::new(),
            front_asked: 0,
            back_asked: 0,
            copied: 0,
            has_ended: false,
        };
        if range.held.ordered().is_none() {
            range.sort_all()?;
        }
        Ok(range)
    }

    /// Without an order to go by: all keys, sorted.
    fn sort_all(&mut self) -> Result<()> {
        let mut keys = Vec::new();
        for key in Keys(Iter::new(Arc::clone(&self.held), false)) {
            let key = key?;
            let bounds = (as_slice(&self.from), as_slice(&self.to));
            if RangeBounds::<[u8]>::contains(&bounds, key.as_slice()) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        self.front = keys.into_iter().map(|key| self.due(key)).collect();
        Ok(())
    }

    fn due(&self, key: Vec<u8>) -> Due {
        let hash = self.held.view().hasher.hash(&key);
        Due { key, hash }
    }

    /// Copies more keys from the ordered index.
    fn copy(
        &mut self,
        copy: impl Fn(&Ordered, (Bound<&[u8]>, Bound<&[u8]>), usize) -> Vec<Vec<u8>>,
    ) -> VecDeque<Due> {
        let count = if self.copied == 0 { FIRST_KEYS } else { KEYS };
        let held = Arc::clone(&self.held);
        let bounds = (as_slice(&self.from), as_slice(&self.to));
        let keys = held.ordered().map(|ordered| copy(ordered, bounds, count));
        let due: VecDeque<Due> =
            keys.unwrap_or_default().into_iter().map(|key| self.due(key)).collect();
        self.copied += due.len();
        due
    }

    fn next_due(&mut self) -> Option<Due> {
        if self.front.is_empty() {
            self.front = self.copy(Ordered::first);
            self.front_asked = 0;
            if let Some(last) = self.front.back() {
                self.from = Bound::Excluded(last.key.clone());
            }
        }
        if self.front.is_empty() {
            return self.back.pop_back();
        }
        if self.front_asked == 0 {
            self.front_asked = ask(&self.held, self.front.iter());
        }
        self.front_asked = self.front_asked.saturating_sub(1);
        self.front.pop_front()
    }

    fn next_due_back(&mut self) -> Option<Due> {
        if self.back.is_empty() {
            self.back = self.copy(Ordered::last);
            self.back_asked = 0;
            if let Some(first) = self.back.back() {
                self.to = Bound::Excluded(first.key.clone());
            }
        }
        if self.back.is_empty() {
            return self.front.pop_back();
        }
        if self.back_asked == 0 {
            self.back_asked = ask(&self.held, self.back.iter());
        }
        self.back_asked = self.back_asked.saturating_sub(1);
        self.back.pop_front()
    }

    /// The next key that the snapshot sees, with what `read` makes of its record.
    fn next_seen<R>(
        &mut self,
        next: impl Fn(&mut Range) -> Option<Due>,
        read: impl Fn(Current<'_>) -> R,
    ) -> Option<Result<(Vec<u8>, R)>> {
        while !self.has_ended {
            let Some(Due { key, hash }) = next(self) else {
                // There may be no further keys because they were let go with the snapshot.
                self.has_ended = true;
                return self.held.check().err().map(Err);
            };
            match self.held.with_current(&key, hash, &read) {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok((key, found))),
                Err(error) => {
                    // One damaged record is one error; without the snapshot there is nothing more.
                    self.has_ended =
                        matches!(error, KvsError::SnapshotEnded { .. } | KvsError::Closed);
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// The keys alone, without their values.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("b", "2")?;
    /// store.set("a", "1")?;
    /// let keys = store.prefix("")?.keys().collect::<kvs::Result<Vec<_>>>()?;
    /// assert_eq!(keys, [b"a", b"b"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keys(self) -> RangeKeys {
        RangeKeys(self)
    }
}

/// For engines, which go over ranges with versions and expiries.
#[cfg(feature = "server")]
impl Range {
    /// What the keys that were copied or sorted take in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        let keys: usize = self.front.iter().map(|due| due.key.capacity()).sum();
        keys + self.front.capacity() * size_of::<Due>()
    }

    /// The next record from the begin or the end; its value is empty if it is not wanted.
    pub(crate) fn next_record(
        &mut self,
        reverse: bool,
        with_value: bool,
    ) -> Option<Result<(Vec<u8>, Versioned)>> {
        let next_due = if reverse { Range::next_due_back } else { Range::next_due };
        self.next_seen(next_due, |current| match with_value {
            true => current.to_versioned(),
            false => Current { value: &[], ..current }.to_versioned(),
        })
    }
}

/// Asks for the records of the next keys. Answers with how many.
fn ask<'d>(held: &Held, due: impl Iterator<Item = &'d Due>) -> usize {
    let hashes: Vec<KeyHash> = due.take(AHEAD).map(|due| due.hash).collect();
    let view = held.view();
    view.prefetch(&view.pins.pin(), &hashes);
    hashes.len()
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

fn to_value(current: Current<'_>) -> Value {
    Value::from(current.value.to_vec())
}

impl Iterator for Range {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_seen(Range::next_due, to_value)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_seen(Range::next_due_back, to_value)
    }
}

/// Goes over the keys of a range, in order, from both ends; see [`Range::keys`].
pub struct RangeKeys(Range);

impl Iterator for RangeKeys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next_seen(Range::next_due, |_| ())?.map(|(key, ())| key))
    }
}

impl DoubleEndedIterator for RangeKeys {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.0.next_seen(Range::next_due_back, |_| ())?.map(|(key, ())| key))
    }
}

/// The bounds of the keys that begin with a prefix.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut after = prefix.to_vec();
    // The next prefix of that length; behind one of nothing but the last byte there is none.
    while after.last() == Some(&u8::MAX) {
        after.pop();
    }
    let to = match after.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(after)
        }
        None => Bound::Unbounded,
    };
    (Bound::Included(prefix.to_vec()), to)
}

pub(crate) fn owned<K: AsRef<[u8]>>(bound: Bound<&K>) -> Bound<Vec<u8>> {
    bound.map(|key| key.as_ref().to_vec())
}

impl Store {
    /// Goes over the keys of a range with their values, in the order of their bytes, from both
    /// ends; on a [`snapshot`](Store::snapshot) of its own.
    ///
    /// With [`Index::Ordered`](crate::Index) this is lazy: a range of which ten keys are taken
    /// costs ten reads. With the hash index, all keys of the store are read from the disk first,
    /// and those of the range are held in memory and sorted.
    ///
    /// # Errors
    /// [`KvsError::InvalidRange`] if its start is after its end; with the hash index what reading
    /// the keys can answer. The items answer as [`Snapshot::get`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kvs::{Index, Options};
    /// let store = Options::new().index(Index::Ordered).open(dir.path())?;
    /// for key in ["ant", "bee", "cat", "dog"] {
    ///     store.set(key, "animal")?;
    /// }
    /// let keys = store.range("b".."d")?.keys().collect::<kvs::Result<Vec<_>>>()?;
    /// assert_eq!(keys, [b"bee", b"cat"]);
    /// let last = store.range("a"..)?.rev().next().transpose()?;
    /// assert_eq!(last.map(|(key, _)| key), Some(b"dog".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Range> {
        self.snapshot()?.range(bounds)
    }

    /// Goes over the keys that begin with a prefix, as [`range`](Store::range).
    ///
    /// # Errors
    /// As [`range`](Store::range).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("user/1", "Ada")?;
    /// store.set("user/2", "Bob")?;
    /// store.set("visit/1", "today")?;
    /// assert_eq!(store.prefix("user/")?.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range> {
        self.snapshot()?.prefix(prefix)
    }
}

impl Snapshot {
    /// As [`Store::range`], of this snapshot.
    ///
    /// # Errors
    /// As [`Store::range`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("a", "1")?;
    /// let snapshot = store.snapshot()?;
    /// store.remove("a")?;
    /// assert_eq!(snapshot.range("a"..="b")?.count(), 1);
    /// assert!(matches!(snapshot.range("b".."a"), Err(kvs::KvsError::InvalidRange { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Range> {
        let (from, to) = (owned(bounds.start_bound()), owned(bounds.end_bound()));
        Range::new(Arc::clone(&self.held), from, to)
    }

    /// As [`Store::prefix`], of this snapshot.
    ///
    /// # Errors
    /// As [`Store::range`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert_eq!(store.snapshot()?.prefix("user/")?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Range> {
        let (from, to) = prefix_bounds(prefix.as_ref());
        Range::new(Arc::clone(&self.held), from, to)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::prefix_bounds;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let end = |prefix: &[u8]| prefix_bounds(prefix).1;
        assert_eq!(end(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(end(b"a\xff\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(end(b"\xff"), Bound::Unbounded);
        assert_eq!(end(b""), Bound::Unbounded);
    }
}
