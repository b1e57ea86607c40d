//! A new store from a backup: as it was then, or at an earlier seq.
//!
//! Every record of the backup is read, of each key the one with the highest seq that counts is
//! written to the new store, in the order of their seqs. So the new store has an identity of its
//! own, and its first seqs are new.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::clock::{Clock, NEVER};
use super::disk::Disk;
use super::hint::Entry;
use super::keydir::{Keydir, Location};
use super::load::{Source, load};
use super::manifest::Manifest;
use super::pins::Pins;
use super::real_disk::{RealClock, RealDisk};
use super::record::Record;
use super::recovery::{Role, recover};
use super::segment::{Segment, Shelf};
use super::segments::Segments;
use super::verify::Progress;
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath, WriteOptions};

/// How much is written to the new store at once, unless one record alone has more.
const BATCH_BYTES: usize = 1 << 20;

/// What [`restore`] did.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
/// # let store = kvs::Store::open(data)?;
/// store.set("key", "value")?;
/// store.backup(&backup)?;
/// let report = kvs::restore(&backup, &dir.path().join("restored"), None, &mut |_| ())?;
/// assert_eq!(report.keys, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The keys of the new store.
    pub keys: u64,
    /// The backup is of the state after this seq.
    pub seq: u64,
}

/// Makes a new store in `to` of the backup in `from`: as it was when the backup was made, or with
/// `to_seq` after the write with that seq. Keys that have expired by now are left out. The new
/// store is durable when this returns; it has an identity and seqs of its own. `from` is not
/// changed.
///
/// # Errors
/// [`KvsError::NotEmpty`] if there is anything in `to`; [`KvsError::NotAStore`];
/// [`KvsError::HistoryGone`] if compaction had dropped what the state at `to_seq` needs;
/// [`KvsError::Corrupt`], [`KvsError::SegmentMissing`]: the backup is damaged, and nothing is made;
/// what the writing of the new store can answer.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
/// let store = kvs::Store::open(data)?;
/// let first = store.set("key", "first")?;
/// store.set("key", "second")?;
/// store.backup(&backup)?;
/// let then = dir.path().join("then");
/// kvs::restore(&backup, &then, Some(first.seq), &mut |_| ())?;
/// assert_eq!(kvs::Store::open(then)?.get("key")?.as_deref(), Some(&b"first"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn restore(
    from: &Path,
    to: &Path,
    to_seq: Option<u64>,
    progress: &mut dyn FnMut(Progress),
) -> Result<RestoreReport> {
    if RealDisk.list(to).is_ok_and(|names| !names.is_empty()) {
        return Err(KvsError::NotEmpty { path: to.to_owned() });
    }
    let mut made = None;
    let now_ms = RealClock.wall_ms();
    let report = restore_on(Arc::new(RealDisk), from, to_seq, now_ms, progress, &mut |batch| {
        let store = match &mut made {
            Some(store) => store,
            none => none.insert(Store::open(to)?),
        };
        store.core().write_checked(batch, WriteOptions::new()).map(drop)
    })?;
    made.map_or(Ok(()), Store::close)?;
    Ok(report)
}

/// As `restore`, from a disk of any kind and into any writer of batches, which is called at least
/// once. The time is at least `now_ms`.
pub(crate) fn restore_on(
    disk: Arc<dyn Disk>,
    from: &Path,
    to_seq: Option<u64>,
    now_ms: u64,
    progress: &mut dyn FnMut(Progress),
    write: &mut dyn FnMut(&Batch) -> Result<()>,
) -> Result<RestoreReport> {
    let (manifest, sources) = read_backup(&disk, from)?;
    // A backup that died before it named its last segments anew has more in them than it is of.
    let mut upto = to_seq.unwrap_or(u64::MAX).min(manifest.reserved_seq.saturating_sub(1));
    if kvs_bug!("restore_beyond_seq") {
        upto = to_seq.unwrap_or(u64::MAX);
    }
    let is_gone = to_seq.is_some() && upto < manifest.history_floor;
    if is_gone && !kvs_bug!("restore_ignores_floor") {
        return Err(KvsError::HistoryGone { seq: upto, floor: manifest.history_floor });
    }
    let now_ms = now_ms.max(manifest.clock_floor_ms);
    let places = newest(&sources, upto, now_ms)?;
    let total_bytes = places.iter().map(|(entry, _)| entry.len).sum();
    let (mut report, mut batch, mut done_bytes) = (RestoreReport::default(), Batch::new(), 0);
    report.seq = upto;
    for (entry, segment) in places {
        let written = segment.read(entry.offset, |record, len| {
            let Record::Set { key, value, expires_at_ms, .. } = record else {
                return Ok(());
            };
            if !batch.is_empty() && batch.byte_len() + len > BATCH_BYTES {
                write(&batch)?;
                batch.clear();
                progress(Progress { done_bytes, total_bytes });
            }
            report.keys += 1;
            done_bytes += entry.len;
            match expires_at_ms {
                NEVER => batch.set(key, value),
                at => batch.set_until(key, value, at),
            };
            Ok(())
        });
        written??;
    }
    write(&batch)?;
    progress(Progress { done_bytes: total_bytes, total_bytes });
    Ok(report)
}

/// Reads everything that a backup names, and finds it whole. If it is brought up to date
/// meanwhile, what it names then.
fn read_backup(disk: &Arc<dyn Disk>, from: &Path) -> Result<(Manifest, Vec<Source>)> {
    let named = || {
        let manifest = Manifest::load(&**disk, from)?;
        manifest.ok_or_else(|| KvsError::NotAStore { path: from.to_owned() })
    };
    let mut manifest = named()?;
    loop {
        let read = read_named(disk, from, manifest.clone());
        let now = named()?;
        if now == manifest {
            return read;
        }
        manifest = now;
    }
}

/// Reads everything that this manifest of a backup names.
fn read_named(
    disk: &Arc<dyn Disk>,
    from: &Path,
    manifest: Manifest,
) -> Result<(Manifest, Vec<Source>)> {
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(Arc::clone(disk), from, manifest.store_id, &options);
    let segments = Segments::new();
    let recovered = recover(&shelf, manifest, &|| segments.claim_number(), Role::Reader(None))?;
    Ok((recovered.manifest, recovered.sources))
}

/// Of each key that is there after the seq `upto`, its record and the segment in which that lies,
/// in the order of the seqs.
fn newest(sources: &[Source], upto: u64, now_ms: u64) -> Result<Vec<(Entry, &Segment)>> {
    let (keydir, pins) = (Keydir::new(), Pins::new());
    load(sources, (upto, now_ms), &mut keydir.write(&pins))?;
    let pin = pins.pin();
    let mut places = Vec::new();
    for source in sources {
        let segment = &*source.segment;
        for entry in source.hint.iter(segment.end()) {
            let location = Location::new(segment.number, entry.offset);
            let mut found = keydir.candidates(&pin, entry.hash);
            if location.is_some_and(|location| found.any(|it| it == location)) {
                places.push((entry, segment));
            }
        }
    }
    places.sort_unstable_by_key(|(entry, _)| entry.seq);
    Ok(places)
}
