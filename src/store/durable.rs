//! The durable watermark of the log: the only place that syncs it for an acknowledgement. (An
//! append that failed syncs what it cut off, under the lock of the log; a failure of that poisons.)
//!
//! Syncs of the log happen one after the other. An operating system reports a failed sync once
//! and then calls the pages clean, so a second sync that runs beside a failing one could answer
//! that all is well. The first failure poisons the store for good.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::appender::Appender;
use super::clock::Clock;
use super::disk::rewrite;
use super::segment::Segment;
use super::sync::lock;
use crate::error::{KvsError, Result};

pub(crate) struct Durable {
    state: Mutex<State>,
    /// A copy of `State::upto`, for those who do not want to wait for a sync.
    upto: AtomicU64,
    syncs: AtomicU64,
    /// What they took, in microseconds.
    sync_us: AtomicU64,
    clock: Arc<dyn Clock>,
    poison: OnceLock<Arc<KvsError>>,
}

struct State {
    /// The segment that the log grows in. All others are durable as a whole.
    segment: Arc<Segment>,
    upto: u64,
    /// What an earlier process may have failed to sync: its pages count as clean, so a sync alone
    /// would not write them.
    unproven: Option<Range<u64>>,
}

impl Durable {
    /// The log grows in `segment`, and is durable up to `upto`. The bytes `unproven` are there,
    /// but an earlier process may have failed to sync them.
    pub(crate) fn new(
        segment: Arc<Segment>,
        upto: u64,
        unproven: Option<Range<u64>>,
        clock: Arc<dyn Clock>,
    ) -> Durable {
        Durable {
            state: Mutex::new(State { segment, upto, unproven }),
            upto: AtomicU64::new(upto),
            syncs: AtomicU64::new(0),
            sync_us: AtomicU64::new(0),
            clock,
            poison: OnceLock::new(),
        }
    }

    /// How far the segment in which the log grows is durable, in bytes.
    pub(crate) fn upto(&self) -> u64 {
        self.upto.load(Ordering::Acquire)
    }

    /// How often the log was synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// How long that took in all, in microseconds.
    pub(crate) fn sync_us(&self) -> u64 {
        self.sync_us.load(Ordering::Relaxed)
    }

    /// Answers with an error if the store is poisoned.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self.poison.get() {
            Some(cause) => Err(KvsError::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    /// Ends the life of the store as one that writes, and gives the error that says so.
    pub(crate) fn poison(&self, cause: KvsError) -> KvsError {
        let cause = self.poison.get_or_init(|| Arc::new(cause));
        KvsError::Poisoned { cause: Arc::clone(cause) }
    }

    /// Makes `segment` durable up to `end`, and everything before it in the log.
    pub(crate) fn sync(&self, segment: &Arc<Segment>, end: u64) -> Result<()> {
        let mut state = lock(&self.state);
        self.check()?;
        // The log has moved on: the segment was synced when it was sealed.
        if state.segment.id != segment.id || (state.upto >= end && state.unproven.is_none()) {
            return Ok(());
        }
        self.write_unproven(&mut state)?;
        self.must_succeed(segment, || segment.file.sync_data())?;
        state.upto = state.upto.max(end);
        self.upto.store(state.upto, Ordering::Release);
        Ok(())
    }

    /// Seals the segment in which the log grows. Durable as a whole when this returns.
    pub(crate) fn seal(&self, appender: &mut Appender) -> Result<()> {
        let mut state = lock(&self.state);
        self.check()?;
        self.write_unproven(&mut state)?;
        appender.seal().map_err(|failed| match failed.broken {
            true => self.poison(failed.error),
            false => failed.error,
        })?;
        if !kvs_bug!("rotate_without_sync") {
            self.must_succeed(&appender.segment, || appender.segment.file.sync_all())?;
        }
        state.upto = appender.end();
        appender.segment.sealed.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets the log go on in another segment, which is durable up to `upto`.
    pub(crate) fn move_to(&self, segment: Arc<Segment>, upto: u64) {
        let mut state = lock(&self.state);
        *state = State { segment, upto, unproven: None };
        self.upto.store(upto, Ordering::Release);
    }

    fn must_succeed(
        &self,
        segment: &Segment,
        sync: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<()> {
        let begin_us = self.clock.steady_us();
        let synced = sync();
        let took_us = self.clock.steady_us().saturating_sub(begin_us);
        self.sync_us.fetch_add(took_us, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        synced.map_err(|error| {
            let error = KvsError::io("sync", &segment.path, error);
            if kvs_bug!("retry_failed_sync") { error } else { self.poison(error) }
        })
    }

    /// Writes the unproven bytes again in place, so that the next sync takes them along.
    fn write_unproven(&self, state: &mut State) -> Result<()> {
        if let Some(range) = state.unproven.clone() {
            let segment = &state.segment;
            let written = rewrite(&*segment.file, range);
            written.map_err(|error| self.poison(KvsError::io("rewrite", &segment.path, error)))?;
            state.unproven = None;
        }
        Ok(())
    }
}
