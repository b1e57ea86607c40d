//! The commit queue: many callers, one leader at a time.
//!
//! A caller adds its request to the open group. If nobody leads, it takes the group and commits
//! it; requests that come meanwhile form the next group, whose first caller leads next. So a
//! single caller commits at once, and a thousand share one append and one sync (group commit,
//! DeWitt et al., 1984). A leader commits one group and no more: its caller does not work for
//! others for ever. Nobody waits on purpose for company.
//!
//! What a group is and how it is committed is not known here.

use std::mem;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::sync::{Arc, AtomicU8, Condvar, Mutex, Thread, current, lock, park, spin, wait};

/// The bytes that a group may have before callers have to wait for the next one. A request that
/// is larger is a group of its own.
pub(crate) const GROUP_BYTES_MAX: usize = 1 << 20;

/// How often a caller looks for its outcome before it goes to sleep: about as long as an append
/// takes, and much less than a sync.
const SPINS: u32 = 200;

/// Requests that are committed together.
pub(crate) trait Group: Default {
    /// What becomes of the requests of a caller.
    type Outcome;
    /// The bytes of all requests.
    fn bytes(&self) -> usize;
    /// Whether there is no request.
    fn is_empty(&self) -> bool;
    /// Takes out the outcome of requests of one caller, by their numbers in the order of joining.
    fn outcome(&mut self, requests: Range<usize>) -> Self::Outcome;
    /// Makes it an empty group, which may keep its memory.
    fn reset(&mut self);
}

pub(crate) struct Queue<G: Group> {
    state: Mutex<State<G>>,
    /// Told when a group was taken, if somebody waits for room, and when a closed queue is idle.
    room: Condvar,
}

struct State<G: Group> {
    open: G,
    /// Of the requests in `open` that came while somebody led: all of them, while one does.
    tickets: Vec<Arc<Ticket<G::Outcome>>>,
    leading: bool,
    closed: bool,
    waiting_for_room: usize,
    /// An empty group with memory.
    spare: Option<G>,
}

/// Where a caller waits.
struct Ticket<T> {
    requests: Range<usize>,
    state: AtomicU8,
    outcome: Mutex<Option<T>>,
    owner: Thread,
}

const WAITING: u8 = 0;
const LEADS: u8 = 1;
const DONE: u8 = 2;

/// The queue takes no more requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueClosed;

impl<G: Group> Queue<G> {
    pub(crate) fn new() -> Queue<G> {
        Queue {
            state: Mutex::new(State {
                open: G::default(),
                tickets: Vec::new(),
                leading: false,
                closed: false,
                waiting_for_room: 0,
                spare: None,
            }),
            room: Condvar::new(),
        }
    }

    /// Adds requests of about `bytes` bytes with `join`, which gives their numbers in the group,
    /// and comes back with their outcome once the group was committed, here or by another caller.
    /// `patient` callers expect to wait long and go to sleep at once.
    pub(crate) fn submit(
        &self,
        bytes: usize,
        patient: bool,
        join: impl FnOnce(&mut G) -> Range<usize>,
        commit: impl FnOnce(&mut G),
    ) -> Result<G::Outcome, QueueClosed> {
        let mut state = lock(&self.state);
        while !state.closed
            && !state.open.is_empty()
            && state.open.bytes().saturating_add(bytes) > GROUP_BYTES_MAX
        {
            state.waiting_for_room += 1;
            state = wait(&self.room, state);
            state.waiting_for_room -= 1;
        }
        if state.closed {
            return Err(QueueClosed);
        }
        let requests = join(&mut state.open);
        let mut own = None;
        if state.leading {
            let ticket = Arc::new(Ticket::new(requests.clone()));
            state.tickets.push(Arc::clone(&ticket));
            drop(state);
            if let Some(outcome) = ticket.wait(patient) {
                return Ok(outcome);
            }
            own = Some(ticket);
            state = lock(&self.state);
        }
        state.leading = true;
        let spare = state.spare.take().unwrap_or_default();
        let mut group = mem::replace(&mut state.open, spare);
        let mut tickets = mem::take(&mut state.tickets);
        if state.waiting_for_room > 0 {
            self.room.notify_all();
        }
        drop(state);
        commit(&mut group);
        let outcome = group.outcome(requests);
        if let Some(own) = own {
            tickets.retain(|ticket| !Arc::ptr_eq(&own, ticket));
        }
        let outcomes: Vec<G::Outcome> =
            tickets.iter().map(|ticket| group.outcome(ticket.requests.clone())).collect();
        self.hand_over(group);
        tickets.iter().zip(outcomes).for_each(|(ticket, outcome)| ticket.finish(outcome));
        Ok(outcome)
    }

    /// Whether a request that came now would be committed at once, by its own caller.
    #[allow(dead_code, reason = "the model checkers compile this file without its callers")]
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        !state.leading && !state.closed
    }

    /// Gives the lead to the first caller of the next group, if there is one.
    fn hand_over(&self, mut used: G) {
        used.reset();
        let mut state = lock(&self.state);
        state.spare = Some(used);
        match state.tickets.first() {
            Some(next) => next.signal(LEADS),
            None => {
                state.leading = false;
                if state.closed {
                    self.room.notify_all();
                }
            }
        }
    }

    /// Refuses all requests from here on, and returns when those that are queued are committed.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.room.notify_all();
        while state.leading {
            state = wait(&self.room, state);
        }
    }
}

impl<T> Ticket<T> {
    fn new(requests: Range<usize>) -> Ticket<T> {
        let state = AtomicU8::new(WAITING);
        Ticket { requests, state, outcome: Mutex::new(None), owner: current() }
    }

    /// Waits for the outcome; none: this caller leads now.
    fn wait(&self, patient: bool) -> Option<T> {
        let mut spins = if patient { SPINS } else { 0 };
        loop {
            match self.state.load(Ordering::Acquire) {
                DONE => return lock(&self.outcome).take(),
                LEADS => return None,
                _ if spins < SPINS => {
                    spins += 1;
                    spin();
                }
                _ => park(),
            }
        }
    }

    fn finish(&self, outcome: T) {
        *lock(&self.outcome) = Some(outcome);
        self.signal(DONE);
    }

    fn signal(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.owner.unpark();
    }
}
