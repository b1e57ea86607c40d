//! What happens to a write: look, queue, resolve, append, sync, publish.
//!
//! The caller encodes its records into the open group. The leader of the group then
//! 1. resolves each operation: which record does it supersede? Everything queued before is seen,
//!    and what turns out to write nothing leaves the group;
//! 2. appends the group with one write, a mark behind it if the durable watermark has moved;
//! 3. syncs once, if anyone asked for it;
//! 4. publishes to the keydir in the order of the seqs.
//!
//! From 1 to 4 the leader is the keydir's writer, so what was resolved stays true and step 4
//! reads nothing and cannot fail.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::clock::{Moment, NEVER};
use super::condition::earlier;
use super::core::{Core, Log};
use super::group::{Commits, Look, Pending, Prior, Seen, Vec1, Written};
use super::keydir::{Location, OFFSET_LIMIT, Writer};
use super::map::prefetch;
use super::record::{self, MARK_BYTES, Record};
use super::segment::{HEADER_BYTES, Segment};
use super::sync::lock;
use crate::batch::Operation;
use crate::error::{KvsError, Result};
use crate::options::{BATCH_BYTES_MAX, Durability, WriteOptions};

const _: () = assert!((BATCH_BYTES_MAX as u64) <= OFFSET_LIMIT / 2, "a location for each record");

/// What a group may hold beside the records of its requests: what holds a batch together, a mark.
const MORE_BYTES: usize = 128;
const _: () = assert!(MARK_BYTES + HEADER_BYTES <= MORE_BYTES, "as much as there may be");

/// The most bytes that are appended before a sync in the background is asked for.
const SYNC_STEP: u64 = 1 << 20;

impl Core {
    /// Writes one operation. That its key can expire when it says was checked.
    pub(crate) fn write_one(
        &self,
        operation: Operation<'_>,
        options: WriteOptions,
    ) -> Result<Written> {
        operation.check()?;
        let hash = self.hasher.hash(operation.key());
        let pin = self.pins.pin();
        prefetch(self.keydir.address(&pin, hash));
        self.check_writable()?;
        let generation = self.keydir.generation();
        let seen = self.find(&pin, operation.key(), hash)?;
        drop(pin);
        let look = Look { hash, seen, generation };
        if matches!(operation, Operation::Set { .. }) {
            self.wait_for_space();
        }
        let bytes = record::encoded_len_max(operation.byte_len(), 0);
        let sync = self.is_waited_for(options);
        let outcome = self.submit(bytes, sync, 1, |group, seq| {
            group.join(seq, std::iter::once((operation, look)), None, sync);
        });
        outcome.first().unwrap_or(Err(KvsError::Closed))
    }

    /// Makes everything that was acknowledged durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_writable()?;
        let outcome = self.submit(0, true, 1, |group, seq| {
            group.join(seq, std::iter::empty(), None, true);
        });
        outcome.first().unwrap_or(Err(KvsError::Closed)).map(|_| ())
    }

    /// Whether a caller waits for the disk.
    pub(crate) fn is_waited_for(&self, options: WriteOptions) -> bool {
        options.durability.unwrap_or(self.options.durability) == Durability::Always
    }

    /// Queues requests of at most `bytes` bytes: as many as `requests`, which `join` puts into the
    /// group with seqs from the one that it is given on.
    #[inline]
    pub(crate) fn submit(
        &self,
        bytes: usize,
        sync: bool,
        requests: usize,
        join: impl FnOnce(&mut Commits, u64),
    ) -> Vec1<Result<Written>> {
        let join = |group: &mut Commits| {
            let seq = self.give_seqs(requests as u64);
            let first = group.requests.len();
            if group.bytes.try_reserve(bytes.saturating_add(MORE_BYTES)).is_ok() {
                join(group, seq);
            } else {
                let seqs = (seq..).take(requests);
                seqs.for_each(|seq| group.join_failed(seq, KvsError::OutOfMemory { bytes }));
            }
            first..group.requests.len()
        };
        let committed = self.queue.submit(bytes, sync, join, |group| self.commit(group));
        committed.unwrap_or_else(|_| Vec1::Many(vec![Err(KvsError::Closed); requests]))
    }

    /// Gives so many seqs away; answers with the first. For those who join a group: then the
    /// queue's lock is held, so this is no race.
    #[inline]
    pub(crate) fn give_seqs(&self, count: u64) -> u64 {
        let seq = self.next_seq.load(Ordering::Relaxed);
        self.next_seq.store(seq + count, Ordering::Relaxed);
        seq
    }

    /// Commits a group: every request has its outcome afterwards.
    pub(crate) fn commit(&self, group: &mut Commits) {
        let mut log = lock(&self.log);
        let mut result = self.try_commit(&mut log, group);
        while let Err(full @ KvsError::DiskFull { .. }) = &result {
            // What is left besides removes are syncs, which need no room.
            let has_removes = group.keep_removes(full);
            if group.undecided().next().is_none() || (has_removes && !self.release_ballast()) {
                break;
            }
            result = self.try_commit(&mut log, group);
        }
        for request in group.requests.iter_mut().filter(|request| request.outcome.is_none()) {
            request.outcome = Some(result.clone().and_then(|()| request.done()));
        }
    }

    fn try_commit(&self, log: &mut Log, group: &mut Commits) -> Result<()> {
        self.durable.check()?;
        let last_seq = group.requests.last().map_or(0, |request| request.seq);
        let is_reserved = last_seq < self.reserved_seq.load(Ordering::Acquire);
        if !is_reserved && !group.bytes.is_empty() && !kvs_bug!("no_seq_reserve") {
            self.change_manifest(|_| ())?;
        }
        let len = (group.bytes.len() + MARK_BYTES) as u64;
        if !group.bytes.is_empty() && !log.appender.takes(len, log.is_empty()) {
            self.rotate(log)?;
        }
        let mut writer = self.keydir.write(&self.pins);
        self.resolve(group, &writer);
        let before = log.appender.end();
        self.append(log, group)?;
        if kvs_bug!("publish_before_sync") {
            self.publish(log, group, before, &mut writer);
        }
        if kvs_bug!("post_before_sync") {
            self.post_end_of(log)?;
        }
        let is_waited_for = group.requests.iter().any(|request| request.sync);
        if is_waited_for && !kvs_bug!("acknowledge_before_sync") {
            self.durable.sync(&log.appender.segment, log.appender.end())?;
            if group.bytes.is_empty() {
                self.mark(log)?;
            }
        }
        if !kvs_bug!("publish_before_sync") {
            self.publish(log, group, before, &mut writer);
        }
        drop(writer);
        log.published_end = log.appender.end();
        self.sync_as_it_goes(log);
        if !group.bytes.is_empty() {
            self.counters.count_group(group.requests.len() as u64);
            self.ring_for_readers();
        }
        self.published_seq.store(last_seq, Ordering::Release);
        self.tell_watches();
        Ok(())
    }

    /// Finds out what each operation supersedes. Requests that write nothing, or that cannot be
    /// resolved, leave the group.
    fn resolve(&self, group: &mut Commits, writer: &Writer<'_>) {
        // The last operation on each key, for groups in which a key may come twice.
        let mut last: HashMap<u64, usize> = HashMap::new();
        let is_shared = group.requests.len() > 1;
        let mut is_thinned = false;
        let mut is_chain_broken = false;
        let moment = self.time.moment();
        let Commits { bytes, operations, requests, .. } = group;
        for request in requests.iter_mut() {
            // Also of one that has failed: what is behind it is not to go on with the chain.
            if is_chain_broken && request.chained {
                request.outcome = Some(Err(KvsError::Skipped));
                is_thinned = true;
                continue;
            }
            if let Some(outcome) = &request.outcome {
                is_chain_broken = outcome.as_ref().is_err_and(KvsError::ends_chain);
                continue;
            }
            let range = request.operations.clone();
            let mut existed = false;
            let mut failed = None;
            if let Some(checks) = &mut request.checks {
                match self.refusing(bytes, operations, &checks.all, &last, &moment) {
                    Ok(refusing) => checks.refused = refusing,
                    Err(error) => failed = Some(error),
                }
            }
            for index in range.clone() {
                match self.resolve_one((bytes, operations, index), &last, writer, &moment) {
                    Ok(exists) => existed |= exists,
                    Err(error) => failed = Some(error),
                }
            }
            request.existed = existed;
            is_chain_broken = request.refused().is_some();
            if let Some(error) = failed {
                request.outcome = Some(Err(error));
            } else if request.refused().is_some() || request.only_if_exists && !existed {
                // Nothing to write; it is answered when the group is done, like all others.
                request.operations = 0..0;
                is_thinned = true;
            }
            if request.outcome.is_some() {
                is_thinned = true;
            } else if is_shared {
                for index in request.operations.clone() {
                    if let Some(operation) = operations.get(index) {
                        last.insert(operation.look.hash.place, index);
                    }
                }
            }
        }
        if is_thinned {
            group.thin();
        }
    }

    /// Whether the key of an operation exists before it; notes where.
    fn resolve_one(
        &self,
        (bytes, operations, index): (&[u8], &mut [Pending], usize),
        last: &HashMap<u64, usize>,
        writer: &Writer<'_>,
        moment: &Moment<'_>,
    ) -> Result<bool> {
        let Some(operation) = operations.get(index) else {
            return Ok(false);
        };
        let key = bytes.get(operation.key.clone()).unwrap_or_default();
        let hash = operation.look.hash;
        let (prior, exists) = match earlier(bytes, operations, last, key, hash) {
            Some((index, earlier)) => {
                (Prior::After(index), earlier.is_set && !moment.is_over(earlier.expires_at_ms))
            }
            None => match self.look_again(key, &operation.look, writer)? {
                Some(seen) => (Prior::At(seen), !moment.is_over(seen.expires_at_ms)),
                None => (Prior::Absent, false),
            },
        };
        if matches!(prior, Prior::Absent) && operation.is_set && writer.is_full(hash) {
            return Err(KvsError::StoreFull { what: "room in the index" });
        }
        if let Some(operation) = operations.get_mut(index) {
            operation.supersedes = prior;
        }
        Ok(exists)
    }

    /// Where the record of a key lies now. What the caller saw before it queued holds if it is
    /// still so; only otherwise is a record read.
    fn look_again(&self, key: &[u8], look: &Look, writer: &Writer<'_>) -> Result<Option<Seen>> {
        let pin = self.pins.pin();
        if self.keydir.generation() == look.generation {
            match look.seen {
                Some(seen) if writer.is_at(look.hash, seen.location) => return Ok(Some(seen)),
                None if self.keydir.candidates(&pin, look.hash).next().is_none() => {
                    return Ok(None);
                }
                _ => {}
            }
        }
        self.find(&pin, key, look.hash)
    }

    /// Appends the group. The caller is the keydir's writer and has the lock of the log.
    fn append(&self, log: &mut Log, group: &mut Commits) -> Result<()> {
        let len = group.bytes.len();
        if len == 0 {
            return Ok(());
        }
        let durable_upto = self.durable.upto();
        let is_marked = durable_upto > log.marked_upto;
        if is_marked {
            let mark = Record::mark(durable_upto, self.time.floor_ms());
            record::encode(&mut group.bytes, &mark);
        }
        let appender = &mut log.appender;
        group.stamp(appender.segment.salt, appender.end());
        let before = appender.segment.file_bytes.load(Ordering::Relaxed);
        let appended = appender.append(&group.bytes);
        group.bytes.truncate(len);
        appended.map_err(|failed| match failed.broken {
            true => self.durable.poison(failed.error),
            false => failed.error,
        })?;
        if is_marked {
            log.marked_upto = durable_upto;
        }
        if appender.segment.file_bytes.load(Ordering::Relaxed) != before {
            self.update_space();
        }
        Ok(())
    }

    /// Has the log synced in the background every so many bytes, so that little is left to wait
    /// for when the segment is full.
    fn sync_as_it_goes(&self, log: &mut Log) {
        if log.appender.end() >= log.asked_upto + SYNC_STEP {
            log.asked_upto = log.appender.end();
            self.bell.wake(|rung| rung.sync = true);
        }
    }

    /// Makes the group readable. Its records lie at `base`.
    fn publish(&self, log: &Log, group: &Commits, base: u64, writer: &mut Writer<'_>) {
        let operations = group.undecided().flat_map(|request| request.operations.clone());
        if group.undecided().any(|request| request.operations.len() > 1) {
            writer.together(|writer| {
                operations.for_each(|index| self.publish_one(log, group, index, base, writer));
            });
        } else {
            operations.for_each(|index| self.publish_one(log, group, index, base, writer));
        }
        let written = || group.undecided().filter(|request| !request.operations.is_empty());
        written().for_each(|request| self.retained.count_write(request.seq));
        let mut seqs = written().map(|it| (it.seq, it.operations.len() as u64));
        if let Some((first, count)) = seqs.next() {
            let (last, count) = seqs.fold((first, count), |(_, sum), (seq, n)| (seq, sum + n));
            log.appender.segment.count(count, first, last);
        }
    }

    fn publish_one(
        &self,
        log: &Log,
        group: &Commits,
        index: usize,
        base: u64,
        writer: &mut Writer<'_>,
    ) {
        let segment = &log.appender.segment;
        let place = |operation: &Pending| {
            let location = Location::new(segment.number, base + operation.record.start as u64)?;
            let (len, seq) = (operation.record.len() as u64, operation.seq);
            Some(Seen { location, len, seq, expires_at_ms: operation.expires_at_ms })
        };
        let Some(operation) = group.operations.get(index) else {
            return;
        };
        let from = match operation.supersedes {
            Prior::Absent => None,
            Prior::At(seen) => Some(seen),
            Prior::After(earlier) => {
                group.operations.get(earlier).filter(|earlier| earlier.is_set).and_then(place)
            }
        };
        let Some(Seen { location, len, seq, expires_at_ms }) = place(operation) else {
            debug_assert!(false, "a batch is small enough for its offsets");
            return;
        };
        let (hash, key) = (operation.look.hash, group.bytes.get(operation.key.clone()));
        let key = key.unwrap_or_default();
        if let Prior::At(seen) = operation.supersedes {
            self.keep_for_snapshots(hash, seen, seq);
        }
        if let Some(from) = from {
            self.retain(from, seq);
        }
        let found = match (from, operation.is_set) {
            (Some(from), true) => writer.replace(hash, from.location, location),
            (Some(from), false) => {
                self.forget_key(key, seq);
                writer.remove(hash, from.location)
            }
            (None, true) => {
                if let Some(ordered) = &self.ordered {
                    ordered.insert(key);
                }
                writer.insert(hash, location);
                true
            }
            (None, false) => true,
        };
        debug_assert!(found, "what was resolved stays true while the leader is the writer");
        if let Some(from) = from {
            self.uncount_live(from);
        }
        if operation.is_set {
            segment.live_bytes.fetch_add(len, Ordering::Relaxed);
            self.space.live_bytes.fetch_add(len, Ordering::Relaxed);
            self.count_expiring(segment, expires_at_ms);
        } else {
            segment.tombstone_bytes.fetch_add(len, Ordering::Relaxed);
        }
    }

    /// Charges a record that no slot points to any more.
    pub(crate) fn uncount_live(&self, Seen { location, len, expires_at_ms, .. }: Seen) {
        let pin = self.pins.pin();
        if let Ok(segment) = self.segment(&pin, location) {
            segment.live_bytes.fetch_sub(len, Ordering::Relaxed);
        }
        self.space.live_bytes.fetch_sub(len, Ordering::Relaxed);
        if expires_at_ms != NEVER {
            self.space.expiring_keys.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that a key has come that expires, if it does.
    fn count_expiring(&self, segment: &Segment, expires_at_ms: u64) {
        if expires_at_ms == NEVER {
            return;
        }
        segment.note_expiry(expires_at_ms);
        self.space.expiring_keys.fetch_add(1, Ordering::Relaxed);
        let next = &self.space.next_expiry_ms;
        if next.fetch_min(expires_at_ms, Ordering::AcqRel) > expires_at_ms {
            // Whoever moves the horizon waits for a later one.
            self.bell.wake(|rung| rung.sync = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keydir::Location;
    use super::{Look, Seen};
    use crate::Store;

    /// The second time it is told from what it must not be taken for by its seq, which is wrong.
    #[test]
    fn what_was_seen_is_believed_if_it_is_still_there_and_nothing_was_compacted_since() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.set("key", "value").unwrap();
        let core = store.core();
        let hash = core.hasher.hash(b"key");
        let found = core.find(&core.pins.pin(), b"key", hash).unwrap().unwrap();
        let writer = core.keydir.write(&core.pins);
        let again = |location: Location, generation: u64| {
            let seen = Some(Seen { seq: 999, location, ..found });
            let look = Look { hash, seen, generation };
            core.look_again(b"key", &look, &writer).unwrap().map(|seen| seen.seq)
        };
        let (now, elsewhere) = (core.keydir.generation(), Location::new(9, 4096).unwrap());
        assert_eq!(again(found.location, now), Some(999));
        assert_eq!(again(found.location, now + 1), Some(found.seq));
        assert_eq!(again(elsewhere, now), Some(found.seq));
        let none = Look { hash, seen: None, generation: now };
        let seen = core.look_again(b"key", &none, &writer).unwrap();
        assert_eq!(seen.map(|seen| seen.seq), Some(found.seq));
    }

    #[test]
    fn a_write_takes_little_more_memory_than_it_has_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let value = vec![7; 1 << 20];
        let used = allocation_counter::measure(|| drop(store.set("key", &value)));
        assert!(used.bytes_max < 4 << 20, "{used:?}");
    }
}
