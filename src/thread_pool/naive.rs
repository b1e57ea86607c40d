//! A thread for each job: no queue, no limit, and the price of a thread for each.

use std::thread;

use super::{ThreadPool, check_threads};
use crate::error::Result;

/// Not a pool at all: each job gets a thread of its own, which ends with it. The yardstick for the
/// others.
///
/// Where the operating system gives no thread, the job is lost, which
/// [`run_on`](super::run_on) answers as [`KvsError::JobLost`](crate::KvsError::JobLost). Dropping
/// it leaves the jobs that run alone.
///
/// ```
/// use kvs::thread_pool::{NaiveThreadPool, ThreadPool};
/// let (sender, receiver) = std::sync::mpsc::channel();
/// NaiveThreadPool::new(1)?.spawn(move || sender.send(42).unwrap());
/// assert_eq!(receiver.recv(), Ok(42));
/// # Ok::<(), kvs::KvsError>(())
/// ```
#[derive(Debug)]
pub struct NaiveThreadPool;

impl ThreadPool for NaiveThreadPool {
    fn new(threads: u32) -> Result<NaiveThreadPool> {
        check_threads(threads)?;
        Ok(NaiveThreadPool)
    }

    fn spawn<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        // There is nobody to tell that no thread was to be had, but whoever waits for the job.
        let _ = thread::Builder::new().name("kvs-job".to_owned()).spawn(job);
    }

    fn threads(&self) -> usize {
        usize::MAX
    }
}
