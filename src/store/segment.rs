//! One segment: a file of records with a header, and how its records are read.
//!
//! ```text
//! segment := header | record* | [seal record] | zeros
//! header  := magic | format version u32le | store id | segment id u64le | salt u64le | crc u32le
//! ```
//! Below `end` a segment never changes. What writes behind `end` is the appender.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wincode::{SchemaRead, SchemaWrite};

use super::clock::NEVER;
use super::disk::{Access, Disk, DiskFile, read_exact_at, write_all_at};
use super::map::Map;
use super::names::{self, SegmentId};
use super::record::{self, ALIGN, HEAD, Invalid, Record, Salt, Unverified};
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

/// The version of the segment format.
pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"KVS-SEG\n";
/// The length of the header: where records begin.
pub(crate) const HEADER_BYTES: usize = 48;
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN), "records begin aligned");

/// What a tombstone is taken to need before it is written.
const TOMBSTONE_BYTES: u64 = 40;

/// What a `pread` asks for before it knows how long the record is.
const FIRST_READ: usize = 1024;

/// The identity of a store: random, in its manifest and in the header of each of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct StoreId(pub(crate) [u8; 16]);

/// The header of a segment. Arrays, so that its length is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
struct Header {
    magic: [u8; 8],
    version: [u8; 4],
    store_id: StoreId,
    id: [u8; 8],
    salt: [u8; 8],
    crc: [u8; 4],
}

impl Header {
    fn new(store_id: StoreId, id: SegmentId, salt: Salt) -> Header {
        let mut header = Header {
            magic: MAGIC,
            version: VERSION.to_le_bytes(),
            store_id,
            id: id.0.to_le_bytes(),
            salt: salt.0.to_le_bytes(),
            crc: [0; 4],
        };
        header.crc = header.checksum();
        header
    }

    fn checksum(&self) -> [u8; 4] {
        let bytes = self.encode();
        let covered = bytes.get(..HEADER_BYTES - 4).unwrap_or_default();
        crc32c::crc32c(covered).to_le_bytes()
    }

    fn encode(&self) -> Vec<u8> {
        wincode::config::serialize(self, record::encoding()).unwrap_or_default()
    }
}

/// How the segments of a store are made and opened.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) store_id: StoreId,
    pub(crate) read_path: ReadPath,
    pub(crate) guarded: bool,
}

impl Shelf {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        store_id: StoreId,
        options: &Options,
    ) -> Shelf {
        Shelf {
            disk,
            directory: directory.to_owned(),
            store_id,
            read_path: options.read_path,
            guarded: options.sigbus_guard,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync_names(&self) -> Result<()> {
        let synced = self.disk.sync_dir(&self.directory);
        synced.map_err(|error| KvsError::io("sync", &self.directory, error))
    }

    /// Makes a new segment and writes its header. Nothing of it is durable yet. None: a file has
    /// that name already, left by a process that died before it had written a header.
    pub(crate) fn create(
        &self,
        id: SegmentId,
        number: u16,
        salt: Salt,
        capacity: u64,
    ) -> Result<Option<Segment>> {
        let path = self.path(&names::segment(id));
        let io = |action| {
            let path = path.clone();
            move |error| KvsError::io(action, &path, error)
        };
        let file = match self.disk.open(&path, Access::Create) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            opened => opened.map_err(io("create"))?,
        };
        let made = write_all_at(&*file, &Header::new(self.store_id, id, salt).encode(), 0)
            .map_err(io("write"))
            .and_then(|()| self.mapping(&*file, capacity).map_err(io("map")));
        match made {
            Ok(map) => {
                let end = HEADER_BYTES as u64;
                Ok(Some(Segment::new(id, number, path, salt, file, map, end)))
            }
            Err(error) => {
                // Nothing names the file yet.
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }

    /// Opens a segment that the manifest names; its header must say that it is that one.
    /// `readable` is where its records end, as far as is known.
    pub(crate) fn open(
        &self,
        id: SegmentId,
        number: u16,
        salt: Salt,
        capacity: u64,
        access: Access,
    ) -> Result<Segment> {
        let path = self.path(&names::segment(id));
        let file = match self.disk.open(&path, access) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KvsError::SegmentMissing { path, segment: id.0 });
            }
            opened => opened.map_err(|error| KvsError::io("open", &path, error))?,
        };
        let corrupt = |reason| {
            let path = path.clone();
            KvsError::Corrupt { path, segment: Some(id.0), offset: 0, reason }
        };
        let header = read_header(&*file, &path)?.map_err(corrupt)?;
        if header.version != VERSION.to_le_bytes() {
            let found = u32::from_le_bytes(header.version);
            return Err(KvsError::UnsupportedVersion { path, found, supported: VERSION });
        }
        if header != Header::new(self.store_id, id, salt) {
            return Err(corrupt("the header belongs to another segment"));
        }
        let map = self.mapping(&*file, capacity);
        let map = map.map_err(|error| KvsError::io("map", &path, error))?;
        Ok(Segment::new(id, number, path, salt, file, map, HEADER_BYTES as u64))
    }

    /// Opens a segment whatever its header says, to read from it what can be read.
    pub(crate) fn open_unchecked(&self, id: SegmentId, salt: Salt) -> Result<Segment> {
        let path = self.path(&names::segment(id));
        let file = match self.disk.open(&path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KvsError::SegmentMissing { path, segment: id.0 });
            }
            opened => opened.map_err(|error| KvsError::io("open", &path, error))?,
        };
        Ok(Segment::new(id, 0, path, salt, file, None, HEADER_BYTES as u64))
    }

    /// Whether the file is a segment of this store.
    pub(crate) fn owns(&self, id: SegmentId) -> Result<bool> {
        let path = self.path(&names::segment(id));
        let file = self.disk.open(&path, Access::Read);
        let file = file.map_err(|error| KvsError::io("open", &path, error))?;
        Ok(read_header(&*file, &path)?.is_ok_and(|header| header.store_id == self.store_id))
    }

    fn mapping(&self, file: &dyn DiskFile, capacity: u64) -> io::Result<Option<Map>> {
        match (self.read_path, usize::try_from(capacity)) {
            (ReadPath::Mapped, Ok(len)) => file.map(len.max(1), self.guarded),
            _ => Ok(None),
        }
    }
}

/// What the header of a segment file states about it, for tools that have no manifest.
pub(crate) struct Stated {
    pub(crate) store_id: StoreId,
    pub(crate) id: SegmentId,
    pub(crate) salt: Salt,
}

/// Reads the header of a segment file without knowing what it should say; or why it is none.
pub(crate) fn stated(
    file: &dyn DiskFile,
    path: &Path,
) -> Result<std::result::Result<Stated, &'static str>> {
    Ok(read_header(file, path)?.and_then(|header| {
        if header.version != VERSION.to_le_bytes() {
            return Err("the header is of another version of the format");
        }
        Ok(Stated {
            store_id: header.store_id,
            id: SegmentId(u64::from_le_bytes(header.id)),
            salt: Salt(u64::from_le_bytes(header.salt)),
        })
    }))
}

fn read_header(
    file: &dyn DiskFile,
    path: &Path,
) -> Result<std::result::Result<Header, &'static str>> {
    let mut bytes = [0; HEADER_BYTES];
    match read_exact_at(file, &mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Err("the file is shorter than a header"));
        }
        read => read.map_err(|error| KvsError::io("read", path, error))?,
    }
    let header: std::result::Result<Header, _> =
        wincode::config::deserialize_exact(&bytes, record::encoding());
    Ok(match header {
        Ok(header) if header.magic != MAGIC => Err("the file is no segment of kvs"),
        Ok(header) if header.crc != header.checksum() => Err("the header is damaged"),
        Ok(header) => Ok(header),
        Err(_) => Err("the header cannot be decoded"),
    })
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// What stands for the segment in a location: reused, unlike the id.
    pub(crate) number: u16,
    pub(crate) path: PathBuf,
    pub(crate) salt: Salt,
    pub(crate) file: Arc<dyn DiskFile>,
    map: Option<Map>,
    /// Where the records end: bytes below are never written again.
    end: AtomicU64,
    /// The bytes that the file takes, preallocated ones included.
    pub(crate) file_bytes: AtomicU64,
    /// The bytes of the records to which the keydir points.
    pub(crate) live_bytes: AtomicU64,
    pub(crate) tombstone_bytes: AtomicU64,
    /// The bytes of the sets that are dead and that compaction keeps for the sake of history.
    pub(crate) retained_bytes: AtomicU64,
    /// No record that the keydir points to expires before this; `u64::MAX`: none does.
    pub(crate) next_expiry_ms: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) min_seq: AtomicU64,
    pub(crate) max_seq: AtomicU64,
    pub(crate) clean_upto: AtomicU64,
    pub(crate) sealed: AtomicBool,
    pub(crate) hinted: AtomicBool,
    /// How many of its records only snapshots can see: its file stays as long as there are some.
    pub(crate) pinned: AtomicU64,
    /// A compaction found it unreadable: left alone from then on.
    pub(crate) damaged: AtomicBool,
}

impl Segment {
    fn new(
        id: SegmentId,
        number: u16,
        path: PathBuf,
        salt: Salt,
        file: Arc<dyn DiskFile>,
        map: Option<Map>,
        end: u64,
    ) -> Segment {
        Segment {
            id,
            number,
            path,
            salt,
            file,
            map,
            end: AtomicU64::new(end),
            file_bytes: AtomicU64::new(end),
            live_bytes: AtomicU64::new(0),
            tombstone_bytes: AtomicU64::new(0),
            retained_bytes: AtomicU64::new(0),
            next_expiry_ms: AtomicU64::new(u64::MAX),
            records: AtomicU64::new(0),
            min_seq: AtomicU64::new(u64::MAX),
            max_seq: AtomicU64::new(0),
            clean_upto: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            hinted: AtomicBool::new(false),
            pinned: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
        }
    }

    /// Where the records end, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Makes everything below `end` readable.
    pub(crate) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Counts what an append or a scan found.
    pub(crate) fn count(&self, records: u64, min_seq: u64, max_seq: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.min_seq.fetch_min(min_seq, Ordering::Relaxed);
        self.max_seq.fetch_max(max_seq, Ordering::Relaxed);
    }

    /// Notes that a record expires at that time; 0: never.
    pub(crate) fn note_expiry(&self, expires_at_ms: u64) {
        if expires_at_ms != NEVER {
            self.next_expiry_ms.fetch_min(expires_at_ms, Ordering::AcqRel);
        }
    }

    /// Counts a record of that many bytes that has expired. Until nothing older can be under it,
    /// a tombstone has to stay in its place.
    pub(crate) fn count_expired(&self, len: u64) {
        self.tombstone_bytes.fetch_add(len.min(TOMBSTONE_BYTES), Ordering::Relaxed);
    }

    /// Whether there are records in it that only snapshots can see.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Acquire) > 0
    }

    /// The bytes that no key needs.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.end().saturating_sub(self.live_bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn corrupt(&self, offset: u64, reason: &'static str) -> KvsError {
        let path = self.path.clone();
        KvsError::Corrupt { path, segment: Some(self.id.0), offset, reason }
    }

    /// Asks the processor to fetch the record at an offset.
    pub(crate) fn prefetch(&self, offset: u64) {
        if let (Some(map), Ok(offset)) = (&self.map, usize::try_from(offset)) {
            // More lines than a short record has, so that they are not waited for in turn.
            (0..4).for_each(|line| super::map::prefetch(map.address(offset + 64 * line)));
        }
    }

    /// The record at `offset`, straight from the mapping, if there is one over it.
    #[inline]
    pub(crate) fn mapped(
        &self,
        offset: u64,
    ) -> Option<std::result::Result<Unverified<'_>, Invalid>> {
        let map = self.map.as_ref()?;
        let start = usize::try_from(offset).ok()?;
        let end = usize::try_from(self.end()).ok()?;
        if start + HEAD > end {
            return Some(Err(Invalid::Length));
        }
        let head = map.get(start, start + HEAD)?;
        let Some(len) = record::stated_len(head).filter(|len| start + len <= end) else {
            return Some(Err(Invalid::Length));
        };
        Some(Unverified::new(map.get(start, start + len)?))
    }

    /// Verifies the record at `offset` and hands it to `use_record`: from the mapping, or from
    /// the file if there is no mapping or what it shows is damaged.
    pub(crate) fn read<R>(
        &self,
        offset: u64,
        use_record: impl FnOnce(Record<'_>, usize) -> R,
    ) -> Result<R> {
        let before = self.map.as_ref().map(Map::moment);
        if let Some(Ok(unverified)) = self.mapped(offset)
            && let Ok(record) = unverified.verify(self.salt, offset)
        {
            let result = use_record(record, unverified.disk_len());
            let after = self.map.as_ref().map(Map::moment);
            // A fault elsewhere in the segment is none of this record's.
            let is_elsewhere = || {
                let is_right = unverified.verify(self.salt, offset).is_ok();
                let now = self.map.as_ref().map(Map::moment);
                let moments = now.zip(before);
                is_right && moments.is_some_and(|(now, then)| now.has_kept_faults_since(then))
            };
            if after == before || is_elsewhere() {
                return Ok(result);
            }
            return Err(self.corrupt(offset, "the page went bad while it was being read"));
        }
        self.read_file(offset, use_record)
    }

    /// As `read`, past the mapping: for those who found no mapping, or a wrong one. Pages that the
    /// mapping shows wrong are asked for again if the file has them right.
    pub(crate) fn read_file<R>(
        &self,
        offset: u64,
        use_record: impl FnOnce(Record<'_>, usize) -> R,
    ) -> Result<R> {
        let bytes = self.pread(offset)?;
        let (record, len) = record::read(&bytes, self.salt, offset)
            .map_err(|invalid| self.corrupt(offset, invalid.reason()))?;
        // None if the record lies beyond the mapping: there is nothing wrong with that.
        let mapped = self.mapped(offset);
        let is_wrong = mapped.is_some_and(|mapped| {
            mapped.and_then(|unverified| unverified.verify(self.salt, offset)).is_err()
        });
        if let Some(map) = self.map.as_ref().filter(|_| is_wrong) {
            // The record is good either way; who reads it next tries again.
            let _ = map.renew();
        }
        Ok(use_record(record, len))
    }

    /// Reads the bytes of the record at `offset` from the file, without a mapping.
    pub(crate) fn pread(&self, offset: u64) -> Result<Vec<u8>> {
        let left = self.end().saturating_sub(offset);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let invalid = || self.corrupt(offset, Invalid::Length.reason());
        if left < HEAD {
            return Err(invalid());
        }
        let mut bytes = self.pread_more(Vec::new(), left.min(FIRST_READ), offset)?;
        let len = record::stated_len(&bytes).filter(|len| *len <= left).ok_or_else(invalid)?;
        if len > bytes.len() {
            bytes = self.pread_more(bytes, len, offset)?;
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Extends `bytes`, which were read at `offset`, to `len`.
    fn pread_more(&self, mut bytes: Vec<u8>, len: usize, offset: u64) -> Result<Vec<u8>> {
        let have = bytes.len();
        if bytes.try_reserve_exact(len - have).is_err() {
            return Err(KvsError::OutOfMemory { bytes: len });
        }
        bytes.resize(len, 0);
        let rest = bytes.get_mut(have..).unwrap_or_default();
        match read_exact_at(&*self.file, rest, offset + have as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.corrupt(offset, "the file ends before the record does"))
            }
            Err(error) => Err(KvsError::io("read", &self.path, error)),
            Ok(()) => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::real_disk::RealDisk;
    use super::{Options, Record, Salt, Segment, SegmentId, Shelf, StoreId, record, write_all_at};
    use crate::error::{KvsError, Result};

    const VALUE_BYTES: usize = 3 * 4096;

    /// A segment with two records, each of which goes over several pages, and their offsets.
    fn segment(directory: &Path, id: u64, mapped_bytes: u64) -> (Segment, [u64; 2]) {
        let shelf = Shelf::new(Arc::new(RealDisk), directory, StoreId([7; 16]), &Options::new());
        let made = shelf.create(SegmentId(id), 0, Salt(id), mapped_bytes).unwrap();
        let segment = made.unwrap();
        let offsets = [1, 2].map(|seq| {
            let offset = segment.end();
            append(&segment, seq);
            offset
        });
        (segment, offsets)
    }

    fn append(segment: &Segment, seq: u64) {
        let (mut bytes, value) = (Vec::new(), [b'v'; VALUE_BYTES]);
        let record = Record::Set { seq, expires_at_ms: 0, key: b"key", value: &value };
        record::encode(&mut bytes, &record);
        let end = segment.end();
        record::stamp(&mut bytes, segment.salt, end);
        write_all_at(&*segment.file, &bytes, end).unwrap();
        segment.set_end(end + bytes.len() as u64);
    }

    /// How often the byte of the value occurs in it.
    fn count(segment: &Segment, offset: u64) -> Result<usize> {
        segment.read(offset, |record, _| count_in(&record))
    }

    fn count_in(record: &Record<'_>) -> usize {
        let Record::Set { value, .. } = record else { return 0 };
        black_box(value).iter().filter(|byte| **byte == b'v').count()
    }

    fn is_corrupt<T>(read: &Result<T>) -> bool {
        matches!(read, Err(KvsError::Corrupt { .. }))
    }

    #[test]
    fn a_fault_under_another_record_does_not_concern_a_read() {
        let dir = tempfile::tempdir().unwrap();
        let (good, [offset, _]) = segment(dir.path(), 1, 1 << 20);
        let (cut, [first, second]) = segment(dir.path(), 2, 1 << 20);
        cut.file.set_len(4 * 4096).unwrap();
        let read = good.read(offset, |record, _| {
            assert!(is_corrupt(&count(&cut, second)));
            count_in(&record)
        });
        assert_eq!(read.unwrap(), VALUE_BYTES);
        // Nor does one in the same file, in pages where the record does not lie.
        let (cut, _) = segment(dir.path(), 3, 1 << 20);
        cut.file.set_len(4 * 4096).unwrap();
        let read = cut.read(first, |record, _| {
            assert!(is_corrupt(&count(&cut, second)));
            count_in(&record)
        });
        assert_eq!(read.unwrap(), VALUE_BYTES);
    }

    #[test]
    fn a_record_that_goes_bad_while_it_is_used_is_an_error_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, [first, second]) = segment(dir.path(), 1, 1 << 20);
        let whole = std::fs::read(&segment.path).unwrap();
        let read = segment.read(first, |record, _| {
            segment.file.set_len(0).unwrap();
            count_in(&record)
        });
        assert!(is_corrupt(&read));
        assert!([first, second].iter().all(|offset| is_corrupt(&count(&segment, *offset))));
        write_all_at(&*segment.file, &whole, 0).unwrap();
        for offset in [first, second] {
            let mapped = || segment.mapped(offset).unwrap();
            let verified = || mapped().is_ok_and(|it| it.verify(segment.salt, offset).is_ok());
            assert!(!verified() || offset == second, "renewed before it was read");
            assert_eq!(count(&segment, offset).unwrap(), VALUE_BYTES);
            assert!(verified(), "not renewed");
        }
    }

    /// A renewal between the use of zeros and the check would hide them.
    #[test]
    fn zeros_that_another_reader_has_renewed_by_now_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, [first, _]) = segment(dir.path(), 1, 1 << 20);
        let whole = std::fs::read(&segment.path).unwrap();
        let read = segment.read(first, |record, _| {
            segment.file.set_len(0).unwrap();
            let seen = count_in(&record);
            write_all_at(&*segment.file, &whole, 0).unwrap();
            assert_eq!(count(&segment, first).unwrap(), VALUE_BYTES);
            seen
        });
        assert!(is_corrupt(&read));
    }

    #[test]
    fn a_record_beyond_the_mapping_is_no_reason_to_renew_it() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, [first, second]) = segment(dir.path(), 1, 4096);
        let map = segment.map.as_ref().unwrap();
        let before = map.moment();
        for offset in [first, second] {
            assert_eq!(count(&segment, offset).unwrap(), VALUE_BYTES);
        }
        assert_eq!(map.moment(), before);
    }
}
