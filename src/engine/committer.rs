//! The committer: a thread that writes for those who must not wait themselves.
//!
//! While it waits for the disk, further writes come; it takes all of them for the next group. So
//! any number of connections that ask for a sync share one, and none of them holds a thread.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use futures_channel::oneshot;

use super::Write;
use super::store::options_of;
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::WriteOptions;
use crate::store::{Store, Written};
use crate::thread_pool::JobAnswer;

/// The bytes after which what has come is written, though more may be there.
const GROUP_BYTES: usize = 1 << 20;

/// What becomes of writes that were handed over; [`KvsError::JobLost`] if the thread has ended
/// before it could say.
pub(super) type Outcomes = JobAnswer<Vec<Result<Written>>>;

struct Job {
    writes: Vec<Write>,
    outcomes: oneshot::Sender<Result<Vec<Result<Written>>>>,
}

/// The way to the thread. It ends when this is dropped and everything is written.
pub(super) struct Committer {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(store: Store) -> Result<Committer> {
        let (jobs, queue) = unbounded();
        let spawned = thread::Builder::new()
            .name("kvs-committer".to_owned())
            .spawn(move || run(&store, &queue));
        let thread = spawned.map_err(|source| KvsError::Io {
            action: "start a thread for",
            path: "the committer".into(),
            source: Arc::new(source),
        })?;
        Ok(Committer { jobs, thread })
    }

    /// Hands writes over, in this order, behind those of everybody who came before.
    pub(super) fn commit(&self, writes: Vec<Write>) -> Outcomes {
        let (outcomes, receiver) = oneshot::channel();
        // If the thread is gone, so is the sender, and the receiver says so.
        let _ = self.jobs.send(Job { writes, outcomes });
        JobAnswer::of(receiver)
    }

    /// Whether it has ended, as it does before its time only by a panic.
    pub(super) fn is_gone(&self) -> bool {
        self.thread.is_finished()
    }
}

fn run(store: &Store, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut bytes = bytes_of(&first);
        let mut jobs = vec![first];
        while bytes < GROUP_BYTES
            && let Ok(job) = queue.try_recv()
        {
            bytes += bytes_of(&job);
            jobs.push(job);
        }
        let writes: Vec<(&Batch, WriteOptions)> = jobs
            .iter()
            .flat_map(|job| &job.writes)
            .map(|write| (&write.batch, options_of(write)))
            .collect();
        let mut all = store.write_many(&writes).into_iter();
        for job in jobs {
            let outcomes = all.by_ref().take(job.writes.len()).collect();
            // Whoever no longer waits does not want to know.
            let _ = job.outcomes.send(Ok(outcomes));
        }
    }
}

fn bytes_of(job: &Job) -> usize {
    job.writes.iter().map(|write| write.batch.byte_len()).sum()
}

#[cfg(test)]
impl Committer {
    /// One whose thread has panicked.
    pub(super) fn lost() -> Committer {
        let (jobs, _) = unbounded();
        let thread = thread::spawn(|| ());
        while !thread.is_finished() {
            thread::yield_now();
        }
        Committer { jobs, thread }
    }
}
