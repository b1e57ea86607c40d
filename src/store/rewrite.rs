//! How segments are compacted: copy, sync, directory, log, notice, manifest, directory, index,
//! unlink.
//!
//! In this order, because the process may die between any two steps:
//! - What is alive is copied, with its seq, into new segments, which are sealed and synced, and
//!   their names too. Nothing names them yet; an error up to here discards them.
//! - The log is synced: what was dropped as dead was killed by a write that is durable now.
//! - Other processes are told that they may read that write; a reader that meets the new manifest
//!   would otherwise see neither record.
//! - The manifest names the new segments in the place of the old ones.
//! - Each key that still points to its old record is moved to the new one.
//! - When no reader can be in the old segments any more, they are unlinked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::appender::Appender;
use super::clock::NEVER;
use super::compaction::Facts;
use super::core::Core;
use super::group::Seen;
use super::hash::KeyHash;
use super::keydir::Location;
use super::manifest::{Named, State};
use super::map::prefetch;
use super::names::{self, Name, SegmentId};
use super::record::{self, Record};
use super::retained::Hold;
use super::scan::{Found, Scan};
use super::segment::{HEADER_BYTES, Segment};
use super::sync::lock;
use crate::error::{KvsError, Result};

/// What is copied between two looks at the pace.
const BUFFER: usize = 256 << 10;
/// How many keys are moved before the leader of a commit gets its turn.
const MOVES: usize = 64;
/// How many keys are fetched ahead.
const AHEAD: usize = 16;

/// A key that moves.
struct Move {
    hash: KeyHash,
    from: Location,
    to: Location,
    len: u64,
    expires_at_ms: u64,
    output: usize,
}

/// What a compaction has done so far.
struct Rewrite<'a> {
    core: &'a Core,
    pace: &'a mut dyn FnMut(),
    /// The segments that are not compacted.
    outside: Vec<Facts>,
    /// Everything that was dead when this seq was published is not copied.
    clean_upto: u64,
    /// What is copied although it is dead.
    hold: Hold<'a>,
    /// What has expired by then counts as removed.
    now_ms: u64,
    capacity: u64,
    done: Vec<Arc<Segment>>,
    output: Option<Appender>,
    buffer: Vec<u8>,
    moves: Vec<Move>,
    dropped: bool,
    has_expired: bool,
}

impl Core {
    /// Compacts these segments together. After an error all of them are still there and the store
    /// is as it was. `pace` is called every so many bytes and may take its time.
    pub(crate) fn compact_together(
        &self,
        inputs: &[Arc<Segment>],
        pace: &mut dyn FnMut(),
    ) -> Result<()> {
        self.with_ballast(|| self.try_compact(inputs, pace))
    }

    fn try_compact(&self, inputs: &[Arc<Segment>], pace: &mut dyn FnMut()) -> Result<()> {
        let floor = self.retained_floor();
        let mut rewrite = Rewrite {
            core: self,
            pace,
            outside: self.outside(inputs),
            // Nothing can be superseded by the first write.
            clean_upto: floor.max(1),
            hold: self.retained.hold(floor),
            now_ms: self.time.expiry_ms(),
            capacity: self.segment_capacity(),
            done: Vec::new(),
            output: None,
            buffer: Vec::new(),
            moves: Vec::new(),
            dropped: false,
            has_expired: false,
        };
        let copied = inputs.iter().try_for_each(|input| rewrite.copy(input));
        let copied = copied
            .and_then(|()| rewrite.finish_output())
            .and_then(|()| self.commit_compaction(inputs, &rewrite));
        self.space.output_bytes.store(0, Ordering::Relaxed);
        if let Err(error) = copied {
            let unfinished = rewrite.output.take().map(|output| output.segment);
            rewrite.done.iter().chain(&unfinished).for_each(|output| self.discard(output));
            return Err(error);
        }
        rewrite.done.iter().for_each(|output| self.segments.add(Arc::clone(output)));
        if kvs_bug!("unlink_before_index") {
            self.segments.retire(inputs);
            self.unlink_buried();
        }
        self.move_keys(&rewrite.moves, &rewrite.done);
        let numbers = inputs.iter().map(|input| usize::from(input.number)).collect();
        let moves = rewrite.moves.iter().map(|it| (it.from, it.to));
        rewrite.hold.end(&numbers, moves, |to, len| self.count_retained(to, len, true));
        self.compacted_seq.fetch_max(max_seq(inputs), Ordering::AcqRel);
        self.keydir.write(&self.pins).next_generation();
        self.segments.retire(inputs);
        let input_bytes: u64 = inputs.iter().map(|input| input.end()).sum();
        self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        self.counters.compacted_bytes.fetch_add(input_bytes, Ordering::Relaxed);
        self.unlink_buried();
        self.update_space();
        Ok(())
    }

    fn outside(&self, inputs: &[Arc<Segment>]) -> Vec<Facts> {
        let is_input = |id: SegmentId| inputs.iter().any(|input| input.id == id);
        let all = self.segments.all();
        all.iter().filter(|it| !is_input(it.id)).map(|it| it.facts()).collect()
    }

    /// Makes the outputs the successors of the inputs, on disk.
    fn commit_compaction(&self, inputs: &[Arc<Segment>], rewrite: &Rewrite<'_>) -> Result<()> {
        let Rewrite { done: outputs, clean_upto, now_ms, dropped, has_expired, .. } = rewrite;
        if !outputs.is_empty() {
            self.sync_names()?;
        }
        // Of what was dropped, nothing was superseded by a later write than this: who publishes has
        // the lock of the log. It comes first, so that it is durable and for others to read.
        let mut floor = {
            let _log = lock(&self.log);
            self.retained_floor()
        };
        if !kvs_bug!("drop_before_log_sync") {
            self.sync_log()?;
        }
        if kvs_bug!("unlink_before_manifest") {
            inputs.iter().for_each(|input| drop(self.shelf.disk.remove(&input.path)));
        }
        // Who reads the new manifest must also read what killed the records that it lacks.
        if !kvs_bug!("post_after_manifest") {
            self.post_notice()?;
        }
        if kvs_bug!("floor_after_notice") {
            floor = self.retained_floor();
        }
        let compacted_seq = max_seq(inputs);
        self.change_manifest(|manifest| {
            manifest.segments.retain(|named| inputs.iter().all(|input| input.id != named.id()));
            manifest.segments.extend(outputs.iter().map(|output| Named {
                id: output.id.0,
                salt: output.salt.0,
                state: State::Sealed { len: output.end() },
                min_seq: output.min_seq.load(Ordering::Relaxed),
                max_seq: output.max_seq.load(Ordering::Relaxed),
                clean_upto: *clean_upto,
            }));
            manifest.segments.sort_unstable_by_key(|named| named.id);
            if *dropped {
                manifest.history_floor = manifest.history_floor.max(floor);
            }
            if !kvs_bug!("forget_compacted_seq") {
                manifest.compacted_seq = manifest.compacted_seq.max(compacted_seq);
            }
            if *has_expired {
                // What was dropped because it had expired stays so.
                manifest.clock_floor_ms = manifest.clock_floor_ms.max(*now_ms);
            }
        })
    }

    /// Makes everything that is appended durable, without a place in the queue.
    pub(crate) fn sync_log(&self) -> Result<()> {
        let (segment, end) = {
            let log = lock(&self.log);
            (Arc::clone(&log.appender.segment), log.appender.end())
        };
        self.durable.sync(&segment, end)
    }

    fn move_keys(&self, moves: &[Move], outputs: &[Arc<Segment>]) {
        for chunk in moves.chunks(MOVES) {
            let pin = self.pins.pin();
            chunk.iter().for_each(|it| prefetch(self.keydir.address(&pin, it.hash)));
            drop(pin);
            let mut writer = self.keydir.write(&self.pins);
            for it in chunk {
                let Some(output) = outputs.get(it.output) else {
                    continue;
                };
                // A key that was written meanwhile stays where it is.
                let moved = writer.replace(it.hash, it.from, it.to)
                    || kvs_bug!("move_unconditionally") && {
                        writer.insert(it.hash, it.to);
                        true
                    };
                if moved {
                    output.live_bytes.fetch_add(it.len, Ordering::Relaxed);
                    output.note_expiry(it.expires_at_ms);
                }
            }
        }
    }

    /// Unlinks the files of segments that no reader can be in any more, and their hints.
    pub(crate) fn unlink_buried(&self) {
        self.bound_snapshots();
        for path in self.segments.bury(&self.pins) {
            // What cannot be removed is a leftover, which the next open removes.
            let _ = self.shelf.disk.remove(&path);
            let name = path.file_name().and_then(|name| name.to_str()).map(names::parse);
            if let Some(Name::Segment(id)) = name {
                let _ = self.shelf.disk.remove(&self.shelf.path(&names::hint(id)));
            }
        }
    }
}

impl Rewrite<'_> {
    fn copy(&mut self, input: &Arc<Segment>) -> Result<()> {
        let mut scan = Scan::new(&*input.file, &input.path, input.salt, input.end());
        let mut prefetched_upto = 0;
        while let Some(found) = unless_unreadable(input, scan.next())? {
            self.judge(input, &found)?;
            if scan.offset() >= prefetched_upto {
                prefetched_upto = self.prefetch(&scan);
            }
        }
        if !scan.sealed() || scan.offset() != input.end() {
            input.damaged.store(true, Ordering::Relaxed);
            let reason = scan.reason();
            return Err(input.corrupt(scan.offset(), reason));
        }
        Ok(())
    }

    /// Fetches where the next keys are in the keydir, all at the same time: one by one, these
    /// misses would take longer than everything else. Where that ends is the answer.
    fn prefetch(&self, scan: &Scan<'_>) -> u64 {
        let pin = self.core.pins.pin();
        scan.ahead(AHEAD, |key| {
            prefetch(self.core.keydir.address(&pin, self.core.hasher.hash(key)));
        })
    }

    /// Copies a record or drops it.
    fn judge(&mut self, input: &Segment, found: &Found<'_>) -> Result<()> {
        match found.record {
            Record::Set { seq, expires_at_ms, key, .. } => {
                let hash = self.core.hasher.hash(key);
                let Some(location) = Location::new(input.number, found.offset) else {
                    return Ok(());
                };
                let (len, is_over) = (found.disk_len as u64, expires_at_ms != NEVER);
                let is_over = is_over && expires_at_ms <= self.now_ms;
                if is_over {
                    self.core.expire(hash, Seen { location, len, seq, expires_at_ms });
                    return self.judge_expired(seq, key, hash, found.disk_len);
                }
                let pin = self.core.pins.pin();
                let is_alive = self.core.keydir.candidates(&pin, hash).any(|it| it == location);
                if !is_alive && !self.hold.keeps(location) {
                    self.dropped = true;
                    return Ok(());
                }
                let (to, output) = self.put(&found.record, found.disk_len)?;
                self.moves.push(Move { hash, from: location, to, len, expires_at_ms, output });
            }
            Record::Remove { seq, .. } => {
                return self.judge_tombstone(&found.record, seq, found.disk_len);
            }
            Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => {}
        }
        Ok(())
    }

    /// Copies a tombstone, if something may be under it.
    fn judge_tombstone(&mut self, record: &Record<'_>, seq: u64, disk_len: usize) -> Result<()> {
        let is_clean = self.outside.iter().all(|other| other.is_clean_for(seq));
        let is_over = seq <= self.clean_upto;
        if is_clean && is_over || kvs_bug!("drop_tombstones") {
            self.dropped = true;
            return Ok(());
        }
        let (_, output) = self.put(record, disk_len)?;
        debug_assert_eq!(output, self.done.len());
        if let Some(output) = &self.output {
            let len = record::encode(&mut Vec::new(), record) as u64;
            output.segment.tombstone_bytes.fetch_add(len, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A set that has expired is a tombstone, unless a later set has superseded it.
    fn judge_expired(
        &mut self,
        seq: u64,
        key: &[u8],
        hash: KeyHash,
        disk_len: usize,
    ) -> Result<()> {
        self.has_expired = true;
        let pin = self.core.pins.pin();
        // If that cannot be read, a tombstone of this seq does no harm.
        let found = self.core.find(&pin, key, hash);
        // Before the one that superseded it, it was a tombstone still.
        let is_old = |it: Option<Seen>| it.is_some_and(|later| later.seq <= self.clean_upto);
        let is_superseded = found.is_ok_and(is_old);
        drop(pin);
        if is_superseded || kvs_bug!("drop_expired") {
            self.dropped = true;
            return Ok(());
        }
        self.judge_tombstone(&Record::Remove { seq, key }, seq, disk_len)
    }

    /// Appends a record to the output, and says where it will lie and in which output.
    fn put(&mut self, record: &Record<'_>, len: usize) -> Result<(Location, usize)> {
        let waiting = self.buffer.len();
        let is_full = self.output.as_ref().is_some_and(|output| {
            let is_empty = output.end() == HEADER_BYTES as u64 && waiting == 0;
            !output.takes((waiting + len) as u64, is_empty)
        });
        if is_full {
            self.finish_output()?;
        }
        let record = renumbered(record);
        if self.output.is_none() {
            let segment = self.core.create_segment(self.capacity)?;
            segment.clean_upto.store(self.clean_upto, Ordering::Relaxed);
            self.output = Some(Appender::new(segment, HEADER_BYTES as u64, self.capacity));
        }
        let Some(output) = &self.output else {
            return Err(KvsError::Closed);
        };
        let offset = output.end() + self.buffer.len() as u64;
        let place = Location::new(output.segment.number, offset);
        let place = place.ok_or(KvsError::StoreFull { what: "offset in a segment" })?;
        let start = self.buffer.len();
        if self.buffer.try_reserve(len).is_err() {
            return Err(KvsError::OutOfMemory { bytes: len });
        }
        record::encode(&mut self.buffer, &record);
        let bytes = self.buffer.get_mut(start..).unwrap_or_default();
        record::stamp(bytes, output.segment.salt, offset);
        if let Record::Set { seq, .. } | Record::Remove { seq, .. } = record {
            output.segment.count(1, seq, seq);
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok((place, self.done.len()))
    }

    /// Writes what is buffered to the output.
    fn flush(&mut self) -> Result<()> {
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        output.append(&self.buffer).map_err(|failed| failed.error)?;
        let len = self.buffer.len() as u64;
        self.core.space.output_bytes.fetch_add(len, Ordering::Relaxed);
        self.buffer.clear();
        (self.pace)();
        Ok(())
    }

    /// Seals and syncs the output.
    fn finish_output(&mut self) -> Result<()> {
        self.flush()?;
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        output.seal().map_err(|failed| failed.error)?;
        self.core.sync_new(&output.segment)?;
        output.segment.sealed.store(true, Ordering::Release);
        let output = self.output.take().map(|output| output.segment);
        self.done.extend(output);
        Ok(())
    }
}

fn max_seq(segments: &[Arc<Segment>]) -> u64 {
    let seqs = segments.iter().map(|segment| segment.max_seq.load(Ordering::Relaxed));
    seqs.max().unwrap_or_default()
}

/// The record as it is; with a bug, one that claims to be new.
fn renumbered<'a>(record: &Record<'a>) -> Record<'a> {
    match *record {
        Record::Set { seq, expires_at_ms, key, value } if kvs_bug!("copy_without_seq") => {
            Record::Set { seq: seq + 1000, expires_at_ms, key, value }
        }
        other => other,
    }
}

/// Notes of a segment that it cannot be read: it is left alone from then on.
pub(super) fn unless_unreadable<T>(segment: &Segment, read: Result<T>) -> Result<T> {
    if let Err(KvsError::Io { .. }) = &read {
        segment.damaged.store(true, Ordering::Relaxed);
    }
    read
}
