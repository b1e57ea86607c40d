//! Whether a history is linearizable.
//!
//! The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", Journal of
//! Parallel and Distributed Computing 17, 1993): of the calls that no other one precedes, one is
//! taken for the next, tried on the object, and taken back if that leads nowhere. Lowe ("Testing
//! for linearizability", Concurrency and Computation: Practice and Experience 29, 2017) adds the
//! memo: the same calls done with the same object after them need not be tried twice. The history
//! is a doubly linked list, from which what is done is lifted, as in both.
//!
//! A call without an answer has no end in the list: it can be done at any time after it began,
//! and the search is over when all others are.

use std::collections::HashSet;

use super::history::{Call, State};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Impossible,
    /// It was given up after `TRIES_MAX`.
    Undecided,
}

const TRIES_MAX: u64 = 30_000_000;
/// What stands before the first event.
const HEAD: usize = 0;

/// Decides for an object that is `initial` before the first call.
pub fn check(initial: State, calls: &[Call]) -> Verdict {
    Search::new(initial, calls).run()
}

#[derive(Clone, Copy)]
enum Event {
    /// The index of a call that begins.
    Begin(usize),
    End,
}

struct Search<'a> {
    calls: &'a [Call],
    /// In the order of time, behind the head.
    events: Vec<Event>,
    before: Vec<usize>,
    after: Vec<usize>,
    /// The events of each call; without an end if it had no answer.
    places: Vec<(usize, Option<usize>)>,
    /// Calls that were answered and are not done yet.
    left: usize,
    /// A bit for each call that is done.
    done: Vec<u64>,
    state: State,
    /// The calls that are done, in order, with the state before each.
    order: Vec<(usize, State)>,
    tried: HashSet<(Vec<u64>, State)>,
}

impl<'a> Search<'a> {
    fn new(initial: State, calls: &'a [Call]) -> Search<'a> {
        // At the same time, beginnings come first: then the calls overlap.
        let mut times: Vec<(u64, bool, usize)> = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            times.push((call.called, false, index));
            if let Some(returned) = call.returned {
                assert!(returned >= call.called);
                times.push((returned, true, index));
            }
        }
        times.sort_unstable();
        let mut events = vec![Event::End];
        let mut places = vec![(HEAD, None); calls.len()];
        for (_, is_end, index) in times {
            if is_end {
                places[index].1 = Some(events.len());
                events.push(Event::End);
            } else {
                places[index].0 = events.len();
                events.push(Event::Begin(index));
            }
        }
        let count = events.len();
        Search {
            calls,
            events,
            before: (0..count).map(|place| (place + count - 1) % count).collect(),
            after: (0..count).map(|place| (place + 1) % count).collect(),
            places,
            left: calls.iter().filter(|call| call.returned.is_some()).count(),
            done: vec![0; calls.len().div_ceil(64)],
            state: initial,
            order: Vec::new(),
            tried: HashSet::new(),
        }
    }

    fn run(mut self) -> Verdict {
        let mut place = self.after[HEAD];
        for _ in 0..TRIES_MAX {
            if self.left == 0 {
                return Verdict::Linearizable;
            }
            // Behind the last beginning there is an end, as calls are left.
            let event = self.events[place];
            place = match event {
                Event::Begin(call) if self.do_call(call) => self.after[HEAD],
                Event::Begin(_) => self.after[place],
                // It must have been done before, and was not.
                Event::End => match self.undo_last() {
                    Some(undone) => self.after[self.places[undone].0],
                    None => return Verdict::Impossible,
                },
            };
        }
        Verdict::Undecided
    }

    /// Does the call next, if it can have been answered so and that was not tried already.
    fn do_call(&mut self, index: usize) -> bool {
        let call = &self.calls[index];
        let Some(state) = call.apply(self.state) else {
            return false;
        };
        self.done[index / 64] |= 1 << (index % 64);
        if !self.tried.insert((self.done.clone(), state)) {
            self.done[index / 64] &= !(1 << (index % 64));
            return false;
        }
        self.order.push((index, self.state));
        self.state = state;
        let (begin, end) = self.places[index];
        for place in [Some(begin), end].into_iter().flatten() {
            let (before, after) = (self.before[place], self.after[place]);
            self.after[before] = after;
            self.before[after] = before;
        }
        self.left -= usize::from(end.is_some());
        true
    }

    /// Takes back the last call that was done.
    fn undo_last(&mut self) -> Option<usize> {
        let (index, state) = self.order.pop()?;
        self.state = state;
        self.done[index / 64] &= !(1 << (index % 64));
        let (begin, end) = self.places[index];
        for place in [end, Some(begin)].into_iter().flatten() {
            let (before, after) = (self.before[place], self.after[place]);
            self.after[before] = place;
            self.before[after] = place;
        }
        self.left += usize::from(end.is_some());
        Some(index)
    }
}
