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
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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

    /// How many jobs run at the same time, at most; 1 for a pool that does not say.
    ///
    /// ```
    /// use kvs::thread_pool::{SharedQueueThreadPool, ThreadPool};
    /// assert_eq!(SharedQueueThreadPool::new(4)?.threads(), 4);
    /// # Ok::<(), kvs::KvsError>(())
    /// ```
    fn threads(&self) -> usize {
        1
    }
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

/// What a pool runs.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The answer of a job, when it has one; [`KvsError::JobLost`] if it comes to none.
pub(crate) struct JobAnswer<T>(oneshot::Receiver<Result<T>>);

impl<T> JobAnswer<T> {
    pub(crate) fn of(receiver: oneshot::Receiver<Result<T>>) -> JobAnswer<T> {
        JobAnswer(receiver)
    }
}

impl<T> Future for JobAnswer<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.0).poll(context).map(|it| it.unwrap_or(Err(KvsError::JobLost)))
    }
}

/// As [`run_on`], where whoever asked may lose interest: the job is not begun when its answer was
/// dropped, and it can ask whether that is so while it runs.
pub(crate) fn run_while_wanted<T: Send + 'static>(
    spawn: impl FnOnce(Job),
    job: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
) -> JobAnswer<T> {
    let (sender, receiver) = oneshot::channel();
    spawn(Box::new(move || {
        if !sender.is_canceled() {
            let answer = job(&|| !sender.is_canceled());
            // Nobody may be waiting any more.
            let _ = sender.send(answer);
        }
    }));
    JobAnswer::of(receiver)
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
