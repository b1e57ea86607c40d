//! Keys in order: ranges and prefixes, forward and backward, on a snapshot.
//!
//! With the ordered index, keys are copied out of it some at a time, and their records are looked
//! up and asked for some ahead. With the hash index there is no order to go by: all keys of the
//! range are read from the log and sorted first.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::Store;
use super::as_of::Held;
use super::iter::{Iter, Keys};
use super::page::Page;
#[cfg(feature = "server")]
use super::read::Versioned;
use super::read::{Current, Value};
use super::snapshot::Snapshot;
use crate::error::{KvsError, Result};

/// How many keys are copied out of the ordered index at once, about, if they are not too long.
const KEYS: usize = 512;

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
    /// Without the ordered index: all keys that were not copied yet.
    sorted: VecDeque<Vec<u8>>,
    front: Page,
    back: Page,
    /// How many keys were copied to the front.
    copied: usize,
    /// How many places are looked up next.
    looked: usize,
    has_ended: bool,
}

impl Range {
    /// Without an order, it gives up with [`KvsError::JobLost`] when it is not wanted any more.
    pub(crate) fn new(
        held: Arc<Held>,
        (from, to): (Bound<Vec<u8>>, Bound<Vec<u8>>),
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Range> {
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
            sorted: VecDeque::new(),
            front: Page::default(),
            back: Page::default(),
            copied: 0,
            looked: 0,
            has_ended: false,
        };
        if range.held.ordered().is_none() {
            range.sort_all(is_wanted)?;
        }
        Ok(range)
    }

    /// Without an order to go by: all keys, sorted.
    fn sort_all(&mut self, is_wanted: &dyn Fn() -> bool) -> Result<()> {
        let mut keys = Vec::new();
        for key in Keys(Iter::new(Arc::clone(&self.held), false)) {
            let key = key?;
            if !is_wanted() {
                return Err(KvsError::JobLost);
            }
            let bounds = (as_slice(&self.from), as_slice(&self.to));
            if RangeBounds::<[u8]>::contains(&bounds, key.as_slice()) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        self.sorted = keys.into();
        Ok(())
    }

    /// Copies more keys to the front.
    fn copy_first(&mut self) {
        // At first what is in one leaf: many ranges are short.
        let count = self.copied.min(KEYS);
        let bounds = (as_slice(&self.from), as_slice(&self.to));
        match self.held.ordered() {
            Some(ordered) => self.front.fill(|keys| ordered.first(bounds, count, keys)),
            None => self.front.fill(|keys| {
                while !keys.is_full()
                    && let Some(key) = self.sorted.pop_front()
                {
                    keys.push(&key);
                }
            }),
        }
        self.copied += self.front.keys.len();
        if let Some(last) = self.front.keys.len().checked_sub(1) {
            self.from = Bound::Excluded(self.front.keys.key(last).to_vec());
        }
    }

    /// Copies more keys to the back.
    fn copy_last(&mut self) {
        let bounds = (as_slice(&self.from), as_slice(&self.to));
        match self.held.ordered() {
            Some(ordered) => self.back.fill(|keys| ordered.last(bounds, keys)),
            // One by one, because they come the wrong way round.
            None => self.back.fill(|keys| {
                if let Some(key) = self.sorted.pop_back() {
                    keys.push(&key);
                }
            }),
        }
        if self.back.keys.len() > 0 {
            self.to = Bound::Excluded(self.back.keys.key(0).to_vec());
        }
    }

    /// The page with the next key, from the front or from the end; it may be empty.
    fn page(&mut self, end: bool) -> (&Held, &mut Page, &mut usize) {
        match end {
            false if self.front.is_empty() => self.copy_first(),
            true if self.back.is_empty() => self.copy_last(),
            _ => {}
        }
        // What was copied to the other end comes last.
        let (own, other) = match end {
            false => (&mut self.front, &mut self.back),
            true => (&mut self.back, &mut self.front),
        };
        (&self.held, if own.is_empty() { other } else { own }, &mut self.looked)
    }

    /// Hands the next key that the snapshot sees to a function, with its record.
    #[inline]
    fn next_seen<R>(
        &mut self,
        end: bool,
        read: impl FnOnce(&[u8], Current<'_>) -> R,
    ) -> Option<Result<R>> {
        let mut read = Some(read);
        while !self.has_ended {
            let (held, page, looked) = self.page(end);
            let Some((key, place)) = page.take(held, looked, end) else {
                // There may be no further keys because they were let go with the snapshot.
                self.has_ended = true;
                return self.held.check().err().map(Err);
            };
            let found =
                held.with_placed(key, place, |current| read.take().map(|read| read(key, current)));
            match found.map(Option::flatten) {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok(found)),
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

    /// Hands the next key and its value to a function, without a copy; none: there is no further
    /// key. What [`Store::get_with`] is to [`Store::get`], this is to `next`.
    ///
    /// # Errors
    /// As [`Snapshot::get`]. If the medium fails while the function runs, it may have seen zeros:
    /// the error then comes instead of its result.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("a", "1")?;
    /// store.set("b", "23")?;
    /// let (mut range, mut bytes) = (store.prefix("")?, 0);
    /// while let Some(len) = range.next_with(|key, value| key.len() + value.len()) {
    ///     bytes += len?;
    /// }
    /// assert_eq!(bytes, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_with<R>(&mut self, use_pair: impl FnOnce(&[u8], &[u8]) -> R) -> Option<Result<R>> {
        self.next_seen(false, |key, current| use_pair(key, current.value))
    }

    /// As [`next_with`](Range::next_with), from the end.
    ///
    /// # Errors
    /// As [`next_with`](Range::next_with).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// store.set("a", "1")?;
    /// store.set("b", "23")?;
    /// let len = store.prefix("")?.next_back_with(|_, value| value.len()).transpose()?;
    /// assert_eq!(len, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_back_with<R>(
        &mut self,
        use_pair: impl FnOnce(&[u8], &[u8]) -> R,
    ) -> Option<Result<R>> {
        self.next_seen(true, |key, current| use_pair(key, current.value))
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
        let sorted: usize = self.sorted.iter().map(Vec::capacity).sum();
        let places = self.sorted.capacity() * size_of::<Vec<u8>>();
        sorted + places + self.front.keys.held_bytes() + self.back.keys.held_bytes()
    }

    /// The next record from the begin or the end; its value is empty if it is not wanted.
    pub(crate) fn next_record(
        &mut self,
        reverse: bool,
        with_value: bool,
    ) -> Option<Result<(Vec<u8>, Versioned)>> {
        self.next_seen(reverse, |key, current| match with_value {
            true => (key.to_vec(), current.to_versioned()),
            false => (key.to_vec(), Current { value: &[], ..current }.to_versioned()),
        })
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

fn to_pair(key: &[u8], current: Current<'_>) -> (Vec<u8>, Value) {
    (key.to_vec(), Value::from(current.value.to_vec()))
}

impl Iterator for Range {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_seen(false, to_pair)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_seen(true, to_pair)
    }
}

/// Goes over the keys of a range, in order, from both ends; see [`Range::keys`].
pub struct RangeKeys(Range);

impl Iterator for RangeKeys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_seen(false, |key, _| key.to_vec())
    }
}

impl DoubleEndedIterator for RangeKeys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_seen(true, |key, _| key.to_vec())
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
        let bounds = (owned(bounds.start_bound()), owned(bounds.end_bound()));
        Range::new(Arc::clone(&self.held), bounds, &|| true)
    }

    /// The same while it is wanted; later it is [`KvsError::JobLost`].
    #[cfg(feature = "server")]
    pub(crate) fn range_while(
        &self,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Range> {
        Range::new(Arc::clone(&self.held), bounds, is_wanted)
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
        Range::new(Arc::clone(&self.held), prefix_bounds(prefix.as_ref()), &|| true)
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
