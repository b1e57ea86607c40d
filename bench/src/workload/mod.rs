//! The workloads, and the loop that all measurements of a rate share.

pub mod load;
pub mod mixed;
pub mod read;
pub mod remove;
pub mod reopen;
pub mod scan;
pub mod soak;
pub mod sync;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::data::{KEY_MAX, Rng};
use crate::engine::Res;

/// What one thread of `run_for` has to itself.
pub struct Hand {
    pub thread: usize,
    /// Operations that this thread has done.
    pub step: u64,
    pub rng: Rng,
    pub key: [u8; KEY_MAX],
}

/// Repeats `op` on `threads` threads for `seconds`, looking at the clock after every `chunk`
/// operations, and answers the operations per second of all threads together.
pub fn run_for<F>(threads: usize, seconds: f64, chunk: u64, op: F) -> Res<f64>
where
    F: Fn(&mut Hand) -> Res<()> + Sync,
{
    let barrier = Barrier::new(threads);
    let work = &|thread: usize| -> Res<f64> {
        let mut hand =
            Hand { thread, step: 0, rng: Rng::new(thread as u64 + 1), key: [0; KEY_MAX] };
        barrier.wait();
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        loop {
            for _ in 0..chunk {
                op(&mut hand)?;
                hand.step += 1;
            }
            if Instant::now() >= end {
                return Ok(hand.step as f64 / start.elapsed().as_secs_f64());
            }
        }
    };
    std::thread::scope(|scope| {
        let spawned: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let rates = spawned.into_iter().map(|thread| thread.join().expect("a thread panicked"));
        rates.sum()
    })
}
