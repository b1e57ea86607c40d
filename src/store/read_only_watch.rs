//! A watch of a store that another process may have open: a feed of the log as it was read last.

use super::feed::{Change, Feed};
use super::read_only::ReadOnlyStore;
use crate::error::Result;

/// A feed of changes; see [`ReadOnlyStore::watch`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let first = store.set("user/1", "Ada")?;
/// store.set("visit/1", "today")?;
/// store.remove("user/1")?;
/// store.close()?;
/// // Everything after a write that is known already, of some keys.
/// let reader = kvs::Store::open_read_only(dir.path())?;
/// let mut watch = reader.watch(Some(first.seq), "user/")?;
/// assert!(watch.next()?.is_some_and(|change| change.value.is_none()));
/// assert!(watch.next()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadOnlyWatch {
    store: ReadOnlyStore,
    feed: Feed,
}

impl ReadOnlyStore {
    /// Watches what is committed, in that order: all changes after the write with the seq
    /// `after`, or after what is readable now, of the keys that begin with a prefix. It goes as far
    /// as this handle does: what comes later is in it after a
    /// [`refresh`](ReadOnlyStore::refresh), for which the owner has something new every 50 ms at
    /// most.
    ///
    /// To go on later, also with another reader or with [`Store::watch`](crate::Store::watch),
    /// begin with the seq of the last write of which all changes were seen: after the last change
    /// of a batch, not in its middle. Beside an owner, what is handed out is as durable as its
    /// write asked for; without one, what a kill has left may not be durable yet.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`](crate::KvsError::HistoryGone) if compaction has gone through
    /// what came after `after`; the owner's
    /// [`Options::retain_history`](crate::Options::retain_history) keeps it away.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let store = kvs::Store::open(dir.path())?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// let mut watch = reader.watch(None, "")?;
    /// store.set("key", "value")?;
    /// store.close()?;
    /// assert!(watch.next()?.is_none());
    /// reader.refresh()?;
    /// assert!(watch.next()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, after: Option<u64>, prefix: impl AsRef<[u8]>) -> Result<ReadOnlyWatch> {
        let feed = Feed::new(&*self.reading(), after, prefix)?;
        Ok(ReadOnlyWatch { store: self.clone(), feed })
    }
}

impl ReadOnlyWatch {
    /// The next change; none: there is no further one in what was read last. Who gets to this
    /// before each refresh loses nothing that was readable then.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`](crate::KvsError::HistoryGone) if compaction was faster than
    /// this watch: it can only be begun anew. What reading the log can answer.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # kvs::Store::open(dir.path())?.close()?;
    /// let reader = kvs::Store::open_read_only(dir.path())?;
    /// assert!(reader.watch(Some(0), "")?.next()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::should_implement_trait, reason = "its end is not the end")]
    pub fn next(&mut self) -> Result<Option<Change>> {
        self.feed.next(&*self.store.reading())
    }
}
