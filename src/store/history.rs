//! What snapshots can see and the keydir no longer says: where records lie that were superseded,
//! removed or swept since.
//!
//! A snapshot sees the records with the highest seq up to its own. As long as it lives, whoever
//! takes a place out of the keydir that it can see keeps it here first, with the seq that ended it;
//! so a reader that does not find what it looks for in the keydir finds it here. Segments with such
//! places are pinned: they go out of use like all others, but stay on the disk.
//!
//! With no snapshot alive this costs a write one look at a flag.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::keydir::{Location, tag_of_place};
use crate::error::{KvsError, Result};

/// What a place takes in memory, about, in bytes.
const PLACE_BYTES: u64 = 96;

/// The state of a store at one seq.
#[derive(Debug)]
pub(crate) struct AsOf {
    /// The highest seq that it sees.
    pub(crate) seq: u64,
    /// The time at which it sees what expires, in milliseconds.
    pub(crate) now_ms: u64,
    ended: AtomicBool,
}

impl AsOf {
    /// Everything that there is and that has not expired by then.
    pub(crate) fn everything(now_ms: u64) -> AsOf {
        AsOf { seq: u64::MAX, now_ms, ended: AtomicBool::new(false) }
    }

    /// Answers with an error if what it sees may be gone.
    pub(crate) fn check(&self) -> Result<()> {
        match self.ended.load(Ordering::Acquire) {
            true => Err(KvsError::SnapshotEnded { seq: self.seq }),
            false => Ok(()),
        }
    }

    /// Whether it sees a record of that seq and expiry, if it is there.
    pub(crate) fn sees(&self, seq: u64, expires_at_ms: u64) -> bool {
        seq <= self.seq && (expires_at_ms == 0 || expires_at_ms > self.now_ms)
    }
}

/// A place that the keydir no longer holds.
#[derive(Debug, Clone, Copy)]
struct Past {
    location: Location,
    /// The seq of what superseded it: snapshots below that may see it.
    until: u64,
}

#[derive(Default)]
pub(crate) struct History {
    is_active: AtomicBool,
    /// Set before a place that is kept goes out of the keydir.
    has_places: AtomicBool,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    snapshots: VecDeque<Arc<AsOf>>,
    /// By the hash of the key.
    places: BTreeMap<u64, Vec<Past>>,
    count: u64,
}

impl History {
    /// Whether there is a snapshot. Who holds the keydir's writer is not overtaken by a new one.
    /// Who reads one that has ended, and sees that here, sees it in the snapshot as well.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Acquire)
    }

    /// Begins a snapshot. The caller keeps everyone from changing the keydir.
    pub(crate) fn begin(&self, seq: u64, now_ms: u64) -> Arc<AsOf> {
        let as_of = Arc::new(AsOf { seq, now_ms, ended: AtomicBool::new(false) });
        self.write().snapshots.push_back(Arc::clone(&as_of));
        self.is_active.store(true, Ordering::Relaxed);
        as_of
    }

    /// Ends a snapshot. Answers with the places that nobody sees any more.
    pub(crate) fn end(&self, as_of: &Arc<AsOf>) -> Vec<Location> {
        let mut state = self.write();
        as_of.ended.store(true, Ordering::Release);
        let oldest = state.snapshots.front().map(|it| it.seq);
        state.snapshots.retain(|it| !Arc::ptr_eq(it, as_of));
        // As long as the oldest is the same, nothing can be forgotten.
        if state.snapshots.front().map(|it| it.seq) == oldest && oldest.is_some() {
            return Vec::new();
        }
        self.forget(&mut state)
    }

    /// Ends the oldest snapshot, if there is one. Answers as `end`.
    pub(crate) fn end_oldest(&self) -> Option<Vec<Location>> {
        let mut state = self.write();
        let oldest = state.snapshots.pop_front()?;
        oldest.ended.store(true, Ordering::Release);
        Some(self.forget(&mut state))
    }

    /// Forgets what the oldest snapshot is too young to see.
    fn forget(&self, state: &mut State) -> Vec<Location> {
        let oldest = match kvs_bug!("forget_too_early") {
            true => state.snapshots.back(),
            false => state.snapshots.front(),
        };
        let oldest = oldest.map(|as_of| as_of.seq);
        self.is_active.store(oldest.is_some(), Ordering::Release);
        let mut forgotten = Vec::new();
        state.places.retain(|_, places| {
            places.retain(|past| {
                let is_seen = oldest.is_some_and(|oldest| past.until > oldest);
                if !is_seen {
                    forgotten.push(past.location);
                }
                is_seen
            });
            !places.is_empty()
        });
        state.count -= forgotten.len() as u64;
        self.has_places.store(state.count > 0, Ordering::Release);
        forgotten
    }

    /// Keeps the place of a record with that seq, which goes out of the keydir with the write
    /// `until`. False: no snapshot sees it.
    pub(crate) fn keep(&self, place: u64, location: Location, seq: u64, until: u64) -> bool {
        let mut state = self.write();
        if state.snapshots.back().is_none_or(|newest| newest.seq < seq) {
            return false;
        }
        state.places.entry(place).or_default().push(Past { location, until });
        state.count += 1;
        self.has_places.store(true, Ordering::Release);
        true
    }

    /// The places of keys whose hash is in a range, that a snapshot may see, by hash.
    pub(crate) fn places(&self, from: u64, to: u64, as_of: &AsOf) -> Vec<Location> {
        let state = self.read();
        let range = state.places.range(from..=to).flat_map(|(_, places)| places);
        range.filter(|past| past.until > as_of.seq).map(|past| past.location).collect()
    }

    /// The tag of the first hash from `from` to `to` of which there is a place.
    pub(crate) fn next_tag(&self, from: Bound<u64>, to: u64) -> Option<u64> {
        if !self.has_places.load(Ordering::Acquire) {
            return None;
        }
        // Nothing is above the last place of the last shard, not even an empty range.
        if matches!(from, Bound::Excluded(from) if from >= to) {
            return None;
        }
        let state = self.read();
        let mut range = state.places.range((from, Bound::Included(to)));
        range.next().map(|(place, _)| tag_of_place(*place))
    }

    /// The seq of the oldest snapshot; with none, the highest there is.
    pub(crate) fn oldest(&self) -> u64 {
        self.read().snapshots.front().map_or(u64::MAX, |as_of| as_of.seq)
    }

    /// How many snapshots there are, and the memory that their places take, in bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        let state = self.read();
        (state.snapshots.len(), state.count * PLACE_BYTES)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
