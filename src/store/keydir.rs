//! The keydir: where the newest record of each key lies. It holds no keys.
//!
//! A slot has 8 bytes: a tag (24 bits of the key's hash) and a location (40 bits). The key itself
//! is checked in the record, so a tag that matches is a candidate and no more. 10 further bits of
//! the hash choose one of 1024 shards; in a shard, the tag alone says at which cache line the
//! search begins, so a shard can grow without a look at the keys. A search goes on to the next
//! line until it meets an empty slot.
//!
//! Readers take no lock: slots and table pointers are atomic, and a pin keeps a replaced table
//! until they are gone. There is one writer at a time (`write`), which publishes with one store.
//! A removed slot keeps a mark until its place is used again or its shard is rebuilt; nothing is
//! ever shifted, so no reader can miss a key that is there.
//!
//! Shards grow by a quarter when four fifths full: between 10 and 12.5 bytes a key.

use std::sync::atomic::Ordering;

use super::hash::KeyHash;
use super::pins::{Epoch, Pin, Pins};
use super::sync::{AtomicPtr, AtomicU64, Mutex, MutexGuard};
use super::sync::{RETIRED_BYTES_MIN, fence, lock, reclaim};

const SHARD_BITS: u32 = 10;
const SHARDS: usize = 1 << SHARD_BITS;
pub(crate) const TAG_BITS: u32 = 24;
const OFFSET_BITS: u32 = 24;
const NUMBER_BITS: u32 = 16;
const LOCATION_BITS: u32 = OFFSET_BITS + NUMBER_BITS;
const _: () = assert!(TAG_BITS + LOCATION_BITS == 64, "a slot is one atomic word");

/// Slots of a cache line.
const LINE: usize = 8;
/// The sizes that a shard can have, in lines: each a quarter larger than the one before.
const STEPS: usize = 64;
const LINES: [usize; STEPS] = steps();
const _: () = assert!(LINES[STEPS - 1] * LINE < 1 << TAG_BITS, "each line is the home of a tag");
const _: () = assert!(STEPS <= align_of::<Line>(), "a step fits into the low bits of a pointer");

/// No key was ever here: a search ends.
const EMPTY: u64 = 0;
/// A key was here: a search goes on. Not a location, because offset 8 lies in a header.
const REMOVED: u64 = 1;

/// Offsets below this can be said by a location.
pub(crate) const OFFSET_LIMIT: u64 = 8 << OFFSET_BITS;

/// How many segments can be open at once.
pub(crate) const NUMBERS: usize = 1 << NUMBER_BITS;

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn steps() -> [usize; STEPS] {
    let mut lines = [1; STEPS];
    let mut step = 1;
    while step < STEPS {
        let last = lines[step - 1];
        lines[step] = if last / 4 == 0 { last + 1 } else { last + last / 4 };
        step += 1;
    }
    lines
}

/// Where a record lies: the number of its segment, and its offset in units of 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Location(pub(super) u64);

impl Location {
    /// None if the offset is beyond what a location can say, 128 MiB.
    pub(crate) fn new(number: u16, offset: u64) -> Option<Location> {
        let unit = offset / 8;
        (unit < 1 << OFFSET_BITS && unit > REMOVED)
            .then_some(Location(u64::from(number) << OFFSET_BITS | unit))
    }

    pub(crate) fn number(self) -> usize {
        usize::try_from(self.0 >> OFFSET_BITS).unwrap_or_default()
    }

    pub(crate) fn offset(self) -> u64 {
        (self.0 & ((1 << OFFSET_BITS) - 1)) * 8
    }
}

/// The shard that a key belongs to.
#[inline]
pub(crate) fn shard_of(hash: KeyHash) -> usize {
    usize::try_from(hash.place >> (64 - SHARD_BITS)).unwrap_or_default()
}

/// How far the tag stands from the low end of a hash.
const TAG_SHIFT: u32 = 64 - SHARD_BITS - TAG_BITS;

fn tag_of(hash: KeyHash) -> u64 {
    hash.place >> TAG_SHIFT & ((1 << TAG_BITS) - 1)
}

/// The tag of a hash, given as its place.
pub(crate) fn tag_of_place(place: u64) -> u64 {
    tag_of(KeyHash { place, rest: 0 })
}

/// The lowest and the highest place of a hash in a shard, with a tag or with any.
pub(crate) fn places_of(shard: usize, tag: Option<u64>) -> (u64, u64) {
    let first = (shard as u64) << (64 - SHARD_BITS) | tag.unwrap_or_default() << TAG_SHIFT;
    let bits = if tag.is_some() { TAG_SHIFT } else { TAG_SHIFT + TAG_BITS };
    (first, first | ((1 << bits) - 1))
}

fn slot_of(tag: u64, location: Location) -> u64 {
    tag << LOCATION_BITS | location.0
}

fn location_of(slot: u64) -> Location {
    Location(slot & ((1 << LOCATION_BITS) - 1))
}

#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicU64; LINE]);

/// The slots of a shard. A copyable view of memory that the keydir owns.
#[derive(Clone, Copy)]
struct Table<'a> {
    lines: &'a [Line],
}

/// A table as one word: the address of its lines, with its step in the low bits.
fn pack(lines: Box<[Line]>, step: usize) -> *mut Line {
    Box::into_raw(lines).cast::<Line>().map_addr(|address| address | step)
}

/// Undoes `pack`; null is the table without lines.
fn unpack(word: *mut Line) -> (*mut Line, usize) {
    let step = word.addr() & (align_of::<Line>() - 1);
    let lines = word.map_addr(|address| address - step);
    (lines, if lines.is_null() { 0 } else { LINES.get(step).copied().unwrap_or_default() })
}

impl<'a> Table<'a> {
    /// The line where the search for a tag begins.
    #[inline]
    fn home(&self, tag: u64) -> usize {
        usize::try_from((tag * self.lines.len() as u64) >> TAG_BITS).unwrap_or_default()
    }

    /// The first slot with a wanted content, in the order of a search for a tag. For the writer.
    #[inline]
    fn find(self, tag: u64, is_wanted: impl Fn(u64) -> bool) -> Option<(&'a AtomicU64, u64)> {
        let (before, from) = self.lines.split_at(self.home(tag).min(self.lines.len()));
        // Plain loops: what a chain of iterators is compiled to costs twice as much.
        for lines in [from, before] {
            for line in lines {
                for slot in &line.0 {
                    let found = slot.load(Ordering::Relaxed);
                    if is_wanted(found) {
                        return Some((slot, found));
                    }
                }
            }
        }
        None
    }
}

/// The slots that hold a tag, newest state first seen.
pub(crate) struct Candidates<'a> {
    lines: &'a [Line],
    line: usize,
    slot: usize,
    /// How many lines are still to be searched, this one included.
    left: usize,
    tag: u64,
}

impl Iterator for Candidates<'_> {
    type Item = Location;

    #[inline]
    fn next(&mut self) -> Option<Location> {
        while self.left > 0 {
            let line = self.lines.get(self.line)?;
            while let Some(slot) = line.0.get(self.slot) {
                self.slot += 1;
                let slot = slot.load(Ordering::Acquire);
                if slot == EMPTY {
                    self.left = 0;
                    return None;
                }
                if slot >> LOCATION_BITS == self.tag && slot != REMOVED {
                    return Some(location_of(slot));
                }
            }
            self.slot = 0;
            self.left -= 1;
            self.line += 1;
            if self.line == self.lines.len() {
                self.line = 0;
            }
        }
        None
    }
}

/// The index of a store.
pub(crate) struct Keydir {
    heads: Box<[AtomicPtr<Line>]>,
    /// Keys, and bytes of tables.
    len: AtomicU64,
    bytes: AtomicU64,
    /// Odd while several keys are being published together.
    pub(super) publication: AtomicU64,
    /// Counts the times that segments went out of use.
    generation: AtomicU64,
    /// Of each shard, counts the keys that were inserted.
    pub(super) inserts: Box<[AtomicU64]>,
    state: Mutex<State>,
}

/// What only the writer needs.
struct State {
    shards: Vec<Counts>,
    /// Tables that readers may still be in.
    retired: Vec<(Epoch, *mut Line)>,
    retired_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Slots with a location.
    live: usize,
    /// Slots that are not empty.
    used: usize,
}

// SAFETY: the pointers are to tables that the keydir owns and shares only under pins.
unsafe impl Send for State {}

impl Keydir {
    pub(crate) fn new() -> Keydir {
        let null = |_| AtomicPtr::new(std::ptr::null_mut());
        let shards = vec![Counts::default(); SHARDS];
        Keydir {
            heads: (0..SHARDS).map(null).collect(),
            len: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            publication: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            inserts: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            state: Mutex::new(State { shards, retired: Vec::new(), retired_bytes: 0 }),
        }
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// The bytes of memory that the tables take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    #[inline]
    fn table<'p>(&'p self, _pin: &'p Pin<'_>, shard: usize) -> Table<'p> {
        let word = match self.heads.get(shard) {
            Some(head) => head.load(Ordering::Acquire),
            None => std::ptr::null_mut(),
        };
        let (lines, len) = unpack(word);
        if lines.is_null() {
            return Table { lines: &[] };
        }
        // SAFETY: `pack` made the word of a box of that many lines, and the pin keeps a table
        // that was reachable from being freed.
        let lines = unsafe { std::slice::from_raw_parts(lines, len) };
        Table { lines }
    }

    /// Where records of a key may lie. The caller compares keys.
    #[inline]
    pub(crate) fn candidates<'p>(&'p self, pin: &'p Pin<'_>, hash: KeyHash) -> Candidates<'p> {
        let table = self.table(pin, shard_of(hash));
        let tag = tag_of(hash);
        let left = table.lines.len();
        Candidates { lines: table.lines, line: table.home(tag), slot: 0, left, tag }
    }

    /// The address where the search for a key begins, to be prefetched.
    #[inline]
    pub(crate) fn address(&self, pin: &Pin<'_>, hash: KeyHash) -> *const u8 {
        let table = self.table(pin, shard_of(hash));
        let line = table.lines.get(table.home(tag_of(hash)));
        line.map_or(std::ptr::null(), |line| std::ptr::from_ref(line).cast())
    }

    pub(crate) fn shards() -> usize {
        SHARDS
    }

    /// The occupied slots of a shard, as (tag, location), by tag. Keys that come or go meanwhile
    /// may be there, once or twice, or not.
    pub(crate) fn copy_shard(&self, pin: &Pin<'_>, shard: usize) -> Vec<(u64, Location)> {
        let table = self.table(pin, shard);
        // In a small store most are.
        if table.lines.is_empty() {
            return Vec::new();
        }
        let slots = table.lines.iter().flat_map(|line| &line.0);
        let mut copy: Vec<u64> = slots
            .map(|slot| slot.load(Ordering::Acquire))
            .filter(|slot| *slot != EMPTY && *slot != REMOVED)
            .collect();
        copy.sort_unstable();
        copy.into_iter().map(|slot| (slot >> LOCATION_BITS, location_of(slot))).collect()
    }

    /// Changes when segments go out of use: a location is good as long as this stays the same,
    /// or as long as a pin is held that was taken before it changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Runs `read` so that it sees no batch half published; after some tries in vain, by keeping
    /// the writer out.
    pub(crate) fn consistently<R>(&self, mut read: impl FnMut() -> R) -> R {
        for _ in 0..64 {
            let before = self.publication.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let result = read();
                fence(Ordering::Acquire);
                if self.publication.load(Ordering::Relaxed) == before {
                    return result;
                }
            }
            super::sync::spin();
        }
        let _writer = lock(&self.state);
        read()
    }

    /// Runs `read` with the writer kept out.
    #[allow(dead_code, reason = "the model checkers compile this file without its callers")]
    pub(crate) fn alone<R>(&self, read: impl FnOnce() -> R) -> R {
        let _writer = lock(&self.state);
        read()
    }

    /// Becomes the writer, when the last one is done.
    pub(crate) fn write<'a>(&'a self, pins: &'a Pins) -> Writer<'a> {
        Writer { keydir: self, pins, state: lock(&self.state) }
    }
}

/// The one writer of a keydir.
pub(crate) struct Writer<'a> {
    keydir: &'a Keydir,
    pins: &'a Pins,
    state: MutexGuard<'a, State>,
}

impl Writer<'_> {
    /// Runs `publish` as one publication: `consistently` sees all of it or nothing.
    pub(crate) fn together(&mut self, publish: impl FnOnce(&mut Self)) {
        // Release fences on both sides keep the slots' stores between the two counts.
        self.keydir.publication.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::Release);
        publish(self);
        self.keydir.publication.fetch_add(1, Ordering::Release);
    }

    /// Whether a shard can take no further key.
    pub(crate) fn is_full(&self, hash: KeyHash) -> bool {
        let used = self.state.shards.get(shard_of(hash)).map_or(0, |counts| counts.used);
        used >= limit(LINES[STEPS - 1])
    }

    /// Gives a key its first location.
    pub(crate) fn insert(&mut self, hash: KeyHash, location: Location) {
        let shard = shard_of(hash);
        self.make_room(shard, 1);
        let pin = self.pins.pin();
        let tag = tag_of(hash);
        let table = self.keydir.table(&pin, shard);
        let free = table.find(tag, |found| found == EMPTY || found == REMOVED);
        let Some((slot, found)) = free else { return };
        slot.store(slot_of(tag, location), Ordering::Release);
        if let Some(inserts) = self.keydir.inserts.get(shard) {
            inserts.store(inserts.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
        if let Some(counts) = self.state.shards.get_mut(shard) {
            counts.live += 1;
            counts.used += usize::from(found == EMPTY);
        }
        self.keydir.len.store(self.keydir.len() + 1, Ordering::Relaxed);
    }

    /// Moves a key from a location to another. False: it is not at that location.
    pub(crate) fn replace(&mut self, hash: KeyHash, from: Location, to: Location) -> bool {
        self.swap(hash, from, slot_of(tag_of(hash), to))
    }

    /// Takes a key away. False: it is not at that location.
    pub(crate) fn remove(&mut self, hash: KeyHash, from: Location) -> bool {
        let removed = self.swap(hash, from, REMOVED);
        if removed {
            if let Some(counts) = self.state.shards.get_mut(shard_of(hash)) {
                counts.live -= 1;
            }
            self.keydir.len.store(self.keydir.len() - 1, Ordering::Relaxed);
        }
        removed
    }

    fn swap(&mut self, hash: KeyHash, from: Location, to: u64) -> bool {
        let pin = self.pins.pin();
        let tag = tag_of(hash);
        let wanted = slot_of(tag, from);
        let table = self.keydir.table(&pin, shard_of(hash));
        match table.find(tag, |found| found == wanted || found == EMPTY) {
            Some((slot, found)) if found == wanted => {
                slot.store(to, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    /// Whether a key is at that location.
    pub(crate) fn is_at(&self, hash: KeyHash, location: Location) -> bool {
        let pin = self.pins.pin();
        self.keydir.candidates(&pin, hash).any(|candidate| candidate == location)
    }

    /// Says that segments went out of use.
    pub(crate) fn next_generation(&mut self) {
        self.keydir.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes all keys away.
    pub(crate) fn clear(&mut self) {
        for shard in 0..SHARDS {
            self.publish_table(shard, std::ptr::null_mut());
            if let Some(counts) = self.state.shards.get_mut(shard) {
                *counts = Counts::default();
            }
        }
        self.keydir.len.store(0, Ordering::Relaxed);
    }

    /// Rebuilds a shard if `keys` more would make it too full: larger, or as large and without
    /// the marks of removed keys.
    pub(crate) fn make_room(&mut self, shard: usize, keys: usize) {
        let Some(Counts { live, used }) = self.state.shards.get(shard).copied() else {
            return;
        };
        let pin = self.pins.pin();
        let old = self.keydir.table(&pin, shard);
        if used + keys <= limit(old.lines.len()) {
            return;
        }
        // A tenth more than needed, so that the next rebuild is not the next insert's.
        let wanted = live + keys + live / 10;
        let step = LINES.iter().position(|lines| wanted <= limit(*lines)).unwrap_or(STEPS - 1);
        let lines: Box<[Line]> =
            (0..LINES.get(step).copied().unwrap_or(1)).map(|_| Line::default()).collect();
        let new = Table { lines: &lines };
        for line in old.lines {
            for slot in &line.0 {
                let slot = slot.load(Ordering::Relaxed);
                if slot != EMPTY
                    && slot != REMOVED
                    && let Some((free, _)) = new.find(slot >> LOCATION_BITS, |it| it == EMPTY)
                {
                    free.store(slot, Ordering::Relaxed);
                }
            }
        }
        if let Some(counts) = self.state.shards.get_mut(shard) {
            counts.used = live;
        }
        self.publish_table(shard, pack(lines, step));
        drop(pin);
        self.free_retired();
    }

    /// Puts a table in the place of a shard's, which is kept until its readers are gone.
    fn publish_table(&mut self, shard: usize, word: *mut Line) {
        let Some(head) = self.keydir.heads.get(shard) else {
            return;
        };
        let old = head.swap(word, Ordering::AcqRel);
        let bytes = |word| (unpack(word).1 * size_of::<Line>()) as u64;
        let total = self.keydir.bytes() + bytes(word) - bytes(old);
        self.keydir.bytes.store(total, Ordering::Relaxed);
        if !old.is_null() {
            self.state.retired_bytes += bytes(old);
            self.state.retired.push((self.pins.retire(), old));
        }
    }

    /// Frees replaced tables when there are enough to be worth asking for their readers.
    fn free_retired(&mut self) {
        if self.state.retired_bytes < (self.keydir.bytes() / 64).max(RETIRED_BYTES_MIN) {
            return;
        }
        let last = self.state.retired.last();
        if last.is_some_and(|(epoch, _)| self.pins.is_quiescent(*epoch)) {
            self.state.retired_bytes = 0;
            self.state.retired.drain(..).for_each(|(_, word)| free(word));
        }
    }
}

/// How many slots may be used: four fifths, so that a search soon meets an empty one.
const fn limit(lines: usize) -> usize {
    lines * LINE * 4 / 5
}

/// Frees a table that nobody can reach any more.
fn free(word: *mut Line) {
    let (lines, len) = unpack(word);
    if !lines.is_null() {
        // SAFETY: `pack` made it of a box of that many lines, and nobody else has it.
        reclaim(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(lines, len)) });
    }
}

impl Drop for Keydir {
    fn drop(&mut self) {
        for head in &mut self.heads {
            free(*head.get_mut());
        }
        lock(&self.state).retired.drain(..).for_each(|(_, word)| free(word));
    }
}
