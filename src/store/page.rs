//! The keys of a range that come next, some at a time, and where their records lie.
//!
//! What a key of a scan costs is the wait for memory: for its slot in the keydir and for the lines
//! of its record, which lie in the order of the writes. So the places of several keys are looked up
//! at once, and their records are asked for, before the first of them is read.

use std::collections::VecDeque;
use std::ops::Range;

use super::as_of::{Held, Place};
use super::hash::KeyHash;
use super::ordered::Leaf;

/// How many places are looked up at once: few at first, because many ranges are short.
const FIRST_PLACES: usize = 8;
const PLACES: usize = 64;

/// Keys in order, to be taken from both ends.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) keys: Leaf,
    /// Which of them have not been taken.
    left: Range<usize>,
    /// Of the next ones.
    places: VecDeque<Place>,
    /// From which end those were looked up.
    are_of_end: bool,
    hashes: Vec<KeyHash>,
}

impl Page {
    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Puts other keys in the place of the ones it has.
    pub(crate) fn fill(&mut self, fill: impl FnOnce(&mut Leaf)) {
        self.keys.clear();
        self.places.clear();
        fill(&mut self.keys);
        self.left = 0..self.keys.len();
    }

    /// The next key, from the front or from the end. `looked`: how many places are looked up next.
    #[inline]
    pub(crate) fn take(
        &mut self,
        held: &Held,
        looked: &mut usize,
        end: bool,
    ) -> Option<(&[u8], Place)> {
        if self.places.is_empty() || self.are_of_end != end {
            self.look(held, looked, end);
        }
        let place = self.places.pop_front()?;
        let index = if end { self.left.next_back() } else { self.left.next() };
        Some((self.keys.key(index?), place))
    }

    /// Looks up the places of the next keys, and asks for their records. Twice as many each time.
    fn look(&mut self, held: &Held, looked: &mut usize, end: bool) {
        let count = (*looked).clamp(FIRST_PLACES, PLACES);
        *looked = count * 2;
        let indexes = match end {
            true => self.left.end.saturating_sub(count).max(self.left.start)..self.left.end,
            false => self.left.start..self.left.end.min(self.left.start + count),
        };
        let view = held.view();
        self.hashes.clear();
        self.hashes.extend(indexes.map(|index| view.hasher.hash(self.keys.key(index))));
        if end {
            self.hashes.reverse();
        }
        self.are_of_end = end;
        self.places.clear();
        let pin = view.pins.pin();
        // Under the pin, so that what is found is of this generation or a later one.
        let generation = view.keydir.generation();
        view.locate(&pin, &self.hashes, |hash, location| {
            self.places.push_back(Place { hash, location, generation });
        });
    }
}
