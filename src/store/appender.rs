//! Writes records behind the end of a segment, and seals it.
//!
//! Space is reserved in steps before it is needed, so a full disk shows when the segment grows
//! and not in the middle of a commit. An append that fails is cut off again: behind the end of a
//! segment there are never bytes that could be taken for records.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::write_all_at;
use super::record::{self, Record, SEAL_BYTES_MAX};
use super::segment::Segment;
use crate::error::{KvsError, Result};

/// The most that is reserved at once.
const STEP_MAX: u64 = 4 << 20;

/// The only writer of a segment.
pub(crate) struct Appender {
    pub(crate) segment: Arc<Segment>,
    /// Where the next record goes.
    end: u64,
    /// Bytes below this are reserved.
    allocated: u64,
    /// Where the segment should end. A single commit may be larger.
    capacity: u64,
}

/// Why an append failed.
pub(crate) struct AppendError {
    pub(crate) error: KvsError,
    /// The bytes could not be cut off again: nothing may be appended here any more.
    pub(crate) broken: bool,
}

impl Appender {
    pub(crate) fn new(segment: Arc<Segment>, allocated: u64, capacity: u64) -> Appender {
        let end = segment.end();
        segment.file_bytes.store(allocated.max(end), Ordering::Relaxed);
        Appender { segment, end, allocated, capacity }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether `len` more bytes belong here: they do if they fit, or if there is nothing yet.
    pub(crate) fn takes(&self, len: u64, is_empty: bool) -> bool {
        is_empty || self.end + len + SEAL_BYTES_MAX as u64 <= self.capacity
    }

    /// Makes sure that everything below `needed` has its blocks.
    fn reserve(&mut self, needed: u64) -> Result<()> {
        if needed <= self.allocated {
            return Ok(());
        }
        let step = (self.capacity / 4).clamp(4096, STEP_MAX);
        let target = needed.max((self.allocated + step).min(self.capacity));
        let file = &self.segment.file;
        let mut reserved = file.allocate(self.allocated, target - self.allocated).map(|()| target);
        if reserved.is_err() && target > needed {
            reserved = file.allocate(self.allocated, needed - self.allocated).map(|()| needed);
        }
        self.allocated =
            reserved.map_err(|error| KvsError::io("allocate", &self.segment.path, error))?;
        self.segment.file_bytes.store(self.allocated, Ordering::Relaxed);
        Ok(())
    }

    /// Appends stamped records; readable when this returns, durable after a sync. A seal will have
    /// room behind them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> std::result::Result<(), AppendError> {
        self.write(bytes, SEAL_BYTES_MAX)
    }

    /// Appends, with blocks for `more` bytes behind.
    fn write(&mut self, bytes: &[u8], more: usize) -> std::result::Result<(), AppendError> {
        let intact = |error| AppendError { error, broken: false };
        self.reserve(self.end + (bytes.len() + more) as u64).map_err(intact)?;
        match write_all_at(&*self.segment.file, bytes, self.end) {
            Ok(()) => {
                self.end += bytes.len() as u64;
                self.segment.set_end(self.end);
                Ok(())
            }
            Err(error) => {
                let error = KvsError::io("write", &self.segment.path, error);
                // Cutting gives back what was reserved; the next append reserves anew.
                // Synced, or after a power loss what was cut off could be there and what was
                // appended in its place not.
                let file = &self.segment.file;
                let broken = file.set_len(self.end).and_then(|()| file.sync_data()).is_err();
                self.allocated = self.end;
                self.segment.file_bytes.store(self.end, Ordering::Relaxed);
                Err(AppendError { error, broken })
            }
        }
    }

    /// Writes the seal and cuts the file to its length. The caller syncs.
    pub(crate) fn seal(&mut self) -> std::result::Result<(), AppendError> {
        let segment = Arc::clone(&self.segment);
        let seal = Record::Seal {
            records: segment.records.load(Ordering::Relaxed),
            min_seq: segment.min_seq.load(Ordering::Relaxed),
            max_seq: segment.max_seq.load(Ordering::Relaxed),
        };
        let mut bytes = Vec::with_capacity(SEAL_BYTES_MAX);
        record::encode(&mut bytes, &seal);
        record::stamp(&mut bytes, segment.salt, self.end);
        self.write(&bytes, 0)?;
        let cut = segment.file.set_len(self.end);
        self.allocated = self.end;
        segment.file_bytes.store(self.end, Ordering::Relaxed);
        cut.map_err(|error| {
            let error = KvsError::io("cut", &segment.path, error);
            AppendError { error, broken: true }
        })
    }
}
