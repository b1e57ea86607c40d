//! Removing everything at once: the log goes on in a new segment, and a manifest without the old
//! ones is all that has to be written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::manifest::Manifest;
use super::segment::Segment;
use super::sync::lock;
use crate::error::Result;

impl Core {
    /// Removes all keys. Durable when this returns.
    pub(crate) fn clear(&self) -> Result<()> {
        let _compaction = lock(&self.compaction);
        self.check_writable()?;
        // Nothing is committed while this is held.
        let mut log = lock(&self.log);
        if !log.is_empty() {
            self.with_ballast(|| self.rotate(&mut log))?;
        }
        let next = lock(&self.next);
        let is_kept = |segment: &Segment| {
            let prepared = next.as_ref().map(|next| next.segment.id);
            segment.id == log.appender.segment.id || Some(segment.id) == prepared
        };
        let gone: Vec<Arc<Segment>> =
            self.segments.all().into_iter().filter(|segment| !is_kept(segment)).collect();
        let published = self.published_seq.load(Ordering::Acquire);
        let forget = |manifest: &mut Manifest| {
            manifest.segments.retain(|named| gone.iter().all(|it| it.id != named.id()));
            // The state after the last write is gone too.
            manifest.history_floor = manifest.history_floor.max(published + 1);
            manifest.compacted_seq = manifest.compacted_seq.max(published + 1);
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
        self.compacted_seq.fetch_max(published + 1, Ordering::AcqRel);
        drop((writer, next, log));
        self.segments.retire(&gone);
        self.unlink_buried();
        self.update_space();
        Ok(())
    }
}
