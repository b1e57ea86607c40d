//! A key by chance: sled cannot say which is the nth.
//!
//! The way leads down the tree that the keys make of their bytes: at each fork, one of the bytes
//! with which keys go on is chosen, all alike. Each key can come; those in thin branches come more
//! often than others.

use std::ops::Bound;

use ::sled::IVec;

use super::failed;
use super::open::Opened;
use super::record::Record;
use crate::error::Result;

/// How often sled is asked, at most: a few hundred in a fork of random bytes, ten in one of digits.
const SEEKS_MAX: usize = 2048;

impl Opened {
    /// A key that has not expired.
    pub(super) fn random_key(
        &self,
        now_ms: u64,
        mut random: impl FnMut() -> Result<u64>,
    ) -> Result<Option<Vec<u8>>> {
        let (mut prefix, mut seeks) = (Vec::new(), 0);
        loop {
            let (Some(first), Some(last)) = (self.first(&prefix)?, self.last(&prefix)?) else {
                break;
            };
            seeks += 2;
            let shared = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
            prefix = first.get(..shared).unwrap_or_default().to_vec();
            if first == last || seeks > SEEKS_MAX {
                break;
            }
            let branches = self.branches(&first, shared)?;
            seeks += branches.len();
            let chosen = random()?.checked_rem(branches.len() as u64).unwrap_or(0);
            match usize::try_from(chosen).ok().and_then(|chosen| branches.get(chosen)) {
                Some(Some(byte)) => prefix.push(*byte),
                // The key that ends here.
                _ => break,
            }
        }
        self.first_alive(&prefix, now_ms)
    }

    /// How keys go on behind the first `shared` bytes of the first of them: by which bytes, or not
    /// at all.
    fn branches(&self, first: &[u8], shared: usize) -> Result<Vec<Option<u8>>> {
        let prefix = first.get(..shared).unwrap_or_default();
        let mut branches = Vec::new();
        let mut from = prefix.to_vec();
        if first.len() == shared {
            branches.push(None);
            from.push(0);
        }
        while let Some(key) = self.next_from(&from)?.filter(|key| key.starts_with(prefix)) {
            let Some(byte) = key.get(shared).copied() else {
                break;
            };
            branches.push(Some(byte));
            let Some(next) = byte.checked_add(1) else {
                break;
            };
            from = prefix.to_vec();
            from.push(next);
        }
        Ok(branches)
    }

    fn first(&self, prefix: &[u8]) -> Result<Option<IVec>> {
        Ok(self.next_from(prefix)?.filter(|key| key.starts_with(prefix)))
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<IVec>> {
        let last = self.records.scan_prefix(prefix).next_back().transpose();
        Ok(last.map_err(|error| failed("read", &self.directory, error))?.map(|(key, _)| key))
    }

    fn next_from(&self, from: &[u8]) -> Result<Option<IVec>> {
        let next = self.records.range::<&[u8], _>(from..).next().transpose();
        Ok(next.map_err(|error| failed("read", &self.directory, error))?.map(|(key, _)| key))
    }

    /// The first key from a place on, and around, that has not expired.
    fn first_alive(&self, from: &[u8], now_ms: u64) -> Result<Option<Vec<u8>>> {
        let behind = self.records.range::<&[u8], _>((Bound::Included(from), Bound::Unbounded));
        let before = self.records.range::<&[u8], _>((Bound::Unbounded, Bound::Excluded(from)));
        for pair in behind.chain(before) {
            let (key, bytes) = pair.map_err(|error| failed("read", &self.directory, error))?;
            if !Record::decode(&bytes)?.is_over(now_ms) {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(None)
    }
}
