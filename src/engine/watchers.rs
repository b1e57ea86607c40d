//! Waiting for changes of a store without a thread for each who waits.
//!
//! One thread waits for the store and tells all; it is there only while somebody waits.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    numbers: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the number of the watch: each waits once, and not at all when it is dropped.
    to_be_told: HashMap<u64, oneshot::Sender<()>>,
    has_thread: bool,
}

impl Watchers {
    pub(super) fn new(store: Store) -> Arc<Watchers> {
        Arc::new(Watchers { store, numbers: AtomicU64::new(0), waiting: Mutex::default() })
    }

    /// A number that no other watch has.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Comes when something may have been published after this call, or the store is closed.
    fn subscribe(self: &Arc<Watchers>, number: u64) -> Result<oneshot::Receiver<()>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.to_be_told.insert(number, sender);
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

    /// A watch is gone.
    fn leave(&self, number: u64) {
        self.waiting().to_be_told.remove(&number);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let _end = End(self);
        loop {
            // Begun before anybody is told, so that no change falls in between.
            let watch = self.store.watch(None, "");
            let mut waiting = self.waiting();
            waiting.to_be_told.retain(|_, sender| !sender.is_canceled());
            let told = mem::take(&mut waiting.to_be_told);
            if told.is_empty() {
                waiting.has_thread = false;
                return;
            }
            drop(waiting);
            for sender in told.into_values() {
                // Whoever is gone does not want to know.
                let _ = sender.send(());
            }
            let Ok(watch) = watch else {
                continue;
            };
            while let Ok(false) = watch.wait(PATIENCE) {
                let mut waiting = self.waiting();
                waiting.to_be_told.retain(|_, sender| !sender.is_canceled());
                if waiting.to_be_told.is_empty() {
                    break;
                }
            }
        }
    }
}

/// The end of the thread: if that is a panic, those who wait are to begin another one.
struct End<'w>(&'w Watchers);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut waiting = self.0.waiting();
            waiting.has_thread = false;
            let told = mem::take(&mut waiting.to_be_told);
            drop(waiting);
            // Their receivers hear that the senders are gone.
            drop(told);
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
    number: u64,
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
        let number = watchers.number();
        StoreChanges { watch: Some(watch), reading: None, jobs, watchers, number }
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

impl<P: ThreadPool> Drop for StoreChanges<P> {
    fn drop(&mut self) {
        self.watchers.leave(self.number);
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
                let told = self.watchers.subscribe(self.number)?;
                match self.read(count).await? {
                    Read::Changes(changes) => return Ok(changes),
                    Read::GoOn => {}
                    // Told, or the thread is gone: look again in both cases.
                    Read::End => {
                        let _ = told.await;
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::{Changes, End, Jobs, StoreChanges, Watchers};
    use crate::Store;
    use crate::engine::conformance::wait;
    use crate::thread_pool::{SharedQueueThreadPool, ThreadPool};

    struct Scene {
        store: Store,
        jobs: Arc<Jobs<SharedQueueThreadPool>>,
        watchers: Arc<Watchers>,
        _dir: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Scene {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path()).unwrap();
            let jobs = Arc::new(Jobs::new(SharedQueueThreadPool::new(1).unwrap()).unwrap());
            Scene { watchers: Watchers::new(store.clone()), store, jobs, _dir: dir }
        }

        fn watch(&self) -> StoreChanges<SharedQueueThreadPool> {
            let watch = self.store.watch(None, "").unwrap();
            StoreChanges::new(watch, Arc::clone(&self.jobs), Arc::clone(&self.watchers))
        }
    }

    /// Asks for a change that is not there yet, and no longer.
    fn ask(changes: &mut impl Changes) {
        let next = pin!(changes.next(1));
        assert!(matches!(next.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    }

    #[test]
    fn nothing_is_left_of_watches_that_are_dropped_beside_one_that_waits() {
        let scene = Scene::new();
        let mut waits = scene.watch();
        let mut waiting = Box::pin(async { waits.next(1).await });
        let noop = &mut Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(noop).is_pending());
        for _ in 0..100 {
            let mut changes = scene.watch();
            ask(&mut changes);
            ask(&mut changes);
        }
        assert!(scene.watchers.waiting().to_be_told.len() <= 1);
        scene.store.set("key", "value").unwrap();
        assert_eq!(wait(waiting).unwrap().len(), 1);
    }

    #[test]
    fn when_the_thread_panics_another_one_is_begun() {
        let scene = Scene::new();
        let told = {
            let mut waiting = scene.watchers.waiting();
            waiting.has_thread = true;
            let (sender, told) = super::oneshot::channel();
            waiting.to_be_told.insert(0, sender);
            told
        };
        let watchers = Arc::clone(&scene.watchers);
        let panicked = std::thread::spawn(move || {
            let _end = End(&watchers);
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(wait(told).is_err());
        let mut changes = scene.watch();
        ask(&mut changes);
        scene.store.set("key", "value").unwrap();
        assert_eq!(wait(changes.next(1)).unwrap().len(), 1);
    }
}
