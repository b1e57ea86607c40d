//! A watch of a store that this process owns: a feed of its log, and waiting for more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Store;
use super::core::Core;
#[cfg(feature = "server")]
use super::feed::Look;
use super::feed::{Change, Feed, Published};
use super::notice::Readable;
use super::segments::Segments;
use super::sync::lock;
use crate::error::Result;

/// A feed of changes; see [`Store::watch`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let first = store.set("user/1", "Ada")?;
/// store.set("visit/1", "today")?;
/// store.remove("user/1")?;
/// // Everything after a write that is known already, of some keys.
/// let mut watch = store.watch(Some(first.seq), "user/")?;
/// assert!(watch.next()?.is_some_and(|change| change.value.is_none()));
/// assert!(watch.next()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Watch {
    core: Arc<Core>,
    feed: Feed,
}

impl Store {
    /// Watches what is committed, in that order: all changes after the write with the seq
    /// `after`, or from now on, of the keys that begin with a prefix.
    ///
    /// To go on later, after a restart too, begin with the seq of the last write of which all
    /// changes were seen: after the last change of a batch, not in its middle. What is handed out
    /// was published, and is as durable as its write asked for.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`](crate::KvsError::HistoryGone) if compaction has gone through
    /// what came after `after`, or the store was cleared since; see
    /// [`Options::retain_history`](crate::Options::retain_history).
    /// [`KvsError::Closed`](crate::KvsError::Closed).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// let mut watch = store.watch(None, "")?;
    /// store.set("key", "value")?;
    /// assert!(watch.wait(std::time::Duration::from_secs(1))?);
    /// assert!(watch.next()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, after: Option<u64>, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        let core = Arc::clone(&self.handle.core);
        core.check_open()?;
        let feed = Feed::new(&*core, after, prefix)?;
        core.watches.fetch_add(1, Ordering::SeqCst);
        // A commit that has not seen this watch is published when its lock is free.
        drop(lock(&core.log));
        Ok(Watch { core, feed })
    }
}

impl Core {
    /// Tells those who watch that something was published.
    pub(crate) fn tell_watches(&self) {
        if self.watches.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.bell.rung));
            self.bell.published.notify_all();
        }
    }
}

impl Published for Core {
    fn segments(&self) -> &Segments {
        &self.segments
    }

    fn tail(&self) -> Option<Readable> {
        let log = lock(&self.log);
        let end = match kvs_bug!("watch_unpublished") {
            true => log.appender.end(),
            false => log.published_end,
        };
        Some(Readable { segment: log.appender.segment.id, end })
    }

    fn published_seq(&self) -> u64 {
        self.published_seq.load(Ordering::SeqCst)
    }

    fn compacted_seq(&self) -> u64 {
        self.compacted_seq.load(Ordering::Acquire)
    }
}

impl Watch {
    /// The next change; none: there is no further one yet.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`](crate::KvsError::HistoryGone) if compaction was faster than
    /// this watch: it can only be begun anew. [`KvsError::Closed`](crate::KvsError::Closed),
    /// and what reading the log can answer.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(store.watch(None, "")?.next()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::should_implement_trait, reason = "its end is not the end")]
    pub fn next(&mut self) -> Result<Option<Change>> {
        self.core.check_open()?;
        self.feed.next(&*self.core)
    }

    /// As [`next`](Watch::next), but it comes back after a part of the log.
    #[cfg(feature = "server")]
    pub(crate) fn look(&mut self) -> Result<Look> {
        self.core.check_open()?;
        self.feed.look(&*self.core)
    }

    /// Waits until there may be a further change, for so long at most. False: the time is over.
    ///
    /// # Errors
    /// [`KvsError::Closed`](crate::KvsError::Closed).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(!store.watch(None, "")?.wait(std::time::Duration::ZERO)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, time: Duration) -> Result<bool> {
        let core = &self.core;
        let is_quiet = || !self.feed.is_behind(core.published_seq()) && core.check_open().is_ok();
        let rung = lock(&core.bell.rung);
        let waited = core.bell.published.wait_timeout_while(rung, time, |_| is_quiet());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        core.check_open()?;
        Ok(!is_quiet())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.core.watches.fetch_sub(1, Ordering::SeqCst);
    }
}
