//! The byte layout of a record: the only place that knows it.
//!
//! ```text
//! record  := crc u32le | len u32le | payload            padded with zeros to 8 bytes
//! payload := bincode encoding, variable-length integers, of `Record`
//! ```
//! The checksum (CRC-32C) covers `len` and `payload` and is seeded with the segment's salt and
//! the record's offset, so a record that was copied elsewhere, or that a user stored as a value,
//! is not one there. A record of length 0 does not exist: zeros are unused space.
//!
//! Records are encoded without their checksum, because the offset is known only when they are
//! appended; `stamp` puts it in.

use wincode::config::{Config, Configuration};
use wincode::{SchemaRead, SchemaWrite};

use crate::options::{BATCH_BYTES_MAX, KEY_BYTES_MAX, OPERATION_BYTES, VALUE_BYTES_MAX};

/// Records begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// The bytes before the payload.
pub(crate) const HEAD: usize = 8;
/// The most bytes that a payload may have: the largest set, with room for its numbers.
const PAYLOAD_MAX: usize = KEY_BYTES_MAX + VALUE_BYTES_MAX + 64;
/// The whole length of a mark, of two numbers of 8 bytes, and of the longest seal, of three of 9.
pub(crate) const MARK_BYTES: usize = padded(HEAD + 17);
pub(crate) const SEAL_BYTES_MAX: usize = padded(HEAD + 28);

const _: () = assert!(PAYLOAD_MAX < u32::MAX as usize, "a length fits its field");
const _: () = assert!(BATCH_BYTES_MAX < VALUE_BYTES_MAX, "a batch fits where a value fits");
const _: () = assert!(encoded_len_max(0, 0) + ALIGN <= OPERATION_BYTES, "a batch's limit holds");
const _: () = assert!(HEAD.is_multiple_of(ALIGN), "a payload is aligned as its record is");

/// One encoded set or remove, or what holds them together. The order of the variants is part of
/// the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) enum Record<'a> {
    /// The key has this value. `expires_at_ms` is 0: never.
    Set { seq: u64, expires_at_ms: u64, key: &'a [u8], value: &'a [u8] },
    /// The key is gone: a tombstone.
    Remove { seq: u64, key: &'a [u8] },
    /// The next `count` records, `bytes` bytes of them, commit together.
    Batch { seq: u64, count: u64, bytes: u64 },
    /// Everything before this offset was synced when this was written. Little-endian numbers of
    /// fixed length, so that every mark is as long as any other. The floor is 0 while nothing
    /// expires.
    Mark { durable_upto: [u8; 8], clock_floor_ms: [u8; 8] },
    /// The segment is whole: nothing follows.
    Seal { records: u64, min_seq: u64, max_seq: u64 },
}

impl Record<'_> {
    /// A mark that says that everything before an offset is durable, and what the time is at least.
    pub(crate) fn mark(durable_upto: u64, clock_floor_ms: u64) -> Record<'static> {
        let [durable_upto, clock_floor_ms] = [durable_upto, clock_floor_ms].map(u64::to_le_bytes);
        Record::Mark { durable_upto, clock_floor_ms }
    }

    /// The seq of a set or a remove.
    pub(crate) fn seq(&self) -> Option<u64> {
        match self {
            Record::Set { seq, .. } | Record::Remove { seq, .. } => Some(*seq),
            Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => None,
        }
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The length is zero, over the limit, or over what is left.
    Length,
    Checksum,
    /// The checksum is right but the payload is not one of ours.
    Encoding,
}

impl Invalid {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Invalid::Length => "no record with a valid length",
            Invalid::Checksum => "the checksum does not match",
            Invalid::Encoding => "the checksum matches, but the record cannot be decoded",
        }
    }
}

/// What seeds the checksums of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u64);

impl Salt {
    /// For one salt, different offsets always give different seeds.
    fn seed(self, offset: u64) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        let unit = (offset / ALIGN as u64).to_le_bytes();
        let [i, j, k, l, ..] = unit;
        u32::from_le_bytes([a, b, c, d])
            ^ u32::from_le_bytes([e, f, g, h]).rotate_left(16)
            ^ u32::from_le_bytes([i, j, k, l])
    }
}

pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

pub(crate) const fn encoding() -> impl Config {
    Configuration::default()
        .with_varint_encoding()
        .with_preallocation_size_limit::<{ usize::MAX }>()
}

/// Appends a record to `bytes`, without its checksum, and gives its length.
///
/// # Panics
/// Never: memory is reserved by the caller, and lengths were checked against the limits.
pub(crate) fn encode(bytes: &mut Vec<u8>, record: &Record<'_>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    let written = wincode::config::serialize_into(&mut *bytes, record, encoding());
    debug_assert!(written.is_ok(), "writing to memory does not fail");
    let len = bytes.len() - start - HEAD;
    debug_assert!(len <= PAYLOAD_MAX);
    let field = u32::try_from(len).unwrap_or_default().to_le_bytes();
    if let Some(place) = bytes.get_mut(start + 4..start + HEAD) {
        place.copy_from_slice(&field);
    }
    bytes.resize(start + padded(HEAD + len), 0);
    bytes.len() - start
}

/// Where the key begins in an encoded set or remove, from the start of the record.
pub(crate) fn key_offset(record: &Record<'_>) -> usize {
    match record {
        Record::Set { seq, expires_at_ms, key, .. } => {
            let len = varint_len(key.len() as u64);
            HEAD + 1 + varint_len(*seq) + varint_len(*expires_at_ms) + len
        }
        Record::Remove { seq, key } => HEAD + 1 + varint_len(*seq) + varint_len(key.len() as u64),
        Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => HEAD,
    }
}

/// The length of bincode's variable-length encoding of an integer.
fn varint_len(n: u64) -> usize {
    match n {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// An upper bound of the length of the record of a set or a remove: a kind, two numbers of up to 9
/// bytes, two lengths of up to 5.
pub(crate) const fn encoded_len_max(key: usize, value: usize) -> usize {
    padded(HEAD + 29 + key + value)
}

/// Puts the checksum into the record at the start of `bytes`, which will lie at `offset`.
pub(crate) fn stamp(bytes: &mut [u8], salt: Salt, offset: u64) {
    let Some(len) = frame(bytes) else { return };
    let crc = bytes.get(4..len).map(|covered| crc32c::crc32c_append(salt.seed(offset), covered));
    if let (Some(crc), Some(place)) = (crc, bytes.get_mut(..4)) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

/// The length without padding, head included, that the head at the start of `bytes` states; none
/// if that is no length of a record or more than there is.
fn frame(bytes: &[u8]) -> Option<usize> {
    stated_len(bytes).filter(|len| *len <= bytes.len())
}

/// As `frame`, but of a record of which only the head need be there.
pub(crate) fn stated_len(head: &[u8]) -> Option<usize> {
    let field = head.get(4..HEAD)?.try_into().ok()?;
    let len = usize::try_from(u32::from_le_bytes(field)).ok()?;
    (1..=PAYLOAD_MAX).contains(&len).then_some(HEAD + len)
}

/// The bytes of a record as they came from the disk: nothing in them is to be believed yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unverified<'a> {
    /// Head and payload, without padding.
    bytes: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// Takes the record at the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Unverified<'a>, Invalid> {
        let len = frame(bytes).ok_or(Invalid::Length)?;
        Ok(Unverified { bytes: bytes.get(..len).ok_or(Invalid::Length)? })
    }

    /// The length on disk, padding included.
    pub(crate) fn disk_len(&self) -> usize {
        padded(self.bytes.len())
    }

    /// Decodes before verifying: what comes out may be nonsense, but lies within the bytes.
    pub(crate) fn decode(&self) -> Result<Record<'a>, Invalid> {
        let payload = self.bytes.get(HEAD..).ok_or(Invalid::Length)?;
        wincode::config::deserialize_exact(payload, encoding()).map_err(|_| Invalid::Encoding)
    }

    /// Verifies the checksum and decodes.
    pub(crate) fn verify(&self, salt: Salt, offset: u64) -> Result<Record<'a>, Invalid> {
        let covered = self.bytes.get(4..).ok_or(Invalid::Length)?;
        self.expect(crc32c::crc32c_append(salt.seed(offset), covered))?;
        self.decode()
    }

    /// Verifies the checksum with `value`, a copy of the value, in the place of the value. The
    /// value of a set is the end of its payload.
    pub(crate) fn verify_copy(&self, salt: Salt, offset: u64, value: &[u8]) -> Result<(), Invalid> {
        let before = self.bytes.len().checked_sub(value.len()).ok_or(Invalid::Length)?;
        let covered = self.bytes.get(4..before).ok_or(Invalid::Length)?;
        let crc = crc32c::crc32c_append(salt.seed(offset), covered);
        self.expect(crc32c::crc32c_append(crc, value))
    }

    fn expect(&self, crc: u32) -> Result<(), Invalid> {
        if self.bytes.get(..4) == Some(&crc.to_le_bytes()[..]) {
            return Ok(());
        }
        Err(Invalid::Checksum)
    }
}

/// Verifies and decodes the record at the start of `bytes`, which lie at `offset`, and gives it
/// with its length on disk.
pub(crate) fn read(bytes: &[u8], salt: Salt, offset: u64) -> Result<(Record<'_>, usize), Invalid> {
    let unverified = Unverified::new(bytes)?;
    let record = unverified.verify(salt, offset)?;
    Ok((record, unverified.disk_len()))
}
