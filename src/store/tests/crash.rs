//! Power loss and kill -9 at every call of recorded workloads: what was acknowledged as durable is
//! there, and the state is a prefix of the history. In every such state the index is the same with
//! and without hints.

use std::collections::HashSet;

use super::examine::examine;
use super::oracle::History;
use super::proof::{Checked, prove};
use super::workload::{BATCHES, COMPACTING, EXPIRING, LAZY, SMALL, Session, Shape};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;
use crate::store::sim_disk::trace::Trace;

/// Crashes per crash point.
const PLANS: usize = 36;

/// A workload that was performed and recorded.
pub struct Recorded {
    /// What it is like.
    pub shape: Shape,
    /// The calls to the disk.
    pub trace: Trace,
    /// What was done and acknowledged.
    pub history: History,
}

impl Recorded {
    /// Performs the workload of this shape and seed.
    pub fn new(shape: Shape, seed: u64) -> Checked<Recorded> {
        let mut session = Session::recorded(shape, seed);
        session.perform(&shape.script(seed))?;
        let trace = session.disk.take_trace();
        Ok(Recorded { shape, trace, history: session.history })
    }
}

/// A state after a crash.
pub struct Crash {
    /// After how many calls. Within a call: as far as others can know, it has not begun.
    pub at: usize,
    /// What is left.
    pub disk: SimDisk,
    /// How many operations it holds at least and at most.
    pub bounds: (usize, usize),
}

/// Crashes at every call of a recording, in up to so many ways at each.
pub fn each_crash(
    trace: &Trace,
    history: &History,
    plans: usize,
    seed: u64,
    examine: &mut dyn FnMut(&Crash) -> Checked<()>,
) -> Checked<()> {
    let mut rng = Rng::new(seed ^ 1);
    let mut replay = trace.replay();
    for at in 0..=trace.len() {
        replay.advance_to(at);
        for plan in CrashPlan::choose(replay.pending(), plans, &mut rng) {
            let bounds = history.bounds(at, plan.keep == Keep::Process);
            let disk = SimDisk::of(replay.crash(&plan));
            examine(&Crash { at, disk, bounds }).map_err(|wrong| {
                format!("after call {at}, {plan:?}: {wrong}; pending:{}", replay.describe())
            })?;
        }
        // Within a write nothing is acknowledged that was not when it began.
        if let Some(state) = replay.kill_within(|len| rng.below(len)) {
            let bounds = (history.bounds(at - 1, true).0, history.bounds(at, true).1);
            let crash = Crash { at: at - 1, disk: SimDisk::of(state), bounds };
            examine(&crash).map_err(|wrong| format!("killed within call {at}: {wrong}"))?;
        }
    }
    Ok(())
}

/// Covers every crash point of one workload. Answers with the number of different states.
pub fn crash_everywhere(shape: Shape, seed: u64) -> Checked<u64> {
    let Recorded { trace, history, .. } = Recorded::new(shape, seed)?;
    let mut rng = Rng::new(!seed);
    let mut seen = HashSet::new();
    each_crash(&trace, &history, PLANS, seed, &mut |crash| match seen
        .insert((crash.disk.fingerprint(), crash.bounds))
    {
        true => examine(shape, &history, crash.disk.clone(), crash.bounds, &mut rng),
        false => Ok(()),
    })?;
    Ok(seen.len() as u64)
}

#[test]
fn crashes_of_sets_and_removes_lose_nothing() {
    prove("P2 sets and removes", 75_000, |seed| crash_everywhere(SMALL, seed));
}

#[test]
fn crashes_with_compaction_lose_nothing() {
    prove("P2 compaction", 75_000, |seed| crash_everywhere(COMPACTING, seed));
}

#[test]
fn crashes_bring_nothing_back_that_expired() {
    prove("P2 expiry", 75_000, |seed| crash_everywhere(EXPIRING, seed));
}

#[test]
fn crashes_of_batches_lose_nothing() {
    prove("P2 batches", 75_000, |seed| crash_everywhere(BATCHES, seed));
}

#[test]
fn crashes_with_many_unsynced_writes_lose_nothing() {
    prove("P2 unsynced writes", 75_000, |seed| crash_everywhere(LAZY, seed));
}
