//! Writing to sled: versions, conditions, batches, and taking out what has expired.
//!
//! There is one writer at a time. sled applies a batch at once, for other threads and for crashes,
//! but has nothing that asks a condition of several keys at once at a fair price (its transactions
//! begin anew whenever another write comes between), and its batches do not say what was there
//! before. Under a lock of our own both are plain reads.

use std::ops::Bound;

use ::sled::{Batch as SledBatch, IVec};

use super::open::{ABOUT_RESERVED, Opened};
use super::record::{Record, encode};
use super::{failed, in_doubt};
use crate::batch::{Batch, Operation};
use crate::engine::checks::{check_limits, check_requirements, last_operations};
use crate::error::{KvsError, Result};
use crate::store::Written;

/// How many versions are reserved on disk at a time: an open after a crash goes on behind them.
const SEQ_RESERVE: u64 = 1 << 16;
/// How many records each operation of a write looks at for one that has expired.
const SWEPT_BY_OPERATION: usize = 8;

/// What only the writer changes.
pub(super) struct Writer {
    pub(super) next_seq: u64,
    /// Versions from here on are not to be given before the disk knows.
    reserved_seq: u64,
    /// Keys, those that have expired and are still there too.
    pub(super) keys: u64,
    /// Of those, the ones that expire some time.
    pub(super) expiring: u64,
    /// How many expired keys were taken out.
    pub(super) reclaimed: u64,
    /// The key behind which the sweep goes on; none: at the first.
    swept: Option<IVec>,
    /// Why a sweep beside a write failed: for whoever counts next. The write itself was done.
    pub(super) sweep_error: Option<KvsError>,
}

impl Writer {
    pub(super) fn new(next_seq: u64, keys: u64, expiring: u64) -> Writer {
        Writer {
            next_seq,
            reserved_seq: next_seq,
            keys,
            expiring,
            reclaimed: 0,
            swept: None,
            sweep_error: None,
        }
    }

    /// Everything was removed.
    pub(super) fn cleared(&mut self) {
        (self.keys, self.expiring, self.swept) = (0, 0, None);
    }
}

/// How many keys there are after a batch, and how many of them expire some time.
struct Counts {
    keys: u64,
    expiring: u64,
}

impl Counts {
    /// As they are before it.
    fn of(writer: &Writer) -> Counts {
        Counts { keys: writer.keys, expiring: writer.expiring }
    }

    /// A record comes in the place of another, or none in the place of it, or it in that of none.
    fn add(&mut self, before: Option<&Record<'_>>, after: Option<Option<u64>>) {
        let expires = |it: Option<Option<u64>>| u64::from(it.is_some_and(|it| it.is_some()));
        let before = before.map(Record::expiry);
        self.keys = self.keys + u64::from(after.is_some()) - u64::from(before.is_some());
        self.expiring = self.expiring + expires(after) - expires(before);
    }
}

impl Opened {
    /// Writes a batch, all or nothing; not durable yet.
    pub(super) fn write(&self, writer: &mut Writer, batch: &Batch, now_ms: u64) -> Result<Written> {
        self.check_writable()?;
        check_limits(batch, now_ms)?;
        check_requirements(batch, |required| {
            let bytes = self.get(&required.key)?;
            let record = bytes.as_deref().map(Record::decode).transpose()?;
            let found = record.filter(|record| !record.is_over(now_ms));
            Ok(required.expected.is_met_by(found.map(|found| (found.seq, found.value))))
        })?;
        let seq = self.take_seq(writer)?;
        let operations = last_operations(batch);
        let mut existed = false;
        let mut changes = SledBatch::default();
        let mut counts = Counts::of(writer);
        for operation in &operations {
            let before = self.get(operation.key())?;
            let record = before.as_deref().map(Record::decode).transpose()?;
            existed |= record.is_some_and(|record| !record.is_over(now_ms));
            let after = match *operation {
                Operation::Set { key, value, expires_at_ms } => {
                    changes.insert(key, encode(seq, expires_at_ms, value));
                    Some(expires_at_ms)
                }
                Operation::Remove { key } => {
                    if record.is_some() {
                        changes.remove(key);
                    }
                    None
                }
            };
            counts.add(record.as_ref(), after);
        }
        self.apply(changes).map_err(in_doubt)?;
        (writer.keys, writer.expiring) = (counts.keys, counts.expiring);
        let count = operations.len().saturating_mul(SWEPT_BY_OPERATION);
        if let Err(error) = self.sweep(writer, now_ms, count) {
            writer.sweep_error = Some(error);
        }
        Ok(Written { seq, existed })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        self.records.get(key).map_err(|error| failed("read", &self.directory, error))
    }

    fn apply(&self, changes: SledBatch) -> Result<()> {
        let applied = self.records.apply_batch(changes);
        applied.map_err(|error| failed("write", &self.directory, error))
    }

    /// A version that was never given before.
    fn take_seq(&self, writer: &mut Writer) -> Result<u64> {
        let seq = writer.next_seq;
        if seq >= writer.reserved_seq {
            let reserved = seq + SEQ_RESERVE;
            let noted = self.about.insert(ABOUT_RESERVED, &reserved.to_le_bytes());
            noted.map_err(|error| failed("write", &self.directory, error))?;
            self.flush()?;
            writer.reserved_seq = reserved;
        }
        writer.next_seq = seq + 1;
        Ok(seq)
    }

    /// Looks at some records, around and around, and takes out those that have expired.
    pub(super) fn sweep(&self, writer: &mut Writer, now_ms: u64, count: usize) -> Result<()> {
        if writer.expiring == 0 || count == 0 {
            return Ok(());
        }
        let from = writer.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.records.range::<IVec, _>((from, Bound::Unbounded));
        let (mut changes, mut over) = (SledBatch::default(), 0);
        for pair in range.take(count) {
            let (key, bytes) = pair.map_err(|error| failed("read", &self.directory, error))?;
            if Record::decode(&bytes)?.is_over(now_ms) {
                changes.remove(key.clone());
                over += 1;
            }
            writer.swept = Some(key);
        }
        let is_end = writer.swept.as_ref().is_none_or(|swept| self.is_last(swept));
        if is_end {
            writer.swept = None;
        }
        if over > 0 {
            self.apply(changes)?;
            writer.keys -= over;
            writer.expiring -= over;
            writer.reclaimed += over;
        }
        Ok(())
    }

    /// Whether no key comes behind this one.
    fn is_last(&self, key: &IVec) -> bool {
        self.records.get_gt(key).is_ok_and(|behind| behind.is_none())
    }
}
