//! The pool of the `rayon` crate: a queue for each thread, and idle threads steal.

use std::io;

use super::{ThreadPool, check_threads, no_thread};
use crate::error::Result;

/// A pool of `rayon`: each thread has a queue of its own and takes from others when it is empty.
///
/// A job that panics costs no thread. Dropping it does not wait; what was spawned is still run.
///
/// ```
/// use kvs::thread_pool::{RayonThreadPool, ThreadPool};
/// let (sender, receiver) = std::sync::mpsc::channel();
/// RayonThreadPool::new(2)?.spawn(move || sender.send(42).unwrap());
/// assert_eq!(receiver.recv(), Ok(42));
/// # Ok::<(), kvs::KvsError>(())
/// ```
#[derive(Debug)]
pub struct RayonThreadPool(::rayon::ThreadPool);

impl ThreadPool for RayonThreadPool {
    fn new(threads: u32) -> Result<RayonThreadPool> {
        check_threads(threads)?;
        let pool = ::rayon::ThreadPoolBuilder::new()
            .num_threads(usize::try_from(threads).unwrap_or(usize::MAX))
            .thread_name(|number| format!("kvs-rayon-{number}"))
            // Without one, a panic would end the process. Its hook has reported it.
            .panic_handler(|_| {})
            .build();
        Ok(RayonThreadPool(pool.map_err(|error| no_thread(io::Error::other(error)))?))
    }

    fn spawn<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.0.spawn(job);
    }

    fn threads(&self) -> usize {
        self.0.current_num_threads()
    }
}
