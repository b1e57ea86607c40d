//! Hint files: what is needed to index a sealed segment without reading it.
//!
//! ```text
//! hint  := header | entry*
//! entry := bincode { kind, 96 bits of the key's hash, gap, units, seq step, expires_at_ms }
//! ```
//! An entry stands for a set or a remove. `gap` and `units` count 8 bytes: from the end of the
//! last entry's record to this record, and the record's length. `seq step` is the difference to
//! the last entry's seq. A hint is a cache: it counts only if the segment's id, salt and length
//! and its own checksum all match, and otherwise the segment is scanned.

use wincode::{SchemaRead, SchemaWrite};

use super::hash::{Hasher, IDENTITY_BYTES, KeyHash};
use super::names::SegmentId;
use super::record::{self, ALIGN, Record, Salt};
use super::scan::Found;
use super::segment::{HEADER_BYTES, StoreId};

const MAGIC: [u8; 8] = *b"KVS-HINT";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 72;

/// What a hint says about itself. Arrays, so that its length is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
struct Head {
    magic: [u8; 8],
    version: [u8; 4],
    store_id: StoreId,
    segment: [u8; 8],
    salt: [u8; 8],
    segment_len: [u8; 8],
    entries: [u8; 8],
    /// Of the tombstones' records, in bytes.
    tombstone_bytes: [u8; 8],
    crc: [u8; 4],
}

/// Which segment a hint is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) store_id: StoreId,
    pub(crate) id: SegmentId,
    pub(crate) salt: Salt,
    pub(crate) len: u64,
}

/// What kind of record an entry stands for. The order of the variants is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) enum Kind {
    Set,
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
struct Encoded {
    kind: Kind,
    identity: [u8; IDENTITY_BYTES],
    gap: u64,
    units: u64,
    seq_step: i64,
    expires_at_ms: u64,
}

/// One indexed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) hash: KeyHash,
    /// Where the record begins and how long it is, in bytes.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) seq: u64,
}

/// Collects the entries of a segment while it is scanned.
pub(crate) struct Builder {
    body: Vec<u8>,
    /// The checksum and the length of what was taken out of `body` already.
    taken: (u32, u64),
    entries: u64,
    tombstone_bytes: u64,
    /// The end and the seq of the last entry.
    end: u64,
    seq: u64,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let end = HEADER_BYTES as u64;
        Builder { body: Vec::new(), taken: (0, 0), entries: 0, tombstone_bytes: 0, end, seq: 0 }
    }

    /// Adds a record, if it is one that is indexed.
    pub(crate) fn add(&mut self, found: &Found<'_>, hasher: &Hasher) {
        let len = found.disk_len as u64;
        let (kind, key, seq, expires_at_ms) = match found.record {
            Record::Set { seq, expires_at_ms, key, .. } => (Kind::Set, key, seq, expires_at_ms),
            Record::Remove { seq, key } => (Kind::Remove, key, seq, 0),
            Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => return,
        };
        if kind == Kind::Remove {
            self.tombstone_bytes += len;
        }
        let encoded = Encoded {
            kind,
            identity: hasher.hash(key).identity(),
            gap: (found.offset - self.end) / ALIGN as u64,
            units: len / ALIGN as u64,
            seq_step: seq.wrapping_sub(self.seq).cast_signed(),
            expires_at_ms,
        };
        let written = wincode::config::serialize_into(&mut self.body, &encoded, record::encoding());
        debug_assert!(written.is_ok(), "writing to memory does not fail");
        self.entries += 1;
        self.end = found.offset + len;
        self.seq = seq;
    }

    /// Takes out entries that were collected so far, if they are many, with the offset in the hint
    /// file where they belong; so that a hint can be written without being held in memory.
    pub(crate) fn take(&mut self, at_least: usize) -> Option<(u64, Vec<u8>)> {
        if self.body.len() < at_least.max(1) {
            return None;
        }
        let body = std::mem::take(&mut self.body);
        let (crc, len) = self.taken;
        self.taken = (crc32c::crc32c_append(crc, &body), len + body.len() as u64);
        Some((HEAD_BYTES as u64 + len, body))
    }

    /// The head of the hint, to be written when all entries were taken out.
    pub(crate) fn head(&self, subject: Subject) -> Vec<u8> {
        debug_assert!(self.body.is_empty());
        let mut head = Head::new(subject, self.entries, self.tombstone_bytes);
        head.crc = checksum(&head.encode(), self.taken.0);
        head.encode()
    }

    /// The bytes of the hint file, if nothing was taken out.
    pub(crate) fn finish(mut self, subject: Subject) -> Vec<u8> {
        let body = self.take(1).map(|(_, body)| body).unwrap_or_default();
        let mut bytes = self.head(subject);
        bytes.extend_from_slice(&body);
        bytes
    }
}

impl Head {
    fn new(subject: Subject, entries: u64, tombstone_bytes: u64) -> Head {
        Head {
            magic: MAGIC,
            version: VERSION.to_le_bytes(),
            store_id: subject.store_id,
            segment: subject.id.0.to_le_bytes(),
            salt: subject.salt.0.to_le_bytes(),
            segment_len: subject.len.to_le_bytes(),
            entries: entries.to_le_bytes(),
            tombstone_bytes: tombstone_bytes.to_le_bytes(),
            crc: [0; 4],
        }
    }

    fn encode(&self) -> Vec<u8> {
        wincode::config::serialize(self, record::encoding()).unwrap_or_default()
    }
}

/// Covers all entries, and then the head up to the checksum.
fn checksum(head: &[u8], entries_crc: u32) -> [u8; 4] {
    let covered = head.get(..HEAD_BYTES - 4).unwrap_or_default();
    crc32c::crc32c_append(entries_crc, covered).to_le_bytes()
}

/// A hint whose checksum and subject were found right.
pub(crate) struct Hint {
    bytes: Vec<u8>,
    pub(crate) entries: u64,
    pub(crate) tombstone_bytes: u64,
}

impl Hint {
    /// Takes the bytes of a hint file; none if they are no valid hint for that segment.
    pub(crate) fn open(bytes: Vec<u8>, subject: Subject) -> Option<Hint> {
        let head_bytes = bytes.get(..HEAD_BYTES)?;
        let body = bytes.get(HEAD_BYTES..)?;
        let head: Head = wincode::config::deserialize_exact(head_bytes, record::encoding()).ok()?;
        let entries = u64::from_le_bytes(head.entries);
        let tombstone_bytes = u64::from_le_bytes(head.tombstone_bytes);
        let mut expected = Head::new(subject, entries, tombstone_bytes);
        expected.crc = checksum(head_bytes, crc32c::crc32c(body));
        if kvs_bug!("trust_hint") {
            expected.crc = head.crc;
        }
        // An entry has at least 17 bytes: a count that cannot be is not believed.
        if head != expected || entries > body.len() as u64 / 17 {
            return None;
        }
        Some(Hint { bytes, entries, tombstone_bytes })
    }

    /// The entries in the order of their offsets. Stops early if the hint does not hold what it
    /// says, or if a record would lie outside the segment.
    pub(crate) fn iter(&self, segment_len: u64) -> impl Iterator<Item = Entry> + '_ {
        let mut body = self.bytes.get(HEAD_BYTES..).unwrap_or_default();
        let (mut end, mut seq) = (HEADER_BYTES as u64, 0_u64);
        std::iter::from_fn(move || {
            let encoded: Encoded =
                wincode::config::deserialize_from(&mut body, record::encoding()).ok()?;
            let offset = end.checked_add(encoded.gap.checked_mul(ALIGN as u64)?)?;
            let len = encoded.units.checked_mul(ALIGN as u64)?;
            end = offset.checked_add(len)?;
            seq = seq.wrapping_add(encoded.seq_step.cast_unsigned());
            let hash = KeyHash::from_identity(encoded.identity);
            (end <= segment_len).then_some(Entry { kind: encoded.kind, hash, offset, len, seq })
        })
    }
}
