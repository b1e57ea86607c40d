//! Any sequence of operations, on a disk that fails at any call, and crashes at the end: nothing
//! acknowledged is lost, and nothing wrong is read.

use super::super::failing::{Step, run};
use super::super::workload::{Action, BATCHES, COMPACTING, LAZY, SMALL};
use crate::fuzzed::Input;
use crate::options::Durability;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};

/// So many operations are performed at most.
const STEPS_MAX: usize = 64;

const KINDS: [Option<CallKind>; 14] = [
    None,
    Some(CallKind::Open),
    Some(CallKind::Read),
    Some(CallKind::List),
    Some(CallKind::Create),
    Some(CallKind::CreateDir),
    Some(CallKind::Write),
    Some(CallKind::SetLen),
    Some(CallKind::Allocate),
    Some(CallKind::Sync),
    Some(CallKind::SyncDir),
    Some(CallKind::Rename),
    Some(CallKind::Link),
    Some(CallKind::Remove),
];

/// The first bytes choose the workload and the crashes; then comes each operation.
pub fn operations(data: &[u8]) {
    let mut input = Input::new(data);
    let shape = [SMALL, COMPACTING, BATCHES, LAZY][input.below(4)];
    let (seed, crashes) = (input.byte().into(), input.byte().into());
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < STEPS_MAX {
        steps.push(step(&mut input));
    }
    if let Err(wrong) = run(shape, seed, crashes, steps.iter().copied()) {
        panic!("{wrong}, of {steps:?}");
    }
}

fn step(input: &mut Input<'_>) -> Step {
    let action = match input.byte() % 24 {
        0..=11 => {
            let durability =
                if input.byte().is_multiple_of(3) { Durability::Always } else { Durability::Os };
            let operations = if input.byte().is_multiple_of(4) { 1 + input.below(13) } else { 1 };
            Action::Write { seed: input.byte().into(), operations, durability }
        }
        12 => Action::SyncStep,
        13 => Action::Sync,
        14 => Action::Rotate,
        15 => Action::CompactStep,
        16 => Action::CompactSome(input.byte().into()),
        17 => Action::Compact,
        18 => Action::Reopen,
        19 => Action::Restart,
        20..=22 => return Step::Fail(fault(input)),
        _ => return Step::Mend,
    };
    Step::Act(action)
}

fn fault(input: &mut Input<'_>) -> Fault {
    let failures = [Failure::Eio, Failure::Enospc, Failure::Emfile, Failure::Short, Failure::Eintr];
    let failure = failures[input.below(failures.len())];
    // Whoever is interrupted tries again, for ever if need be.
    let forever = failure != Failure::Eintr && input.byte().is_multiple_of(2);
    Fault { kind: KINDS[input.below(KINDS.len())], after: input.byte().into(), failure, forever }
}
