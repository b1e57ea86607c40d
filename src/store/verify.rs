//! Reads every record of every file and says what is damaged. Changes nothing.
//!
//! What the disk cannot read is damage as well: it counts as zeros, and the scan goes on behind it.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::disk::{Access, Disk, DiskFile, DiskLock, read_full_at};
use super::hash::Hasher;
use super::hint::{Builder, Subject};
use super::manifest::{Manifest, Named, State};
use super::map::Map;
use super::names::{self, Name};
use super::real_disk::RealDisk;
use super::recovery::{holds_store, lock_directory};
use super::scan::{Scan, beyond, holds_records};
use super::segment::{Segment, Shelf};
use super::sync::lock;
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

/// What is given up at once where the disk cannot read: a page, of which the kernel has all or
/// nothing.
const PAGE_BYTES: u64 = 4096;

/// How far a long task has come.
///
/// ```
/// let progress = kvs::Progress { done_bytes: 50, total_bytes: 200 };
/// assert_eq!(progress.done_bytes * 100 / progress.total_bytes, 25);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that were gone through.
    pub done_bytes: u64,
    /// All bytes that will be.
    pub total_bytes: u64,
}

/// A place where bytes are not what they should be.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// for damage in kvs::verify(dir.path(), &mut |_| ())?.damage {
///     println!("{} at {}: {}", damage.path.display(), damage.offset, damage.reason);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The id of the segment, where the file is one or belongs to one.
    pub segment: Option<u64>,
    /// Where the damage begins, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

/// What [`verify`] found.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// let report = kvs::verify(dir.path(), &mut |_| ())?;
/// assert!(report.damage.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The segments that were read.
    pub segments: u64,
    /// The valid sets and removes in them.
    pub records: u64,
    /// The bytes that were read.
    pub bytes: u64,
    /// What is damaged, in the order of the files.
    pub damage: Vec<Damage>,
}

/// Reads every record of every segment and hint of a store that nobody has open, and checks
/// checksums, batches, seals and lengths. `progress` is called now and then.
///
/// An unfinished tail of the log, as a crash leaves it, is no damage: the next open cuts it off.
///
/// On a file system that is mounted read-only, or where this user may not write to the file
/// `LOCK`, the directory is read without its lock: then it is for the caller to know that nobody
/// writes to it, as a log that grows meanwhile may look damaged.
///
/// # Errors
/// [`KvsError::NotAStore`], [`KvsError::ManifestMissing`], [`KvsError::Locked`],
/// [`KvsError::UnsupportedVersion`], [`KvsError::WrongEngine`] and [`KvsError::Io`]. Damage is no
/// error, and what the disk cannot read is damage; it stands in the report.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// let report = kvs::verify(dir.path(), &mut |progress| eprintln!("{progress:?}"))?;
/// assert_eq!(report.damage, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(directory: &Path, progress: &mut dyn FnMut(Progress)) -> Result<VerifyReport> {
    verify_on(Arc::new(RealDisk), directory, progress)
}

pub(crate) fn verify_on(
    disk: Arc<dyn Disk>,
    directory: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport> {
    if !holds_store(&*disk, directory)? {
        return Err(KvsError::NotAStore { path: directory.to_owned() });
    }
    let _lock = lock_to_read(&*disk, directory)?;
    let mut report = VerifyReport::default();
    let manifest = match Manifest::load(&*disk, directory) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(report),
        Err(error) => {
            note(&mut report.damage, error)?;
            return Ok(report);
        }
    };
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(disk, directory, manifest.store_id, &options);
    let mut total_bytes = 0;
    for named in &manifest.segments {
        let file = shelf.disk.open(&shelf.path(&names::segment(named.id())), Access::Read);
        total_bytes += file.and_then(|file| file.len()).unwrap_or_default();
    }
    let hasher = Hasher::new(manifest.hash_seed());
    for named in &manifest.segments {
        let before = report.bytes;
        let step = &mut |bytes: u64| {
            progress(Progress { done_bytes: (before + bytes).min(total_bytes), total_bytes });
        };
        let is_whole = is_proven_whole(&shelf, &manifest.segments, named);
        let verified = verify_segment(&shelf, (named, is_whole), &hasher, &mut report, step);
        if let Err(error) = verified {
            note(&mut report.damage, error)?;
        }
    }
    progress(Progress { done_bytes: total_bytes, total_bytes });
    Ok(report)
}

/// Takes the lock of a directory that is only read. None: the file system lets nobody, or not us,
/// write to the lock file.
pub(crate) fn lock_to_read(disk: &dyn Disk, directory: &Path) -> Result<Option<Box<dyn DiskLock>>> {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match lock_directory(disk, directory) {
        Err(KvsError::Io { source, .. })
            if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem) =>
        {
            Ok(None)
        }
        locked => locked.map(Some),
    }
}

/// Turns an error that is about damage into a line of the report.
pub(crate) fn note(damage: &mut Vec<Damage>, error: KvsError) -> Result<()> {
    match error {
        KvsError::Corrupt { path, segment, offset, reason } => {
            damage.push(Damage { path, segment, offset, reason: reason.to_owned() });
        }
        KvsError::SegmentMissing { path, segment } => {
            let reason = "the manifest names it, but it is missing".to_owned();
            damage.push(Damage { path, segment: Some(segment), offset: 0, reason });
        }
        KvsError::Io { action, path, source }
            if action == "read" || source.raw_os_error() == Some(libc::EIO) =>
        {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let segment = match names::parse(name) {
                Name::Segment(id) | Name::Hint(id) => Some(id.0),
                Name::New | Name::Other => None,
            };
            damage.push(Damage { path, segment, offset: 0, reason: source.to_string() });
        }
        other => return Err(other),
    }
    Ok(())
}

/// Whether a later segment of the log holds records: then this one was sealed and durable.
/// `all` is in the order of the ids. One that cannot be read may hold some.
pub(crate) fn is_proven_whole(shelf: &Shelf, all: &[Named], named: &Named) -> bool {
    let is_open = |it: &Named| matches!(it.state, State::Open { .. });
    let holds_some = |later: &Named| {
        // One that cannot be opened gets a line of its own.
        let Ok(segment) = shelf.open_unchecked(later.id(), later.salt()) else { return false };
        let Ok(len) = segment.file.len() else { return true };
        holds_records(&*segment.file, &segment.path, segment.salt, len).unwrap_or(true)
    };
    !is_open(named) || all.iter().any(|it| it.id > named.id && is_open(it) && holds_some(it))
}

fn verify_segment(
    shelf: &Shelf,
    (named, is_whole): (&Named, bool),
    hasher: &Hasher,
    report: &mut VerifyReport,
    step: &mut dyn FnMut(u64),
) -> Result<()> {
    let segment = shelf.open(named.id(), 0, named.salt(), 0, Access::Read)?;
    let suspect = Suspect::new(segment, *named, is_whole)?;
    let segment = &suspect.segment;
    report.segments += 1;
    let limit = segment.end();
    if let State::Sealed { len } = named.state
        && limit < len
    {
        return Err(segment.corrupt(limit, "the file is shorter than the manifest says"));
    }
    let mut scan = suspect.scan();
    let mut builder = Builder::new();
    let damage_before = report.damage.len();
    loop {
        while let Some(found) = scan.next()? {
            report.records += u64::from(found.record.seq().is_some());
            builder.add(&found, hasher);
            if report.records.is_multiple_of(4096) {
                step(found.offset);
            }
        }
        if suspect.pass_damage(&mut scan, &mut report.damage)? != Some(true) {
            break;
        }
    }
    report.bytes += limit;
    report.damage.extend(suspect.untold());
    // Where records are damaged, that the hint differs from what is left says nothing about it.
    if scan.sealed() && report.damage.len() == damage_before {
        segment.set_end(scan.offset());
        verify_hint(shelf, segment, builder, report)?;
    }
    Ok(())
}

/// A segment that may be damaged, up to where its records can lie.
pub(crate) struct Suspect {
    pub(crate) segment: Segment,
    named: Named,
    is_whole: bool,
    /// The file of the segment.
    gapped: Arc<Gapped>,
}

impl Suspect {
    /// `is_whole`: a later segment proves that this one was sealed.
    pub(crate) fn new(mut segment: Segment, named: Named, is_whole: bool) -> Result<Suspect> {
        let file_len = segment.file.len();
        let file_len = file_len.map_err(|error| KvsError::io("read", &segment.path, error))?;
        segment.set_end(match named.state {
            State::Sealed { len } => len.min(file_len),
            State::Open { .. } => file_len,
        });
        let file = Arc::clone(&segment.file);
        let gapped = Arc::new(Gapped { file, gaps: Mutex::new(Vec::new()) });
        segment.file = Arc::<Gapped>::clone(&gapped);
        Ok(Suspect { segment, named, is_whole, gapped })
    }

    pub(crate) fn scan(&self) -> Scan<'_> {
        let segment = &self.segment;
        Scan::new(&*segment.file, &segment.path, segment.salt, segment.end())
    }

    /// Where a scan has ended. None: it should end there. Else the damage is noted, and the scan
    /// goes on behind it if this is true.
    pub(crate) fn pass_damage(
        &self,
        scan: &mut Scan<'_>,
        damage: &mut Vec<Damage>,
    ) -> Result<Option<bool>> {
        let start = scan.offset();
        if self.ends_as_it_should(scan)? {
            return Ok(None);
        }
        let reason = scan.invalid().map_or("the seal is not at its end", |it| it.reason());
        let found_more = scan.skip_damage()?;
        damage.push(self.damage(start..scan.offset(), reason));
        Ok(Some(found_more))
    }

    /// Whether that is the end of the records, or a tail that was never acknowledged as durable.
    fn ends_as_it_should(&self, scan: &Scan<'_>) -> Result<bool> {
        let (segment, offset) = (&self.segment, scan.offset());
        Ok(match self.named.state {
            State::Sealed { len } => scan.sealed() && offset == len,
            State::Open { .. } if scan.sealed() => true,
            State::Open { .. } if self.is_whole => false,
            State::Open { durable_upto } => {
                let (limit, salt) = (segment.end(), segment.salt);
                let rest = beyond(&*segment.file, &segment.path, salt, offset, limit)?;
                // What cannot be read may hold a mark.
                offset >= durable_upto.max(scan.durable_upto()).max(rest.durable_upto)
                    && self.gapped.tell(&(offset..limit)).is_none()
            }
        })
    }

    /// Damage in a range of the file: what the disk says, or else this reason.
    pub(crate) fn damage(&self, range: Range<u64>, reason: &str) -> Damage {
        let told = self.gapped.tell(&range);
        Damage {
            path: self.segment.path.clone(),
            segment: Some(self.segment.id.0),
            offset: range.start,
            reason: told.map_or_else(|| reason.to_owned(), |gap| gap.reason),
        }
    }

    /// What could not be read and is part of no other damage: it held zeros, so that the records
    /// over it are right, or it lies behind a seal.
    pub(crate) fn untold(&self) -> Vec<Damage> {
        let mut untold = lock(&self.gapped.gaps).clone();
        untold.retain(|gap| !gap.told);
        untold.into_iter().map(|gap| self.damage(gap.range, &gap.reason)).collect()
    }
}

/// A file to be read: what the disk cannot read is zeros in it, and known as a gap.
struct Gapped {
    file: Arc<dyn DiskFile>,
    gaps: Mutex<Vec<Gap>>,
}

/// Pages that cannot be read.
#[derive(Clone)]
struct Gap {
    range: Range<u64>,
    /// What the disk said.
    reason: String,
    /// Whether it is part of a damage that was noted.
    told: bool,
}

impl Gapped {
    /// The first gap in a range. All that are in it count as told.
    fn tell(&self, range: &Range<u64>) -> Option<Gap> {
        let mut gaps = lock(&self.gaps);
        let within = |gap: &&mut Gap| gap.range.start < range.end && range.start < gap.range.end;
        let told = gaps.iter_mut().filter(within).map(|gap| {
            gap.told = true;
            gap.clone()
        });
        told.reduce(|first, _| first)
    }

    fn is_gap(&self, offset: u64) -> bool {
        lock(&self.gaps).iter().any(|gap| gap.range.contains(&offset))
    }

    fn add(&self, range: Range<u64>, reason: String) {
        let mut gaps = lock(&self.gaps);
        match gaps.last_mut() {
            Some(last) if last.range.end == range.start && !last.told => last.range.end = range.end,
            _ => gaps.push(Gap { range, reason, told: false }),
        }
    }
}

impl DiskFile for Gapped {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = offset / PAGE_BYTES * PAGE_BYTES;
        let page = page..page.saturating_add(PAGE_BYTES);
        let within = |len: u64| usize::try_from(len.min(page.end - offset)).unwrap_or_default();
        if !self.is_gap(offset) {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {}
                read => return read,
            }
            // What it cannot read may lie behind this page.
            let len = within(buffer.len() as u64);
            match self.file.read_at(buffer.get_mut(..len).unwrap_or_default(), offset) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.add(page.clone(), error.to_string());
                }
                read => return read,
            }
        }
        let left = self.file.len()?.saturating_sub(offset).min(buffer.len() as u64);
        let len = within(left);
        buffer.get_mut(..len).unwrap_or_default().fill(0);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn map(&self, _len: usize, _guarded: bool) -> io::Result<Option<Map>> {
        Ok(None)
    }
}

/// A hint must be what a scan of its segment gives; that there is none is all right.
fn verify_hint(
    shelf: &Shelf,
    segment: &Segment,
    builder: Builder,
    report: &mut VerifyReport,
) -> Result<()> {
    let path = shelf.path(&names::hint(segment.id));
    let Ok(file) = shelf.disk.open(&path, Access::Read) else {
        return Ok(());
    };
    let (store_id, id, salt) = (shelf.store_id, segment.id, segment.salt);
    let expected = builder.finish(Subject { store_id, id, salt, len: segment.end() });
    let mut found = vec![0; expected.len() + 1];
    let read = read_full_at(&*file, &mut found, 0);
    let read = read.map_err(|error| KvsError::io("read", &path, error))?;
    report.bytes += read as u64;
    found.truncate(read);
    if found != expected {
        let differs = found.iter().zip(&expected).take_while(|(a, b)| a == b).count() as u64;
        report.damage.push(Damage {
            path,
            segment: Some(segment.id.0),
            offset: differs,
            reason: "the hint does not match its segment; it can be deleted".to_owned(),
        });
    }
    Ok(())
}
