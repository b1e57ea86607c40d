//! The commit queue: each request is committed once, in the order of joining, and its caller
//! gets its outcome; nobody waits for ever, and a closed queue is idle.

use std::ops::Range;
use std::sync::atomic::Ordering;

use shuttle::thread;

use super::queue::{GROUP_BYTES_MAX, Group, Queue, QueueClosed};
use super::sync::{Arc, AtomicBool};
use super::{catches, explore};

#[derive(Default)]
struct Requests {
    bytes: usize,
    requests: Vec<u64>,
    outcomes: Vec<Option<u64>>,
}

impl Group for Requests {
    type Outcome = u64;

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn outcome(&mut self, requests: Range<usize>) -> u64 {
        self.outcomes[requests.start].take().expect("an outcome is taken once")
    }

    fn reset(&mut self) {
        assert!(self.outcomes.iter().all(Option::is_none), "a request got no outcome");
        *self = Requests::default();
    }
}

/// A queue, and what was seen of it. The lists are behind real locks: no points of a schedule.
struct Desk {
    queue: Queue<Requests>,
    joined: std::sync::Mutex<Vec<u64>>,
    committed: std::sync::Mutex<Vec<u64>>,
    committing: AtomicBool,
}

impl Desk {
    fn new() -> Arc<Desk> {
        Arc::new(Desk {
            queue: Queue::new(),
            joined: std::sync::Mutex::default(),
            committed: std::sync::Mutex::default(),
            committing: AtomicBool::new(false),
        })
    }

    fn submit(&self, request: u64, bytes: usize, patient: bool) -> Result<(), QueueClosed> {
        let join = |group: &mut Requests| {
            let fits = group.is_empty() || group.bytes + bytes <= GROUP_BYTES_MAX;
            assert!(fits, "a group is too large");
            self.joined.lock().unwrap().push(request);
            group.bytes += bytes;
            group.requests.push(request);
            group.requests.len() - 1..group.requests.len()
        };
        let outcome = self.queue.submit(bytes, patient, join, |group| self.commit(group))?;
        assert_eq!(outcome, answer(request), "the outcome of another request");
        Ok(())
    }

    fn commit(&self, group: &mut Requests) {
        assert!(!self.committing.swap(true, Ordering::SeqCst), "two leaders");
        assert!(!group.is_empty(), "a group without a request");
        self.committed.lock().unwrap().extend(&group.requests);
        group.outcomes = group.requests.iter().map(|request| Some(answer(*request))).collect();
        if kvs_bug!("mix_up_outcomes") {
            group.outcomes.reverse();
        }
        self.committing.store(false, Ordering::SeqCst);
    }

    /// Everything that joined was committed, once and in that order.
    fn check(&self) -> usize {
        let joined = self.joined.lock().unwrap();
        assert_eq!(*joined, *self.committed.lock().unwrap());
        joined.len()
    }
}

fn answer(request: u64) -> u64 {
    request * 1000 + 7
}

/// What a caller submits: how many bytes, and whether it sleeps at once.
const CALLS: [&[(usize, bool)]; 3] = [
    &[(10, true), (700 << 10, true)],
    &[(700 << 10, true), (GROUP_BYTES_MAX + 1, true)],
    &[(400 << 10, false), (10, true)],
];

fn call(desk: &Arc<Desk>, caller: usize) -> thread::JoinHandle<usize> {
    let desk = Arc::clone(desk);
    thread::spawn(move || {
        let numbers = (100 * caller as u64)..;
        let calls = numbers.zip(CALLS[caller]);
        calls
            .take_while(|(it, (bytes, patient))| desk.submit(*it, *bytes, *patient).is_ok())
            .count()
    })
}

fn open_queue() {
    let desk = Desk::new();
    let callers = [0, 1, 2].map(|caller| call(&desk, caller));
    let accepted: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert_eq!(accepted, 6);
    assert_eq!(desk.check(), accepted);
    desk.queue.close();
}

fn closing_queue() {
    let desk = Desk::new();
    let callers = [0, 1, 2].map(|caller| call(&desk, caller));
    desk.queue.close();
    let accepted_then = desk.check();
    assert_eq!(desk.submit(900, 1, true), Err(QueueClosed));
    let accepted: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert_eq!(accepted, accepted_then, "a request was committed after the queue was closed");
    assert_eq!(desk.check(), accepted);
}

#[test]
fn each_request_is_committed_once_and_in_order() {
    explore("model_queue", open_queue);
}

#[test]
fn a_closed_queue_is_idle() {
    explore("model_queue_close", closing_queue);
}

#[test]
fn outcomes_of_other_callers_are_caught() {
    catches("mix_up_outcomes", open_queue);
}
