//! Expiry in the background: time goes on for it, and keys that have expired leave the keydir.
//!
//! Nobody waits for this: readers and writers look at the expiry of the record that they find. But
//! expired keys count in `len`, take memory, and keep their records from being dead.
//!
//! A sweep goes through the hints of those segments in which a record may have expired, so it
//! reads no keys. There is no list of expiries in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::NEVER;
use super::core::Core;
use super::group::Seen;
use super::hash::KeyHash;
use super::hint::{Builder, Entry, Hint, Kind, Subject};
use super::keydir::{Location, Writer};
use super::record::{MARK_BYTES, Record};
use super::recovery::load_hint;
use super::scan::Scan;
use super::segment::Segment;
use super::sync::lock;
use crate::error::{KvsError, Result};

/// How many keys are taken away before the leader of a commit gets its turn.
const KEYS: usize = 64;

impl Core {
    /// Moves the horizon on, if something is about to expire: the log gets a mark that says that
    /// it is so late, and is synced.
    pub(crate) fn move_horizon(&self) -> Result<()> {
        let next = self.space.next_expiry_ms.load(Ordering::Acquire);
        let Some(floor_ms) = self.time.wanted_horizon_ms(next) else {
            return Ok(());
        };
        self.time.intend(floor_ms);
        let moved = self.append_floor(floor_ms).and_then(|()| self.sync_log());
        match &moved {
            Ok(()) => self.time.move_horizon(floor_ms),
            Err(_) => self.time.give_up_horizon(),
        }
        moved
    }

    fn append_floor(&self, floor_ms: u64) -> Result<()> {
        let mut log = lock(&self.log);
        let len = MARK_BYTES as u64;
        if !log.appender.takes(len, log.is_empty()) {
            self.rotate(&mut log)?;
        }
        self.append_mark(&mut log, floor_ms)
    }

    /// Takes the keys that have expired out of the keydir. The caller has the lock of compaction.
    pub(crate) fn sweep(&self) -> Result<()> {
        let now_ms = self.time.expiry_ms();
        if self.space.next_expiry_ms.load(Ordering::Acquire) > now_ms {
            return Ok(());
        }
        let mut swept = Ok(());
        for segment in self.segments.all() {
            let is_due = segment.next_expiry_ms.load(Ordering::Acquire) <= now_ms;
            if is_due && !segment.damaged.load(Ordering::Relaxed) {
                // One that cannot be read is no reason to leave the others.
                swept = swept.and(self.sweep_segment(&segment, now_ms));
            }
        }
        // A set that comes meanwhile lowers its segment's time first, so it is seen here.
        let next = &self.space.next_expiry_ms;
        next.store(u64::MAX, Ordering::SeqCst);
        for segment in self.segments.all() {
            next.fetch_min(segment.next_expiry_ms.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        self.update_space();
        swept
    }

    fn sweep_segment(&self, segment: &Arc<Segment>, now_ms: u64) -> Result<()> {
        segment.next_expiry_ms.store(u64::MAX, Ordering::SeqCst);
        let hint = match self.expiries(segment) {
            Ok(hint) => hint,
            Err(error) => {
                // Its keys are absent all the same, as long as time goes on for them.
                segment.note_expiry(now_ms);
                let is_sealed = segment.sealed.load(Ordering::Acquire);
                if is_sealed && matches!(error, KvsError::Corrupt { .. } | KvsError::Io { .. }) {
                    segment.damaged.store(true, Ordering::Relaxed);
                }
                return Err(error);
            }
        };
        let mut over = Vec::with_capacity(KEYS);
        for Entry { kind, hash, offset, len, seq, expires_at_ms } in hint.iter(segment.end()) {
            if kind != Kind::Set || expires_at_ms == NEVER {
                continue;
            }
            let Some(location) = Location::new(segment.number, offset) else { continue };
            if expires_at_ms > now_ms {
                segment.note_expiry(expires_at_ms);
                continue;
            }
            over.push((hash, Seen { location, len, seq, expires_at_ms }));
            if over.len() == KEYS {
                self.expire_all(&mut over);
            }
        }
        self.expire_all(&mut over);
        Ok(())
    }

    /// The hint of a segment, as it is on disk or as a scan finds it.
    fn expiries(&self, segment: &Segment) -> Result<Hint> {
        let subject = Subject::new(&self.shelf, segment);
        if segment.hinted.load(Ordering::Relaxed)
            && let Some(hint) = load_hint(&self.shelf, subject)
        {
            return Ok(hint);
        }
        let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, subject.len);
        let mut builder = Builder::new();
        while let Some(found) = scan.next()? {
            builder.add(&found, &self.hasher);
        }
        if scan.offset() != subject.len {
            return Err(segment.corrupt(scan.offset(), scan.reason()));
        }
        let hint = Hint::open(builder.finish(subject), subject);
        hint.ok_or_else(|| segment.corrupt(0, "its own index does not match it"))
    }

    fn expire_all(&self, over: &mut Vec<(KeyHash, Seen)>) {
        let mut writer = self.keydir.write(&self.pins);
        over.drain(..).for_each(|(hash, seen)| self.expire_one(&mut writer, hash, seen));
    }

    /// Takes a key away whose record has expired, if it still has that record.
    pub(crate) fn expire(&self, hash: KeyHash, seen: Seen) {
        self.expire_one(&mut self.keydir.write(&self.pins), hash, seen);
    }

    fn expire_one(&self, writer: &mut Writer<'_>, hash: KeyHash, seen: Seen) {
        if !writer.is_at(hash, seen.location) {
            return;
        }
        // Snapshots that were made before it expired still see it.
        let until = self.published_seq.load(Ordering::Acquire) + 1;
        self.keep_for_snapshots(hash, seen, until);
        self.forget_key_at(seen.location, until);
        if writer.remove(hash, seen.location) {
            self.uncount_live(seen);
            let pin = self.pins.pin();
            if let Ok(segment) = self.segment(&pin, seen.location) {
                segment.count_expired(seen.len);
            }
        }
    }

    /// Takes the key of a record out of the ordered index. One that cannot be read stays: there is
    /// nothing to be found of it.
    fn forget_key_at(&self, location: Location, until: u64) {
        let pin = self.pins.pin();
        if self.ordered.is_some()
            && let Ok(segment) = self.segment(&pin, location)
        {
            let _ = segment.read(location.offset(), |record, _| {
                if let Record::Set { key, .. } = record {
                    self.forget_key(key, until);
                }
            });
        }
    }
}
