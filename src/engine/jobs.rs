//! Where the calls of a store are done that may take long.
//!
//! What must not wait for others has threads of its own: one for what is asked of the store as a
//! whole (its figures, its end), and one for what the store does one after the other anyway
//! (compaction, clearing). Everything else goes to the pool; but of scans, each of which may go
//! over all keys, so few at a time that half of the pool is left for the rest. What nobody waits
//! for any more is not begun, and a scan that nobody wants any more gives up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::thread_pool::{
    Job, JobAnswer, SharedQueueThreadPool, ThreadPool, run_on, run_while_wanted,
};

/// The threads of a store.
pub(super) struct Jobs<P: ThreadPool> {
    scans: Arc<Lane<P>>,
    prompt: SharedQueueThreadPool,
    in_turn: SharedQueueThreadPool,
}

impl<P: ThreadPool> Jobs<P> {
    pub(super) fn new(pool: P) -> Result<Jobs<P>> {
        let free = (pool.threads() / 2).max(1);
        let waiting = Mutex::new(Waiting { free, jobs: VecDeque::new() });
        let (prompt, in_turn) = (SharedQueueThreadPool::new(1)?, SharedQueueThreadPool::new(1)?);
        Ok(Jobs { scans: Arc::new(Lane { pool, waiting }), prompt, in_turn })
    }

    /// Has something read that does not take very long.
    pub(super) fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> JobAnswer<T> {
        run_while_wanted(|job| self.scans.pool.spawn(job), move |_| job())
    }

    /// Has a part of a scan done. The job can ask whether that is still wanted.
    pub(super) fn scan<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
    ) -> JobAnswer<T> {
        run_while_wanted(|job| self.scans.spawn(job), job)
    }

    /// Has something done that waits for no scan, no compaction and no read.
    pub(super) fn prompt<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        run_on(&self.prompt, job)
    }

    /// Has something done of which the store does one at a time.
    pub(super) fn in_turn<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        run_on(&self.in_turn, job)
    }
}

/// Jobs of which only some are on the pool at a time.
struct Lane<P> {
    pool: P,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    /// How many more may be on the pool.
    free: usize,
    /// Only where none is free.
    jobs: VecDeque<Job>,
}

impl<P: ThreadPool> Lane<P> {
    fn spawn(self: &Arc<Lane<P>>, job: Job) {
        let mut waiting = self.waiting();
        if waiting.free == 0 {
            return waiting.jobs.push_back(job);
        }
        waiting.free -= 1;
        drop(waiting);
        self.start(job);
    }

    fn start(self: &Arc<Lane<P>>, job: Job) {
        let place = Place(Arc::clone(self));
        self.pool.spawn(move || {
            // Given on when the job has ended, be it by a panic.
            let _place = place;
            job();
        });
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a job among those on the pool.
struct Place<P: ThreadPool>(Arc<Lane<P>>);

impl<P: ThreadPool> Drop for Place<P> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        let next = waiting.jobs.pop_front();
        waiting.free += usize::from(next.is_none());
        drop(waiting);
        if let Some(next) = next {
            self.0.start(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::Jobs;
    use crate::engine::conformance::wait;
    use crate::thread_pool::{SharedQueueThreadPool, ThreadPool};

    fn jobs(threads: u32) -> Jobs<SharedQueueThreadPool> {
        Jobs::new(SharedQueueThreadPool::new(threads).unwrap()).unwrap()
    }

    #[test]
    fn scans_leave_half_of_the_pool_and_the_rest_waits_for_none() {
        let jobs = jobs(4);
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let scans: Vec<_> = (0..10)
            .map(|number| {
                let ended = Arc::clone(&ended);
                jobs.scan(move |_| {
                    let _ = ended.lock().unwrap().recv();
                    Ok(number)
                })
            })
            .collect();
        assert_eq!(wait(jobs.read(|| Ok(1))).unwrap(), 1);
        assert_eq!(wait(jobs.prompt(|| Ok(2))).unwrap(), 2);
        assert_eq!(wait(jobs.in_turn(|| Ok(3))).unwrap(), 3);
        drop(end);
        let answers: Vec<i32> = scans.into_iter().map(|scan| wait(scan).unwrap()).collect();
        assert_eq!(answers, Vec::from_iter(0..10));
    }

    #[test]
    fn what_nobody_wants_is_not_begun_and_what_has_begun_is_told() {
        let jobs = jobs(1);
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let scan = jobs.scan(move |is_wanted| {
            begin.send(is_wanted()).unwrap();
            while is_wanted() {
                std::thread::yield_now();
            }
            end.send("gave up").unwrap();
            Ok(())
        });
        let waiting = jobs.scan(|_| -> crate::Result<()> { panic!("nobody waits for this") });
        let read = jobs.read(|| -> crate::Result<()> { panic!("nor for this") });
        assert_eq!(begun.recv(), Ok(true));
        drop((scan, waiting, read));
        assert_eq!(ended.recv(), Ok("gave up"));
        assert!(wait(jobs.read(|| Ok(true))).unwrap());
    }

    #[test]
    fn a_panic_takes_no_place() {
        let jobs = jobs(2);
        for _ in 0..3 {
            let lost = wait(jobs.scan(|_| -> crate::Result<()> { panic!("on purpose") }));
            assert!(matches!(lost, Err(crate::KvsError::JobLost)));
        }
        assert!(wait(jobs.scan(|_| Ok(true))).unwrap());
    }
}
