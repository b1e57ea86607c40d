//! Iteration over all keys that a snapshot sees, in no order, without a lock.
//!
//! A shard is gone through in the order of tags, a run of equal tags at a time: first what the
//! keydir has, then what only the history has. If segments went out of use since its slots were
//! copied, they are copied anew and the iteration goes on behind the last tag: a key has one tag,
//! so it is met once.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use super::as_of::Held;
use super::keydir::{Keydir, Location, places_of};
use super::pins::Pin;
use super::read::{Current, Value, Versioned};
use super::record::Record;
use crate::error::Result;

/// How much is read ahead, so that a pin is not taken for each key.
const AHEAD_KEYS: usize = 64;
const AHEAD_BYTES: usize = 256 << 10;

/// How many keys, or shards without any, are passed under one pin. There is no end of those that a
/// snapshot does not see, and what is retired waits for the pin.
const PIN_STEPS: usize = 1024;

/// Goes over all keys and values; see [`Store::iter`](crate::Store::iter).
pub struct Iter {
    held: Arc<Held>,
    /// The shard that is being gone through, and its slots that are still to come.
    shard: usize,
    slots: Vec<(u64, Location)>,
    next_slot: usize,
    /// The generation in which the slots were copied; none: they are to be copied.
    generation: Option<u64>,
    last_tag: Option<u64>,
    ahead: VecDeque<Result<(Vec<u8>, Versioned)>>,
    with_values: bool,
}

impl Iter {
    pub(crate) fn new(held: Arc<Held>, with_values: bool) -> Iter {
        Iter {
            held,
            shard: 0,
            slots: Vec::new(),
            next_slot: 0,
            generation: None,
            last_tag: None,
            ahead: VecDeque::new(),
            with_values,
        }
    }

    /// Reads some keys ahead. Nothing is read any more when all shards are done.
    fn read_ahead(&mut self) {
        let held = Arc::clone(&self.held);
        let view = held.view();
        let mut pin = view.pins.pin();
        let (mut bytes, mut steps) = (0, 0);
        while self.ahead.len() < AHEAD_KEYS && bytes < AHEAD_BYTES && self.shard < Keydir::shards()
        {
            steps += 1;
            if steps % PIN_STEPS == 0 {
                drop(pin);
                pin = view.pins.pin();
            }
            // Under the pin, so that what the slots point to stays.
            let generation = view.keydir.generation();
            if self.generation != Some(generation) {
                self.slots = view.keydir.copy_shard(&pin, self.shard);
                let passed =
                    |(tag, _): &(u64, Location)| self.last_tag.is_some_and(|it| *tag <= it);
                self.next_slot = self.slots.partition_point(passed);
                self.generation = Some(generation);
            }
            let Some(tag) = self.next_tag() else {
                (self.shard, self.generation, self.last_tag) = (self.shard + 1, None, None);
                continue;
            };
            bytes += self.read_run(&held, &pin, tag);
            self.last_tag = Some(tag);
        }
    }

    /// The next tag of the shard, of the keydir's or the history's.
    fn next_tag(&self) -> Option<u64> {
        let in_keydir = self.slots.get(self.next_slot).map(|(tag, _)| *tag);
        let (first, last) = places_of(self.shard, None);
        let from = match self.last_tag {
            Some(tag) => Bound::Excluded(places_of(self.shard, Some(tag)).1),
            None => Bound::Included(first),
        };
        let in_history = self.held.history().and_then(|history| history.next_tag(from, last));
        in_keydir.into_iter().chain(in_history).min()
    }

    /// Reads the keys of all places with a tag, each key once: it may be met in several.
    fn read_run(&mut self, held: &Held, pin: &Pin<'_>, tag: u64) -> usize {
        let first = self.ahead.len();
        let mut bytes = 0;
        while let Some((_, location)) =
            self.slots.get(self.next_slot).copied().filter(|(found, _)| *found == tag)
        {
            self.next_slot += 1;
            bytes += self.read(held, pin, location, first);
        }
        // After the slots: what they no longer have is kept before it is taken out.
        let (from, to) = places_of(self.shard, Some(tag));
        for location in held.past_places(from, to) {
            bytes += self.read(held, pin, location, first);
        }
        bytes
    }

    /// Reads what is at a place, if the snapshot sees it and its key is not among those from
    /// `first`.
    fn read(&mut self, held: &Held, pin: &Pin<'_>, location: Location, first: usize) -> usize {
        let with_values = self.with_values;
        let read = held.view().segment(pin, location).and_then(|segment| {
            segment.read(location.offset(), |record, _| match record {
                Record::Set { seq, expires_at_ms, key, value }
                    if held.as_of.sees(seq, expires_at_ms) =>
                {
                    let value = if with_values { value } else { &[] };
                    let current = Current { seq, expires_at_ms, value };
                    Some((key.to_vec(), current.to_versioned()))
                }
                _ => None,
            })
        });
        let Some(read) = read.transpose() else {
            return 0;
        };
        let is_known = read.as_ref().is_ok_and(|(key, _)| {
            let mut run = self.ahead.iter().skip(first).flatten();
            run.any(|(known, _)| known == key)
        });
        if is_known {
            return 0;
        }
        let bytes = read.as_ref().map_or(0, |(key, found)| key.len() + found.value.len());
        self.ahead.push_back(read);
        bytes
    }

    fn next_record(&mut self) -> Option<Result<(Vec<u8>, Versioned)>> {
        let is_over = self.shard == Keydir::shards() && self.ahead.is_empty();
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        // Checked after reading: what was read before the end of the snapshot is right.
        if let Err(error) = self.held.check() {
            // Said once; then the iteration is over.
            self.shard = Keydir::shards();
            self.ahead.clear();
            return (!is_over).then_some(Err(error));
        }
        self.ahead.pop_front()
    }
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_record()?.map(|(key, found)| (key, found.value)))
    }
}

/// Goes over all keys, values, versions and expiries; see
/// [`Store::records`](crate::Store::records).
pub struct Records(pub(crate) Iter);

impl Iterator for Records {
    type Item = Result<(Vec<u8>, Versioned)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_record()
    }
}

/// Goes over all keys; see [`Store::keys`](crate::Store::keys).
pub struct Keys(pub(crate) Iter);

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next_record()?.map(|(key, _)| key))
    }
}
