//! Waiting for changes of a store without a thread for each who waits.
//!
//! One thread waits for the store and tells all; it is there only while somebody waits.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use super::{Answer, Changes};
use crate::error::{KvsError, Result};
use crate::store::{Change, Store, Watch};

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

/// A feed of a store.
pub(super) struct StoreChanges {
    watch: Watch,
    watchers: Arc<Watchers>,
}

impl StoreChanges {
    pub(super) fn new(watch: Watch, watchers: Arc<Watchers>) -> StoreChanges {
        StoreChanges { watch, watchers }
    }

    fn read(&mut self, count: usize) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        while changes.len() < count.max(1) {
            let Some(change) = self.watch.next()? else {
                break;
            };
            changes.push(change);
        }
        Ok(changes)
    }
}

impl Changes for StoreChanges {
    fn next(&mut self, count: usize) -> Answer<'_, Vec<Change>> {
        Answer::later(async move {
            loop {
                let told = self.watchers.subscribe()?;
                let changes = self.read(count)?;
                if !changes.is_empty() {
                    return Ok(changes);
                }
                // Told, or the thread is gone: look again in both cases.
                let _ = told.await;
            }
        })
    }
}
