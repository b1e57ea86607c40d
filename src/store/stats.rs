//! What a store says about itself.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::names;
use super::segment::Segment;
use super::sync::lock;
use crate::error::KvsError;

/// The state of a store; see [`Store::stats`](crate::Store::stats). All sizes are in bytes.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// store.set("key", "value")?;
/// let stats = store.stats();
/// assert_eq!(stats.live_keys, 1);
/// println!("{} of {} bytes are alive", stats.live_bytes, stats.segment_file_bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats {
    /// Keys that have a value.
    pub live_keys: u64,
    /// The records that hold those values, heads and padding included.
    pub live_bytes: u64,
    /// What no key needs: superseded records, tombstones, marks.
    pub dead_bytes: u64,
    /// What segment files take, preallocated space included.
    pub segment_file_bytes: u64,
    /// What all files of the directory take: segments, hints, manifest, ballast, quarantine.
    pub disk_bytes: u64,
    /// Segment files / live bytes; 1 for a store without live bytes and with empty segments.
    pub space_amplification: f64,
    /// The segments, oldest first; the last is the one in which the log grows.
    pub segments: Vec<SegmentStats>,
    /// The memory that the index takes.
    pub keydir_bytes: u64,
    /// Compactions since the store was opened.
    pub compactions: u64,
    /// The bytes of the segments that they went through.
    pub compacted_bytes: u64,
    /// How often the log was synced since the store was opened.
    pub syncs: u64,
    /// What the last open found in the log without a proof that it was durable, and kept.
    pub recovered_bytes: u64,
    /// What the last open cut off the log and put into the quarantine.
    pub truncated_bytes: u64,
    /// The last error of the background work, if there was one.
    pub last_background_error: Option<KvsError>,
}

/// The state of a segment. All sizes are in bytes.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// for segment in store.stats().segments {
///     println!("{}: {} of {} bytes", segment.id, segment.live_bytes, segment.file_bytes);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// The id, as in the name of the file.
    pub id: u64,
    /// What the file takes.
    pub file_bytes: u64,
    /// The records that keys point to.
    pub live_bytes: u64,
    /// What no key needs.
    pub dead_bytes: u64,
    /// Whether nothing is appended to it any more.
    pub sealed: bool,
    /// Whether it has a hint file.
    pub hinted: bool,
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        let all = self.segments.all();
        let segments: Vec<SegmentStats> = all.iter().map(|segment| segment.stats()).collect();
        let live_bytes = self.space.live_bytes.load(Ordering::Relaxed);
        let segment_file_bytes = segments.iter().map(|it| it.file_bytes).sum::<u64>();
        let counters = &self.counters;
        Stats {
            live_keys: self.keydir.len(),
            live_bytes,
            dead_bytes: segments.iter().map(|it| it.dead_bytes).sum(),
            segment_file_bytes,
            disk_bytes: self.disk_bytes().unwrap_or(segment_file_bytes),
            space_amplification: segment_file_bytes.max(1) as f64 / live_bytes.max(1) as f64,
            segments,
            keydir_bytes: self.keydir.bytes(),
            compactions: counters.compactions.load(Ordering::Relaxed),
            compacted_bytes: counters.compacted_bytes.load(Ordering::Relaxed),
            syncs: self.durable.syncs(),
            recovered_bytes: counters.recovered_bytes.load(Ordering::Relaxed),
            truncated_bytes: counters.truncated_bytes.load(Ordering::Relaxed),
            last_background_error: lock(&counters.last_background_error).clone(),
        }
    }

    /// The lengths of all files of the directory, the quarantine included; none if the directory
    /// cannot be listed.
    fn disk_bytes(&self) -> Option<u64> {
        let disk = &self.shelf.disk;
        let mut bytes = 0;
        let quarantine = self.shelf.path(names::QUARANTINE);
        let outside = disk.list(&self.shelf.directory).ok()?;
        let inside = disk.list(&quarantine).unwrap_or_default();
        let outside = outside.iter().map(|name| self.shelf.path(name));
        for path in outside.chain(inside.iter().map(|name| quarantine.join(name))) {
            let file = disk.open(&path, super::disk::Access::Read);
            // A file that is gone by now takes nothing.
            bytes += file.and_then(|file| file.len()).unwrap_or_default();
        }
        Some(bytes)
    }
}

impl Segment {
    fn stats(&self) -> SegmentStats {
        SegmentStats {
            id: self.id.0,
            file_bytes: self.file_bytes.load(Ordering::Relaxed),
            live_bytes: self.live_bytes.load(Ordering::Relaxed),
            dead_bytes: self.dead_bytes(),
            sealed: self.sealed.load(Ordering::Acquire),
            hinted: self.hinted.load(Ordering::Relaxed),
        }
    }
}
