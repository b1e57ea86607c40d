//! A feed of what was written, in the order in which it was committed.
//!
//! It is read from the log: the segments that were not written by a compaction, in the order of
//! their ids, each from its begin to its end. Nothing is kept for it; once compaction has gone
//! through a segment that a watch has not read, that part of the feed is gone, and it says so.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Store;
use super::clock::NEVER;
use super::core::Core;
use super::read::Value;
use super::record::Record;
use super::scan::Scan;
use super::segment::{HEADER_BYTES, Segment};
use super::sync::lock;
use crate::error::{KvsError, Result};

/// How much is read ahead.
const AHEAD: usize = 256;
const AHEAD_BYTES: usize = 1 << 20;

/// One change of one key, as [`Watch::next`] gives it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let mut watch = store.watch(None, "")?;
/// store.set("key", "value")?;
/// let change = watch.next()?.expect("it was written");
/// assert_eq!((&change.key[..], change.value.as_deref()), (&b"key"[..], Some(&b"value"[..])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The seq of the write. All changes of a batch have the same.
    pub seq: u64,
    /// The key.
    pub key: Vec<u8>,
    /// Its value; none: the key was removed.
    pub value: Option<Value>,
    /// When it expires, in milliseconds since 1970-01-01 UTC; none: never. That it has expired is
    /// no change of its own.
    pub expires_at_ms: Option<u64>,
}

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
    prefix: Vec<u8>,
    /// The highest seq that was read, handed out or not.
    seq: u64,
    /// What compaction went through before this began is of no concern, if it began at its end.
    base: u64,
    /// Where reading goes on; none: nothing was read yet.
    place: Option<(Arc<Segment>, u64)>,
    ahead: VecDeque<Change>,
}

impl Store {
    /// Watches what is committed, in that order: all changes after the write with the seq
    /// `after`, or from now on, of the keys that begin with a prefix.
    ///
    /// To go on later, after a restart too, begin with the seq of the last change that was seen; a
    /// batch may then come in part a second time only if it was seen in part. What is handed out
    /// was published, and is as durable as its write asked for.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`] if compaction has gone through what came after `after`; see
    /// [`Options::retain_history`](crate::Options::retain_history). [`KvsError::Closed`].
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
        let seq = after.unwrap_or_else(|| core.published_seq.load(Ordering::Acquire));
        let base = match after {
            None => core.compacted_seq.load(Ordering::Acquire),
            Some(_) => 0,
        };
        core.check_history(seq.max(base))?;
        core.watches.fetch_add(1, Ordering::SeqCst);
        let (prefix, ahead) = (prefix.as_ref().to_vec(), VecDeque::new());
        Ok(Watch { core, prefix, seq, base, place: None, ahead })
    }
}

impl Core {
    /// Answers with an error if compaction has gone through a record of a higher seq.
    fn check_history(&self, seq: u64) -> Result<()> {
        let floor = self.compacted_seq.load(Ordering::Acquire);
        if seq < floor { Err(KvsError::HistoryGone { seq, floor }) } else { Ok(()) }
    }

    /// Tells those who watch that something was published.
    pub(crate) fn tell_watches(&self) {
        if self.watches.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.bell.rung));
            self.bell.published.notify_all();
        }
    }

    /// Of the log, the first segment behind `id` that has something later than `seq`, or may get
    /// it.
    fn log_behind(&self, id: u64, seq: u64) -> Option<Arc<Segment>> {
        let active = lock(&self.log).appender.segment.id;
        let mut all = self.segments.all().into_iter();
        all.find(|it| {
            let is_log = it.id <= active && it.clean_upto.load(Ordering::Relaxed) == 0;
            let has_later = it.id == active || it.max_seq.load(Ordering::Relaxed) > seq;
            it.id.0 > id && is_log && has_later
        })
    }

    /// How far a segment of the log is published.
    fn published_end(&self, segment: &Segment) -> u64 {
        let log = lock(&self.log);
        match log.appender.segment.id == segment.id {
            true if !kvs_bug!("watch_unpublished") => log.published_end,
            _ => segment.end(),
        }
    }
}

impl Watch {
    /// The next change; none: there is no further one yet.
    ///
    /// # Errors
    /// [`KvsError::HistoryGone`] if compaction was faster than this watch: it can only be begun
    /// anew. [`KvsError::Corrupt`], [`KvsError::Io`], [`KvsError::Closed`].
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
        while self.ahead.is_empty() && self.read()? {}
        Ok(self.ahead.pop_front())
    }

    /// Waits until there may be a further change, for so long at most. False: the time is over.
    ///
    /// # Errors
    /// [`KvsError::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = kvs::Store::open(dir.path())?;
    /// assert!(!store.watch(None, "")?.wait(std::time::Duration::ZERO)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, time: Duration) -> Result<bool> {
        let core = &self.core;
        let is_quiet = || {
            let published = core.published_seq.load(Ordering::SeqCst);
            self.ahead.is_empty() && published <= self.seq && core.check_open().is_ok()
        };
        let rung = lock(&core.bell.rung);
        let waited = core.bell.published.wait_timeout_while(rung, time, |_| is_quiet());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        core.check_open()?;
        Ok(!is_quiet())
    }

    /// Reads some changes ahead. False: there are no further ones yet.
    fn read(&mut self) -> Result<bool> {
        let core = Arc::clone(&self.core);
        let published = core.published_seq.load(Ordering::SeqCst);
        let id = self.place.as_ref().map_or(0, |(segment, _)| segment.id.0);
        if let Some((segment, offset)) = self.place.clone() {
            let is_sealed = segment.sealed.load(Ordering::Acquire);
            let end = core.published_end(&segment);
            if offset < end && !(is_sealed && kvs_bug!("watch_skips_the_end")) {
                return self.read_segment(segment, offset, end);
            }
            if !is_sealed {
                core.check_history(self.seq.max(published).max(self.base))?;
                self.seq = self.seq.max(published);
                return Ok(false);
            }
        }
        let next = core.log_behind(id, self.seq);
        // Looked at afterwards: what compaction has gone through may have been before that one.
        core.check_history(self.seq.max(self.base))?;
        let Some(segment) = next else {
            return Ok(false);
        };
        self.place = Some((segment, HEADER_BYTES as u64));
        Ok(true)
    }

    fn read_segment(&mut self, segment: Arc<Segment>, offset: u64, end: u64) -> Result<bool> {
        let scan = Scan::new(&*segment.file, &segment.path, segment.salt, end);
        let mut scan = scan.starting_at(offset);
        let mut bytes = 0;
        let mut last = None;
        while let Some(found) = scan.next()? {
            let (seq, key, value, expires_at_ms) = match found.record {
                Record::Set { seq, expires_at_ms, key, value } => {
                    (seq, key, Some(value), expires_at_ms)
                }
                Record::Remove { seq, key } => (seq, key, None, NEVER),
                Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => continue,
            };
            last = Some(seq);
            if seq > self.seq && key.starts_with(&self.prefix) {
                bytes += found.disk_len;
                self.ahead.push_back(Change {
                    seq,
                    key: key.to_vec(),
                    value: value.map(|value| Value::from(value.to_vec())),
                    expires_at_ms: (expires_at_ms != NEVER).then_some(expires_at_ms),
                });
            }
            if self.ahead.len() >= AHEAD || bytes >= AHEAD_BYTES {
                break;
            }
        }
        let at = scan.offset();
        if at == offset {
            return Err(segment.corrupt(at, scan.reason()));
        }
        // In the middle of a batch its later records have this seq too.
        let is_at_end = at == end;
        self.place = Some((segment, at));
        if let Some(last) = last {
            self.seq = self.seq.max(if is_at_end { last } else { last.saturating_sub(1) });
        }
        Ok(true)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.core.watches.fetch_sub(1, Ordering::SeqCst);
    }
}
