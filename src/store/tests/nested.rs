//! Crashes while the store recovers from a crash, and once more inside that.

use super::crash::Recorded;
use super::examine::examine;
use super::proof::{Checked, prove};
use super::workload::{COMPACTING, SMALL, Shape, open};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;

/// One outer crash in so many is followed through.
const OUTER_IN: usize = 60;
/// Crashes per call of a recovery.
const PLANS: usize = 8;

struct Nest<'a> {
    recorded: &'a Recorded,
    rng: Rng,
    states: u64,
}

impl Nest<'_> {
    /// Recovers the store on this disk, crashes at each call of that, and does the same with the
    /// disks that come of it until `depth` is used up. The power loss of a machine whose store was
    /// killed before may take all but the first `durable` operations.
    fn crash_within(
        &mut self,
        disk: &SimDisk,
        bounds: (usize, usize),
        durable: usize,
        depth: usize,
    ) -> Checked<()> {
        disk.record();
        let options = self.recorded.shape.options();
        let store = open(disk, &options, self.rng.next()).map_err(|e| format!("open: {e}"))?;
        let opened = disk.position();
        let found = super::oracle::Contents::read(&store, self.recorded.shape.keys)?;
        let survived = self.recorded.history.check(&found, bounds)?;
        store.sync().map_err(|error| format!("sync: {error}"))?;
        let synced = disk.position();
        store.compact_step().map_err(|error| format!("compact: {error}"))?;
        store.abandon();
        let trace = disk.take_trace();
        let mut replay = trace.replay();
        for at in 0..=trace.len() {
            replay.advance_to(at);
            for plan in CrashPlan::choose(replay.pending(), PLANS, &mut self.rng) {
                // The death of the process changes no byte, so the same must be found again; and
                // what was there when a sync was acknowledged is durable.
                let durable = if at >= synced { survived } else { durable };
                let bounds = match plan.keep {
                    Keep::Process => (survived, survived),
                    _ => (durable, survived),
                };
                let disk = SimDisk::of(replay.crash(&plan));
                let deeper = depth > 0 && self.rng.one_in(OUTER_IN);
                let examined = if deeper {
                    self.crash_within(&disk, bounds, durable, depth - 1)
                } else {
                    self.states += 1;
                    let Recorded { shape, history, .. } = self.recorded;
                    examine(*shape, history, disk, bounds, &mut self.rng)
                };
                examined.map_err(|wrong| {
                    format!("{wrong}\n  in recovery, after call {at} (opened {opened}), {plan:?}")
                })?;
            }
        }
        Ok(())
    }
}

fn crash_in_recovery(shape: Shape, seed: u64) -> Checked<u64> {
    let recorded = Recorded::new(shape, seed)?;
    let mut nest = Nest { recorded: &recorded, rng: Rng::new(seed ^ 2), states: 0 };
    let mut replay = recorded.trace.replay();
    for at in 0..=recorded.trace.len() {
        replay.advance_to(at);
        for plan in CrashPlan::choose(replay.pending(), 16, &mut nest.rng) {
            if nest.rng.one_in(OUTER_IN) {
                let bounds = recorded.history.bounds(at, plan.keep == Keep::Process);
                let durable = recorded.history.bounds(at, false).0;
                nest.crash_within(&SimDisk::of(replay.crash(&plan)), bounds, durable, 1)
                    .map_err(|wrong| format!("{wrong}\n  after call {at}, {plan:?}"))?;
            }
        }
    }
    Ok(nest.states)
}

#[test]
fn crashes_in_recovery_lose_nothing() {
    prove("P3 sets and removes", 25_000, |seed| crash_in_recovery(SMALL, seed));
}

#[test]
fn crashes_in_recovery_with_compaction_lose_nothing() {
    prove("P3 compaction", 25_000, |seed| crash_in_recovery(COMPACTING, seed));
}
