//! The maps of the engine `memory`, and how a write changes them.
//!
//! The records are in the order of their keys; beside them, the keys stand in the order of a keyed
//! hash, for walks, and those that expire in the order in which they do. The three change together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::feed::Feed;
use crate::batch::{Batch, Operation};
use crate::engine::checks::{check_limits, check_requirements, last_operations};
use crate::engine::{Found, Scan, Walked, is_void};
use crate::error::Result;
use crate::store::{Change, Hasher, Value, Versioned, WALK_BYTES_MAX, Written};

pub(super) type Key = Arc<[u8]>;
pub(super) type Records = BTreeMap<Key, Record>;

/// How many expired keys each operation of a write takes out at most: more than the one that it may
/// add, so that they do not pile up.
const RECLAIMED_BY_OPERATION: usize = 4;

/// What a key has.
#[derive(Clone)]
pub(super) struct Record {
    value: Arc<[u8]>,
    seq: u64,
    expires_at_ms: Option<u64>,
}

impl Record {
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }
}

/// What a reader gets of a record.
pub(super) fn versioned(record: &Record, keys_only: bool) -> Versioned {
    let value = if keys_only { Vec::new() } else { record.value.to_vec() };
    Versioned { value: Value::from(value), seq: record.seq, expires_at_ms: record.expires_at_ms }
}

#[derive(Default)]
pub(super) struct State {
    /// Shared with snapshots: whoever changes it while there is one changes a copy.
    pub(super) records: Arc<Records>,
    order: BTreeSet<(u64, Key)>,
    expiries: BTreeSet<(u64, Key)>,
    pub(super) seq: u64,
    pub(super) feed: Feed,
    /// Of all keys and values.
    pub(super) bytes: u64,
    /// How many expired keys were taken out.
    pub(super) reclaimed: u64,
}

impl State {
    /// Writes a batch, all or nothing.
    pub(super) fn write(&mut self, batch: &Batch, hasher: &Hasher, now_ms: u64) -> Result<Written> {
        check_limits(batch, now_ms)?;
        check_requirements(batch, |required| {
            let found = self.records.get(&*required.key).filter(|found| !found.is_over(now_ms));
            Ok(required.expected.is_met_by(found.map(|found| (found.seq, &*found.value))))
        })?;
        self.seq += 1;
        let mut existed = false;
        for operation in last_operations(batch) {
            existed |= self.apply(operation, hasher, now_ms);
        }
        self.feed.written(self.seq);
        self.reclaim(hasher, now_ms, batch.len().saturating_mul(RECLAIMED_BY_OPERATION));
        Ok(Written { seq: self.seq, existed })
    }

    /// Applies an operation. Whether its key existed.
    fn apply(&mut self, operation: Operation<'_>, hasher: &Hasher, now_ms: u64) -> bool {
        let before = self.take_out(operation.key(), hasher);
        let existed = before.as_ref().is_some_and(|(_, record)| !record.is_over(now_ms));
        let seq = self.seq;
        match operation {
            Operation::Set { key, value, expires_at_ms } => {
                let key = before.map_or_else(|| Arc::from(key), |(key, _)| key);
                self.bytes += (key.len() + value.len()) as u64;
                self.order.insert((hasher.hash(&key).place, Arc::clone(&key)));
                if let Some(at_ms) = expires_at_ms {
                    self.expiries.insert((at_ms, Arc::clone(&key)));
                }
                self.feed.add(|| Change {
                    seq,
                    key: key.to_vec(),
                    value: Some(Value::from(value.to_vec())),
                    expires_at_ms,
                });
                let record = Record { value: Arc::from(value), seq, expires_at_ms };
                Arc::make_mut(&mut self.records).insert(key, record);
            }
            Operation::Remove { key } if existed => {
                self.feed.add(|| Change {
                    seq,
                    key: key.to_vec(),
                    value: None,
                    expires_at_ms: None,
                });
            }
            Operation::Remove { .. } => {}
        }
        existed
    }

    /// Takes a key out of all maps.
    fn take_out(&mut self, key: &[u8], hasher: &Hasher) -> Option<(Key, Record)> {
        // No copy for a snapshot's sake where there is nothing to take.
        if !self.records.contains_key(key) {
            return None;
        }
        let (key, record) = Arc::make_mut(&mut self.records).remove_entry(key)?;
        self.bytes -= (key.len() + record.value.len()) as u64;
        self.order.remove(&(hasher.hash(&key).place, Arc::clone(&key)));
        if let Some(at_ms) = record.expires_at_ms {
            self.expiries.remove(&(at_ms, Arc::clone(&key)));
        }
        Some((key, record))
    }

    /// Takes out keys that have expired, the first ones first.
    pub(super) fn reclaim(&mut self, hasher: &Hasher, now_ms: u64, count: usize) {
        for _ in 0..count {
            match self.expiries.first() {
                Some((at_ms, key)) if *at_ms <= now_ms => {
                    let key = Arc::clone(key);
                    self.take_out(&key, hasher);
                    self.reclaimed += 1;
                }
                _ => return,
            }
        }
    }

    /// Removes everything; the seq goes on.
    pub(super) fn clear(&mut self) {
        self.records = Arc::default();
        self.order.clear();
        self.expiries.clear();
        self.bytes = 0;
        self.seq += 1;
        self.feed.forget(self.seq);
    }

    pub(super) fn len(&self, now_ms: u64) -> u64 {
        (self.records.len() - self.over(now_ms)) as u64
    }

    pub(super) fn expiring(&self, now_ms: u64) -> u64 {
        (self.expiries.len() - self.over(now_ms)) as u64
    }

    /// How many have expired and are still in the maps.
    fn over(&self, now_ms: u64) -> usize {
        self.expiries.iter().take_while(|(at_ms, _)| *at_ms <= now_ms).count()
    }

    /// What the maps take beside keys and values, about.
    pub(super) fn index_bytes(&self) -> u64 {
        let record = size_of::<(Key, Record)>() as u64;
        let entry = size_of::<(u64, Key)>() as u64;
        let (records, expiries) = (self.records.len() as u64, self.expiries.len() as u64);
        records * (record + entry) + expiries * entry
    }

    /// The keys from a place in the order of hashes on. Keys of one hash come together, so that
    /// the next place is one behind all of them.
    pub(super) fn walk(&self, cursor: u64, count: usize, now_ms: u64) -> Walked {
        let mut keys = Vec::new();
        let (mut seen, mut bytes, mut last) = (0, 0, None);
        for (place, key) in self.order.range((cursor, Arc::default())..) {
            let is_enough = seen >= count.max(1) || bytes >= WALK_BYTES_MAX;
            if is_enough && last != Some(*place) {
                // It is above the last one, so it is never 0.
                return Walked { keys, cursor: *place };
            }
            (seen, last) = (seen + 1, Some(*place));
            if self.records.get(key).is_some_and(|record| !record.is_over(now_ms)) {
                keys.push(key.to_vec());
                bytes += key.len();
            }
        }
        Walked { keys, cursor: 0 }
    }

    /// The first key from a place in the order of hashes on, and around.
    pub(super) fn key_from(&self, place: u64, now_ms: u64) -> Option<Vec<u8>> {
        let place = (place, Arc::default());
        let is_there = |(_, key): &&(u64, Key)| {
            self.records.get(key).is_some_and(|record| !record.is_over(now_ms))
        };
        let mut around = self.order.range(place.clone()..).chain(self.order.range(..place));
        around.find(is_there).map(|(_, key)| key.to_vec())
    }
}

/// The first records of a range, as many as fit both limits, but at least one.
pub(super) fn page_of(
    records: &Records,
    scan: &Scan,
    (records_max, bytes_max): (usize, usize),
    now_ms: u64,
) -> Vec<Found> {
    let mut page = Vec::new();
    if is_void(&scan.from, &scan.to) {
        return page;
    }
    let as_slice = |bound: &'_ Bound<Vec<u8>>| bound.clone().map(Arc::<[u8]>::from);
    let mut range = records.range((as_slice(&scan.from), as_slice(&scan.to)));
    let mut bytes = 0;
    while let Some((key, record)) = if scan.reverse { range.next_back() } else { range.next() } {
        if record.is_over(now_ms) {
            continue;
        }
        bytes += key.len() + if scan.keys_only { 0 } else { record.value.len() };
        if !page.is_empty() && (page.len() >= records_max || bytes > bytes_max) {
            break;
        }
        page.push((key.to_vec(), versioned(record, scan.keys_only)));
    }
    page
}
