//! What a file of a data directory holds, piece by piece, for people who want to see it.
//!
//! It takes no lock and writes nothing. What is damaged is told in its place, and what lies behind
//! it is looked for. A log that grows meanwhile may look unfinished.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::NEVER;
use super::damage::{Damage, Suspect, note};
use super::disk::{Access, Disk, read_full_at};
use super::hash::Hasher;
use super::hint::{self, Builder, Kind};
use super::manifest::{Manifest, Named, State};
use super::names::{self, Name, SegmentId};
use super::real_disk::RealDisk;
use super::record::{Record, Salt};
use super::recovery::{holds_store, load_hint};
use super::scan::{Found, Scan, beyond};
use super::segment::{self, HEADER_BYTES, Shelf, StoreId, stated};
use super::verify::{VerifyReport, verify_hint};
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

/// A piece of a file; see [`inspect`]. Offsets and lengths are in bytes.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// kvs::inspect(dir.path(), None, &mut |piece| match piece {
///     kvs::Inspected::Field { name, value } => println!("{name}: {value}"),
///     other => println!("{other:?}"),
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspected<'a> {
    /// A field of the manifest or of a header, or what was found out about the file.
    Field {
        /// What it is called.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// A segment that the manifest names.
    Segment {
        /// Its id, as in the name of its file.
        id: u64,
        /// What seeds its checksums.
        salt: u64,
        /// Whether it is sealed.
        sealed: bool,
        /// Its length if it is sealed, and else how far it is known to be durable.
        bytes: u64,
        /// The lowest seq of its records; `u64::MAX`: it has none.
        min_seq: u64,
        /// The highest seq of its records, if it is sealed.
        max_seq: u64,
        /// The highest seq published when the compaction that wrote it began; 0: none did.
        clean_upto: u64,
    },
    /// A valid record of a segment.
    Record {
        /// Where it begins.
        offset: u64,
        /// Its length, padding included.
        bytes: u64,
        /// What it says.
        content: Content<'a>,
    },
    /// An entry of a hint.
    Entry {
        /// Where the record begins for which it stands.
        offset: u64,
        /// The length of that record.
        bytes: u64,
        /// Whether that record is a remove, and not a set.
        remove: bool,
        /// The seq of that record.
        seq: u64,
        /// When it expires, in milliseconds since 1970-01-01 UTC; none: never.
        expires_at_ms: Option<u64>,
        /// The start of the keyed hash of its key.
        hash: [u8; 12],
    },
    /// Zeros behind the last record.
    Unused {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
    /// Bytes that are not what they should be: damage, or the end of a log that was not finished.
    Invalid {
        /// Where they begin and what is wrong.
        damage: Damage,
        /// How many they are; 0 where that cannot be said.
        bytes: u64,
    },
}

/// What a record of a segment says; see [`Inspected::Record`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path())?;
/// # store.set("key", "value")?;
/// # store.close()?;
/// use kvs::{Content, Inspected};
/// kvs::inspect(dir.path(), Some("1".as_ref()), &mut |piece| {
///     if let Inspected::Record { content: Content::Set { key, value, .. }, .. } = piece {
///         assert_eq!((key, value), (&b"key"[..], &b"value"[..]));
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content<'a> {
    /// The key has this value.
    Set {
        /// The position of the write in the order of all writes.
        seq: u64,
        /// When it expires, in milliseconds since 1970-01-01 UTC; none: never.
        expires_at_ms: Option<u64>,
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// The key is gone.
    Remove {
        /// The position of the write in the order of all writes.
        seq: u64,
        /// The key.
        key: &'a [u8],
    },
    /// The records that follow commit together.
    Batch {
        /// Their seq.
        seq: u64,
        /// How many they are.
        count: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Everything before an offset was durable when this was written.
    Mark {
        /// The offset.
        durable_upto: u64,
        /// What the time was at least, in milliseconds since 1970-01-01 UTC; 0: it did not matter.
        clock_floor_ms: u64,
    },
    /// The segment ends here.
    Seal {
        /// The sets and removes in it.
        records: u64,
        /// The lowest of their seqs.
        min_seq: u64,
        /// The highest of their seqs.
        max_seq: u64,
    },
}

/// Tells what the manifest of a directory holds, or a file of it: its path, its name in the
/// directory, or the id of a segment. `see` is called with the header first, then with each piece
/// in the order of the file.
///
/// Nothing is written and no lock is taken. A hint is compared with its segment, if that is there
/// and whole. Damage is no error; it is one of the pieces.
///
/// # Errors
/// [`KvsError::NotAStore`] and what else says that the directory holds none, if no file is given;
/// [`KvsError::InvalidOption`] if the file is none of a store by its name; [`KvsError::Io`];
/// [`KvsError::UnsupportedVersion`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// kvs::inspect(dir.path(), None, &mut |piece| println!("{piece:?}"))?;
/// kvs::inspect(dir.path(), Some("0000000001.seg".as_ref()), &mut |piece| println!("{piece:?}"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(
    directory: &Path,
    file: Option<&Path>,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<()> {
    inspect_on(Arc::new(RealDisk), directory, file, see)
}

pub(crate) fn inspect_on(
    disk: Arc<dyn Disk>,
    directory: &Path,
    file: Option<&Path>,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<()> {
    let path = match file {
        Some(file) => path_of(directory, file),
        None if holds_store(&*disk, directory)? => directory.join(names::MANIFEST),
        None => return Err(KvsError::NotAStore { path: directory.to_owned() }),
    };
    // A file is seen with its neighbours, wherever it lies.
    let directory = path.parent().unwrap_or(directory);
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if name == names::MANIFEST || name == names::MANIFEST_NEW {
        return inspect_manifest(&*disk, &path, see);
    }
    let manifest = Manifest::load(&*disk, directory).ok().flatten();
    let store_id = manifest.as_ref().map_or(StoreId([0; 16]), |manifest| manifest.store_id);
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(disk, directory, store_id, &options);
    match names::parse(name) {
        Name::Segment(id) => inspect_segment(&shelf, id, manifest.as_ref(), see),
        Name::Hint(id) => inspect_hint(&shelf, id, manifest.as_ref(), see),
        Name::New | Name::Other => {
            let (option, value) = ("file", path.display().to_string());
            let expected = "a manifest, a segment or a hint";
            Err(KvsError::InvalidOption { option, value, expected })
        }
    }
}

/// The path of a file that is given as a path, as a name in the directory, or as a segment's id.
fn path_of(directory: &Path, file: &Path) -> PathBuf {
    let id = file.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(id) = id.and_then(|id| id.parse().ok()) {
        return directory.join(names::segment(SegmentId(id)));
    }
    if file.components().count() == 1 { directory.join(file) } else { file.to_owned() }
}

fn inspect_manifest(
    disk: &dyn Disk,
    path: &Path,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<()> {
    let read = Manifest::read(disk, path);
    let Some((version, manifest)) = read.or_else(|error| tell(error, see).map(|()| None))? else {
        return match disk.open(path, Access::Read) {
            // It was told what is wrong with it.
            Ok(_) => Ok(()),
            Err(error) => Err(KvsError::io("open", path, error)),
        };
    };
    let mut field = |name, value| see(Inspected::Field { name, value });
    field("format", format!("manifest, version {version}"));
    field("store id", hex(&manifest.store_id.0));
    let [first, second] = manifest.hash_seed;
    field("hash seed", format!("{first:016x} {second:016x}"));
    field("next segment", manifest.next_segment.to_string());
    field("reserved seq", manifest.reserved_seq.to_string());
    field("clock floor", format!("{} ms", manifest.clock_floor_ms));
    field("history floor", manifest.history_floor.to_string());
    field("compacted seq", manifest.compacted_seq.to_string());
    field("segments", manifest.segments.len().to_string());
    for Named { id, salt, state, min_seq, max_seq, clean_upto } in manifest.segments {
        let (sealed, bytes) = match state {
            State::Open { durable_upto } => (false, durable_upto),
            State::Sealed { len } => (true, len),
        };
        see(Inspected::Segment { id, salt, sealed, bytes, min_seq, max_seq, clean_upto });
    }
    Ok(())
}

/// Tells damage in its place; other errors are errors here too.
fn tell(error: KvsError, see: &mut dyn FnMut(Inspected<'_>)) -> Result<()> {
    let mut damage = Vec::new();
    note(&mut damage, error)?;
    damage.into_iter().for_each(|damage| see(Inspected::Invalid { damage, bytes: 0 }));
    Ok(())
}

fn inspect_segment(
    shelf: &Shelf,
    id: SegmentId,
    manifest: Option<&Manifest>,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<()> {
    let named = manifest.and_then(|it| it.segments.iter().find(|named| named.id() == id));
    let path = shelf.path(&names::segment(id));
    let file = shelf.disk.open(&path, Access::Read);
    let file = file.map_err(|error| KvsError::io("open", &path, error))?;
    let invalid = |offset, bytes, reason: &str| {
        let (path, reason) = (path.clone(), reason.to_owned());
        let damage = Damage { path, segment: Some(id.0), offset, reason };
        Inspected::Invalid { damage, bytes }
    };
    let header = match stated(&*file, &path) {
        Ok(header) => header,
        Err(error) => tell(error, see).map(|()| Err("the header cannot be read"))?,
    };
    let salt = match &header {
        Ok(header) => {
            let mut field = |name, value| see(Inspected::Field { name, value });
            field("format", format!("segment, version {}", segment::VERSION));
            field("store id", hex(&header.store_id.0));
            field("segment id", header.id.0.to_string());
            field("salt", format!("{:016x}", header.salt.0));
            if header.id != id {
                see(invalid(0, HEADER_BYTES as u64, "the header belongs to another segment"));
            }
            Some(header.salt)
        }
        Err(reason) => {
            see(invalid(0, HEADER_BYTES as u64, reason));
            named.map(Named::salt)
        }
    };
    let Some(salt) = salt else {
        let nothing = "no manifest and no header says what seeds the checksums";
        see(invalid(HEADER_BYTES as u64, 0, nothing));
        return Ok(());
    };
    let end = inspect_records(shelf, id, salt, see)?;
    if let Some(State::Sealed { len }) = named.map(|named| named.state)
        && let Some((end, sealed)) = end
        && (end != len || !sealed)
    {
        see(invalid(end, 0, "the manifest says that it is sealed, and at another length"));
    }
    Ok(())
}

/// Answers with the end of the records and whether a seal is there; none if anything is invalid.
fn inspect_records(
    shelf: &Shelf,
    id: SegmentId,
    salt: Salt,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<Option<(u64, bool)>> {
    let segment = shelf.open_unchecked(id, salt)?;
    // To look at all of the file, whatever is known of its end.
    let (state, min_seq, max_seq) = (State::Open { durable_upto: 0 }, 0, u64::MAX);
    let named = Named { id: id.0, salt: salt.0, state, min_seq, max_seq, clean_upto: 0 };
    let suspect = Suspect::new(segment, named, false)?;
    let segment = &suspect.segment;
    let limit = segment.end();
    let mut scan = suspect.scan();
    let mut is_whole = true;
    let end = loop {
        while let Some(found) = scan.next()? {
            see(shown(&found));
        }
        let (start, sealed) = (scan.offset(), scan.sealed());
        let rest = beyond(&*segment.file, &segment.path, salt, start, limit)?;
        if rest.last_nonzero_end <= start {
            if start < limit {
                see(Inspected::Unused { offset: start, bytes: limit - start });
            }
            break (start, sealed);
        }
        is_whole = false;
        let reason = scan.reason();
        let found_more = scan.skip_damage()?;
        let end = if found_more { scan.offset() } else { rest.last_nonzero_end };
        let damage = suspect.damage(start..end, reason);
        see(Inspected::Invalid { damage, bytes: end - start });
        if !found_more {
            if end < limit {
                see(Inspected::Unused { offset: end, bytes: limit - end });
            }
            break (end, false);
        }
    };
    for damage in suspect.untold() {
        is_whole = false;
        see(Inspected::Invalid { damage, bytes: 0 });
    }
    Ok(is_whole.then_some(end))
}

fn shown<'a>(found: &Found<'a>) -> Inspected<'a> {
    let content = match found.record {
        Record::Set { seq, expires_at_ms, key, value } => {
            Content::Set { seq, expires_at_ms: expiry(expires_at_ms), key, value }
        }
        Record::Remove { seq, key } => Content::Remove { seq, key },
        Record::Batch { seq, count, bytes } => Content::Batch { seq, count, bytes },
        Record::Mark { durable_upto, clock_floor_ms } => {
            let [durable_upto, clock_floor_ms] =
                [durable_upto, clock_floor_ms].map(u64::from_le_bytes);
            Content::Mark { durable_upto, clock_floor_ms }
        }
        Record::Seal { records, min_seq, max_seq } => Content::Seal { records, min_seq, max_seq },
    };
    Inspected::Record { offset: found.offset, bytes: found.disk_len as u64, content }
}

fn expiry(expires_at_ms: u64) -> Option<u64> {
    (expires_at_ms != NEVER).then_some(expires_at_ms)
}

fn inspect_hint(
    shelf: &Shelf,
    id: SegmentId,
    manifest: Option<&Manifest>,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<()> {
    let path = shelf.path(&names::hint(id));
    let file = shelf.disk.open(&path, Access::Read);
    let file = file.map_err(|error| KvsError::io("open", &path, error))?;
    let corrupt = |reason| {
        let (path, segment) = (path.clone(), Some(id.0));
        KvsError::Corrupt { path, segment, offset: 0, reason }
    };
    let mut head = [0; hint::HEAD_BYTES];
    let read = read_full_at(&*file, &mut head, 0);
    let read = match read.map_err(|error| KvsError::io("read", &path, error)) {
        Ok(read) => head.get(..read).unwrap_or_default(),
        Err(error) => return tell(error, see),
    };
    let Some(hint::Stated { subject, entries, tombstone_bytes }) = hint::stated(read) else {
        return tell(corrupt("it has no head of a hint of this version"), see);
    };
    let mut field = |name, value| see(Inspected::Field { name, value });
    field("format", format!("hint, version {}", hint::VERSION));
    field("store id", hex(&subject.store_id.0));
    field("segment id", subject.id.0.to_string());
    field("salt", format!("{:016x}", subject.salt.0));
    field("segment length", format!("{} bytes", subject.len));
    field("entries", entries.to_string());
    field("tombstones", format!("{tombstone_bytes} bytes"));
    if subject.id != id {
        return tell(corrupt("its head is that of another segment's hint"), see);
    }
    let Some(hint) = load_hint(shelf, subject) else {
        return tell(corrupt("its checksum or its length does not match"), see);
    };
    let mut found = 0;
    for entry in hint.iter(subject.len) {
        found += 1;
        see(Inspected::Entry {
            offset: entry.offset,
            bytes: entry.len,
            remove: entry.kind == Kind::Remove,
            seq: entry.seq,
            expires_at_ms: expiry(entry.expires_at_ms),
            hash: entry.hash.identity(),
        });
    }
    if found != entries {
        tell(corrupt("it does not hold as many entries as it says"), see)?;
    }
    compare(shelf, id, manifest, see)
}

/// Compares a hint with its segment.
fn compare(
    shelf: &Shelf,
    id: SegmentId,
    manifest: Option<&Manifest>,
    see: &mut dyn FnMut(Inspected<'_>),
) -> Result<()> {
    let compared = |value: &str| Inspected::Field { name: "compared", value: value.to_owned() };
    let named = manifest.and_then(|it| it.segments.iter().find(|named| named.id() == id));
    let Some((manifest, named)) = manifest.zip(named) else {
        see(compared("no, as no manifest names its segment"));
        return Ok(());
    };
    let segment = match shelf.open(id, 0, named.salt(), 0, Access::Read) {
        Ok(segment) => segment,
        Err(error) => {
            see(compared(&format!("no: {error}")));
            return Ok(());
        }
    };
    let len = segment.file.len();
    let len = len.map_err(|error| KvsError::io("read", &segment.path, error))?;
    let hasher = Hasher::new(manifest.hash_seed());
    let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, len);
    let mut builder = Builder::new();
    while let Some(found) = scan.next()? {
        builder.add(&found, &hasher);
    }
    if !scan.sealed() {
        see(compared("no, as its segment is damaged or not sealed"));
        return Ok(());
    }
    segment.set_end(scan.offset());
    let mut report = VerifyReport::default();
    verify_hint(shelf, &segment, builder, &mut report)?;
    if report.damage.is_empty() {
        see(compared("it matches its segment"));
    }
    report.damage.into_iter().for_each(|damage| see(Inspected::Invalid { damage, bytes: 0 }));
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
