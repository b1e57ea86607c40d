//! The background work, as steps, and the two threads that drive them: one syncs and prepares,
//! one writes hints and compacts. Without threads (a simulated store) the steps are called.

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

impl Core {
    /// What the first thread does: prepares the next segment, reserves seqs, syncs the log.
    pub(crate) fn sync_step(&self) -> Result<()> {
        self.check_writable()?;
        self.prepare_next()?;
        let reserved = self.reserved_seq.load(Ordering::Acquire);
        if self.next_seq.load(Ordering::Relaxed) + SEQ_RESERVE / 2 > reserved {
            self.change_manifest(|_| ())?;
        }
        self.sync_log()?;
        self.mark(&mut lock(&self.log))
    }

    /// What the second thread does: one piece of work. False: there is none.
    pub(crate) fn compact_step(&self, pace: &mut dyn FnMut()) -> Result<bool> {
        self.check_writable()?;
        let _compaction = lock(&self.compaction);
        self.unlink_buried();
        let is_urgent = self.space.is_over.load(Ordering::Relaxed);
        if !is_urgent && self.write_hint()? {
            return Ok(true);
        }
        if self.options.compaction
            && let Some(plan) = choose(&self.situation())
        {
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
        self.check_writable()?;
        let _compaction = lock(&self.compaction);
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
        let mut live = 0;
        for id in ids {
            let Some(segment) = self.segments.by_id(*id) else {
                continue;
            };
            if !segment.sealed.load(Ordering::Acquire) || !is_wanted(&segment) {
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
        let core = Arc::clone(core);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&core));
        threads.push(
            thread.map_err(|error| KvsError::io("start a thread for", "store".as_ref(), error))?,
        );
    }
    Ok(threads)
}

/// Waits until `is_rung` or until the time is over, and gives what was rung.
fn rest(core: &Core, time: Duration, is_rung: impl Fn(&Rung) -> bool) -> Rung {
    let rung = lock(&core.bell.rung);
    let waited = core.bell.ring.wait_timeout_while(rung, time, |rung| !rung.stop && !is_rung(rung));
    let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
    let (sync, compaction, stop) = (rung.sync, rung.compaction, rung.stop);
    if is_rung(&rung) {
        // Each thread takes only its own: `sync` and `compaction` are never asked for together.
        if is_rung(&Rung { sync: true, ..Rung::default() }) {
            rung.sync = false;
        } else {
            rung.compaction = false;
        }
    }
    Rung { sync, compaction, stop }
}

fn run_sync(core: &Core) {
    let interval = match core.options.durability {
        Durability::Interval(ms) => Duration::from_millis(ms),
        Durability::Os | Durability::Always => Duration::MAX,
    };
    let mut last = Instant::now();
    loop {
        let left = interval.saturating_sub(last.elapsed());
        let rung = rest(core, left.min(Duration::from_secs(3600)), |rung| rung.sync);
        if rung.stop {
            return;
        }
        if rung.sync || last.elapsed() >= interval {
            last = Instant::now();
            if let Err(error) = core.sync_step() {
                core.report(&error);
                // A full disk or a poisoned store does not change by asking at once again.
                if rest(core, REST, |_| false).stop {
                    return;
                }
            }
        }
    }
}

fn run_compaction(core: &Core) {
    loop {
        let worked = core.compact_step(&mut pace(core));
        if let Err(error) = &worked {
            core.report(error);
        }
        core.update_space();
        let is_idle = !worked.as_ref().is_ok_and(|worked| *worked);
        core.set_stuck(is_idle);
        let time = if is_idle { REST } else { Duration::ZERO };
        let is_failed = worked.is_err();
        if rest(core, time, |rung| rung.compaction && !is_failed).stop {
            return;
        }
    }
}

/// Lets the foreground have the disk and a processor for as long as the copying took, unless
/// writers are already waiting for space.
fn pace(core: &Core) -> impl FnMut() + '_ {
    let mut last = Instant::now();
    move || {
        if !core.space.is_over.load(Ordering::Relaxed) {
            std::thread::sleep(last.elapsed().min(Duration::from_millis(20)));
        }
        last = Instant::now();
    }
}
