//! Marks: whether a key has moved in the keydir since it was read.

use std::sync::atomic::Ordering;

use super::hash::KeyHash;
use super::keydir::{Keydir, Location, shard_of};
use super::pins::Pin;

/// Where the records of a key may lie at a moment, and how many keys came before near it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    inserts: u64,
    locations: u64,
}

impl Keydir {
    /// Where the records of a key may lie now; to be taken before the key is read.
    pub(crate) fn mark(&self, pin: &Pin<'_>, hash: KeyHash) -> Mark {
        // In this order: an insert that the reader does not see is counted later.
        let inserts = self.inserts_near(hash);
        Mark { inserts, locations: self.fold_locations(pin, hash) }
    }

    /// Whether a key is as it was when it was read with a mark and the pin that is still held. It
    /// may be, although this says no.
    pub(crate) fn is_marked(&self, pin: &Pin<'_>, hash: KeyHash, mark: Mark) -> bool {
        // In this order: whoever sees that a key was removed sees that it was inserted.
        self.fold_locations(pin, hash) == mark.locations && self.inserts_near(hash) == mark.inserts
    }

    fn inserts_near(&self, hash: KeyHash) -> u64 {
        self.inserts.get(shard_of(hash)).map_or(0, |inserts| inserts.load(Ordering::Acquire))
    }

    /// One number for all candidates.
    fn fold_locations(&self, pin: &Pin<'_>, hash: KeyHash) -> u64 {
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let fold = |sum: u64, location: Location| sum.wrapping_mul(SPREAD).wrapping_add(location.0);
        self.candidates(pin, hash).fold(0, fold)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pins::Pins;
    use super::{KeyHash, Keydir, Location};

    #[test]
    fn a_key_that_came_and_went_has_moved() {
        let (keydir, pins) = (Keydir::new(), Pins::new());
        let [key, other] = [1, 2].map(|place| KeyHash { place: place << 32, rest: 0 });
        let location = Location::new(0, 48).unwrap();
        let pin = pins.pin();
        let marks = [key, other].map(|hash| keydir.mark(&pin, hash));
        assert!(keydir.is_marked(&pin, key, marks[0]));
        keydir.write(&pins).insert(key, location);
        assert!(!keydir.is_marked(&pin, key, marks[0]), "it is there now");
        assert!(keydir.write(&pins).remove(key, location));
        assert!(!keydir.is_marked(&pin, key, marks[0]), "somebody may have read it");
    }
}
