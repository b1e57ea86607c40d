//! The log goes from one segment to the next.
//!
//! The next segment is prepared ahead: made, named in a durable manifest, and only then appended
//! to. The old one is sealed and synced before the first append to the next, so only one segment
//! ever has bytes that are not durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::appender::Appender;
use super::core::{Core, Log};
use super::manifest::{Manifest, Named, SEQ_RESERVE, State};
use super::names::SegmentId;
use super::record::{self, MARK_BYTES, Record, Salt};
use super::segment::{HEADER_BYTES, Segment};
use super::sync::lock;
use crate::error::{KvsError, Result};

impl Core {
    /// Seals the segment in which the log grows, and goes on in the next one. The caller has the
    /// lock of the log.
    pub(crate) fn rotate(&self, log: &mut Log) -> Result<()> {
        let mut prepared = lock(&self.next);
        let next = match prepared.take() {
            Some(next) => next,
            None => self.prepare()?,
        };
        if let Err(error) = self.durable.seal(&mut log.appender) {
            *prepared = Some(next);
            return Err(error);
        }
        drop(prepared);
        self.durable.move_to(Arc::clone(&next.segment), HEADER_BYTES as u64);
        *log = Log::new(next, HEADER_BYTES as u64);
        log.marked_upto = 0;
        self.mark(log)?;
        log.begin = log.appender.end();
        self.update_space();
        self.bell.wake(|rung| (rung.sync, rung.compaction) = (true, true));
        Ok(())
    }

    /// Appends a mark, if the durable watermark has moved since the last one: so that damage below
    /// it cannot pass for a torn tail. In a new segment it says that the one before is whole. On a
    /// full disk the next commit brings it.
    pub(crate) fn mark(&self, log: &mut Log) -> Result<()> {
        // After a failed sync nothing may be called durable any more.
        self.durable.check()?;
        if self.durable.upto() <= log.marked_upto {
            return Ok(());
        }
        match self.append_mark(log, self.time.floor_ms()) {
            Err(error) if self.durable.is_poisoned() => Err(error),
            _ => Ok(()),
        }
    }

    /// Appends a mark that says that it is not earlier than `clock_floor_ms`.
    pub(crate) fn append_mark(&self, log: &mut Log, clock_floor_ms: u64) -> Result<()> {
        self.durable.check()?;
        let upto = self.durable.upto();
        let appender = &mut log.appender;
        let start = appender.end();
        let mut bytes = Vec::with_capacity(MARK_BYTES);
        record::encode(&mut bytes, &Record::mark(upto, clock_floor_ms));
        record::stamp(&mut bytes, appender.segment.salt, start);
        appender.append(&bytes).map_err(|failed| match failed.broken {
            true => self.durable.poison(failed.error),
            false => failed.error,
        })?;
        // If nothing else came in between, the mark itself needs none: an idle log stays as it is.
        log.marked_upto = if upto == start { appender.end() } else { upto };
        Ok(())
    }

    /// Prepares the next segment, if there is none yet.
    pub(crate) fn prepare_next(&self) -> Result<()> {
        let mut prepared = lock(&self.next);
        self.check_writable()?;
        if prepared.is_none() {
            *prepared = Some(self.prepare()?);
        }
        Ok(())
    }

    /// Makes a segment, durable and named in the manifest. The caller has the lock of `next`.
    fn prepare(&self) -> Result<Appender> {
        let capacity = self.segment_capacity();
        let segment = self.create_segment(capacity)?;
        let named = Named {
            id: segment.id.0,
            salt: segment.salt.0,
            state: State::Open { durable_upto: HEADER_BYTES as u64 },
            min_seq: self.next_seq.load(Ordering::Relaxed),
            max_seq: 0,
            clean_upto: 0,
        };
        let made = self
            .sync_new(&segment)
            .and_then(|()| self.sync_names())
            .and_then(|()| self.change_manifest(|manifest| manifest.segments.push(named)));
        if let Err(error) = made {
            self.discard(&segment);
            return Err(error);
        }
        self.segments.add(Arc::clone(&segment));
        Ok(Appender::new(segment, HEADER_BYTES as u64, capacity))
    }

    /// Makes a segment that nothing names yet.
    pub(crate) fn create_segment(&self, capacity: u64) -> Result<Arc<Segment>> {
        let number = self.segments.claim_number()?;
        let salt = if kvs_bug!("constant_salt") { 0 } else { self.random.next() };
        loop {
            let id = {
                let mut manifest = lock(&self.manifest);
                manifest.next_segment += 1;
                SegmentId(manifest.next_segment - 1)
            };
            match self.shelf.create(id, number, Salt(salt), capacity) {
                Ok(Some(segment)) => return Ok(Arc::new(segment)),
                Ok(None) => {}
                Err(error) => {
                    self.segments.release_number(number);
                    return Err(error);
                }
            }
        }
    }

    /// Syncs a file that no manifest names yet: a failure concerns nothing else.
    pub(crate) fn sync_new(&self, segment: &Segment) -> Result<()> {
        let synced = segment.file.sync_all();
        synced.map_err(|error| KvsError::io("sync", &segment.path, error))
    }

    /// Makes the names of new segments durable. Before a manifest that names them: its rename may
    /// reach the disk and their names not.
    pub(crate) fn sync_names(&self) -> Result<()> {
        if kvs_bug!("skip_output_directory_sync") {
            return Ok(());
        }
        self.shelf.sync_names()
    }

    /// Removes a segment that no manifest names. If that fails, the next open does it.
    pub(crate) fn discard(&self, segment: &Segment) {
        // After an uncertain replacement the manifest on disk may name it.
        if !self.durable.is_poisoned() {
            let _ = self.shelf.disk.remove(&segment.path);
        }
        self.segments.release_number(segment.number);
    }

    /// Changes the manifest. Durable when this returns.
    ///
    /// If the new one may be there or not, the store is poisoned: what the old one does not name
    /// could otherwise be acknowledged, and what the new one names be removed.
    pub(crate) fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<()> {
        let mut manifest = lock(&self.manifest);
        self.durable.check()?;
        let mut new = manifest.clone();
        let next_seq = self.next_seq.load(Ordering::Relaxed);
        new.reserved_seq = new.reserved_seq.max(next_seq + SEQ_RESERVE);
        new.clock_floor_ms = new.clock_floor_ms.max(self.time.floor_ms());
        change(&mut new);
        for named in &mut new.segments {
            let segment = self.segments.by_id(named.id());
            if let Some(segment) = segment
                && segment.sealed.load(Ordering::Acquire)
            {
                named.state = State::Sealed { len: segment.end() };
                named.min_seq = segment.min_seq.load(Ordering::Relaxed);
                named.max_seq = segment.max_seq.load(Ordering::Relaxed);
            }
        }
        new.replace(&*self.shelf.disk, &self.shelf.directory).map_err(|failed| {
            if failed.uncertain { self.durable.poison(failed.error) } else { failed.error }
        })?;
        self.reserved_seq.store(new.reserved_seq, Ordering::Release);
        *manifest = new;
        Ok(())
    }
}
