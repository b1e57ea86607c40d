//! A group of requests on their way to the log: encoded one behind the other, each with what its
//! caller found out and what became of it.

use std::ops::Range;

use super::clock::NEVER;
use super::hash::KeyHash;
use super::keydir::Location;
use super::queue::{GROUP_BYTES_MAX, Group};
use super::record::{self, Record};
use crate::batch::{Operation, Requirement};
use crate::error::{KvsError, Result};

/// What a write did.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// let first = store.set("key", "1")?;
/// let second = store.set("key", "2")?;
/// assert!(!first.existed && second.existed && first.seq < second.seq);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The position of the write in the total order of the store. A batch has one.
    pub seq: u64,
    /// Whether the key existed before; for a batch, whether any of its keys did.
    pub existed: bool,
}

impl Written {
    /// What an engine of another crate has written.
    ///
    /// ```
    /// assert_eq!(kvs::Written::new(1, true).seq, 1);
    /// ```
    #[must_use]
    pub fn new(seq: u64, existed: bool) -> Written {
        Written { seq, existed }
    }
}

/// The operations for which an empty group keeps memory.
const OPERATIONS_KEPT: usize = 16 << 10;

/// What a caller found out about a key before it queued.
pub(crate) struct Look {
    pub(crate) hash: KeyHash,
    /// The record of the key, and the generation in which it was there.
    pub(crate) seen: Option<Seen>,
    pub(crate) generation: u64,
}

/// The record that a key has, be it expired or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) location: Location,
    /// Its length on disk in bytes.
    pub(crate) len: u64,
    pub(crate) seq: u64,
    /// 0: never.
    pub(crate) expires_at_ms: u64,
}

/// Something that a request depends on: if it does not hold, nothing is written.
pub(crate) struct Check {
    pub(crate) requirement: Requirement,
    pub(crate) hash: KeyHash,
}

/// What a request depends on. All of it is to hold.
pub(crate) struct Checks {
    pub(crate) all: Vec<Check>,
    /// The number of the one that did not.
    pub(crate) refused: Option<usize>,
}

/// A group of requests, encoded one behind the other.
#[derive(Default)]
pub(crate) struct Commits {
    /// Records without their checksums.
    pub(crate) bytes: Vec<u8>,
    pub(crate) operations: Vec<Pending>,
    pub(crate) requests: Vec<Request>,
    /// Whether no request may join the one that there is.
    is_alone: bool,
}

pub(crate) struct Request {
    pub(crate) seq: u64,
    pub(crate) operations: Range<usize>,
    pub(crate) bytes: Range<usize>,
    /// Whether the caller waits for the disk.
    pub(crate) sync: bool,
    /// Whether it is skipped if the one before it was refused or skipped.
    pub(crate) chained: bool,
    /// Whether it is one remove, which writes nothing if its key does not exist.
    pub(crate) only_if_exists: bool,
    /// None: it depends on nothing.
    pub(crate) checks: Option<Box<Checks>>,
    pub(crate) existed: bool,
    pub(crate) outcome: Option<Result<Written>>,
}

/// A set or a remove that is on its way.
pub(crate) struct Pending {
    pub(crate) look: Look,
    /// Where its record lies in the bytes of the group.
    pub(crate) record: Range<usize>,
    pub(crate) key: Range<usize>,
    pub(crate) is_set: bool,
    pub(crate) seq: u64,
    /// 0: never.
    pub(crate) expires_at_ms: u64,
    pub(crate) supersedes: Prior,
}

/// What a key is before an operation.
#[derive(Clone, Copy)]
pub(crate) enum Prior {
    Absent,
    At(Seen),
    /// The state after an earlier operation of the same group.
    After(usize),
}

impl Group for Commits {
    type Outcome = Vec1<Result<Written>>;

    fn bytes(&self) -> usize {
        // As large as can be: then nobody joins any more.
        if self.is_alone { usize::MAX } else { self.bytes.len() }
    }

    fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    #[inline]
    fn outcome(&mut self, requests: Range<usize>) -> Vec1<Result<Written>> {
        let mut outcomes = self
            .requests
            .get_mut(requests)
            .unwrap_or_default()
            .iter_mut()
            .map(|request| request.outcome.take().unwrap_or(Err(KvsError::Closed)));
        match outcomes.len() {
            1 => Vec1::One(outcomes.next().unwrap_or(Err(KvsError::Closed))),
            _ => Vec1::Many(outcomes.collect()),
        }
    }

    fn reset(&mut self) {
        self.operations.clear();
        self.requests.clear();
        self.bytes.clear();
        self.is_alone = false;
        // A large value or batch is not to hold memory for ever.
        self.bytes.shrink_to(2 * GROUP_BYTES_MAX);
        self.operations.shrink_to(OPERATIONS_KEPT);
    }
}

impl Commits {
    /// Adds a request.
    #[inline]
    pub(crate) fn join<'a>(
        &mut self,
        seq: u64,
        operations: impl Iterator<Item = (Operation<'a>, Look)>,
        checks: Option<Box<Checks>>,
        sync: bool,
    ) {
        let start = (self.bytes.len(), self.operations.len());
        operations.for_each(|(operation, look)| self.push(seq, operation, look));
        let only_if_exists = match self.operations.get(start.1..).unwrap_or_default() {
            [operation] => !operation.is_set,
            operations => {
                if !operations.is_empty() {
                    self.put_batch_record_before(start, seq);
                }
                false
            }
        };
        self.requests.push(Request {
            seq,
            operations: start.1..self.operations.len(),
            bytes: start.0..self.bytes.len(),
            sync,
            chained: false,
            only_if_exists,
            checks,
            existed: false,
            outcome: None,
        });
    }

    /// Has the request that was added last follow the one before it.
    pub(crate) fn chain(&mut self) {
        if let Some(request) = self.requests.last_mut() {
            request.chained = true;
        }
    }

    /// Adds a request without operations, to an empty group, which stays a group of its own.
    pub(crate) fn join_alone(&mut self, seq: u64) {
        self.join(seq, std::iter::empty(), None, true);
        self.is_alone = true;
    }

    /// Adds a request that has failed already.
    pub(crate) fn join_failed(&mut self, seq: u64, error: KvsError) {
        self.join(seq, std::iter::empty(), None, false);
        if let Some(request) = self.requests.last_mut() {
            request.outcome = Some(Err(error));
        }
    }

    #[inline]
    fn push(&mut self, seq: u64, operation: Operation<'_>, look: Look) {
        let from = self.bytes.len();
        let (record, key, expires_at_ms) = match operation {
            Operation::Set { key, value, expires_at_ms } => {
                let expires_at_ms = expires_at_ms.unwrap_or(NEVER);
                (Record::Set { seq, expires_at_ms, key, value }, key, expires_at_ms)
            }
            Operation::Remove { key } => (Record::Remove { seq, key }, key, NEVER),
        };
        record::encode(&mut self.bytes, &record);
        // The key's place: of a set it lies before its value, of a remove at the end.
        let key_start = from + record::key_offset(&record);
        self.operations.push(Pending {
            look,
            record: from..self.bytes.len(),
            key: key_start..key_start + key.len(),
            is_set: matches!(operation, Operation::Set { .. }),
            seq,
            expires_at_ms,
            supersedes: Prior::Absent,
        });
    }

    /// The record that holds a batch together says how long the batch is, so it is encoded last
    /// and moved to the front.
    fn put_batch_record_before(&mut self, (start, first): (usize, usize), seq: u64) {
        let bytes = (self.bytes.len() - start) as u64;
        let count = (self.operations.len() - first) as u64;
        let len = record::encode(&mut self.bytes, &Record::Batch { seq, count, bytes });
        if let Some(batch) = self.bytes.get_mut(start..) {
            batch.rotate_right(len);
        }
        for operation in self.operations.iter_mut().skip(first) {
            operation.shift(|at| at + len);
        }
    }

    /// Takes the bytes of requests that write nothing out of the group.
    pub(crate) fn thin(&mut self) {
        let mut kept = 0;
        for request in &mut self.requests {
            let Range { start, end } = request.bytes.clone();
            if request.outcome.is_some() || request.operations.is_empty() {
                request.bytes = kept..kept;
                continue;
            }
            self.bytes.copy_within(start..end, kept);
            let operations = self.operations.get_mut(request.operations.clone());
            for operation in operations.unwrap_or_default() {
                operation.shift(|at| at - start + kept);
            }
            request.bytes = kept..kept + (end - start);
            kept = request.bytes.end;
        }
        self.bytes.truncate(kept);
    }

    pub(crate) fn undecided(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.outcome.is_none())
    }

    /// Puts the checksums in, now that the offset of the group is known.
    pub(crate) fn stamp(&mut self, salt: record::Salt, offset: u64) {
        let mut at = 0;
        while let Some(bytes) = self.bytes.get_mut(at..).filter(|bytes| !bytes.is_empty()) {
            record::stamp(bytes, salt, offset + at as u64);
            let Some(len) = record::stated_len(bytes) else {
                return;
            };
            at += record::padded(len);
        }
    }

    /// Fails every request that writes a value, and what found nothing to remove or was refused:
    /// perhaps only because of one of those. False: no remove is left.
    pub(crate) fn keep_removes(&mut self, error: &KvsError) -> bool {
        for request in &mut self.requests {
            let operations = self.operations.get(request.operations.clone()).unwrap_or_default();
            let is_thinned =
                request.refused().is_some() || request.only_if_exists && operations.is_empty();
            let is_set = operations.iter().any(|operation| operation.is_set);
            if request.outcome.is_none() && (is_set || is_thinned) {
                request.outcome = Some(Err(error.clone()));
            }
        }
        self.thin();
        self.undecided().any(|request| !request.operations.is_empty())
    }
}

impl Request {
    /// The check that did not hold: its number, and its key.
    pub(crate) fn refused(&self) -> Option<(usize, &[u8])> {
        let checks = self.checks.as_ref()?;
        let number = checks.refused?;
        checks.all.get(number).map(|check| (number, &check.requirement.key[..]))
    }

    /// What became of it, when its group is committed.
    pub(crate) fn done(&self) -> Result<Written> {
        match self.refused() {
            None => Ok(Written { seq: self.seq, existed: self.existed }),
            Some((requirement, key)) => {
                Err(KvsError::PreconditionFailed { requirement, key: key.to_vec() })
            }
        }
    }
}

impl Pending {
    fn shift(&mut self, shift: impl Fn(usize) -> usize) {
        self.record = shift(self.record.start)..shift(self.record.end);
        self.key = shift(self.key.start)..shift(self.key.end);
    }
}

/// One or several, without an allocation for the one.
pub(crate) enum Vec1<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Vec1<T> {
    /// The first of them.
    #[inline]
    pub(crate) fn first(self) -> Option<T> {
        match self {
            Vec1::One(one) => Some(one),
            Vec1::Many(many) => many.into_iter().next(),
        }
    }
}

impl<T> IntoIterator for Vec1<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Vec1::One(one) => (Some(one), Vec::new()),
            Vec1::Many(many) => (None, many),
        };
        one.into_iter().chain(many)
    }
}
