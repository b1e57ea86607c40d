//! What was written, in the order in which it was committed: how the log is read for a watch, of
//! a store that this process owns or of one that it only looks at.
//!
//! The segments that were not written by a compaction, in the order of their ids, each from its
//! begin to its end. Nothing is kept for it; once compaction has gone through a segment that was
//! not read, that part is gone, and a feed says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::NEVER;
use super::notice::Readable;
use super::read::Value;
use super::record::Record;
use super::scan::Scan;
use super::segment::{HEADER_BYTES, Segment};
use super::segments::Segments;
use crate::error::{KvsError, Result};

/// How much is read ahead.
pub(crate) const AHEAD: usize = 256;
const AHEAD_BYTES: usize = 1 << 20;
/// How much of the log is gone through at a time, whatever of it is wanted.
const LOOK_BYTES: u64 = 1 << 20;

/// One change of one key, as a watch gives it.
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

impl Change {
    /// A change that an engine of another crate has made, to a key that does not expire.
    ///
    /// ```
    /// let change = kvs::Change::new(1, b"key".to_vec(), None);
    /// assert!(change.value.is_none());
    /// ```
    #[must_use]
    pub fn new(seq: u64, key: Vec<u8>, value: Option<Value>) -> Change {
        Change { seq, key, value, expires_at_ms: None }
    }
}

/// A log, as far as it is published.
pub(crate) trait Published {
    /// Those of the log, and others.
    fn segments(&self) -> &Segments;

    /// Where it ends; none: with its last segment.
    fn tail(&self) -> Option<Readable>;

    /// The highest seq in it, or a higher one that nothing was written with.
    fn published_seq(&self) -> u64;

    /// It may lack records up to this seq: compaction went through them. When a segment goes out
    /// of use, this has risen before.
    fn compacted_seq(&self) -> u64;
}

/// What a look at a log has found.
pub(crate) enum Look {
    /// The next change.
    Change(Change),
    /// None yet: there is more to go through.
    GoOn,
    /// There is no further one yet.
    End,
}

/// The seq of the last write, and the one up to which compaction went before it.
fn end_now(log: &impl Published) -> (u64, u64) {
    loop {
        let base = log.compacted_seq();
        let seq = log.published_seq();
        // Otherwise compaction has gone through later writes by now: some of them may be missing.
        let compacted = log.compacted_seq();
        if compacted <= seq.max(base) || kvs_bug!("watch_from_compacted") {
            return (seq, compacted);
        }
    }
}

/// A place in a log, and what comes behind it.
pub(crate) struct Feed {
    prefix: Vec<u8>,
    /// All up to this seq was read, handed out or not.
    seq: u64,
    /// The highest seq that was read; of its batch, more may follow.
    begun_seq: u64,
    /// What compaction went through before this began is of no concern, if it began at its end.
    base: u64,
    /// Where reading goes on; none: nothing was read yet.
    place: Option<(Arc<Segment>, u64)>,
    ahead: VecDeque<Change>,
}

impl Feed {
    /// All changes of a log after a seq, or from now on, of the keys that begin with a prefix.
    pub(crate) fn new(
        log: &impl Published,
        after: Option<u64>,
        prefix: impl AsRef<[u8]>,
    ) -> Result<Feed> {
        let (seq, base) = after.map_or_else(|| end_now(log), |seq| (seq, 0));
        let (prefix, ahead) = (prefix.as_ref().to_vec(), VecDeque::new());
        let feed = Feed { prefix, seq, begun_seq: seq, base, place: None, ahead };
        feed.check_history(log, seq)?;
        Ok(feed)
    }

    /// The next change in the log; none: there is no further one yet.
    pub(crate) fn next(&mut self, log: &impl Published) -> Result<Option<Change>> {
        loop {
            match self.look(log)? {
                Look::Change(change) => return Ok(Some(change)),
                Look::GoOn => {}
                Look::End => return Ok(None),
            }
        }
    }

    /// The same for those who must not be away for long: it gives up after a part of the log in
    /// which nothing is wanted.
    pub(crate) fn look(&mut self, log: &impl Published) -> Result<Look> {
        if self.ahead.is_empty() && !self.read(log)? {
            return Ok(Look::End);
        }
        Ok(self.ahead.pop_front().map_or(Look::GoOn, Look::Change))
    }

    /// Whether there may be a further change in a log that is published up to this seq.
    pub(crate) fn is_behind(&self, published_seq: u64) -> bool {
        !self.ahead.is_empty() || published_seq > self.seq
    }

    /// Answers with an error if compaction has gone through a record behind `seq`.
    fn check_history(&self, log: &impl Published, seq: u64) -> Result<()> {
        let (seq, floor) = (seq.max(self.base), log.compacted_seq());
        if seq < floor { Err(KvsError::HistoryGone { seq, floor }) } else { Ok(()) }
    }

    /// Reads some changes ahead. False: there are no further ones yet.
    fn read(&mut self, log: &impl Published) -> Result<bool> {
        // Asked for first: all of it is before the tail.
        let published = log.published_seq();
        let tail = log.tail();
        let mut behind = 0;
        if let Some((segment, offset)) = self.place.clone() {
            let (segment, end) = end_of(log, segment, tail)?;
            let is_tail = tail.is_some_and(|tail| tail.segment == segment.id);
            if offset < end && (is_tail || !kvs_bug!("watch_skips_the_end")) {
                return self.read_segment(segment, offset, end);
            }
            if is_tail {
                self.check_history(log, self.seq.max(published))?;
                self.seq = self.seq.max(published);
                return Ok(false);
            }
            behind = segment.id.0;
        }
        let next = segment_behind(log, behind, self.seq, tail);
        // Looked at afterwards: what compaction has gone through may have been before that one.
        self.check_history(log, self.seq)?;
        let Some(segment) = next else {
            return Ok(false);
        };
        self.place = Some((segment, HEADER_BYTES as u64));
        Ok(true)
    }

    fn read_segment(&mut self, segment: Arc<Segment>, offset: u64, end: u64) -> Result<bool> {
        let scan = Scan::new(&*segment.file, &segment.path, segment.salt, end);
        let mut scan = scan.starting_at(offset);
        let (mut bytes, mut begun_seq) = (0, self.begun_seq);
        loop {
            let found = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) if bytes == 0 => return Err(error),
                // What was read is handed out first; the next reading meets the error again.
                Err(_) => break,
            };
            let (seq, key, value, expires_at_ms) = match found.record {
                Record::Set { seq, expires_at_ms, key, value } => {
                    (seq, key, Some(value), expires_at_ms)
                }
                Record::Remove { seq, key } => (seq, key, None, NEVER),
                Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => continue,
            };
            begun_seq = begun_seq.max(seq);
            if seq > self.seq && key.starts_with(&self.prefix) {
                bytes += found.disk_len;
                self.ahead.push_back(Change {
                    seq,
                    key: key.to_vec(),
                    value: value.map(|value| Value::from(value.to_vec())),
                    expires_at_ms: (expires_at_ms != NEVER).then_some(expires_at_ms),
                });
            }
            let is_long = scan.offset() - offset >= LOOK_BYTES;
            if self.ahead.len() >= AHEAD || bytes >= AHEAD_BYTES || is_long {
                break;
            }
        }
        let at = scan.offset();
        if at == offset {
            return Err(segment.corrupt(at, scan.reason()));
        }
        // In the middle of a batch its later records have this seq too.
        let read = if at == end { begun_seq } else { begun_seq.saturating_sub(1) };
        (self.seq, self.begun_seq) = (self.seq.max(read), begun_seq);
        self.place = Some((segment, at));
        Ok(true)
    }
}

/// A segment in which reading stands, as it is now, and where it ends.
fn end_of(
    log: &impl Published,
    segment: Arc<Segment>,
    tail: Option<Readable>,
) -> Result<(Arc<Segment>, u64)> {
    let now = log.segments().by_id(segment.id);
    let is_gone = now.is_none();
    let segment = now.unwrap_or(segment);
    let end = match tail.filter(|tail| tail.segment == segment.id) {
        Some(tail) => tail.end,
        // Before it could go, it was sealed and cut to its length: perhaps after it was opened
        // here.
        None if is_gone && !segment.sealed.load(Ordering::Acquire) => {
            let len = segment.file.len();
            len.map_err(|error| KvsError::io("read", &segment.path, error))?
        }
        None => segment.end(),
    };
    Ok((segment, end))
}

/// Of the log, the first segment behind an id that has something later than `seq`, or may get it.
fn segment_behind(
    log: &impl Published,
    id: u64,
    seq: u64,
    tail: Option<Readable>,
) -> Option<Arc<Segment>> {
    let last = tail.map(|tail| tail.segment);
    log.segments().all().into_iter().find(|it| {
        let is_prepared = last.is_some_and(|last| it.id > last);
        let is_log = !is_prepared && it.clean_upto.load(Ordering::Relaxed) == 0;
        let has_later = last == Some(it.id) || it.max_seq.load(Ordering::Relaxed) > seq;
        it.id.0 > id && is_log && has_later
    })
}
