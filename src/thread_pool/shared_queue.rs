//! Threads that take their jobs from one queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Job, ThreadPool, check_threads, no_thread};
use crate::error::Result;

/// A fixed number of threads that take jobs from one queue, in the order in which they came.
///
/// A job that panics costs no thread. Dropping the pool waits until all jobs that were spawned have
/// ended; dropped by one of its own jobs, it does not wait (it would wait for itself), and the
/// threads end by themselves when the queue is empty.
///
/// ```
/// use kvs::thread_pool::{SharedQueueThreadPool, ThreadPool};
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let pool = SharedQueueThreadPool::new(2)?;
/// pool.spawn(|| panic!("of no consequence"));
/// pool.spawn(move || sender.send(42).unwrap());
/// drop(pool);
/// assert_eq!(receiver.recv(), Ok(42));
/// # Ok::<(), kvs::KvsError>(())
/// ```
#[derive(Debug)]
pub struct SharedQueueThreadPool {
    /// None only while it is dropped: when the sender is gone, the threads end.
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl ThreadPool for SharedQueueThreadPool {
    fn new(threads: u32) -> Result<SharedQueueThreadPool> {
        check_threads(threads)?;
        let (queue, jobs) = unbounded();
        let mut pool = SharedQueueThreadPool { queue: Some(queue), threads: Vec::new() };
        for number in 0..threads {
            let jobs = jobs.clone();
            let thread = thread::Builder::new().name(format!("kvs-pool-{number}"));
            // Where one cannot be had, the ones before it end with the pool.
            pool.threads.push(thread.spawn(move || run_jobs(&jobs)).map_err(no_thread)?);
        }
        Ok(pool)
    }

    fn spawn<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        if let Some(queue) = &self.queue {
            // Its receivers live as long as the threads, and those as long as this sender.
            let _ = queue.send(Box::new(job));
        }
    }

    fn threads(&self) -> usize {
        self.threads.len()
    }
}

fn run_jobs(jobs: &Receiver<Job>) {
    for job in jobs {
        // The panic was reported by its hook, and the job is consumed: nothing of it is seen again.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

impl Drop for SharedQueueThreadPool {
    fn drop(&mut self) {
        drop(self.queue.take());
        let own = thread::current().id();
        if self.threads.iter().any(|thread| thread.thread().id() == own) {
            return;
        }
        for thread in self.threads.drain(..) {
            // No panic of a job gets this far.
            let _ = thread.join();
        }
    }
}
