//! What sled keeps for a key: the version and the expiry, then the value.

use std::io;
use std::sync::Arc;

use super::NAME;
use crate::error::{KvsError, Result};
use crate::store::{Value, Versioned};

/// Version and expiry, 8 bytes each, the lowest first.
const HEADER_BYTES: usize = 16;

/// A record, borrowed from sled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) seq: u64,
    /// 0: never.
    expires_at_ms: u64,
    pub(super) value: &'a [u8],
}

impl Record<'_> {
    /// Reads what sled has for a key.
    pub(super) fn decode(bytes: &[u8]) -> Result<Record<'_>> {
        let header = bytes.split_first_chunk().and_then(|(seq, rest)| {
            let (expiry, value) = rest.split_first_chunk()?;
            Some((u64::from_le_bytes(*seq), u64::from_le_bytes(*expiry), value))
        });
        let (seq, expires_at_ms, value) = header.ok_or_else(|| KvsError::Engine {
            engine: NAME,
            source: Arc::new(io::Error::new(
                io::ErrorKind::InvalidData,
                "a value is too short for its header",
            )),
        })?;
        Ok(Record { seq, expires_at_ms, value })
    }

    /// When it expires; none: never.
    pub(super) fn expiry(&self) -> Option<u64> {
        (self.expires_at_ms != 0).then_some(self.expires_at_ms)
    }

    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.expiry().is_some_and(|at_ms| at_ms <= now_ms)
    }

    pub(super) fn to_versioned(self, keys_only: bool) -> Versioned {
        let value = if keys_only { Vec::new() } else { self.value.to_vec() };
        let (seq, expires_at_ms) = (self.seq, self.expiry());
        Versioned { value: Value::from(value), seq, expires_at_ms }
    }
}

/// What sled is to keep for a key.
pub(super) fn encode(seq: u64, expires_at_ms: Option<u64>, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + value.len());
    bytes.extend_from_slice(&seq.to_le_bytes());
    bytes.extend_from_slice(&expires_at_ms.unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{HEADER_BYTES, Record, encode};

    #[test]
    fn records_are_decoded_as_they_are_encoded() {
        for (expiry, value) in [(None, &b""[..]), (Some(7), b"value"), (Some(u64::MAX), b"\0")] {
            let bytes = encode(3, expiry, value);
            let record = Record::decode(&bytes).unwrap();
            assert_eq!((record.seq, record.expiry(), record.value), (3, expiry, value));
        }
        for len in 0..HEADER_BYTES {
            assert!(Record::decode(&vec![0; len]).is_err());
        }
    }
}
