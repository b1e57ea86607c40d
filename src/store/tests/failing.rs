//! A workload on a disk that fails, and what must hold then: nothing acknowledged is lost, nothing
//! wrong is read, and the store goes on or is poisoned until it is opened again.

use super::examine::examine;
use super::proof::Checked;
use super::workload::{Action, Session, Shape};
use crate::error::KvsError;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::fault::{CallKind, Fault};
use crate::store::sim_disk::state::Rng;

/// One step of a workload on a disk that fails.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// An action.
    Act(Action),
    /// From here on a call is going to fail.
    Fail(Fault),
    /// No call fails any more.
    Mend,
}

/// Performs the steps and checks what comes of them; `crashes` is the seed of the crashes at the
/// end.
pub fn run(
    shape: Shape,
    seed: u64,
    crashes: u64,
    steps: impl Iterator<Item = Step>,
) -> Checked<()> {
    let (mut session, mut reads_fail) = (Session::recorded(shape, seed), false);
    for (index, step) in steps.enumerate() {
        let action = match step {
            Step::Act(action) => action,
            Step::Fail(fault) => {
                reads_fail |= fault.kind == Some(CallKind::Read);
                session.disk.set_fault(fault);
                continue;
            }
            Step::Mend => {
                reads_fail = false;
                session.disk.clear_faults();
                continue;
            }
        };
        let poisoned = session.poisoned();
        let outcome = session.act(action);
        let wrong = |wrong: String| format!("step {index}, {action:?}, {outcome:?}: {wrong}");
        match (&outcome, action) {
            (Ok(()), Action::Write { .. }) if poisoned => {
                return Err(wrong("acknowledged by a poisoned store".to_owned()));
            }
            (Err(KvsError::Corrupt { .. } | KvsError::SegmentMissing { .. }), _) => {
                return Err(wrong("the disk failed, and it is called damage".to_owned()));
            }
            (Err(_), _) if session.store.is_some() && !reads_fail => {
                check_reads(&session).map_err(wrong)?
            }
            _ => {}
        }
    }
    check_after(session, Rng::new(crashes)).map_err(|wrong| format!("at the end: {wrong}"))
}

/// Reads go on: they give what was acknowledged, and nothing of what was refused.
pub fn check_reads(session: &Session) -> Checked<()> {
    let settled = session.history.settled();
    session.history.check(&session.contents()?, (settled, settled)).map(|_| ())
}

/// The faults are over. Checks the state that the process would leave if it died now, states
/// after power losses now and earlier, and the store opened again.
pub fn check_after(mut session: Session, mut rng: Rng) -> Checked<()> {
    session.disk.clear_faults();
    let end = session.disk.position();
    let trace = session.disk.take_trace();
    let settled = session.history.settled();
    let mut stops: Vec<usize> = (0..3).map(|_| rng.below(end + 1)).collect();
    stops.push(end);
    stops.sort_unstable();
    let mut replay = trace.replay();
    for at in stops {
        replay.advance_to(at);
        for plan in CrashPlan::choose(replay.pending(), 5, &mut rng) {
            let (shape, process_only) = (session.shape, plan.keep == Keep::Process);
            let bounds = session.history.bounds(at, process_only);
            let disk = || SimDisk::of(replay.crash(&plan));
            let mut examined = examine(shape, &session.history, disk(), bounds, &mut rng);
            for haunted in session.history.haunted(at, process_only) {
                if examined.is_err() {
                    let bounds = (haunted.len(), haunted.len());
                    examined = examine(shape, &haunted, disk(), bounds, &mut rng).or(examined);
                }
            }
            examined.map_err(|wrong| {
                let pending = replay.describe();
                format!("after call {at} of {end}, {plan:?}: {wrong}; pending:{pending}")
            })?;
        }
    }
    session.store = None;
    if session.disk.open_files() > 0 {
        return Err(format!("{} files were left open", session.disk.open_files()));
    }
    session.open().map_err(|error| format!("opening again: {error}"))?;
    let bounds = (settled, session.history.len());
    let survived = session.history.check(&session.contents()?, bounds)?;
    let history = (session.history.prefix(survived), 1_000_000);
    let mut after = Session::new(session.disk, session.shape, rng.next(), history);
    after.store = session.store;
    after.check_works().map_err(|wrong| format!("opened again: {wrong}"))
}
