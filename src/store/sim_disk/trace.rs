//! Recordings of the simulated disk: of a workload that was performed once, the state after any
//! number of its calls, and of that state any crash.

use std::ops::Range;
use std::sync::Arc;

use super::crash::CrashPlan;
use super::state::{Call, State};

/// A recording: the state at its start and every call since that changed something.
#[derive(Clone)]
pub struct Trace {
    start: State,
    calls: Vec<Call>,
}

impl Trace {
    /// A recording that starts in this state.
    pub fn new(start: State) -> Trace {
        Trace { start, calls: Vec::new() }
    }

    /// Adds a call.
    pub fn push(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// The number of calls.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// A replay, before the first call.
    pub fn replay(&self) -> Replay<'_> {
        Replay { calls: &self.calls, done: 0, state: self.start.clone(), before: None }
    }

    /// The bytes of its file that the last write wrote.
    pub fn last_write(&self) -> Option<Range<usize>> {
        self.calls.iter().rev().find_map(|call| match call {
            Call::Write { offset, bytes, .. } => Some(*offset..offset + bytes.len()),
            _ => None,
        })
    }

    /// The state after a crash that follows the first so many calls.
    pub fn crash_at(&self, calls: usize, plan: &CrashPlan) -> State {
        let mut replay = self.replay();
        replay.advance_to(calls);
        replay.crash(plan)
    }
}

/// A recording that is replayed call by call; crashes can be had at every stop.
pub struct Replay<'a> {
    calls: &'a [Call],
    done: usize,
    state: State,
    before: Option<State>,
}

impl Replay<'_> {
    /// Goes on until so many calls are done. There is no way back.
    pub fn advance_to(&mut self, calls: usize) {
        for call in self.calls.get(self.done..calls).unwrap_or_default() {
            self.before = Some(self.state.clone());
            self.state.apply(call);
            self.done += 1;
        }
    }

    /// The number of changes that are pending here.
    pub fn pending(&self) -> usize {
        self.state.at_rest().pending().len()
    }

    /// What is pending here, in order, for messages.
    pub fn describe(&self) -> String {
        let state = self.state.at_rest();
        let files = state.files.iter().flat_map(|(node, file)| {
            let name = state.name_of(*node);
            file.pending.iter().map(move |(order, change)| (*order, format!("{name} {change}")))
        });
        let names = state.directories.values().flat_map(|directory| {
            directory.pending.iter().map(|(order, change)| (*order, change.to_string()))
        });
        let mut pending: Vec<(u64, String)> = files.chain(names).collect();
        pending.sort();
        let lines = pending.iter().enumerate().map(|(i, (_, what))| format!("\n  {i}: {what}"));
        lines.collect()
    }

    /// The state after a crash at this point.
    pub fn crash(&self, plan: &CrashPlan) -> State {
        plan.apply(&self.state)
    }

    /// The state after the death of the process within the last call, of whose `len` bytes a part
    /// was written; `cut` makes the part of `len`. `None` if the last call was not a write.
    pub fn kill_within(&self, cut: impl FnOnce(usize) -> usize) -> Option<State> {
        let Some(Call::Write { file, offset, bytes }) = self.calls.get(..self.done)?.last() else {
            return None;
        };
        let bytes = Arc::from(bytes.get(..cut(bytes.len()))?);
        let mut state = self.before.clone()?;
        state.apply(&Call::Write { file: *file, offset: *offset, bytes });
        Some(state.at_rest())
    }
}
