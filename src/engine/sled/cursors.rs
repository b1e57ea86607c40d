//! Where walks go on: sled knows its keys by their order only, a cursor is a number.

use std::collections::BTreeMap;

/// How many places are kept, and how many bytes of keys. The oldest go first.
const PLACES_MAX: usize = 4096;
const BYTES_MAX: usize = 16 << 20;

/// The places that were handed out as cursors, each with the key that was the last before it.
#[derive(Debug)]
pub(super) struct Cursors {
    /// The numbers grow, so the first is the oldest.
    places: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    next: u64,
}

impl Cursors {
    /// None yet. What an earlier life of the engine gave is not known here, and is not to pass for
    /// what this one gives: the numbers begin by chance.
    pub(super) fn new(random: u64) -> Cursors {
        // Half of the numbers are left to count on; 0 stands for the begin and the end.
        Cursors { places: BTreeMap::new(), bytes: 0, next: (random >> 1).max(1) }
    }

    /// The key behind which a walk goes on; none if the cursor is not known, or no longer.
    pub(super) fn find(&self, cursor: u64) -> Option<&[u8]> {
        self.places.get(&cursor).map(Vec::as_slice)
    }

    /// A cursor for what comes behind a key.
    pub(super) fn give(&mut self, key: Vec<u8>) -> u64 {
        let cursor = self.next;
        self.next += 1;
        self.bytes += key.len();
        self.places.insert(cursor, key);
        while self.places.len() > PLACES_MAX || self.places.len() > 1 && self.bytes > BYTES_MAX {
            if let Some((_, key)) = self.places.pop_first() {
                self.bytes -= key.len();
            }
        }
        cursor
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Cursors, PLACES_MAX};

    #[test]
    fn the_oldest_places_go_first() {
        let mut cursors = Cursors::new(u64::MAX);
        let first = cursors.give(b"first".to_vec());
        assert_ne!(first, 0);
        assert_eq!(cursors.find(first), Some(&b"first"[..]));
        assert_eq!(cursors.find(first + 1), None);
        let mut last = first;
        for _ in 0..PLACES_MAX {
            last = cursors.give(b"key".to_vec());
        }
        assert_eq!(cursors.find(first), None);
        assert_eq!(cursors.find(last), Some(&b"key"[..]));
    }

    #[test]
    fn long_keys_are_fewer_places_and_the_newest_stays() {
        let mut cursors = Cursors::new(0);
        let first = cursors.give(vec![1; BYTES_MAX]);
        assert!(cursors.find(first).is_some());
        let second = cursors.give(vec![2; BYTES_MAX + 1]);
        assert!(cursors.find(first).is_none());
        assert!(cursors.find(second).is_some());
    }
}
