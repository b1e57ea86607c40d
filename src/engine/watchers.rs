//! Waiting for changes of a store without a thread for each who waits.
//!
//! One thread waits for the store and tells all; it is there only while somebody waits.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use super::jobs::Jobs;
use super::{Answer, Changes};
use crate::error::{KvsError, Result};
use crate::store::{Change, Look, Store, Watch};
use crate::thread_pool::{JobAnswer, ThreadPool};

/// How long the thread waits at a time for a store in which nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// The thread, and who waits for it.
pub(super) struct Watchers {
    store: Store,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    to_be_told: Vec<oneshot::Sender<()>>,
    has_thread: bool,
}

impl Watchers {
    pub(super) fn new(store: Store) -> Arc<Watchers> {
        Arc::new(Watchers { store, waiting: Mutex::default() })
    }

    /// Comes when something may have been published after this call, or the store is closed.
    fn subscribe(self: &Arc<Watchers>) -> Result<oneshot::Receiver<()>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.to_be_told.push(sender);
        if !waiting.has_thread {
            let watchers = Arc::clone(self);
            let thread = thread::Builder::new().name("kvs-watchers".to_owned());
            thread.spawn(move || watchers.run()).map_err(|source| KvsError::Io {
                action: "start a thread for",
                path: "those who watch".into(),
                source: Arc::new(source),
            })?;
            waiting.has_thread = true;
        }
        Ok(receiver)
    }

    fn run(&self) {
        loop {
            // Begun before anybody is told, so that no change falls in between.
            let watch = self.store.watch(None, "");
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.to_be_told.retain(|sender| !sender.is_canceled());
            let told = mem::take(&mut waiting.to_be_told);
            if told.is_empty() {
                waiting.has_thread = false;
                return;
            }
            drop(waiting);
            for sender in told {
                // Whoever is gone does not want to know.
                let _ = sender.send(());
            }
            let Ok(watch) = watch else {
                continue;
            };
            while let Ok(false) = watch.wait(PATIENCE) {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.to_be_told.iter().all(oneshot::Sender::is_canceled) {
                    break;
                }
            }
        }
    }
}

/// A feed of a store. The log is read among the jobs of the store, a part at a time.
pub(super) struct StoreChanges<P: ThreadPool> {
    /// None: it is read, or a reading was lost.
    watch: Option<Watch>,
    /// Goes on where it is not waited for to its end.
    reading: Option<JobAnswer<(Watch, Result<Read>)>>,
    jobs: Arc<Jobs<P>>,
    watchers: Arc<Watchers>,
}

/// What was read of the log.
enum Read {
    Changes(Vec<Change>),
    /// There is more to go through.
    GoOn,
    /// There is no further change yet.
    End,
}

impl<P: ThreadPool> StoreChanges<P> {
    pub(super) fn new(
        watch: Watch,
        jobs: Arc<Jobs<P>>,
        watchers: Arc<Watchers>,
    ) -> StoreChanges<P> {
        StoreChanges { watch: Some(watch), reading: None, jobs, watchers }
    }

    /// Reads what comes next, up to `count` changes.
    async fn read(&mut self, count: usize) -> Result<Read> {
        let is_older = self.reading.is_some();
        let has_news = self.watch.as_ref().map(|watch| watch.wait(Duration::ZERO)).transpose()?;
        if has_news == Some(false) {
            return Ok(Read::End);
        }
        if let Some(mut watch) = self.watch.take() {
            self.reading = Some(self.jobs.read(move || {
                let read = read(&mut watch, count);
                Ok((watch, read))
            }));
        }
        let Some(reading) = &mut self.reading else {
            return Err(KvsError::JobLost);
        };
        let read = reading.await;
        self.reading = None;
        let (watch, read) = read?;
        self.watch = Some(watch);
        match read {
            // Whoever asks now wants to hear of what was published after that reading, too.
            Ok(Read::End) if is_older => Ok(Read::GoOn),
            read => read,
        }
    }
}

fn read(watch: &mut Watch, count: usize) -> Result<Read> {
    let mut changes = Vec::new();
    while changes.len() < count.max(1) {
        match watch.look() {
            Ok(Look::Change(change)) => changes.push(change),
            // An error comes again, behind what was read before it.
            Ok(Look::GoOn | Look::End) | Err(_) if !changes.is_empty() => break,
            Ok(Look::GoOn) => return Ok(Read::GoOn),
            Ok(Look::End) => return Ok(Read::End),
            Err(error) => return Err(error),
        }
    }
    Ok(Read::Changes(changes))
}

impl<P: ThreadPool> Changes for StoreChanges<P> {
    fn next(&mut self, count: usize) -> Answer<'_, Vec<Change>> {
        Answer::later(async move {
            loop {
                let told = self.watchers.subscribe()?;
                match self.read(count).await? {
                    Read::Changes(changes) => return Ok(changes),
                    Read::GoOn => {}
                    // Told, or the thread is gone: look again in both cases.
                    Read::End => drop(told.await),
                }
            }
        })
    }
}
