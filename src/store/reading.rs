//! A store as somebody else reads it: the log up to a place, in a view of its own, and how it goes
//! on from there. Nothing here writes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::clock::{Clock, NEVER, Time};
use super::disk::Disk;
use super::feed::Published;
use super::group::Seen;
use super::hash::{Hasher, KeyHash};
use super::keydir::{Keydir, Location, Writer};
use super::load::load;
use super::manifest::{Manifest, State};
use super::names::{self, SegmentId};
use super::notice::{Notice, Readable};
use super::pins::Pins;
use super::record::Record;
use super::recovery::{Role, is_backup, marked_floor_ms, recover};
use super::scan::Scan;
use super::segment::{Segment, Shelf};
use super::segments::Segments;
use super::stats::Stats;
use super::view::View;
use crate::error::{KvsError, Result};
use crate::options::Options;

/// How often a directory is looked at that changes meanwhile.
const TRIES: usize = 20;

/// Where a reader reads.
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
}

/// What says which bytes of a directory count: the same sight, the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sight {
    manifest: Manifest,
    /// Whether a process has the directory open.
    is_owned: bool,
    notice: Notice,
    /// The last life of the store that is known to have ended.
    ended: Option<u64>,
    is_backup: bool,
}

/// What was read.
pub(crate) struct Reading {
    pub(crate) view: View,
    /// The segment in which the log goes on.
    active: Option<Arc<Segment>>,
    live_bytes: AtomicU64,
    pub(crate) expiring_keys: AtomicU64,
    published_seq: AtomicU64,
    /// The manifest that was found, with the newest state of each segment; those that nothing was
    /// read of may be in it too.
    pub(crate) manifest: Manifest,
    recovered_bytes: u64,
    truncated_bytes: u64,
    open_us: u64,
}

/// What the log says about a key behind the place up to which it was read.
struct Change {
    before: Option<Seen>,
    after: Option<Seen>,
}

/// What the log says behind the place up to which it was read.
#[derive(Default)]
struct Growth {
    changes: HashMap<KeyHash, Change>,
    max_seq: u64,
    /// The time that it is at least.
    floor_ms: u64,
}

impl Sight {
    /// How far the owner says that others may read. The word of one that is gone counts for
    /// nothing, though another may have the lock by now: then all that is valid may be read. Of a
    /// backup, its manifest says: where it is being brought up to date, more is there already.
    fn readable(&self) -> Option<Readable> {
        if self.is_backup {
            return self.manifest.segments.iter().find_map(|named| match named.state {
                State::Open { durable_upto: end } => Some(Readable { segment: named.id(), end }),
                State::Sealed { .. } => None,
            });
        }
        let is_said = self.is_owned && self.ended != Some(self.notice.life);
        let readable = self.notice.readable.filter(|_| is_said);
        readable.filter(|_| !kvs_bug!("reader_ignores_notice"))
    }

    /// Whether all of that segment is durable and stays as it is: the manifest calls it sealed.
    pub(crate) fn is_settled(&self, id: SegmentId) -> bool {
        let mut named = self.manifest.segments.iter();
        named.any(|named| named.id() == id && matches!(named.state, State::Sealed { .. }))
    }

    /// How far the log has grown in its last segment since an earlier sight, if nothing else has
    /// changed.
    pub(crate) fn growth_since(&self, earlier: &Sight) -> Option<u64> {
        let (old, new) = (earlier.readable()?, self.readable()?);
        let is_same = old.segment == new.segment && self.manifest == earlier.manifest;
        is_same.then_some(new.end)
    }
}

impl Place {
    /// Looks at what says which bytes count, after an earlier look.
    pub(crate) fn look(&self, earlier: Option<&Sight>) -> Result<Sight> {
        let path = self.directory.join(names::LOCK);
        let manifest = || {
            let manifest = Manifest::load(&*self.disk, &self.directory)?;
            manifest.ok_or_else(|| KvsError::NotAStore { path: self.directory.clone() })
        };
        let mut before = manifest()?;
        let mut ended = earlier.and_then(|earlier| earlier.ended);
        // That does not change: a store is no backup, and a backup never becomes one.
        let is_backup = match earlier {
            Some(earlier) => earlier.is_backup,
            None => is_backup(&*self.disk, &self.directory)?,
        };
        for _ in 0..TRIES {
            let notice = Notice::read(&*self.disk, &self.directory)?;
            let is_owned = self.disk.is_locked(&path);
            let is_owned = is_owned.map_err(|error| KvsError::io("lock", &path, error))?;
            // Whoever posted it had the lock then, and has it no longer.
            if !is_owned && notice.readable.is_some() {
                ended = Some(notice.life);
            }
            if is_owned && notice.is_torn {
                continue;
            }
            // Before a manifest drops records, the notice covers what killed them. So a notice goes
            // with the manifest that is there before and after it is read.
            let after = manifest()?;
            if after == before {
                return Ok(Sight { manifest: after, is_owned, notice, ended, is_backup });
            }
            before = after;
        }
        Err(self.unsettled())
    }

    /// Reads the directory until it was not changed meanwhile. The time is at least `floor_ms`.
    pub(crate) fn read(&self, mut sight: Sight, floor_ms: u64) -> Result<(Sight, Reading)> {
        for _ in 0..TRIES {
            let read = self.read_once(&sight, floor_ms);
            // What the owner calls readable stays as it is, as long as it can be opened.
            if read.is_ok() && sight.readable().is_some() {
                return read.map(|reading| (sight, reading));
            }
            // Otherwise an owner may have come, and the log may have grown, or lost its tail. An
            // error may be one of a file that went meanwhile.
            let now = self.look(Some(&sight))?;
            if now == sight {
                return read.map(|reading| (sight, reading));
            }
            sight = now;
        }
        Err(self.unsettled())
    }

    fn unsettled(&self) -> KvsError {
        KvsError::Unsettled { path: self.directory.clone(), tries: TRIES }
    }

    fn read_once(&self, sight: &Sight, floor_ms: u64) -> Result<Reading> {
        let begin_us = self.clock.steady_us();
        let manifest = sight.manifest.clone();
        let (store_id, hasher) = (manifest.store_id, Hasher::new(manifest.hash_seed()));
        let shelf = Shelf::new(Arc::clone(&self.disk), &self.directory, store_id, &self.options);
        let readable = sight.readable();
        check_named(&shelf.directory, &manifest, readable)?;
        let segments = Segments::new();
        let number = || segments.claim_number();
        let floor_ms = floor_ms.max(manifest.clock_floor_ms);
        let recovered = recover(&shelf, manifest, &number, Role::Reader(readable))?;
        let floor_ms = floor_ms.max(recovered.clock_floor_ms);
        let time = Time::new(Arc::clone(&self.clock), floor_ms);
        // Who may not write cannot have the disk know the time before expiry sees it.
        time.give_up_horizon();
        let (keydir, pins) = (Keydir::new(), Pins::new());
        let loaded = load(&recovered.sources, (u64::MAX, time.now_ms()), &mut keydir.write(&pins))?;
        recovered.sources.iter().for_each(|source| segments.add(Arc::clone(&source.segment)));
        let closed = AtomicBool::new(false);
        Ok(Reading {
            view: View { shelf, hasher, time, pins, segments, keydir, closed },
            active: recovered.active.map(|active| active.segment),
            live_bytes: AtomicU64::new(loaded.live_bytes),
            expiring_keys: AtomicU64::new(loaded.expiring_keys),
            published_seq: AtomicU64::new(recovered.max_seq),
            manifest: recovered.manifest,
            recovered_bytes: recovered.recovered_bytes,
            truncated_bytes: recovered.truncated_bytes,
            open_us: self.clock.steady_us().saturating_sub(begin_us),
        })
    }
}

/// The notice and the manifest must know of the same segment.
fn check_named(directory: &Path, manifest: &Manifest, readable: Option<Readable>) -> Result<()> {
    let is_named = |id| manifest.segments.iter().any(|named| named.id() == id);
    match readable.map(|readable| readable.segment).filter(|id| !is_named(*id)) {
        None => Ok(()),
        Some(id) => {
            let path = directory.join(names::segment(id));
            Err(KvsError::SegmentMissing { path, segment: id.0 })
        }
    }
}

impl Reading {
    pub(crate) fn stats(&self) -> Stats {
        let live_bytes = self.live_bytes.load(Ordering::Relaxed);
        let expiring_keys = self.expiring_keys.load(Ordering::Relaxed);
        Stats {
            recovered_bytes: self.recovered_bytes,
            truncated_bytes: self.truncated_bytes,
            open_us: self.open_us,
            ..self.view.stats(live_bytes, expiring_keys)
        }
    }

    /// Goes on in the log's last segment, to `end`. False: that cannot be done from here. After an
    /// error everything is as it was.
    pub(crate) fn catch_up(&self, end: u64) -> Result<bool> {
        let Some(segment) = self.active.as_deref() else { return Ok(false) };
        if end < segment.end() {
            return Ok(false);
        }
        let growth = self.growth(segment, end)?;
        segment.set_end(end);
        self.published_seq.fetch_max(growth.max_seq, Ordering::AcqRel);
        self.view.time.not_before(growth.floor_ms);
        self.view.keydir.write(&self.view.pins).together(|writer| {
            growth.changes.iter().for_each(|(hash, change)| self.apply(writer, *hash, change));
        });
        Ok(true)
    }

    /// What stands in the log from where it was read so far to `end`.
    fn growth(&self, segment: &Segment, end: u64) -> Result<Growth> {
        let scan = Scan::new(&*segment.file, &segment.path, segment.salt, end);
        let mut scan = scan.starting_at(segment.end());
        let Growth { mut changes, mut max_seq, mut floor_ms } = Growth::default();
        while let Some(found) = scan.next()? {
            floor_ms = floor_ms.max(marked_floor_ms(&found, 0));
            let (key, expires_at_ms) = match found.record {
                Record::Set { key, expires_at_ms, .. } => (key, Some(expires_at_ms)),
                Record::Remove { key, .. } => (key, None),
                Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => continue,
            };
            let location = Location::new(segment.number, found.offset);
            let location = location.ok_or(KvsError::StoreFull { what: "offset in a segment" })?;
            let len = found.disk_len as u64;
            let seq = found.record.seq().unwrap_or_default();
            max_seq = max_seq.max(seq);
            let seen = |expires_at_ms| Seen { location, len, seq, expires_at_ms };
            let after = expires_at_ms.map(seen);
            let hash = self.view.hasher.hash(key);
            match changes.get_mut(&hash) {
                Some(Change { after: last, .. }) => *last = after,
                None => {
                    let before = self.view.find(&self.view.pins.pin(), key, hash)?;
                    changes.insert(hash, Change { before, after });
                }
            }
        }
        if scan.offset() != end {
            return Err(segment.corrupt(scan.offset(), scan.reason()));
        }
        Ok(Growth { changes, max_seq, floor_ms })
    }

    fn apply(&self, writer: &mut Writer<'_>, hash: KeyHash, change: &Change) {
        match (change.before, change.after) {
            (Some(before), Some(after)) => {
                writer.replace(hash, before.location, after.location);
            }
            (Some(before), None) => {
                writer.remove(hash, before.location);
            }
            (None, Some(after)) => writer.insert(hash, after.location),
            (None, None) => {}
        }
        let pin = self.view.pins.pin();
        let count = |seen: Seen, add: fn(u64, u64) -> u64| {
            let count = |count: &AtomicU64, by| {
                count.store(add(count.load(Ordering::Relaxed), by), Ordering::Relaxed);
            };
            if let Ok(segment) = self.view.segment(&pin, seen.location) {
                count(&segment.live_bytes, seen.len);
            }
            count(&self.live_bytes, seen.len);
            count(&self.expiring_keys, u64::from(seen.expires_at_ms != NEVER));
        };
        // Nobody else counts: there is one refresh at a time.
        change.before.into_iter().for_each(|seen| count(seen, u64::saturating_sub));
        change.after.into_iter().for_each(|seen| count(seen, u64::saturating_add));
    }
}

impl Published for Reading {
    fn segments(&self) -> &Segments {
        &self.view.segments
    }

    fn tail(&self) -> Option<Readable> {
        let active = self.active.as_ref();
        active.map(|segment| Readable { segment: segment.id, end: segment.end() })
    }

    fn published_seq(&self) -> u64 {
        self.published_seq.load(Ordering::Acquire)
    }

    fn compacted_seq(&self) -> u64 {
        self.manifest.compacted_seq
    }
}

impl AsRef<View> for Reading {
    fn as_ref(&self) -> &View {
        &self.view
    }
}
