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
use super::segment::{HEADER_BYTES, Segment, Shelf, StoreId};

const MAGIC: [u8; 8] = *b"KVS-HINT";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEAD_BYTES: usize = 72;
/// The fewest and the most bytes of an entry: kind and hash, then four numbers of variable length.
const ENTRY_BYTES_MIN: u64 = 1 + IDENTITY_BYTES as u64 + 4;
const ENTRY_BYTES_MAX: u64 = 1 + IDENTITY_BYTES as u64 + 4 * 9;
/// The length of the shortest record for which there is an entry.
const RECORD_BYTES_MIN: u64 = record::padded(record::HEAD + 1) as u64;

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

impl Subject {
    pub(crate) fn new(shelf: &Shelf, segment: &Segment) -> Subject {
        let (store_id, len) = (shelf.store_id, segment.end());
        Subject { store_id, id: segment.id, salt: segment.salt, len }
    }

    /// The most bytes that a hint for this segment can have. A file that is longer is none, and
    /// is not worth the memory to find out.
    pub(crate) fn hint_bytes_max(&self) -> u64 {
        let records = self.len.saturating_sub(HEADER_BYTES as u64) / RECORD_BYTES_MIN;
        records.saturating_mul(ENTRY_BYTES_MAX).saturating_add(HEAD_BYTES as u64)
    }
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
    /// 0: it does not expire.
    pub(crate) expires_at_ms: u64,
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

/// What the head of a hint file states, for tools that want to know which segment it is for.
pub(crate) struct Stated {
    pub(crate) subject: Subject,
    pub(crate) entries: u64,
    pub(crate) tombstone_bytes: u64,
}

/// Takes the head of a hint file without knowing what it should say. Nothing in it is verified.
pub(crate) fn stated(head: &[u8]) -> Option<Stated> {
    let head: Head = wincode::config::deserialize_exact(head, record::encoding()).ok()?;
    if head.magic != MAGIC || head.version != VERSION.to_le_bytes() {
        return None;
    }
    let subject = Subject {
        store_id: head.store_id,
        id: SegmentId(u64::from_le_bytes(head.segment)),
        salt: Salt(u64::from_le_bytes(head.salt)),
        len: u64::from_le_bytes(head.segment_len),
    };
    let [entries, tombstone_bytes] = [head.entries, head.tombstone_bytes].map(u64::from_le_bytes);
    Some(Stated { subject, entries, tombstone_bytes })
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
        let is_too_long = bytes.len() as u64 > subject.hint_bytes_max();
        // A count that cannot be is not believed.
        if head != expected || is_too_long || entries > body.len() as u64 / ENTRY_BYTES_MIN {
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
            let Encoded { kind, expires_at_ms, .. } = encoded;
            (end <= segment_len).then_some(Entry { kind, hash, offset, len, seq, expires_at_ms })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::HashSeed;
    use super::super::scan::Found;
    use super::{
        ALIGN, Builder, ENTRY_BYTES_MIN, HEAD_BYTES, HEADER_BYTES, Hasher, Hint, RECORD_BYTES_MIN,
        Record, Salt, SegmentId, StoreId, Subject, record,
    };

    fn subject(len: u64) -> Subject {
        Subject { store_id: StoreId([7; 16]), id: SegmentId(1), salt: Salt(1), len }
    }

    /// The hint of a segment that holds these records, and the length of the segment.
    fn hint_of<'a>(records: impl Iterator<Item = Record<'a>>) -> (Vec<u8>, u64) {
        let hasher = Hasher::new(HashSeed([1, 2]));
        let mut builder = Builder::new();
        let mut offset = HEADER_BYTES as u64;
        for record in records {
            let disk_len = record::encode(&mut Vec::new(), &record);
            builder.add(&Found { offset, record, disk_len }, &hasher);
            offset += disk_len as u64;
        }
        (builder.finish(subject(offset)), offset)
    }

    #[test]
    fn no_hint_is_longer_than_what_its_segment_allows() {
        let removes = |seqs: [u64; 2]| {
            hint_of(seqs.into_iter().cycle().take(100).map(|seq| Record::Remove { seq, key: b"" }))
        };
        // The shortest records there are, and steps that take the most bytes.
        for seqs in [[1, 2], [0, 1 << 40], [0, u64::MAX / 2]] {
            let (hint, len) = removes(seqs);
            assert!(hint.len() as u64 <= subject(len).hint_bytes_max(), "{} of {len}", hint.len());
            let opened = Hint::open(hint, subject(len)).unwrap();
            assert_eq!(opened.iter(len).count(), 100);
        }
        let (hint, len) = removes([1, 2]);
        assert_eq!((len - HEADER_BYTES as u64) / 100, RECORD_BYTES_MIN);
        assert_eq!((hint.len() - HEAD_BYTES) as u64 / 100, ENTRY_BYTES_MIN);
        assert_eq!(len % ALIGN as u64, 0);
        // A key that is set once in a long while: gaps and lengths of more than a byte.
        let value = vec![0; 1 << 20];
        let set = |seq| Record::Set { seq, expires_at_ms: u64::MAX, key: b"", value: &value };
        let (hint, len) = hint_of([set(u64::MAX), set(0)].into_iter());
        assert!(hint.len() as u64 <= subject(len).hint_bytes_max());
        assert!(Hint::open(hint, subject(len)).is_some());
    }

    #[test]
    fn a_hint_that_is_longer_than_its_segment_allows_is_none() {
        let (hint, len) = hint_of([Record::Remove { seq: 1, key: b"" }].into_iter());
        let long = usize::try_from(subject(len).hint_bytes_max()).unwrap() + 1;
        let with = |bytes: usize| {
            let mut builder = Builder::new();
            builder.body = vec![0; bytes - HEAD_BYTES];
            Hint::open(builder.finish(subject(len)), subject(len))
        };
        assert!(Hint::open(hint, subject(len)).is_some());
        assert!(with(long - 1).is_some() && with(long).is_none());
    }
}
