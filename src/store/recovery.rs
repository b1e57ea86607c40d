//! Open: manifest, then hints or scans, then the keydir. The only place that decides what damaged
//! or unfinished bytes mean, and the only one that cuts anything off.
//!
//! A sealed segment must be whole. Of the log's last segment, W is the highest offset that is
//! proven durable (by the manifest or by a mark) and X the first byte that is not a valid record.
//! X < W is damage. Otherwise what lies from X on was never acknowledged as durable: zeros are
//! unused space; anything else is a torn tail, of which a copy goes into the quarantine.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::{Access, Disk, copy, read_full_at, rewrite};
use super::engine_file;
use super::hash::Hasher;
use super::hint::{Builder, Hint, Subject};
use super::load::Source;
use super::manifest::{Manifest, NUMBER_MAX, Named, State};
use super::names::{self, Name, SegmentId};
use super::notice::Readable;
use super::record::Record;
use super::scan::{Found, Scan, beyond, holds_records};
use super::segment::{HEADER_BYTES, Segment, Shelf};
use crate::error::{KvsError, Result};

/// What was found in a directory.
pub(crate) struct Recovered {
    /// With the newest state of each segment.
    pub(crate) manifest: Manifest,
    pub(crate) sources: Vec<Source>,
    /// The segment in which the log goes on; none if there is none yet.
    pub(crate) active: Option<Active>,
    pub(crate) recovered_bytes: u64,
    pub(crate) truncated_bytes: u64,
    pub(crate) max_seq: u64,
    /// The highest time that a mark says it is at least, of the marks behind the manifest.
    pub(crate) clock_floor_ms: u64,
}

/// Who reads the log, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The owner reads to the end of what is valid, and cuts off the rest.
    Owner,
    /// Somebody else changes nothing: up to where the owner says, or to the end of what is valid.
    Reader(Option<Readable>),
}

/// The last segment of the log.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) durable_upto: u64,
    /// Bytes that are there, but that an earlier process may have failed to sync.
    pub(crate) unproven: Option<Range<u64>>,
}

/// Answers with an error if a directory holds a backup, which nobody is to write to.
pub(crate) fn refuse_backup(disk: &dyn Disk, directory: &Path) -> Result<()> {
    match is_backup(disk, directory) {
        Ok(true) => Err(KvsError::IsABackup { path: directory.to_owned() }),
        _ => Ok(()),
    }
}

/// Whether a directory holds a backup.
pub(crate) fn is_backup(disk: &dyn Disk, directory: &Path) -> Result<bool> {
    let found = disk.list(directory).map_err(|error| KvsError::io("list", directory, error));
    Ok(found?.iter().any(|name| name == names::BACKUP))
}

/// Whether a directory holds a store; refuses one that is of another engine, or that has lost its
/// manifest.
pub(crate) fn holds_store(disk: &dyn Disk, directory: &Path) -> Result<bool> {
    let found = match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found.map_err(|error| KvsError::io("list", directory, error))?,
    };
    engine_file::check(disk, directory, engine_file::KVS)?;
    if found.iter().any(|name| name == names::MANIFEST) {
        return Ok(true);
    }
    if found.iter().any(|name| matches!(names::parse(name), Name::Segment(_))) {
        return Err(KvsError::ManifestMissing { path: directory.to_owned() });
    }
    Ok(false)
}

/// Reads what the manifest names, as far as `role` goes. `number` gives each segment its number.
pub(crate) fn recover(
    shelf: &Shelf,
    mut manifest: Manifest,
    number: &dyn Fn() -> Result<u16>,
    role: Role,
) -> Result<Recovered> {
    let hasher = Hasher::new(manifest.hash_seed());
    let mut recovered = Recovered {
        manifest: manifest.clone(),
        sources: Vec::new(),
        active: None,
        recovered_bytes: 0,
        truncated_bytes: 0,
        max_seq: 0,
        clock_floor_ms: 0,
    };
    if let Some(last) = role.last() {
        let is_behind =
            |it: &Named| matches!(it.state, State::Open { .. }) && it.id() > last.segment;
        manifest.segments.retain(|named| !is_behind(named));
    }
    // All are opened before any is read. For a reader, a segment may lose its name at any moment;
    // one that is open stays readable.
    let open_named = |named: &Named| open_named(shelf, named, number()?, role);
    let segments: Result<Vec<Segment>> = manifest.segments.iter().map(open_named).collect();
    let mut open = Vec::new();
    for (named, segment) in manifest.segments.iter().zip(segments?) {
        recovered.max_seq = recovered.max_seq.max(named.max_seq);
        match named.state {
            State::Sealed { len } => {
                recovered.sources.push(sealed(shelf, segment, named, len, &hasher)?);
            }
            State::Open { durable_upto } => {
                open.push(scan_open(segment, named, durable_upto, &hasher, role.last())?);
            }
        }
    }
    place_open(shelf, &mut recovered, open, role)?;
    Ok(recovered)
}

impl Role {
    /// Where the log ends for a reader that was told.
    fn last(self) -> Option<Readable> {
        match self {
            Role::Owner => None,
            Role::Reader(last) => last,
        }
    }
}

/// A sealed segment: from its hint, or by a scan that must find it whole.
fn sealed(
    shelf: &Shelf,
    segment: Segment,
    named: &Named,
    len: u64,
    hasher: &Hasher,
) -> Result<Source> {
    let file_len =
        segment.file.len().map_err(|error| KvsError::io("read", &segment.path, error))?;
    if file_len < len {
        return Err(segment.corrupt(file_len, "the file is shorter than the manifest says"));
    }
    segment.set_end(len);
    segment.file_bytes.store(file_len, Ordering::Relaxed);
    segment.sealed.store(true, Ordering::Relaxed);
    segment.clean_upto.store(named.clean_upto, Ordering::Relaxed);
    let subject = Subject::new(shelf, &segment);
    let hint = match load_hint(shelf, subject) {
        Some(hint) => {
            segment.hinted.store(true, Ordering::Relaxed);
            hint
        }
        None => {
            let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, len);
            let mut builder = Builder::new();
            while let Some(found) = scan.next()? {
                builder.add(&found, hasher);
            }
            if !scan.sealed() || scan.offset() != len {
                let reason = scan.reason();
                return Err(segment.corrupt(scan.offset(), reason));
            }
            own_hint(builder, subject, &segment)?
        }
    };
    segment.tombstone_bytes.store(hint.tombstone_bytes, Ordering::Relaxed);
    segment.count(hint.entries, named.min_seq, named.max_seq);
    Ok(Source { segment: Arc::new(segment), hint })
}

/// The hint of a segment, if there is a valid one.
pub(crate) fn load_hint(shelf: &Shelf, subject: Subject) -> Option<Hint> {
    let file = shelf.disk.open(&shelf.path(&names::hint(subject.id)), Access::Read).ok()?;
    // What is longer than any hint of that segment is none, and takes no memory to find out.
    let len = file.len().ok().filter(|len| *len <= subject.hint_bytes_max())?;
    let len = usize::try_from(len).ok()?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    let read = read_full_at(&*file, &mut bytes, 0).ok()?;
    bytes.truncate(read);
    Hint::open(bytes, subject)
}

/// Takes what a scan has built for a hint.
fn own_hint(builder: Builder, subject: Subject, segment: &Segment) -> Result<Hint> {
    let hint = Hint::open(builder.finish(subject), subject);
    hint.ok_or_else(|| segment.corrupt(0, "its own index does not match it"))
}

/// A segment that may still have grown since the manifest was written.
struct Opened {
    segment: Segment,
    named: Named,
    builder: Builder,
    durable_upto: u64,
    seqs: Option<(u64, u64)>,
    clock_floor_ms: u64,
    sealed: bool,
    /// How far it was scanned at most.
    limit: u64,
    /// Whether anything was ever appended to it.
    begun: bool,
}

fn open_named(shelf: &Shelf, named: &Named, number: u16, role: Role) -> Result<Segment> {
    if let State::Sealed { len } = named.state {
        return shelf.open(named.id(), number, named.salt(), len, Access::Read);
    }
    let path = shelf.path(&names::segment(named.id()));
    let capacity = match shelf.disk.open(&path, Access::Read) {
        Ok(file) => file.len().map_err(|error| KvsError::io("read", &path, error))?,
        Err(_) => 0,
    };
    let capacity = capacity.max(*crate::options::SEGMENT_BYTES.end());
    let access = if role == Role::Owner { Access::Write } else { Access::Read };
    shelf.open(named.id(), number, named.salt(), capacity, access)
}

fn scan_open(
    segment: Segment,
    named: &Named,
    durable_upto: u64,
    hasher: &Hasher,
    last: Option<Readable>,
) -> Result<Opened> {
    let file_len = segment.file.len();
    let file_len = file_len.map_err(|error| KvsError::io("read", &segment.path, error))?;
    let told_end = last.filter(|last| last.segment == segment.id).map(|last| last.end);
    let limit = told_end.unwrap_or(file_len).min(file_len);
    let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, limit);
    let mut builder = Builder::new();
    let (mut seqs, mut records, mut clock_floor_ms): (Option<(u64, u64)>, u64, u64) = (None, 0, 0);
    while let Some(found) = scan.next()? {
        builder.add(&found, hasher);
        if let Some(seq) = found.record.seq() {
            let (min, max) = seqs.unwrap_or((seq, seq));
            seqs = Some((min.min(seq), max.max(seq)));
            records += 1;
        }
        clock_floor_ms = clock_floor_ms.max(marked_floor_ms(&found, durable_upto));
    }
    let (end, sealed, marked_upto) = (scan.offset(), scan.sealed(), scan.durable_upto());
    segment.set_end(end);
    segment.file_bytes.store(file_len, Ordering::Relaxed);
    if let Some((min, max)) = seqs {
        segment.count(records, min, max);
    }
    if told_end.is_some_and(|told| told != end) {
        return Err(segment.corrupt(end, "a record is damaged that others may read"));
    }
    // What the owner says is readable needs no further proof.
    let durable_upto = told_end.unwrap_or_else(|| durable_upto.max(marked_upto));
    let begun =
        told_end.is_some() || holds_records(&*segment.file, &segment.path, segment.salt, limit)?;
    let named = *named;
    Ok(Opened { segment, named, builder, durable_upto, seqs, clock_floor_ms, sealed, limit, begun })
}

/// What the time is at least by a record that is a mark; 0 by any other. Marks below what the
/// manifest knows to be durable are older than its own floor, which may have been lowered since.
pub(crate) fn marked_floor_ms(found: &Found<'_>, durable_upto: u64) -> u64 {
    match found.record {
        Record::Mark { clock_floor_ms, .. } if found.offset >= durable_upto => {
            let floor_ms = u64::from_le_bytes(clock_floor_ms);
            // No clock comes to more; a manifest with more would be refused.
            if floor_ms <= NUMBER_MAX { floor_ms } else { 0 }
        }
        _ => 0,
    }
}

/// Decides which of the segments that were open is the last of the log.
fn place_open(
    shelf: &Shelf,
    recovered: &mut Recovered,
    opened: Vec<Opened>,
    role: Role,
) -> Result<()> {
    // Before anything is cut: only one segment ever has bytes that are not durable, so one that
    // was begun proves that those before it were whole.
    let last = opened.iter().rposition(|opened| opened.begun).unwrap_or_default();
    if let Some(torn) = opened.iter().take(last).find(|opened| !opened.sealed) {
        let segment = &torn.segment;
        return Err(segment.corrupt(segment.end(), "a later segment says it was whole"));
    }
    for opened in opened {
        if let Some((_, max)) = opened.seqs {
            recovered.max_seq = recovered.max_seq.max(max);
        }
        recovered.clock_floor_ms = recovered.clock_floor_ms.max(opened.clock_floor_ms);
        if recovered.active.is_some() {
            recovered.manifest.segments.retain(|named| named.id != opened.named.id);
        } else if opened.sealed {
            place_sealed(shelf, recovered, opened, role)?;
        } else {
            place_active(shelf, recovered, opened, role)?;
        }
    }
    Ok(())
}

/// A segment that was sealed, but perhaps not synced, and that no manifest calls sealed yet.
fn place_sealed(
    shelf: &Shelf,
    recovered: &mut Recovered,
    opened: Opened,
    role: Role,
) -> Result<()> {
    let Opened { segment, named, builder, durable_upto, seqs, .. } = opened;
    let len = segment.end();
    if role == Role::Owner {
        let io = |action| {
            let path = segment.path.clone();
            move |error| KvsError::io(action, &path, error)
        };
        rewrite(&*segment.file, durable_upto.min(len)..len).map_err(io("rewrite"))?;
        cut(&segment, len)?;
    }
    segment.sealed.store(true, Ordering::Relaxed);
    let in_manifest = recovered.manifest.segments.iter_mut().find(|it| it.id == named.id);
    if let Some(named) = in_manifest {
        named.state = State::Sealed { len };
        (named.min_seq, named.max_seq) = seqs.unwrap_or((u64::MAX, 0));
    }
    recovered.recovered_bytes += len - HEADER_BYTES as u64;
    add_source(shelf, recovered, Arc::new(segment), builder)
}

/// The last segment of the log: its tail is unused space, torn, or damaged.
fn place_active(
    shelf: &Shelf,
    recovered: &mut Recovered,
    opened: Opened,
    role: Role,
) -> Result<()> {
    let Opened { segment, builder, mut durable_upto, limit, .. } = opened;
    let file_len = segment.file_bytes.load(Ordering::Relaxed);
    let end = segment.end();
    let rest = beyond(&*segment.file, &segment.path, segment.salt, end, limit)?;
    if !kvs_bug!("ignore_marks_beyond") {
        durable_upto = durable_upto.max(rest.durable_upto);
    }
    if end < durable_upto {
        return Err(segment.corrupt(end, "a record is damaged that was durable"));
    }
    recovered.truncated_bytes += rest.last_nonzero_end.saturating_sub(end);
    if role == Role::Owner {
        if rest.last_nonzero_end > end {
            quarantine(shelf, &segment, end..rest.last_nonzero_end)?;
        }
        if file_len != end {
            cut(&segment, end)?;
        }
    }
    recovered.recovered_bytes += end.saturating_sub(durable_upto);
    let segment = Arc::new(segment);
    let unproven = durable_upto.max(HEADER_BYTES as u64)..end;
    let unproven = Some(unproven).filter(|range| !range.is_empty());
    recovered.active = Some(Active { segment: Arc::clone(&segment), durable_upto, unproven });
    add_source(shelf, recovered, segment, builder)
}

/// Cuts off what lies behind the records of a segment. Durable when this returns.
fn cut(segment: &Segment, len: u64) -> Result<()> {
    let io = |action| move |error| KvsError::io(action, &segment.path, error);
    segment.file.set_len(len).map_err(io("cut"))?;
    segment.file.sync_all().map_err(io("sync"))?;
    segment.file_bytes.store(len, Ordering::Relaxed);
    Ok(())
}

fn add_source(
    shelf: &Shelf,
    recovered: &mut Recovered,
    segment: Arc<Segment>,
    builder: Builder,
) -> Result<()> {
    let subject = Subject::new(shelf, &segment);
    let hint = own_hint(builder, subject, &segment)?;
    segment.tombstone_bytes.store(hint.tombstone_bytes, Ordering::Relaxed);
    recovered.sources.push(Source { segment, hint });
    Ok(())
}

/// Keeps a copy of what is about to be cut off, durable when this returns.
fn quarantine(shelf: &Shelf, segment: &Segment, range: Range<u64>) -> Result<()> {
    let directory = shelf.path(names::QUARANTINE);
    let path = directory.join(names::quarantined(segment.id, range.start));
    let io = |action| {
        let path = path.clone();
        move |error| KvsError::io(action, &path, error)
    };
    let disk = &shelf.disk;
    disk.create_dir(&directory).map_err(io("create"))?;
    // One is there already if an earlier open died after this: it holds the same bytes.
    let file = match disk.open(&path, Access::Create) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.open(&path, Access::Write)
        }
        opened => opened,
    };
    let file = file.map_err(io("create"))?;
    copy(&*segment.file, range, &*file, 0).map_err(io("write"))?;
    file.sync_all().map_err(io("sync"))?;
    disk.sync_dir(&directory).map_err(io("sync"))?;
    disk.sync_dir(&shelf.directory).map_err(io("sync"))
}

/// Removes what no manifest names: outputs of a compaction that did not finish, segments prepared
/// in vain, hints without a segment. Only files that carry this store's id are removed.
pub(crate) fn remove_leftovers(shelf: &Shelf, manifest: &Manifest) -> Result<()> {
    for name in leftovers(shelf, manifest)? {
        // What cannot be removed does no harm, and the next open tries again.
        let _ = shelf.disk.remove(&shelf.path(&name));
    }
    Ok(())
}

/// The names of the files that no manifest names and that are this store's to remove.
pub(crate) fn leftovers(shelf: &Shelf, manifest: &Manifest) -> Result<Vec<String>> {
    let list = shelf.disk.list(&shelf.directory);
    let mut list = list.map_err(|error| KvsError::io("list", &shelf.directory, error))?;
    let is_named = |id: SegmentId| manifest.segments.iter().any(|named| named.id() == id);
    list.retain(|name| match names::parse(name) {
        Name::Segment(id) => !is_named(id) && shelf.owns(id).unwrap_or(false),
        Name::Hint(id) => !is_named(id),
        Name::New => true,
        Name::Other => false,
    });
    Ok(list)
}
