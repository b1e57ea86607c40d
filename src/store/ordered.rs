//! The ordered index: all keys, in order, beside the keydir. It says which keys there are; where
//! their records lie is the keydir's to say, so it changes only when a key comes or goes.
//!
//! Keys lie packed in leaves of up to 128, in the order of their bytes; a map finds the leaf. The
//! cost is the key itself and about 8 bytes. Readers copy some keys at a time out of it, under a
//! lock that a writer holds for one key. A key that was removed stays as long as a snapshot may see
//! it; so a key found here need not be there.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::sync::lock;

/// The most keys and, unless there is only one, the most bytes of a leaf.
const LEAF_KEYS: usize = 128;
const LEAF_BYTES: usize = 16 << 10;
/// A leaf that has fewer keys is put together with the next one.
const LEAF_KEYS_MIN: usize = LEAF_KEYS / 4;
/// What a removed key takes beside its bytes, about.
const REMOVED_BYTES: u64 = 48;
/// To how many keys a leaf is filled when all of them are known beforehand.
const LEAF_KEYS_FILLED: usize = LEAF_KEYS * 3 / 4;

/// Some keys, packed, in order.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<u32>,
}

impl Leaf {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// What it takes in memory.
    #[cfg(feature = "server")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    fn start(&self, index: usize) -> usize {
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        before.map_or(0, |end| *end as usize)
    }

    #[inline]
    pub(crate) fn key(&self, index: usize) -> &[u8] {
        let end = self.ends.get(index).map_or(0, |end| *end as usize);
        self.bytes.get(self.start(index)..end).unwrap_or_default()
    }

    /// Where a key is, or where it would be.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// The number of keys below a bound from below.
    fn below(&self, from: Bound<&[u8]>) -> usize {
        match from {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.find(key).unwrap_or_else(|at| at),
            Bound::Excluded(key) => self.find(key).map_or_else(|at| at, |at| at + 1),
        }
    }

    /// The number of keys up to a bound from above.
    fn upto(&self, to: Bound<&[u8]>) -> usize {
        match to {
            Bound::Unbounded => self.len(),
            Bound::Included(key) => self.below(Bound::Excluded(key)),
            Bound::Excluded(key) => self.below(Bound::Included(key)),
        }
    }

    fn insert(&mut self, at: usize, key: &[u8]) {
        // Not twice as much: memory for each key is what this is about.
        grow(&mut self.bytes, key.len());
        grow(&mut self.ends, 1);
        let start = self.start(at);
        self.bytes.splice(start..start, key.iter().copied());
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        self.ends.iter_mut().skip(at).for_each(|end| *end += len);
        let end = u32::try_from(start).unwrap_or(u32::MAX) + len;
        self.ends.insert(at, end);
    }

    fn remove(&mut self, at: usize) {
        let (start, len) = (self.start(at), self.key(at).len());
        self.bytes.drain(start..start + len);
        self.ends.remove(at);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.ends.iter_mut().skip(at).for_each(|end| *end -= len);
        if self.bytes.capacity() > 2 * self.bytes.len() + LEAF_KEYS {
            self.bytes.shrink_to_fit();
            self.ends.shrink_to_fit();
        }
    }

    /// Takes the upper half out.
    fn split(&mut self) -> Leaf {
        let at = self.len() / 2;
        let start = self.start(at);
        let cut = u32::try_from(start).unwrap_or(u32::MAX);
        let ends = self.ends.split_off(at).into_iter().map(|end| end - cut).collect();
        let upper = Leaf { bytes: self.bytes.split_off(start), ends };
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        upper
    }

    /// Puts keys of another leaf behind its own.
    fn join(&mut self, other: &Leaf, keys: Range<usize>) {
        let (start, end) = (other.start(keys.start), other.start(keys.end));
        let as_end = |at| u32::try_from(at).unwrap_or(u32::MAX);
        let (cut, base) = (as_end(start), as_end(self.bytes.len()));
        self.bytes.extend_from_slice(other.bytes.get(start..end).unwrap_or_default());
        let ends = other.ends.get(keys).unwrap_or_default();
        self.ends.extend(ends.iter().map(|end| end - cut + base));
    }

    /// Puts a key behind its own.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.insert(self.len(), key);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() > LEAF_KEYS || (self.len() > 1 && self.bytes.len() > LEAF_BYTES)
    }

    /// The memory that it takes.
    fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>() + size_of::<Leaf>()
    }
}

fn grow<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 8));
    }
}

/// Keys that were removed, with the last seq that removed them, and what they take.
#[derive(Default)]
struct Removed {
    keys: BTreeMap<Box<[u8]>, u64>,
    bytes: u64,
}

/// All keys in order.
pub(crate) struct Ordered {
    /// By the lowest key that may be in it; the first leaf is that of the empty key.
    leaves: RwLock<BTreeMap<Box<[u8]>, Leaf>>,
    /// What was removed and snapshots may see.
    removed: Mutex<Removed>,
}

impl Ordered {
    /// The index of keys that come in order, each once.
    pub(crate) fn of<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Ordered {
        let mut leaves = BTreeMap::new();
        let (mut first, mut leaf): (Box<[u8]>, Leaf) = (Box::default(), Leaf::default());
        for key in keys {
            let is_full = leaf.len() >= LEAF_KEYS_FILLED
                || (leaf.len() > 0 && leaf.bytes.len() + key.len() > LEAF_BYTES);
            if is_full {
                leaf.bytes.shrink_to_fit();
                leaves.insert(std::mem::replace(&mut first, key.into()), std::mem::take(&mut leaf));
            }
            leaf.push(key);
        }
        leaves.insert(first, leaf);
        Ordered { leaves: RwLock::new(leaves), removed: Mutex::default() }
    }

    /// Adds a key; no change if it is there.
    pub(crate) fn insert(&self, key: &[u8]) {
        let mut leaves = self.write();
        let Some((_, leaf)) = leaves.range_mut::<[u8], _>(up_to(key)).next_back() else {
            return;
        };
        let Err(at) = leaf.find(key) else {
            return;
        };
        leaf.insert(at, key);
        if leaf.is_full() {
            let upper = leaf.split();
            leaves.insert(upper.key(0).into(), upper);
        }
    }

    /// Takes a key away; no change if it is not there.
    pub(crate) fn remove(&self, key: &[u8]) {
        let mut leaves = self.write();
        let Some((first, leaf)) = leaves.range_mut::<[u8], _>(up_to(key)).next_back() else {
            return;
        };
        let Ok(at) = leaf.find(key) else {
            return;
        };
        leaf.remove(at);
        if leaf.len() >= LEAF_KEYS_MIN {
            return;
        }
        let first = first.clone();
        let after = (Bound::Excluded(&*first), Bound::Unbounded);
        let next = leaves.range::<[u8], _>(after).next();
        let len = leaves.get(&first).map_or(0, Leaf::len);
        // Not so that it would be split again at once.
        let fits = |next: &Leaf| len + next.len() <= LEAF_KEYS_FILLED;
        if let Some(second) = next.filter(|(_, next)| fits(next)).map(|(key, _)| key.clone())
            && let Some(next) = leaves.remove(&second)
            && let Some(leaf) = leaves.get_mut(&first)
        {
            leaf.join(&next, 0..next.len());
        }
    }

    /// Takes a key away when no snapshot below the seq `until` is left.
    pub(crate) fn remove_later(&self, key: &[u8], until: u64) {
        let mut removed = lock(&self.removed);
        if removed.keys.insert(key.into(), until).is_none() {
            removed.bytes += key.len() as u64 + REMOVED_BYTES;
        }
    }

    /// The keys that `remove_later` was told of, and that no snapshot from `oldest` on may see.
    /// That is asked when nobody can tell of further ones, which another snapshot might see.
    pub(crate) fn take_removed(&self, oldest: impl FnOnce() -> u64) -> Vec<Box<[u8]>> {
        let mut removed = lock(&self.removed);
        let oldest = oldest();
        let taken = removed.keys.extract_if(.., |_, until| *until <= oldest);
        let taken: Vec<Box<[u8]>> = taken.map(|(key, _)| key).collect();
        let bytes: u64 = taken.iter().map(|key| key.len() as u64 + REMOVED_BYTES).sum();
        removed.bytes -= bytes;
        taken
    }

    /// Whether a key was removed and a snapshot may see it.
    pub(crate) fn is_removed(&self, key: &[u8]) -> bool {
        lock(&self.removed).keys.contains_key(key)
    }

    /// The memory that those keys take, about, in bytes.
    pub(crate) fn removed_bytes(&self) -> u64 {
        lock(&self.removed).bytes
    }

    pub(crate) fn clear(&self) {
        let mut leaves = self.write();
        leaves.clear();
        leaves.insert(Box::default(), Leaf::default());
        *lock(&self.removed) = Removed::default();
    }

    /// Copies the first keys between two bounds, leaf by leaf until there are `count`, or one if
    /// that is 0, or they are long; none only if there are none.
    pub(crate) fn first(
        &self,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        count: usize,
        copy: &mut Leaf,
    ) {
        let leaves = self.read();
        let lowest = match from {
            Bound::Unbounded => &[],
            Bound::Included(key) | Bound::Excluded(key) => key,
        };
        let first = leaves.range::<[u8], _>(up_to(lowest)).next_back().into_iter();
        let mut later = None;
        let later = std::iter::from_fn(|| {
            let after = (Bound::Excluded(lowest), Bound::Unbounded);
            later.get_or_insert_with(|| leaves.range::<[u8], _>(after)).next()
        });
        for (_, leaf) in first.chain(later) {
            let keys = leaf.below(from)..leaf.upto(to);
            copy.join(leaf, keys.clone());
            let is_enough = copy.len() >= count.max(1) || copy.bytes.len() >= LEAF_BYTES;
            if is_enough || keys.end < leaf.len() {
                return;
            }
        }
    }

    /// Copies the last keys between two bounds, in their order: those of one leaf; none only if
    /// there are none.
    pub(crate) fn last(&self, (from, to): (Bound<&[u8]>, Bound<&[u8]>), copy: &mut Leaf) {
        let leaves = self.read();
        let highest = match to {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(key),
        };
        for (_, leaf) in leaves.range::<[u8], _>((Bound::Unbounded, highest)).rev() {
            let keys = leaf.below(from)..leaf.upto(to);
            copy.join(leaf, keys.clone());
            if !keys.is_empty() || keys.start > 0 {
                return;
            }
        }
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let leaves = self.read();
        leaves.iter().map(|(first, leaf)| first.len() + leaf.memory()).sum::<usize>() as u64
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Box<[u8]>, Leaf>> {
        self.leaves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Box<[u8]>, Leaf>> {
        self.leaves.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn up_to(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;

    use super::super::sim_disk::state::Rng;
    use super::{LEAF_BYTES, Leaf, Ordered};

    fn key(rng: &mut Rng) -> Vec<u8> {
        let number = rng.below(3000);
        match number % 50 {
            // Some are longer than a leaf, some are the beginning of another.
            0 => vec![7; number * 8],
            1 => vec![b'0' + u8::try_from(number % 10).unwrap(); number % 7],
            _ => format!("{number}").into_bytes(),
        }
    }

    fn bound(rng: &mut Rng) -> Bound<Vec<u8>> {
        match rng.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(key(rng)),
            _ => Bound::Excluded(key(rng)),
        }
    }

    fn slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
        bound.as_ref().map(Vec::as_slice)
    }

    /// All keys between two bounds, as one leaf after the other gives them.
    fn forward(
        ordered: &Ordered,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        count: usize,
    ) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut leaf = Leaf::default();
            let after = keys.last().map_or(from, |last| Bound::Excluded(last.as_slice()));
            ordered.first((after, to), count, &mut leaf);
            if leaf.len() == 0 {
                return keys;
            }
            keys.extend((0..leaf.len()).map(|at| leaf.key(at).to_vec()));
        }
    }

    fn backward(ordered: &Ordered, (from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut leaf = Leaf::default();
            let before = keys.last().map_or(to, |first| Bound::Excluded(first.as_slice()));
            ordered.last((from, before), &mut leaf);
            if leaf.len() == 0 {
                keys.reverse();
                return keys;
            }
            keys.extend((0..leaf.len()).rev().map(|at| leaf.key(at).to_vec()));
        }
    }

    #[test]
    fn it_is_like_a_set() {
        let mut rng = Rng::new(1);
        let mut set: BTreeSet<Vec<u8>> = (0..2000).map(|_| key(&mut rng)).collect();
        let ordered = Ordered::of(set.iter().map(Vec::as_slice));
        for step in 0..60_000 {
            let key = key(&mut rng);
            // It grows, shrinks to nothing, and grows again.
            if rng.below(100) < if step / 20_000 == 1 { 10 } else { 70 } {
                ordered.insert(&key);
                set.insert(key);
            } else {
                ordered.remove(&key);
                set.remove(&key);
            }
            if step % 20 != 0 {
                continue;
            }
            let (from, to) = (bound(&mut rng), bound(&mut rng));
            let is_in = |key: &&Vec<u8>| {
                (match &from {
                    Bound::Unbounded => true,
                    Bound::Included(from) => *key >= from,
                    Bound::Excluded(from) => *key > from,
                }) && (match &to {
                    Bound::Unbounded => true,
                    Bound::Included(to) => *key <= to,
                    Bound::Excluded(to) => *key < to,
                })
            };
            let expected: Vec<_> = set.iter().filter(is_in).cloned().collect();
            let range = (slice(&from), slice(&to));
            assert!(forward(&ordered, range, step % 300) == expected, "step {step}: {range:?}");
            assert!(backward(&ordered, range) == expected, "step {step}: {range:?}");
        }
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert!(forward(&ordered, all, 1).into_iter().eq(set));
    }

    #[test]
    fn a_key_takes_little_more_than_its_bytes() {
        let mut rng = Rng::new(2);
        let keys: Vec<[u8; 16]> = (0..100_000)
            .map(|_| (u128::from(rng.next()) << 64 | u128::from(rng.next())).to_be_bytes())
            .collect();
        let ordered = Ordered::of(std::iter::empty());
        keys.iter().for_each(|key| ordered.insert(key));
        let each = ordered.bytes() as f64 / keys.len() as f64;
        assert!(each < 16.0 + 9.0, "{each} bytes a key");
        keys.iter().for_each(|key| ordered.remove(key));
        assert!(ordered.bytes() < 4 * LEAF_BYTES as u64, "{} bytes", ordered.bytes());
    }
}
