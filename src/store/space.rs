//! The bound on disk space: what segment files may take, and who waits when they take more.
//!
//! Segment files <= space amplification x live bytes + 2 segments. Compaction begins well before;
//! only if writers outrun it do sets wait here. Removes never wait: they make room.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::compaction::Situation;
use super::core::Core;
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

    /// Whether compaction has to leave a segment with that highest seq alone.
    pub(crate) fn is_retained(&self, max_seq: u64) -> bool {
        let published = self.published_seq.load(Ordering::Relaxed);
        max_seq.saturating_add(self.options.retain_history) > published
            && self.options.retain_history > 0
    }

    /// What compaction decides upon.
    pub(crate) fn situation(&self) -> Situation {
        let segments = self.segments.all();
        let mut facts: Vec<_> = segments.iter().map(|segment| segment.facts()).collect();
        for facts in &mut facts {
            facts.is_eligible &= !self.is_retained(facts.max_seq);
        }
        let largest = facts.iter().map(|facts| facts.file_bytes).max().unwrap_or_default();
        let files: u64 = facts.iter().map(|facts| facts.file_bytes).sum();
        Situation {
            total_bytes: files
                + self.segments.graveyard_bytes().0
                + self.space.output_bytes.load(Ordering::Relaxed),
            live_bytes: self.space.live_bytes.load(Ordering::Relaxed),
            segment_bytes: self.segment_capacity().max(largest),
            amplification: self.options.space_amplification,
            segments: facts,
        }
    }
}
