//! The open segments: by number for readers, by id for everyone else, and the graveyard.
//!
//! A location names its segment by a number of 16 bits. A number keeps its meaning until no slot
//! points to the segment and no pin is left from that time; only then is the file unlinked and
//! the number given again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};

use super::keydir::NUMBERS;
use super::names::SegmentId;
use super::pins::{Epoch, Pin, Pins};
use super::segment::Segment;
use super::sync::lock;
use crate::error::{KvsError, Result};

pub(crate) struct Segments {
    /// By number; each pointer is an `Arc` turned raw.
    table: Box<[AtomicPtr<Segment>]>,
    state: Mutex<State>,
}

struct State {
    by_id: BTreeMap<SegmentId, Arc<Segment>>,
    /// Numbers that were given back, and the lowest that was never given.
    free: BTreeSet<u16>,
    fresh: u32,
    graveyard: Vec<Grave>,
}

/// A segment that the manifest does not name any more, and that readers may still be in.
struct Grave {
    /// From when on nobody could come into it any more; none: a snapshot may still be in it.
    epoch: Option<Epoch>,
    segment: Arc<Segment>,
}

impl Segments {
    pub(crate) fn new() -> Segments {
        // Zeroed, so that the table takes memory only where it is used.
        let table = Box::new_zeroed_slice(NUMBERS);
        // SAFETY: all zeros is a null pointer.
        let table: Box<[AtomicPtr<Segment>]> = unsafe { table.assume_init() };
        let state = State {
            by_id: BTreeMap::new(),
            free: BTreeSet::new(),
            fresh: 0,
            graveyard: Vec::new(),
        };
        Segments { table, state: Mutex::new(state) }
    }

    /// The segment with that number, as long as the pin is held.
    #[inline]
    pub(crate) fn get<'p>(&'p self, _pin: &'p Pin<'_>, number: usize) -> Option<&'p Segment> {
        let segment = self.table.get(number)?.load(Ordering::Acquire);
        // SAFETY: null, or an `Arc` turned raw that is dropped only when no pin is left from the
        // time when a slot pointed to it.
        unsafe { segment.as_ref() }
    }

    /// A number that stands for no segment.
    pub(crate) fn claim_number(&self) -> Result<u16> {
        let mut state = lock(&self.state);
        if let Some(number) = state.free.pop_first() {
            return Ok(number);
        }
        let number = u16::try_from(state.fresh);
        let number = number.map_err(|_| KvsError::StoreFull { what: "segment number" })?;
        state.fresh += 1;
        Ok(number)
    }

    /// Gives back a number that never came into use.
    pub(crate) fn release_number(&self, number: u16) {
        lock(&self.state).free.insert(number);
    }

    /// Makes a segment readable; no change if it is already.
    pub(crate) fn add(&self, segment: Arc<Segment>) {
        let mut state = lock(&self.state);
        if state.by_id.contains_key(&segment.id) {
            return;
        }
        if let Some(place) = self.table.get(usize::from(segment.number)) {
            place.store(Arc::into_raw(Arc::clone(&segment)).cast_mut(), Ordering::Release);
        }
        state.by_id.insert(segment.id, segment);
    }

    /// All segments, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        lock(&self.state).by_id.values().cloned().collect()
    }

    pub(crate) fn by_id(&self, id: SegmentId) -> Option<Arc<Segment>> {
        lock(&self.state).by_id.get(&id).cloned()
    }

    /// Takes segments out of use. No slot points to them any more.
    pub(crate) fn retire(&self, segments: &[Arc<Segment>]) {
        let mut state = lock(&self.state);
        for segment in segments {
            state.by_id.remove(&segment.id);
            state.graveyard.push(Grave { epoch: None, segment: Arc::clone(segment) });
        }
    }

    /// Takes the segments out of the graveyard that no reader can be in any more. Their numbers
    /// are free from here on; the caller unlinks their files.
    pub(crate) fn bury(&self, pins: &Pins) -> Vec<PathBuf> {
        let mut state = lock(&self.state);
        let mut buried = Vec::new();
        let graves = std::mem::take(&mut state.graveyard);
        for mut grave in graves {
            let is_pinned = grave.segment.is_pinned() && !kvs_bug!("ignore_snapshots");
            // Taken when nobody can come into it any more: readers of a snapshot could until then.
            let epoch = match is_pinned {
                true => None,
                false => Some(grave.epoch.unwrap_or_else(|| pins.retire())),
            };
            let is_free = epoch.is_some_and(|epoch| pins.is_quiescent(epoch));
            if !is_free && !kvs_bug!("unlink_while_read") {
                grave.epoch = epoch;
                state.graveyard.push(grave);
                continue;
            }
            self.forget(grave.segment.number);
            state.free.insert(grave.segment.number);
            buried.push(grave.segment.path.clone());
        }
        buried
    }

    /// The bytes of the segments in the graveyard that will soon be gone, and of those in which
    /// snapshots are.
    pub(crate) fn graveyard_bytes(&self) -> (u64, u64) {
        let state = lock(&self.state);
        state.graveyard.iter().fold((0, 0), |(free, pinned), grave| {
            let bytes = grave.segment.file_bytes.load(Ordering::Relaxed);
            match grave.segment.is_pinned() {
                true => (free, pinned + bytes),
                false => (free + bytes, pinned),
            }
        })
    }

    fn forget(&self, number: u16) {
        let Some(place) = self.table.get(usize::from(number)) else {
            return;
        };
        let segment = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !segment.is_null() {
            // SAFETY: `add` turned the `Arc` raw, and the place was the only one that had it.
            drop(unsafe { Arc::from_raw(segment) });
        }
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        let given = lock(&self.state).fresh;
        for number in (0..given).filter_map(|number| u16::try_from(number).ok()) {
            self.forget(number);
        }
    }
}
