//! Reads every record of every file and says what is damaged. Changes nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::damage::{Damage, Suspect, note};
use super::disk::{Access, Disk, DiskLock, read_full_at};
use super::hash::Hasher;
use super::hint::{Builder, HEAD_BYTES, Subject};
use super::manifest::{Manifest, Named, State};
use super::names;
use super::notice::lock_directory;
use super::real_disk::RealDisk;
use super::recovery::holds_store;
use super::scan::holds_records;
use super::segment::{Segment, Shelf, stated};
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

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
/// An unfinished tail of the log or an unfinished hint, as a crash leaves them, are no damage: the
/// next open cuts off the tail, and writes the hint again.
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
    verify_unlocked(disk, directory, progress)
}

/// As `verify_on`, of a directory that holds a store to which nobody writes.
pub(crate) fn verify_unlocked(
    disk: Arc<dyn Disk>,
    directory: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport> {
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

/// Whether a segment has the header that the manifest says. That was durable before the manifest
/// named it, so no crash takes it.
pub(crate) fn has_its_header(segment: &Segment, named: &Named) -> Result<bool> {
    let header = stated(&*segment.file, &segment.path)?;
    Ok(header.is_ok_and(|it| it.id == named.id() && it.salt == named.salt()))
}

/// Whether a later segment of the log holds records: then this one was sealed and durable.
/// `all` is in the order of the ids. One that cannot be read, or has lost its header, may hold
/// some.
pub(crate) fn is_proven_whole(shelf: &Shelf, all: &[Named], named: &Named) -> bool {
    let is_open = |it: &Named| matches!(it.state, State::Open { .. });
    let holds_some = |later: &Named| {
        // One that cannot be opened gets a line of its own.
        let Ok(segment) = shelf.open_unchecked(later.id(), later.salt()) else { return false };
        let Ok(len) = segment.file.len() else { return true };
        !has_its_header(&segment, later).unwrap_or(false)
            || holds_records(&*segment.file, &segment.path, segment.salt, len).unwrap_or(true)
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

/// A hint must be what a scan of its segment gives; that there is none is all right, and so is one
/// that is not finished, as a crash leaves it: it has no head yet.
pub(crate) fn verify_hint(
    shelf: &Shelf,
    segment: &Segment,
    builder: Builder,
    report: &mut VerifyReport,
) -> Result<()> {
    let path = shelf.path(&names::hint(segment.id));
    let Ok(file) = shelf.disk.open(&path, Access::Read) else {
        return Ok(());
    };
    let expected = builder.finish(Subject::new(shelf, segment));
    let mut found = vec![0; expected.len() + 1];
    let read = read_full_at(&*file, &mut found, 0);
    let read = read.map_err(|error| KvsError::io("read", &path, error))?;
    report.bytes += read as u64;
    found.truncate(read);
    let head = found.get(..HEAD_BYTES).unwrap_or(&found);
    if found != expected && head.iter().any(|byte| *byte != 0) {
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
