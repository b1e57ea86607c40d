//! What watches of the engine `memory` read: the last changes, kept only while there is one.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use crate::error::{KvsError, Result};
use crate::store::Change;

/// How many changes are kept, and how many bytes of keys and values, for watches that are behind.
const CHANGES_MAX: usize = 1 << 16;
const BYTES_MAX: usize = 64 << 20;

/// The changes, in order.
#[derive(Default)]
pub(super) struct Feed {
    changes: VecDeque<Change>,
    bytes: usize,
    /// The number of the first of them, counted from when the engine began.
    first: u64,
    /// The highest seq of those that are not kept any more.
    floor: u64,
    watches: usize,
    /// How many watches have begun: the number of the next one.
    begun: u64,
    /// Those who wait, by the number of their watch.
    wakers: BTreeMap<u64, Waker>,
}

/// How far a watch has come.
pub(super) struct Place {
    /// The number of the watch.
    number: u64,
    /// The number of the change that is next.
    next: u64,
    /// What it begins behind, which may be yet to come.
    after: u64,
    /// The seq up to which it has seen everything.
    seq: u64,
}

impl Feed {
    /// Begins a watch behind a seq.
    pub(super) fn begin(&mut self, after: Option<u64>, seq: u64) -> Result<Place> {
        let after = after.unwrap_or(seq);
        if after < self.floor {
            return Err(KvsError::HistoryGone { seq: after, floor: self.floor });
        }
        self.watches += 1;
        self.begun += 1;
        let known = self.changes.partition_point(|change| change.seq <= after);
        let next = self.first + known as u64;
        Ok(Place { number: self.begun, next, after, seq: after })
    }

    /// Ends a watch.
    pub(super) fn end(&mut self, place: &Place, seq: u64) {
        self.wakers.remove(&place.number);
        self.watches = self.watches.saturating_sub(1);
        if self.watches == 0 {
            self.forget(seq);
        }
    }

    /// Adds a change, if anybody watches.
    pub(super) fn add(&mut self, change: impl FnOnce() -> Change) {
        if self.watches == 0 {
            return;
        }
        let change = change();
        self.bytes += bytes_of(&change);
        self.changes.push_back(change);
    }

    /// A write is complete: what is too much goes.
    pub(super) fn written(&mut self, seq: u64) {
        if self.watches == 0 {
            self.floor = seq;
        }
        while self.changes.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some(change) = self.changes.pop_front() else {
                return;
            };
            self.first += 1;
            self.bytes -= bytes_of(&change);
            self.floor = change.seq;
        }
    }

    /// Lets everything go.
    pub(super) fn forget(&mut self, seq: u64) {
        self.first += self.changes.len() as u64;
        self.changes = VecDeque::new();
        self.bytes = 0;
        self.floor = seq;
    }

    /// The next changes of keys with a prefix; none if there are none yet.
    pub(super) fn read(
        &self,
        place: &mut Place,
        prefix: &[u8],
        count: usize,
    ) -> Result<Vec<Change>> {
        if place.next < self.first || place.seq < self.floor {
            return Err(KvsError::HistoryGone { seq: place.seq, floor: self.floor });
        }
        let skipped = usize::try_from(place.next - self.first).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for change in self.changes.iter().skip(skipped) {
            if found.len() >= count.max(1) {
                break;
            }
            place.next += 1;
            place.seq = place.seq.max(change.seq);
            if change.seq > place.after && change.key.starts_with(prefix) {
                found.push(change.clone());
            }
        }
        Ok(found)
    }

    /// Wakes the task of a watch at the next change.
    pub(super) fn wake_later(&mut self, place: &Place, waker: &Waker) {
        self.wakers.insert(place.number, waker.clone());
    }

    /// Those who wait.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers).into_values().collect()
    }
}

fn bytes_of(change: &Change) -> usize {
    change.key.len() + change.value.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::Feed;

    #[test]
    fn nothing_is_left_of_a_watch_that_has_ended() {
        let mut feed = Feed::default();
        let waits = feed.begin(None, 0).unwrap();
        feed.wake_later(&waits, Waker::noop());
        for _ in 0..10 {
            let place = feed.begin(None, 0).unwrap();
            feed.wake_later(&place, Waker::noop());
            feed.wake_later(&place, Waker::noop());
            feed.end(&place, 0);
        }
        assert_eq!(feed.wakers.len(), 1);
        assert_eq!(feed.take_wakers().len(), 1);
    }
}
