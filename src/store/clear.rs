//! Removing everything at once: the log goes on in a new segment, and a manifest without the old
//! ones is all that has to be written.
//!
//! It has a seq, and a place in the order of the writes, like any of them: what was queued before
//! it goes, what is queued later stays. So it goes through the queue, as a group of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::group::{Commits, Vec1};
use super::manifest::Manifest;
use super::segment::Segment;
use super::sync::lock;
use crate::error::{KvsError, Result};

impl Core {
    /// Removes all keys. Durable when this returns.
    pub(crate) fn clear(&self) -> Result<()> {
        let _compaction = lock(&self.compaction);
        self.check_writable()?;
        let mut gone = Vec::new();
        let join = |group: &mut Commits| {
            group.join_alone(self.give_seqs(1));
            0..1
        };
        let commit = |group: &mut Commits| {
            for request in &mut group.requests {
                let cleared = self.clear_at(request.seq);
                request.outcome = Some(cleared.and_then(|segments| {
                    gone = segments;
                    request.done()
                }));
            }
        };
        let cleared = self.queue.submit(usize::MAX, true, join, commit);
        let outcome = cleared.ok().and_then(Vec1::first);
        outcome.unwrap_or(Err(KvsError::Closed))?;
        self.tell_watches();
        self.segments.retire(&gone);
        self.unlink_buried();
        self.update_space();
        Ok(())
    }

    /// Removes all keys, as the write `seq`. Answers with the segments that are no longer needed.
    /// The caller leads, so all writes before it are published.
    fn clear_at(&self, seq: u64) -> Result<Vec<Arc<Segment>>> {
        let mut log = lock(&self.log);
        // An empty one too: for a watch that stands in it, it has to end here.
        self.with_ballast(|| self.rotate(&mut log))?;
        let next = lock(&self.next);
        let is_kept = |segment: &Segment| {
            let prepared = next.as_ref().map(|next| next.segment.id);
            segment.id == log.appender.segment.id || Some(segment.id) == prepared
        };
        let gone: Vec<Arc<Segment>> =
            self.segments.all().into_iter().filter(|segment| !is_kept(segment)).collect();
        let forget = |manifest: &mut Manifest| {
            manifest.segments.retain(|named| gone.iter().all(|it| it.id != named.id()));
            // The state after the last write is gone too.
            manifest.history_floor = manifest.history_floor.max(seq);
            manifest.compacted_seq = manifest.compacted_seq.max(seq);
        };
        // Who reads the new manifest must not look for the old segment.
        self.post_end_of(&log)?;
        self.with_ballast(|| self.change_manifest(forget))?;
        let mut writer = self.keydir.write(&self.pins);
        // What they see would all have to be kept.
        while self.end_oldest_snapshot() {}
        writer.together(|writer| writer.clear());
        if let Some(ordered) = &self.ordered {
            ordered.clear();
        }
        self.retained.clear();
        writer.next_generation();
        self.space.live_bytes.store(0, Ordering::Relaxed);
        self.space.expiring_keys.store(0, Ordering::Relaxed);
        // In this order: nothing is compacted that was not published.
        self.published_seq.store(seq, Ordering::Release);
        self.compacted_seq.fetch_max(seq, Ordering::AcqRel);
        drop((writer, next, log));
        Ok(gone)
    }
}
