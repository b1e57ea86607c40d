//! The commit queue under weak memory orders: two callers, one of whom may wait for the other.

use std::ops::Range;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::queue::{Group, Queue};

#[derive(Default)]
struct Requests(Vec<u32>);

impl Group for Requests {
    type Outcome = u32;

    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn outcome(&mut self, requests: Range<usize>) -> u32 {
        self.0[requests.start] + 1000
    }

    fn reset(&mut self) {
        self.0.clear();
    }
}

struct Desk {
    queue: Queue<Requests>,
    /// Loom fails if two leaders are in it and do not surely come one after the other.
    log: UnsafeCell<()>,
}

impl Desk {
    fn submit(&self, request: u32) {
        let join = |group: &mut Requests| {
            group.0.push(request);
            group.0.len() - 1..group.0.len()
        };
        // Patient, because loom would follow each turn of a caller that spins.
        let outcome = self.queue.submit(1, true, join, |_| self.log.with_mut(|_| ()));
        assert_eq!(outcome, Ok(request + 1000));
    }
}

#[test]
fn two_callers_get_their_outcomes() {
    loom::model(|| {
        let desk = Arc::new(Desk { queue: Queue::new(), log: UnsafeCell::new(()) });
        let other = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || desk.submit(1))
        };
        desk.submit(2);
        other.join().unwrap();
        desk.queue.close();
    });
}
