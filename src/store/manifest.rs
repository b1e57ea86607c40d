//! The manifest: which segments are alive, and what must not be forgotten between two opens.
//!
//! ```text
//! manifest := magic | format version u32le | crc u32le | bincode encoding of `Manifest`
//! ```
//! It is replaced as a whole: written under another name, synced, renamed over the old one, the
//! directory synced. A directory that holds segments and no valid manifest is refused, because
//! nothing else says which of them count.

use std::io;
use std::path::Path;

use wincode::{SchemaRead, SchemaWrite};

use super::disk::{Access, Disk, put_in_place, read_full_at};
use super::hash::HashSeed;
use super::names::{self, SegmentId};
use super::record::{self, Salt};
use super::segment::StoreId;
use crate::error::{KvsError, Result};

/// The version of the data directory's format, which every manifest states. Since 2, sets may
/// expire and marks and manifest have a clock floor; in 1, both are always 0. Since 3, the manifest
/// says up to which seq compaction went through the log.
pub(crate) const VERSION: u32 = 3;
const MAGIC: [u8; 8] = *b"KVS-MANI";
const HEAD_BYTES: usize = 16;
/// A manifest names at most 65536 segments, of less than 128 bytes each.
const BYTES_MAX: u64 = 16 << 20;
const SEGMENTS_MAX: u64 = 1 << 16;
/// The fewest bytes that a segment takes: seven numbers of variable length.
const NAMED_BYTES_MIN: u64 = 7;
/// The highest id and the highest seq that are believed. No store gets there, and whoever counts
/// on from one does not overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;
/// How many seqs are reserved ahead.
pub(crate) const SEQ_RESERVE: u64 = 1 << 20;

/// The state of a store that is not in its segments.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Manifest {
    pub(crate) store_id: StoreId,
    pub(crate) hash_seed: [u64; 2],
    /// Every segment so far has a lower id.
    pub(crate) next_segment: u64,
    /// Every seq so far is lower.
    pub(crate) reserved_seq: u64,
    /// Expiry never sees a clock below this, in milliseconds since 1970-01-01 UTC. 0 until expiry
    /// is in use.
    pub(crate) clock_floor_ms: u64,
    /// The highest seq that was superseded by a write, or dropped, in any compaction.
    pub(crate) history_floor: u64,
    /// The log may lack records up to this seq: compaction went through them, or they were cleared.
    pub(crate) compacted_seq: u64,
    /// In the order of their ids. The last field of the encoding, as a sequence of bincode: a
    /// count, then each of them. Not derived, so that the count is checked before it is believed.
    #[wincode(skip)]
    pub(crate) segments: Vec<Named>,
}

/// What comes before the segments up to version 2.
#[derive(SchemaRead)]
struct Earlier {
    store_id: StoreId,
    hash_seed: [u64; 2],
    next_segment: u64,
    reserved_seq: u64,
    clock_floor_ms: u64,
    history_floor: u64,
}

/// What the manifest knows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Named {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) state: State,
    pub(crate) min_seq: u64,
    pub(crate) max_seq: u64,
    /// The highest seq published when the compaction that wrote it began: it holds no set that
    /// was dead then. 0: it was not written by a compaction.
    pub(crate) clean_upto: u64,
}

/// Whether a segment still grows. The order of the variants is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) enum State {
    /// Its records end where its scan ends; below `durable_upto` they are known to be durable.
    Open { durable_upto: u64 },
    /// It has exactly this length, in bytes.
    Sealed { len: u64 },
}

/// Why a manifest was not replaced.
pub(crate) struct ReplaceError {
    pub(crate) error: KvsError,
    /// The new one is there now, but may be gone after a power failure.
    pub(crate) uncertain: bool,
}

impl Named {
    pub(crate) fn id(&self) -> SegmentId {
        SegmentId(self.id)
    }

    pub(crate) fn salt(&self) -> Salt {
        Salt(self.salt)
    }
}

impl Manifest {
    pub(crate) fn hash_seed(&self) -> HashSeed {
        HashSeed(self.hash_seed)
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = wincode::config::serialize(self, record::encoding()).unwrap_or_default();
        let segments = wincode::config::serialize(&self.segments, record::encoding());
        body.extend_from_slice(&segments.unwrap_or_default());
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&checksum(VERSION, &body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Makes this the manifest of the directory. Durable when this returns.
    pub(crate) fn replace(
        &self,
        disk: &dyn Disk,
        directory: &Path,
    ) -> std::result::Result<(), ReplaceError> {
        let prepared = self.prepare(disk, directory);
        prepared.map_err(|error| ReplaceError { error, uncertain: false })?;
        Manifest::put_prepared(disk, directory)
    }

    /// Writes this down to be the next manifest of the directory.
    pub(crate) fn prepare(&self, disk: &dyn Disk, directory: &Path) -> Result<()> {
        super::disk::prepare(disk, &directory.join(names::MANIFEST_NEW), &self.encode())
    }

    /// Makes the manifest that was prepared the one of the directory. Durable when this returns.
    pub(crate) fn put_prepared(
        disk: &dyn Disk,
        directory: &Path,
    ) -> std::result::Result<(), ReplaceError> {
        let (new, path) = (names::MANIFEST_NEW, names::MANIFEST);
        put_in_place(disk, &directory.join(new), &directory.join(path))
            .map_err(|error| ReplaceError { error, uncertain: false })?;
        if kvs_bug!("skip_directory_sync") {
            return Ok(());
        }
        disk.sync_dir(directory).map_err(|error| {
            let error = KvsError::io("sync", directory, error);
            ReplaceError { error, uncertain: true }
        })
    }

    /// Reads the manifest of a directory; none if there is none.
    pub(crate) fn load(disk: &dyn Disk, directory: &Path) -> Result<Option<Manifest>> {
        let read = Manifest::read(disk, &directory.join(names::MANIFEST))?;
        Ok(read.map(|(_, manifest)| manifest))
    }

    /// Reads a manifest, and the version of the format that it states; none if there is no file.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<(u32, Manifest)>> {
        let io = |action| move |error| KvsError::io(action, path, error);
        let file = match disk.open(path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io("open"))?,
        };
        let len = file.len().map_err(io("read"))?;
        let corrupt =
            |reason| KvsError::Corrupt { path: path.to_owned(), segment: None, offset: 0, reason };
        let len = usize::try_from(len).ok().filter(|len| *len as u64 <= BYTES_MAX);
        let mut bytes = vec![0; len.ok_or_else(|| corrupt("it is too long"))?];
        let read = read_full_at(&*file, &mut bytes, 0).map_err(io("read"))?;
        bytes.truncate(read);
        let (head, body) =
            bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| corrupt("it is too short"))?;
        let field = |from: usize| {
            let field = head.get(from..from + 4).and_then(|field| field.try_into().ok());
            u32::from_le_bytes(field.unwrap_or_default())
        };
        if head.get(..8) != Some(&MAGIC[..]) {
            return Err(corrupt("it is no manifest of kvs"));
        }
        // The version is covered by the checksum of its own format; a newer one may have another.
        if field(8) > VERSION {
            let (path, found) = (path.to_owned(), field(8));
            return Err(KvsError::UnsupportedVersion { path, found, supported: VERSION });
        }
        if checksum(field(8), body) != field(12) {
            return Err(corrupt("the checksum does not match"));
        }
        let manifest = Manifest::decode(body, field(8));
        let manifest = manifest.ok_or_else(|| corrupt("it cannot be decoded"))?;
        if !manifest.is_plausible() {
            return Err(corrupt("it has a number that no store comes to"));
        }
        Ok(Some((field(8), manifest)))
    }

    fn decode(mut body: &[u8], version: u32) -> Option<Manifest> {
        let encoding = record::encoding;
        let mut manifest: Manifest = match version {
            ..3 => {
                let earlier = wincode::config::deserialize_from(&mut body, encoding()).ok()?;
                Manifest::of_earlier(earlier)
            }
            _ => wincode::config::deserialize_from(&mut body, encoding()).ok()?,
        };
        let count: u64 = wincode::config::deserialize_from(&mut body, encoding()).ok()?;
        if count > SEGMENTS_MAX.min(body.len() as u64 / NAMED_BYTES_MIN) {
            return None;
        }
        manifest.segments.try_reserve_exact(usize::try_from(count).ok()?).ok()?;
        for _ in 0..count {
            let named = wincode::config::deserialize_from(&mut body, encoding()).ok()?;
            manifest.segments.push(named);
        }
        if version < 3 {
            // What was dropped is below the floor, and what was not is in an output.
            let outputs = manifest.segments.iter().filter(|named| named.clean_upto > 0);
            let seqs = outputs.map(|named| named.max_seq);
            manifest.compacted_seq = seqs.fold(manifest.history_floor, u64::max);
        }
        body.is_empty().then_some(manifest)
    }

    fn of_earlier(earlier: Earlier) -> Manifest {
        let Earlier { store_id, hash_seed, next_segment, reserved_seq, .. } = earlier;
        let Earlier { clock_floor_ms, history_floor, .. } = earlier;
        Manifest {
            store_id,
            hash_seed,
            next_segment,
            reserved_seq,
            clock_floor_ms,
            history_floor,
            compacted_seq: 0,
            segments: Vec::new(),
        }
    }

    /// Whether nobody who counts on from here overflows, and the next id is really a new one.
    fn is_plausible(&self) -> bool {
        let is_low = |number: u64| number <= NUMBER_MAX;
        let is_known = |named: &Named| named.id < self.next_segment && is_low(named.max_seq);
        let numbers = [self.next_segment, self.reserved_seq, self.clock_floor_ms];
        let floors = [self.history_floor, self.compacted_seq];
        numbers.into_iter().chain(floors).all(is_low) && self.segments.iter().all(is_known)
    }
}

fn checksum(version: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&version.to_le_bytes()), body)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::real_disk::RealDisk;
    use super::{HEAD_BYTES, MAGIC, Manifest, Named, State, StoreId, VERSION, checksum};
    use crate::error::{KvsError, Result};

    fn manifest() -> Manifest {
        Manifest {
            store_id: StoreId([7; 16]),
            hash_seed: [1, 2],
            next_segment: 3,
            reserved_seq: 100,
            clock_floor_ms: 0,
            history_floor: 0,
            compacted_seq: 0,
            segments: vec![named(1, 50), named(2, 0)],
        }
    }

    fn named(id: u64, max_seq: u64) -> Named {
        let state = State::Sealed { len: 4096 };
        Named { id, salt: 5, state, min_seq: 1, max_seq, clean_upto: 0 }
    }

    fn load(directory: &Path, bytes: &[u8]) -> Result<Option<Manifest>> {
        std::fs::write(directory.join("MANIFEST"), bytes).unwrap();
        Manifest::load(&RealDisk, directory)
    }

    /// A manifest whose checksum is right whatever its body is.
    fn around(body: &[u8]) -> Vec<u8> {
        let crc = checksum(VERSION, body).to_le_bytes();
        [&MAGIC[..], &VERSION.to_le_bytes(), &crc, body].concat()
    }

    #[track_caller]
    fn is_refused(loaded: &Result<Option<Manifest>>) {
        assert!(matches!(loaded, Err(KvsError::Corrupt { .. })), "{loaded:?}");
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused_and_not_allocated() {
        let dir = tempfile::tempdir().unwrap();
        let none = Manifest { segments: Vec::new(), ..manifest() };
        let bytes = none.encode();
        assert_eq!(load(dir.path(), &bytes).unwrap(), Some(none));
        let fixed = &bytes[HEAD_BYTES..bytes.len() - 1];
        let huge = [&[253][..], &[0xff; 8]].concat();
        for count in [&[1][..], &[252, 0, 0, 1, 0], &[252, 0xff, 0xff, 0xff, 0xff], &huge] {
            is_refused(&load(dir.path(), &around(&[fixed, count].concat())));
        }
        // 600, in 100 bytes.
        let body = [fixed, &[251, 0x58, 2], &[0; 100]].concat();
        let used = allocation_counter::measure(|| is_refused(&load(dir.path(), &around(&body))));
        assert!(used.bytes_max < 20_000, "{used:?}");
    }

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = manifest().encode();
        assert_eq!(load(dir.path(), &bytes).unwrap(), Some(manifest()));
        let body = &bytes[HEAD_BYTES..];
        for len in 0..body.len() {
            is_refused(&load(dir.path(), &around(&body[..len])));
        }
        is_refused(&load(dir.path(), &around(&[body, &[0]].concat())));
    }

    #[test]
    fn what_an_earlier_version_does_not_say_follows_from_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let output = |max_seq| Named { clean_upto: 60, ..named(1, max_seq) };
        for (history_floor, segments, compacted_seq) in [
            (0, vec![named(1, 50)], 0),
            (0, vec![output(50), named(2, 70)], 50),
            (40, vec![output(50)], 50),
            (70, vec![output(50)], 70),
        ] {
            let wanted = Manifest { history_floor, segments, compacted_seq, ..manifest() };
            let bytes = Manifest { compacted_seq: 0, ..wanted.clone() }.encode();
            let count = bytes.len() - HEAD_BYTES - segments_len(&wanted);
            // Without the number that is new, a zero.
            let (head, rest) = bytes[HEAD_BYTES..].split_at(count - 1);
            let body = [head, &rest[1..]].concat();
            for version in [1_u32, 2] {
                let crc = checksum(version, &body).to_le_bytes();
                let bytes = [&MAGIC[..], &version.to_le_bytes(), &crc, &body].concat();
                assert_eq!(load(dir.path(), &bytes).unwrap().as_ref(), Some(&wanted));
            }
        }
    }

    fn segments_len(manifest: &Manifest) -> usize {
        let none = Manifest { segments: Vec::new(), ..manifest.clone() };
        manifest.encode().len() - none.encode().len() + 1
    }

    #[test]
    fn numbers_that_would_overflow_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cases = [
            Manifest { next_segment: u64::MAX, ..manifest() },
            Manifest { next_segment: (1 << 62) + 1, ..manifest() },
            Manifest { reserved_seq: u64::MAX - 5, ..manifest() },
            Manifest { history_floor: u64::MAX, ..manifest() },
            Manifest { compacted_seq: u64::MAX, ..manifest() },
            Manifest { segments: vec![named(1, u64::MAX)], ..manifest() },
            Manifest { segments: vec![named(u64::MAX, 0)], ..manifest() },
            Manifest { next_segment: 2, ..manifest() },
        ];
        for case in cases {
            is_refused(&load(dir.path(), &case.encode()));
        }
    }
}
