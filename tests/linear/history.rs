//! Calls and what was answered, and what a call does to an object.
//!
//! An object is a pair of keys: so calls on both at once are checked for being one. Objects are
//! independent of each other, so each is checked for itself.

use std::fmt;

pub const KEYS: usize = 2;
/// The value of each key of an object.
pub type State = [Option<i64>; KEYS];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Get,
    Set(i64),
    Remove,
    /// If the key has what is expected, it gets this; no value: it is removed.
    Swap(Option<i64>, Option<i64>),
    Add(i64),
    /// The steps behind it only if the key has this.
    Require(Option<i64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not told, or there was no answer.
    Untold,
    /// What the key has or had before.
    Value(Option<i64>),
    /// Whether the key had a value before.
    Existed(bool),
    /// It was as expected.
    Met,
    /// It was not, and what it has if that was told.
    Refused(Option<Option<i64>>),
    Sum(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The first key of the object or the second.
    pub key: usize,
    pub action: Action,
    pub outcome: Outcome,
}

/// Steps that happen together. Times are in nanoseconds of one clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub client: usize,
    pub steps: Vec<Step>,
    pub called: u64,
    /// None: there was no answer. It may have happened at any time since, or never.
    pub returned: Option<u64>,
}

impl Call {
    /// What the object is after the call; none: it cannot have been answered so.
    pub fn apply(&self, mut state: State) -> Option<State> {
        for step in &self.steps {
            let outcome = if self.returned.is_some() { step.outcome } else { Outcome::Untold };
            let slot = &mut state[step.key];
            let held = *slot;
            let is_told = match (step.action, outcome) {
                (_, Outcome::Untold) => true,
                (Action::Get | Action::Set(_) | Action::Remove, Outcome::Value(told)) => {
                    told == held
                }
                (Action::Set(_) | Action::Remove, Outcome::Existed(told)) => told == held.is_some(),
                (Action::Swap(expected, _) | Action::Require(expected), Outcome::Met) => {
                    held == expected
                }
                (Action::Swap(expected, _) | Action::Require(expected), Outcome::Refused(told)) => {
                    held != expected && told.is_none_or(|told| told == held)
                }
                (Action::Add(by), Outcome::Sum(told)) => told == held.unwrap_or(0) + by,
                (action, outcome) => panic!("{action:?} is never answered with {outcome:?}"),
            };
            if !is_told {
                return None;
            }
            match step.action {
                Action::Get => (),
                Action::Set(value) => *slot = Some(value),
                Action::Remove => *slot = None,
                Action::Swap(expected, new) if held == expected => *slot = new,
                Action::Swap(..) => (),
                Action::Add(by) => *slot = Some(held.unwrap_or(0) + by),
                Action::Require(expected) if held == expected => (),
                Action::Require(_) => return Some(state),
            }
        }
        Some(state)
    }

    /// Whether it changes nothing in any state.
    pub fn only_reads(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Get)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}..", self.called)?;
        match self.returned {
            Some(returned) => write!(f, "{returned:<12}")?,
            None => write!(f, "{:12}", "no answer")?,
        }
        write!(f, " client {}:", self.client)?;
        for Step { key, action, outcome } in &self.steps {
            write!(f, " key {key} {action:?}")?;
            if *outcome != Outcome::Untold {
                write!(f, " -> {outcome:?}")?;
            }
        }
        Ok(())
    }
}
