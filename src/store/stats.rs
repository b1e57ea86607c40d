//! What a store says about itself.

use std::sync::atomic::Ordering;

use super::core::Core;
use super::names;
use super::ordered::Ordered;
use super::segment::Segment;
use super::sync::lock;
use super::view::View;
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
    /// Of those keys, the ones that expire some time.
    pub expiring_keys: u64,
    /// The records that hold those values, heads and padding included.
    pub live_bytes: u64,
    /// What no key needs: superseded records, tombstones, marks.
    pub dead_bytes: u64,
    /// Of the dead bytes, those of the sets that compaction keeps for the sake of
    /// [`Options::retain_history`](crate::Options::retain_history). Only the owner of a store can
    /// tell.
    pub retained_bytes: u64,
    /// What segment files take, preallocated space included.
    pub segment_file_bytes: u64,
    /// What all files of the directory take: segments, hints, manifest, ballast, quarantine.
    pub disk_bytes: u64,
    /// Segment files / live bytes; 1 where there are no live bytes to compare with.
    pub space_amplification: f64,
    /// The segments in the order of their ids. Compaction writes old records under new ids, and
    /// the next segment of the log is made ahead, so the one in which the log grows need not be
    /// the last: see [`SegmentStats::active`].
    pub segments: Vec<SegmentStats>,
    /// The memory that the index takes.
    pub keydir_bytes: u64,
    /// The memory that the ordered index takes beside it, if there is one.
    pub ordered_bytes: u64,
    /// Snapshots and iterators that there are.
    pub snapshots: usize,
    /// What they pin: files of segments that are in no other use (not in `segment_file_bytes`), and
    /// memory.
    pub snapshot_bytes: u64,
    /// Compactions since the store was opened.
    pub compactions: u64,
    /// The bytes of the segments that they went through.
    pub compacted_bytes: u64,
    /// How often the log was synced since the store was opened.
    pub syncs: u64,
    /// What those syncs took in all, in microseconds.
    pub sync_us: u64,
    /// Groups of writes that were appended together since the store was opened.
    pub groups: u64,
    /// The writes in those groups. Divided by `groups`, it is the mean size of a group.
    pub grouped_writes: u64,
    /// What the last open took, recovery included, in microseconds. For a reader: what it took to
    /// build its index, the last time.
    pub open_us: u64,
    /// Whether a failed sync has ended the life of the store as one that takes writes.
    pub poisoned: bool,
    /// What the last open found in the log without a proof that it was durable, and kept.
    pub recovered_bytes: u64,
    /// What the last open cut off the log and put into the quarantine.
    pub truncated_bytes: u64,
    /// Whether the clock of the machine has jumped forward by more than a day since the store was
    /// opened. Expiry goes on as if it had not, until the store is opened again.
    pub clock_jumped: bool,
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
    /// Whether the log grows in it. A segment that is neither sealed nor active is empty: the log
    /// will go on in it.
    pub active: bool,
    /// Whether it has a hint file.
    pub hinted: bool,
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let stats = self.view.stats(
            self.space.live_bytes.load(Ordering::Relaxed),
            self.space.expiring_keys.load(Ordering::Relaxed),
        );
        Stats {
            ordered_bytes: self.ordered.as_ref().map_or(0, Ordered::bytes),
            snapshots: self.history.size().0,
            snapshot_bytes: self.snapshot_bytes(),
            compactions: counters.compactions.load(Ordering::Relaxed),
            compacted_bytes: counters.compacted_bytes.load(Ordering::Relaxed),
            syncs: self.durable.syncs(),
            sync_us: self.durable.sync_us(),
            groups: counters.groups.load(Ordering::Relaxed),
            grouped_writes: counters.grouped_writes.load(Ordering::Relaxed),
            open_us: counters.open_us.load(Ordering::Relaxed),
            poisoned: self.durable.is_poisoned(),
            recovered_bytes: counters.recovered_bytes.load(Ordering::Relaxed),
            truncated_bytes: counters.truncated_bytes.load(Ordering::Relaxed),
            last_background_error: lock(&counters.last_background_error).clone(),
            ..stats
        }
    }
}

impl View {
    /// What can be said of a store without having done any work on it.
    pub(crate) fn stats(&self, live_bytes: u64, expiring_keys: u64) -> Stats {
        let all = self.segments.all();
        let mut segments: Vec<SegmentStats> = all.iter().map(|segment| segment.stats()).collect();
        // The log comes to its segments in the order of their ids, and only those are not sealed.
        if let Some(active) = segments.iter_mut().find(|segment| !segment.sealed) {
            active.active = true;
        }
        let segment_file_bytes = segments.iter().map(|it| it.file_bytes).sum::<u64>();
        Stats {
            live_keys: self.keydir.len(),
            expiring_keys,
            live_bytes,
            dead_bytes: segments.iter().map(|it| it.dead_bytes).sum(),
            retained_bytes: all.iter().map(|it| it.retained_bytes.load(Ordering::Relaxed)).sum(),
            segment_file_bytes,
            disk_bytes: self.disk_bytes().unwrap_or(segment_file_bytes),
            space_amplification: match live_bytes {
                0 => 1.0,
                _ => segment_file_bytes as f64 / live_bytes as f64,
            },
            segments,
            keydir_bytes: self.keydir.bytes(),
            ordered_bytes: 0,
            snapshots: 0,
            snapshot_bytes: 0,
            compactions: 0,
            compacted_bytes: 0,
            syncs: 0,
            sync_us: 0,
            groups: 0,
            grouped_writes: 0,
            open_us: 0,
            poisoned: false,
            recovered_bytes: 0,
            truncated_bytes: 0,
            clock_jumped: self.time.has_jumped(),
            last_background_error: None,
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
            active: false,
            hinted: self.hinted.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Core, lock};
    use crate::{Durability, Options, Store};

    #[test]
    fn the_log_grows_in_one_segment_and_that_need_not_be_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().segment_bytes(4096).durability(Durability::Os);
        let store = options.compaction(false).open(dir.path()).unwrap();
        for number in 0..200_u64 {
            store.set("key", vec![b'v'; 100]).unwrap();
            store.core().prepare_next().unwrap();
            let segments = store.stats().segments;
            let active = segments.iter().position(|segment| segment.active).unwrap();
            assert_eq!(segments.iter().filter(|segment| segment.active).count(), 1);
            assert!(segments[..active].iter().all(|segment| segment.sealed));
            assert_eq!(segments[active].id, store.core().active_id(), "set {number}");
            let [prepared] = &segments[active + 1..] else { panic!("{segments:?}") };
            assert!(!prepared.sealed && prepared.live_bytes == 0);
        }
        store.compact().unwrap();
        store.core().prepare_next().unwrap();
        let segments = store.stats().segments;
        // What compaction wrote and what was prepared come behind it, in whichever order.
        let active = segments.iter().find(|segment| segment.active).unwrap();
        assert_eq!(active.id, store.core().active_id());
        assert_eq!(segments.iter().filter(|it| it.id > active.id).count(), 2, "{segments:?}");
    }

    impl Core {
        fn active_id(&self) -> u64 {
            lock(&self.log).appender.segment.id.0
        }
    }

    #[test]
    fn syncs_groups_and_the_open_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Options::new().durability(Durability::Always).open(dir.path()).unwrap();
        let before = store.stats();
        assert!(before.open_us > 0 && !before.poisoned);
        for number in 0..10_u64 {
            store.set(number.to_le_bytes(), "value").unwrap();
        }
        let after = store.stats();
        assert_eq!((after.groups, after.grouped_writes), (10, 10), "one thread shares nothing");
        // Where the disk is memory, a sync takes no microsecond.
        assert!(after.syncs >= before.syncs + 10 && after.sync_us >= before.sync_us, "{after:?}");
        assert_eq!(after.open_us, before.open_us);
        store.remove("missing").unwrap();
        assert_eq!(store.stats().groups, 10, "nothing was appended");
    }

    #[test]
    fn space_amplification_without_live_bytes_is_1() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.stats().space_amplification.to_bits(), 1.0_f64.to_bits());
        store.set("key", "value").unwrap();
        let stats = store.stats();
        let ratio = stats.segment_file_bytes as f64 / stats.live_bytes as f64;
        assert_eq!(stats.space_amplification.to_bits(), ratio.to_bits());
        store.remove("key").unwrap();
        assert_eq!(store.stats().space_amplification.to_bits(), 1.0_f64.to_bits());
    }
}
