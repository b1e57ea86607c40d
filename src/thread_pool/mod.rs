//! Thread pools: the trait, and waiting for a job with a future.
//!
//! The server uses one to run an engine that blocks. It knows no async runtime: what a job answers
//! comes through a channel whose receiver is a future.

mod naive;
mod rayon;
mod shared_queue;
mod any;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_channel::oneshot;

pub use any::{AnyThreadPool, PoolKind};
pub use naive::NaiveThreadPool;
pub use rayon::RayonThreadPool;
pub use shared_queue::SharedQueueThreadPool;

use crate::error::{KvsError, Result};

/// Threads that run jobs.
///
/// A job that panics costs no thread: the pool goes on with as many as before.
pub trait ThreadPool: Send + Sync + 'static {
    /// A pool of that many threads.
    ///
    /// # Errors
    /// [`KvsError::InvalidOption`] for no threads; [`KvsError::Io`] if the operating system gives
    /// no thread.
    fn new(threads: u32) -> Result<Self>
    where
        Self: Sized;

    /// Has a job run on one of the threads, some time. It does not wait for that.
    fn spawn<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static;
}

/// Runs a job on a pool and waits for its answer without blocking the caller's thread.
///
/// The job is on its way when this is called, whether or not the future is polled.
///
/// # Errors
/// What the job answers; [`KvsError::JobLost`] if it panicked.
pub fn run_on<P, T, F>(pool: &P, job: F) -> impl Future<Output = Result<T>> + Send + use<P, T, F>
where
    P: ThreadPool,
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    pool.spawn(move || {
        // Nobody may be waiting any more, which is no concern of the job's.
        let _ = sender.send(job());
    });
    async move { receiver.await.unwrap_or(Err(KvsError::JobLost)) }
}

/// Refuses a pool without threads.
fn check_threads(threads: u32) -> Result<()> {
    if threads == 0 {
        let (value, expected) = ("0".to_owned(), "at least 1");
        return Err(KvsError::InvalidOption { option: "threads", value, expected });
    }
    Ok(())
}

/// What the operating system answered when it was asked for a thread.
fn no_thread(source: io::Error) -> KvsError {
    KvsError::Io { action: "start", path: PathBuf::from("a thread"), source: Arc::new(source) }
}
