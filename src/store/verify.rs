//! Reads every record of every file and says what is damaged. Changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Access, Disk};
use super::hash::Hasher;
use super::hint::{Builder, Subject};
use super::manifest::{Manifest, Named, State};
use super::names;
use super::real_disk::RealDisk;
use super::recovery::{holds_store, lock_directory};
use super::scan::{Scan, beyond, holds_records};
use super::segment::{Segment, Shelf};
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
/// # Errors
/// [`KvsError::NotAStore`], [`KvsError::ManifestMissing`], [`KvsError::Locked`],
/// [`KvsError::UnsupportedVersion`], [`KvsError::WrongEngine`] and [`KvsError::Io`]. Damage is no
/// error; it stands in the report.
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
    let _lock = lock_directory(&*disk, directory)?;
    let mut report = VerifyReport::default();
    let manifest = match Manifest::load(&*disk, directory) {
        Err(error @ KvsError::Corrupt { .. }) => {
            note(&mut report.damage, error)?;
            return Ok(report);
        }
        manifest => manifest?,
    };
    let Some(manifest) = manifest else {
        return Ok(report);
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
        let verified = is_proven_whole(&shelf, &manifest.segments, named).and_then(|is_whole| {
            verify_segment(&shelf, (named, is_whole), &hasher, &mut report, step)
        });
        match verified {
            Ok(()) => {}
            Err(error) => note(&mut report.damage, error)?,
        }
    }
    progress(Progress { done_bytes: total_bytes, total_bytes });
    Ok(report)
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
        KvsError::Io { action: "read", path, source } => {
            let reason = source.to_string();
            damage.push(Damage { path, segment: None, offset: 0, reason });
        }
        other => return Err(other),
    }
    Ok(())
}

/// Whether a later segment of the log holds records: then this one was sealed and durable.
/// `all` is in the order of the ids.
pub(crate) fn is_proven_whole(shelf: &Shelf, all: &[Named], named: &Named) -> Result<bool> {
    let is_open = |it: &Named| matches!(it.state, State::Open { .. });
    if !is_open(named) {
        return Ok(true);
    }
    for later in all.iter().filter(|it| it.id > named.id && is_open(it)) {
        // One that cannot be opened gets a line of its own.
        let Ok(segment) = shelf.open_unchecked(later.id(), later.salt()) else { continue };
        let len = segment.file.len();
        let len = len.map_err(|error| KvsError::io("read", &segment.path, error))?;
        if holds_records(&*segment.file, &segment.path, segment.salt, len)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn verify_segment(
    shelf: &Shelf,
    (named, is_whole): (&Named, bool),
    hasher: &Hasher,
    report: &mut VerifyReport,
    step: &mut dyn FnMut(u64),
) -> Result<()> {
    let segment = shelf.open(named.id(), 0, named.salt(), 0, Access::Read)?;
    let file_len =
        segment.file.len().map_err(|error| KvsError::io("read", &segment.path, error))?;
    report.segments += 1;
    let limit = match named.state {
        State::Sealed { len } if file_len < len => {
            return Err(segment.corrupt(file_len, "the file is shorter than the manifest says"));
        }
        State::Sealed { len } => len,
        State::Open { .. } => file_len,
    };
    let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, limit);
    let mut builder = Builder::new();
    loop {
        while let Some(found) = scan.next()? {
            report.records += u64::from(found.record.seq().is_some());
            builder.add(&found, hasher);
            if report.records.is_multiple_of(4096) {
                step(found.offset);
            }
        }
        if let Some(error) = verdict(&segment, (named, is_whole), &scan, limit)? {
            note(&mut report.damage, error)?;
            if scan.skip_damage()? {
                continue;
            }
        } else if scan.sealed() {
            segment.set_end(scan.offset());
            verify_hint(shelf, &segment, builder, report)?;
        }
        break;
    }
    report.bytes += limit;
    Ok(())
}

/// What the end of a scan means.
fn verdict(
    segment: &Segment,
    (named, is_whole): (&Named, bool),
    scan: &Scan<'_>,
    limit: u64,
) -> Result<Option<KvsError>> {
    let offset = scan.offset();
    let reason = scan.invalid().map_or("the seal is not at its end", |invalid| invalid.reason());
    let is_damage = match named.state {
        State::Sealed { len } => !scan.sealed() || offset != len,
        State::Open { .. } if scan.sealed() => false,
        State::Open { .. } if is_whole => true,
        State::Open { durable_upto } => {
            let rest = beyond(&*segment.file, &segment.path, segment.salt, offset, limit)?;
            offset < durable_upto.max(scan.durable_upto()).max(rest.durable_upto)
        }
    };
    Ok(is_damage.then(|| segment.corrupt(offset, reason)))
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
    let read = super::disk::read_full_at(&*file, &mut found, 0);
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
