//! The background work, as steps, and the two threads that drive them: one syncs, prepares and
//! tells other processes how far they may read, one writes hints and compacts. Without threads (a
//! simulated store) the steps are called.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::compaction::choose;
use super::core::{Core, Rung};
use super::manifest::SEQ_RESERVE;
use super::segment::Segment;
use super::sync::lock;
use crate::error::{KvsError, Result};
use crate::options::Durability;

/// How long a thread rests if nobody wakes it, and after an error.
const REST: Duration = Duration::from_secs(1);

/// While writes go on, other processes are told this often how far they may read.
const POST_INTERVAL: Duration = Duration::from_millis(50);

impl Core {
    /// What the first thread does often: lets time go on for expiry, syncs the log, and says so in
    /// it.
    pub(crate) fn sync_step(&self) -> Result<()> {
        self.check_writable()?;
        match self.move_horizon() {
            // Keys expire even so, and what was written is synced.
            Err(error) if !self.durable.is_poisoned() => self.report(&error),
            moved => moved?,
        }
        self.sync_log()?;
        self.mark(&mut lock(&self.log))
    }

    /// What the first thread does for later: prepares the next segment and reserves seqs.
    pub(crate) fn prepare_step(&self) -> Result<()> {
        self.prepare_next()?;
        let reserved = self.reserved_seq.load(Ordering::Acquire);
        if self.next_seq.load(Ordering::Relaxed) + SEQ_RESERVE / 2 > reserved {
            self.change_manifest(|_| ())?;
        }
        Ok(())
    }

    /// What the second thread does about once a second: takes out the keys that have expired.
    pub(crate) fn sweep_step(&self) -> Result<()> {
        let _compaction = lock(&self.compaction);
        self.check_writable()?;
        self.sweep()
    }

    /// What the second thread does: one piece of work. False: there is none.
    pub(crate) fn compact_step(&self, pace: &mut dyn FnMut()) -> Result<bool> {
        let _compaction = lock(&self.compaction);
        self.check_writable()?;
        self.unlink_buried();
        // A key that cannot be read is no reason not to compact.
        self.forget_removed_keys().unwrap_or_else(|error| self.report(&error));
        let is_urgent = self.space.is_over.load(Ordering::Relaxed);
        match if is_urgent { Ok(false) } else { self.write_hint() } {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // A hint that cannot be written is no reason not to compact.
            Err(error) => self.report(&error),
        }
        if self.options.compaction
            && let Some(plan) = choose(&self.situation())
        {
            self.set_stuck(false);
            let inputs: Vec<Arc<Segment>> =
                plan.inputs.iter().filter_map(|id| self.segments.by_id(*id)).collect();
            self.compact_together(&inputs, pace)?;
            return Ok(true);
        }
        match self.restore_ballast() {
            // There is no room for it: it stays away until there is.
            Err(KvsError::DiskFull { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        if is_urgent { self.write_hint() } else { Ok(false) }
    }

    /// Compacts everything. What was alive is readable throughout.
    pub(crate) fn compact(&self) -> Result<()> {
        let _compaction = lock(&self.compaction);
        self.check_writable()?;
        self.with_ballast(|| self.rotate_now())?;
        let ids: Vec<_> = self.segments.all().iter().map(|segment| segment.id).collect();
        self.compact_in_turn(&ids, |_| true)?;
        // The outputs are clean by now, so tombstones that had to stay can go.
        let ids: Vec<_> = self.segments.all().iter().map(|segment| segment.id).collect();
        self.compact_in_turn(&ids, |it| it.tombstone_bytes.load(Ordering::Relaxed) > 0)?;
        self.unlink_buried();
        Ok(())
    }

    fn compact_in_turn(
        &self,
        ids: &[super::names::SegmentId],
        is_wanted: impl Fn(&Segment) -> bool,
    ) -> Result<()> {
        let mut inputs: Vec<Arc<Segment>> = Vec::new();
        let (mut live, floor) = (0, self.retained_floor());
        for id in ids {
            let Some(segment) = self.segments.by_id(*id) else {
                continue;
            };
            let is_retained = segment.max_seq.load(Ordering::Relaxed) > floor;
            if !segment.sealed.load(Ordering::Acquire) || is_retained || !is_wanted(&segment) {
                continue;
            }
            live += segment.live_bytes.load(Ordering::Relaxed);
            if !inputs.is_empty() && live > self.segment_capacity() {
                self.compact_together(&std::mem::take(&mut inputs), &mut || ())?;
                live = segment.live_bytes.load(Ordering::Relaxed);
            }
            inputs.push(segment);
        }
        if inputs.is_empty() { Ok(()) } else { self.compact_together(&inputs, &mut || ()) }
    }

    /// Seals the segment in which the log grows, if there is anything in it.
    pub(crate) fn rotate_now(&self) -> Result<()> {
        let mut log = lock(&self.log);
        self.durable.check()?;
        if !log.is_empty() {
            self.rotate(&mut log)?;
        }
        Ok(())
    }
}

/// Starts the threads. They end when the bell says `stop`.
pub(crate) fn start(core: &Arc<Core>) -> Result<Vec<JoinHandle<()>>> {
    type Work = fn(&Core);
    let works: [(&str, Work); 2] = [("kvs-sync", run_sync), ("kvs-compact", run_compaction)];
    let mut threads = Vec::new();
    for (name, work) in works {
        let owned = Arc::clone(core);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&owned));
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                stop(core, threads);
                let directory = &core.shelf.directory;
                return Err(KvsError::io("start a thread for", directory, error));
            }
        }
    }
    Ok(threads)
}

/// Ends the threads; returns when they have ended.
pub(crate) fn stop(core: &Core, threads: Vec<JoinHandle<()>>) {
    core.bell.wake(|rung| rung.stop = true);
    // A thread cannot wait for itself, though it should not be the one that closes the store.
    let others = threads.into_iter().filter(|it| it.thread().id() != std::thread::current().id());
    // A thread that panicked has nothing more to say.
    others.for_each(|thread| drop(thread.join()));
}

/// Why a thread goes on.
#[derive(PartialEq, Eq)]
enum Woken {
    ToSync,
    ToPost,
    ToCompact,
    TimeOver,
    Stop,
}

/// Waits until the bell is rung for the thread, which `answer` finds out, or until the time is
/// over.
fn rest(core: &Core, time: Duration, answer: fn(&mut Rung) -> Option<Woken>) -> Woken {
    let mut woken = None;
    let is_quiet = |rung: &mut Rung| {
        woken = if rung.stop { Some(Woken::Stop) } else { answer(rung) };
        woken.is_none()
    };
    let rung = lock(&core.bell.rung);
    let waited = core.bell.ring.wait_timeout_while(rung, time, is_quiet);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
    woken.unwrap_or(Woken::TimeOver)
}

/// What the bell was rung for, of what the syncing thread does.
fn to_sync_or_post(rung: &mut Rung) -> Option<Woken> {
    if std::mem::take(&mut rung.sync) {
        return Some(Woken::ToSync);
    }
    std::mem::take(&mut rung.readers).then_some(Woken::ToPost)
}

fn run_sync(core: &Core) {
    let interval = match core.options.durability {
        Durability::Interval(ms) => Duration::from_millis(ms),
        Durability::Os | Durability::Always => Duration::MAX,
    };
    let mut last = Instant::now();
    let mut next_post = Instant::now();
    // A full disk does not change by asking at once again.
    let mut unprepared: Option<Instant> = None;
    loop {
        let left = interval.saturating_sub(last.elapsed()).min(until_expiry(core, last));
        let left = left.min(until_post(core, next_post)).min(Duration::from_secs(3600));
        let woken = rest(core, left, to_sync_or_post);
        if woken == Woken::Stop {
            return;
        }
        let is_due = last.elapsed() >= interval || until_expiry(core, last) == Duration::ZERO;
        if woken == Woken::ToSync || is_due {
            last = Instant::now();
            if let Err(error) = core.sync_step() {
                // Nothing is synced any more until the store is opened again. Time goes on.
                core.time.give_up_horizon();
                core.report(&error);
                return;
            }
            // It may have written to the log how late it is.
            core.board.fall_behind();
            if unprepared.is_none_or(|failed| failed.elapsed() >= REST) {
                unprepared = core.prepare_step().err().map(|error| {
                    core.report(&error);
                    Instant::now()
                });
            }
        }
        if until_post(core, next_post) == Duration::ZERO {
            let begun = Instant::now();
            next_post = begun + POST_INTERVAL;
            if let Err(error) = core.post_notice() {
                core.report(&error);
                next_post = begun + REST;
            }
        }
    }
}

/// How long it is until other processes are told how far they may read.
fn until_post(core: &Core, next_post: Instant) -> Duration {
    let rest = next_post.saturating_duration_since(Instant::now());
    if core.board.is_behind() { rest } else { Duration::MAX }
}

/// How long it is until time must be let go on for expiry; where that failed, until it is tried
/// again.
fn until_expiry(core: &Core, last: Instant) -> Duration {
    let next = core.space.next_expiry_ms.load(Ordering::Acquire);
    match core.time.is_unbounded() {
        true if next < u64::MAX => REST.saturating_sub(last.elapsed()),
        _ => Duration::from_millis(core.time.rest_ms(next)),
    }
}

fn run_compaction(core: &Core) {
    let mut next_sweep = Instant::now();
    loop {
        if Instant::now() >= next_sweep {
            let start = Instant::now();
            if let Err(error) = core.sweep_step() {
                core.report(&error);
            }
            // In a large store, so rarely that it takes a twentieth of a processor at most.
            next_sweep = Instant::now() + REST.max(20 * start.elapsed());
        }
        let is_over = core.space.is_over.load(Ordering::Acquire);
        let worked = core.compact_step(&mut pace(core));
        core.note_space();
        // That it had nothing to do before there was too much says nothing.
        core.set_stuck(worked.is_err() || is_over && matches!(worked, Ok(false)));
        let woken = match worked {
            Ok(true) => rest(core, Duration::ZERO, |_| None),
            Ok(false) => rest(core, REST, |rung| {
                std::mem::take(&mut rung.compaction).then_some(Woken::ToCompact)
            }),
            Err(error) => {
                core.report(&error);
                if core.check_writable().is_err() {
                    return;
                }
                rest(core, REST, |_| None)
            }
        };
        if woken == Woken::Stop {
            return;
        }
    }
}

/// Lets the foreground have the disk and a processor: for as long as the copying took at first, for
/// a shorter time the less room there is until writers would have to wait for space.
fn pace(core: &Core) -> impl FnMut() + '_ {
    let mut last = Instant::now();
    move || {
        let percent = match core.space.is_over.load(Ordering::Relaxed) {
            true => 0,
            false => core.space.room_percent.load(Ordering::Relaxed),
        };
        let rest = last.elapsed() * percent / 100;
        if !rest.is_zero() {
            std::thread::sleep(rest.min(Duration::from_millis(20)));
        }
        last = Instant::now();
    }
}
