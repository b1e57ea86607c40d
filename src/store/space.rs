//! The bound on disk space: what segment files may take, and who waits when they take more.
//!
//! Segment files <= space amplification x live bytes + 2 segments. Compaction begins well before;
//! only if writers outrun it do sets wait here. Removes never wait: they make room.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::compaction::Situation;
use super::core::Core;
use super::group::Seen;
use super::keydir::Location;
use super::retained::Superseded;
use super::sync::lock;

/// How long a writer waits before it looks for itself.
const PATIENCE: Duration = Duration::from_millis(20);

impl Core {
    /// Looks at the disk space anew. To be called when files have grown, come or gone.
    pub(crate) fn update_space(&self) {
        if self.note_space() {
            self.bell.wake(|rung| rung.compaction = true);
        }
    }

    /// As `update_space`, without waking anyone who should compact. True: it is due.
    pub(crate) fn note_space(&self) -> bool {
        if !self.options.compaction || !self.background {
            return false;
        }
        let situation = self.situation();
        let is_over = situation.total_bytes > situation.bound();
        self.space.room_percent.store(situation.room_percent(), Ordering::Relaxed);
        let was_over = self.space.is_over.swap(is_over, Ordering::AcqRel);
        if was_over && !is_over {
            let _guard = lock(&self.space.lock);
            self.space.changed.notify_all();
        }
        situation.is_due()
    }

    /// Says whether there is a point in waiting for compaction.
    pub(crate) fn set_stuck(&self, is_stuck: bool) {
        self.space.is_stuck.store(is_stuck, Ordering::Release);
        if is_stuck {
            let _guard = lock(&self.space.lock);
            self.space.changed.notify_all();
        }
    }

    /// Holds a writer back while segment files take more than the bound allows and compaction can
    /// do something about it.
    #[inline]
    pub(crate) fn wait_for_space(&self) {
        if self.space.is_over.load(Ordering::Relaxed) {
            self.wait_for_compaction();
        }
    }

    #[cold]
    fn wait_for_compaction(&self) {
        let mut guard = lock(&self.space.lock);
        while self.space.is_over.load(Ordering::Acquire)
            && !self.space.is_stuck.load(Ordering::Acquire)
            && self.check_writable().is_ok()
        {
            self.bell.wake(|rung| rung.compaction = true);
            let waited = self.space.changed.wait_timeout(guard, PATIENCE);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The seq from which on history is kept: a segment with anything later is not compacted, and
    /// a record that was superseded later is copied.
    pub(crate) fn retained_floor(&self) -> u64 {
        self.retained.floor()
    }

    /// Notes that a record is superseded, if that is to stay on the disk for a while. The caller
    /// is the keydir's writer, and has not taken it out yet.
    pub(crate) fn retain(&self, seen: Seen, by: u64) {
        if self.retained.is_active() {
            self.count_retained(seen.location, seen.len, true);
            self.retained.note(Superseded { by, location: seen.location, len: seen.len });
            self.trim_retained();
        }
    }

    /// Lets go of what need not be retained any more.
    pub(crate) fn trim_retained(&self) {
        // So that no number of a segment is another's before it is counted.
        let _pin = self.pins.pin();
        let uncount = |old: Superseded| self.count_retained(old.location, old.len, false);
        self.retained.trim(uncount);
    }

    pub(crate) fn count_retained(&self, location: Location, len: u64, is_more: bool) {
        let pin = self.pins.pin();
        if let Ok(segment) = self.segment(&pin, location) {
            let bytes = &segment.retained_bytes;
            match is_more {
                true => bytes.fetch_add(len, Ordering::Relaxed),
                false => bytes.fetch_sub(len, Ordering::Relaxed),
            };
        }
    }

    /// What compaction decides upon.
    pub(crate) fn situation(&self) -> Situation {
        let segments = self.segments.all();
        if self.retained.is_active() {
            self.trim_retained();
        }
        let mut facts: Vec<_> = segments.iter().map(|segment| segment.facts()).collect();
        let mut live_bytes = self.space.live_bytes.load(Ordering::Relaxed);
        if self.retained.is_active() {
            let floor = self.retained_floor();
            for facts in &mut facts {
                let is_retained = facts.max_seq > floor;
                facts.is_eligible &= !is_retained;
                // What is not to go is no garbage.
                live_bytes += facts.retained_bytes;
                live_bytes += if is_retained { facts.tombstone_bytes } else { 0 };
            }
        }
        let largest = facts.iter().map(|facts| facts.file_bytes).max().unwrap_or_default();
        let files: u64 = facts.iter().map(|facts| facts.file_bytes).sum();
        Situation {
            total_bytes: files
                + self.segments.graveyard_bytes().0
                + self.space.output_bytes.load(Ordering::Relaxed),
            live_bytes,
            segment_bytes: self.segment_capacity().max(largest),
            amplification: self.options.space_amplification,
            segments: facts,
        }
    }
}
