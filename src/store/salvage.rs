//! Everything readable from a damaged directory, into a new one.
//!
//! Of each key the newest readable record counts. A damaged range may have held a newer record of
//! any key, so every key whose record is older than what the range could hold may be stale: those
//! are listed, and left out on demand.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::disk::{Access, Disk};
use super::hash::{HashSeed, Hasher, KeyHash};
use super::manifest::{Manifest, Named, State};
use super::names::{self, Name};
use super::real_disk::RealDisk;
use super::record::{Record, Salt};
use super::recovery::lock_directory;
use super::scan::{Scan, beyond};
use super::segment::{HEADER_BYTES, Segment, Shelf, StoreId, stated};
use super::verify::{Damage, Progress, is_proven_whole, note};
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

/// How much is written to the new store at once.
const BATCH_BYTES: usize = 1 << 20;

/// What [`salvage`] found and what was lost.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (from, to) = (dir.path().join("from"), dir.path().join("to"));
/// # kvs::Store::open(&from)?.close()?;
/// let report = kvs::salvage(&from, &to, false, &mut |_| ())?;
/// println!("{} keys saved, {} bytes lost", report.keys, report.lost_bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// The valid sets and removes that were found.
    pub records: u64,
    /// The keys that were written to the new store.
    pub keys: u64,
    /// The bytes in which no record could be read.
    pub lost_bytes: u64,
    /// Where those bytes are.
    pub damage: Vec<Damage>,
    /// Keys whose value may be stale: a damaged range may have held a newer one, or a remove.
    pub stale_keys: Vec<Vec<u8>>,
}

/// Where the newest readable record of a key lies.
struct Place {
    seq: u64,
    segment: usize,
    offset: u64,
    is_set: bool,
}

/// What is gathered from the damaged directory.
struct Gathered {
    segments: Vec<Segment>,
    places: HashMap<KeyHash, Place>,
    report: SalvageReport,
    /// A lost record may have had any seq below this.
    lost_below: u64,
}

/// Copies everything readable from the damaged directory `from` into a new store in `to`, which
/// must not hold one. `from` is not changed. With `strict`, keys whose value may be stale are left
/// out. The new store is durable when this returns.
///
/// # Errors
/// [`KvsError::NotAStore`] if there is no segment in `from`; [`KvsError::Locked`] if a process has
/// it open; [`KvsError::InvalidOption`] if `to` holds a store already; what the writing of the new
/// store can answer.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (from, to) = (dir.path().join("from"), dir.path().join("to"));
/// let store = kvs::Store::open(&from)?;
/// store.set("key", "value")?;
/// store.close()?;
/// let report = kvs::salvage(&from, &to, false, &mut |_| ())?;
/// assert_eq!(report.keys, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn salvage(
    from: &Path,
    to: &Path,
    strict: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<SalvageReport> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if RealDisk.list(to).is_ok_and(|names| !names.is_empty()) {
        let value = to.display().to_string();
        let (option, expected) = ("destination", "a directory that is empty or does not exist");
        return Err(KvsError::InvalidOption { option, value, expected });
    }
    salvage_on(disk, from, strict, progress, &mut |batch| {
        let store = Store::open(to)?;
        store.write(batch).map(|_| ())
    })
    .and_then(|report| Store::open(to)?.close().map(|()| report))
}

/// As `salvage`, from a disk of any kind and into any writer of batches.
pub(crate) fn salvage_on(
    disk: Arc<dyn Disk>,
    from: &Path,
    strict: bool,
    progress: &mut dyn FnMut(Progress),
    write: &mut dyn FnMut(&Batch) -> Result<()>,
) -> Result<SalvageReport> {
    let not_a_store = || KvsError::NotAStore { path: from.to_owned() };
    let names = disk.list(from).map_err(|_| not_a_store())?;
    if !names.iter().any(|name| matches!(names::parse(name), Name::Segment(_))) {
        return Err(not_a_store());
    }
    let _lock = lock_directory(&*disk, from)?;
    let mut report = SalvageReport::default();
    let manifest = match Manifest::load(&*disk, from) {
        Err(error @ KvsError::Corrupt { .. }) => {
            note(&mut report.damage, error)?;
            None
        }
        manifest => manifest?,
    };
    let named = match &manifest {
        Some(manifest) => manifest.segments.clone(),
        None => named_by_headers(&*disk, from, &names)?,
    };
    let store_id = manifest.as_ref().map_or(StoreId([0; 16]), |manifest| manifest.store_id);
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(disk, from, store_id, &options);
    let seed = manifest.as_ref().map_or(HashSeed([0; 2]), Manifest::hash_seed);
    let mut gathered =
        Gathered { segments: Vec::new(), places: HashMap::new(), report, lost_below: 0 };
    if manifest.is_none() {
        // Nobody knows which segments counted: whatever they hold may be stale.
        gathered.lost_below = u64::MAX;
    }
    gathered.gather(&shelf, &named, &Hasher::new(seed), progress)?;
    gathered.write_out(strict, write)
}

/// Without a manifest: all files that say that they are segments.
fn named_by_headers(disk: &dyn Disk, from: &Path, found: &[String]) -> Result<Vec<Named>> {
    let mut named = Vec::new();
    for name in found {
        let Name::Segment(id) = names::parse(name) else {
            continue;
        };
        let path = from.join(name);
        let file = disk.open(&path, Access::Read);
        let file = file.map_err(|error| KvsError::io("open", &path, error))?;
        let Some(header) = stated(&*file, &path)? else {
            continue;
        };
        named.push(Named {
            id: id.0,
            salt: header.salt.0,
            state: State::Open { durable_upto: 0 },
            min_seq: 0,
            max_seq: u64::MAX,
            clean_upto: 0,
        });
    }
    named.sort_unstable_by_key(|named| named.id);
    Ok(named)
}

impl Gathered {
    fn gather(
        &mut self,
        shelf: &Shelf,
        all: &[Named],
        hasher: &Hasher,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let len = |named: &Named| {
            let file = shelf.disk.open(&shelf.path(&names::segment(named.id())), Access::Read);
            file.and_then(|file| file.len()).unwrap_or_default()
        };
        let total_bytes = all.iter().map(len).sum();
        let mut done_bytes = 0;
        for named in all {
            progress(Progress { done_bytes, total_bytes });
            // Without a manifest the order of the segments in the log is not known.
            let is_whole = shelf.store_id != StoreId([0; 16])
                && is_proven_whole(shelf, all, named).unwrap_or(false);
            if let Err(error) = self.gather_segment(shelf, (named, is_whole), hasher) {
                note(&mut self.report.damage, error)?;
                self.lost_below = self.lost_below.max(upper_seq(named));
            }
            done_bytes += len(named);
        }
        progress(Progress { done_bytes: total_bytes, total_bytes });
        Ok(())
    }

    fn gather_segment(
        &mut self,
        shelf: &Shelf,
        (named, is_whole): (&Named, bool),
        hasher: &Hasher,
    ) -> Result<()> {
        // The salt is in the manifest too, so a damaged header costs nothing but a line.
        let segment = shelf.open_unchecked(named.id(), named.salt())?;
        let header = stated(&*segment.file, &segment.path)?;
        if header.is_none_or(|it| it.id != named.id() || it.salt != Salt(named.salt)) {
            note(&mut self.report.damage, segment.corrupt(0, "the header is damaged"))?;
        }
        let io = |error| KvsError::io("read", &segment.path, error);
        let file_len = segment.file.len().map_err(io)?;
        let limit = match named.state {
            State::Sealed { len } => len.min(file_len),
            State::Open { .. } => file_len,
        };
        if limit < HEADER_BYTES as u64 {
            return Err(segment.corrupt(limit, "the file is shorter than a header"));
        }
        segment.set_end(limit);
        let index = self.segments.len();
        let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, limit);
        let mut lost_from = None;
        loop {
            while let Some(found) = scan.next()? {
                let (key, is_set) = match found.record {
                    Record::Set { key, .. } => (key, true),
                    Record::Remove { key, .. } => (key, false),
                    Record::Batch { .. } | Record::Mark { .. } | Record::Seal { .. } => continue,
                };
                let seq = found.record.seq().unwrap_or_default();
                if lost_from.take().is_some() && named.clean_upto == 0 {
                    // In the order in which they were written, what was lost is older than this.
                    self.lost_below = self.lost_below.max(seq);
                }
                self.report.records += 1;
                let place = Place { seq, segment: index, offset: found.offset, is_set };
                self.keep_newer(hasher.hash(key), place);
            }
            let lost = scan.offset();
            if is_regular_end(&segment, (named, is_whole), &scan, limit)? {
                break;
            }
            let reason = scan.invalid().map_or("the seal is not at its end", |it| it.reason());
            note(&mut self.report.damage, segment.corrupt(lost, reason))?;
            let found_more = scan.skip_damage()?;
            self.report.lost_bytes += scan.offset() - lost;
            if named.clean_upto != 0 || !found_more {
                self.lost_below = self.lost_below.max(upper_seq(named));
            }
            if !found_more {
                break;
            }
            lost_from = Some(lost);
        }
        if lost_from.is_some() {
            self.lost_below = self.lost_below.max(upper_seq(named));
        }
        drop(scan);
        self.segments.push(segment);
        Ok(())
    }

    fn keep_newer(&mut self, hash: KeyHash, place: Place) {
        let known = self.places.get(&hash);
        if known.is_none_or(|known| known.seq <= place.seq) {
            self.places.insert(hash, place);
        }
    }

    /// Writes the newest record of each key to the new store, in the order of their seqs.
    fn write_out(
        mut self,
        strict: bool,
        write: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<SalvageReport> {
        let mut places: Vec<Place> =
            self.places.into_values().filter(|place| place.is_set).collect();
        places.sort_unstable_by_key(|place| (place.seq, place.offset));
        let mut batch = Batch::new();
        for place in places {
            let Some(segment) = self.segments.get(place.segment) else {
                continue;
            };
            let is_stale = place.seq < self.lost_below;
            let report = &mut self.report;
            let read = segment.read(place.offset, |record, _| {
                let Record::Set { key, value, .. } = record else {
                    return;
                };
                if is_stale {
                    report.stale_keys.push(key.to_vec());
                }
                if !(is_stale && strict) {
                    report.keys += 1;
                    batch.set(key, value);
                }
            });
            if let Err(error) = read {
                note(&mut self.report.damage, error)?;
            }
            if batch.byte_len() >= BATCH_BYTES {
                write(&batch)?;
                batch.clear();
            }
        }
        write(&batch)?;
        Ok(self.report)
    }
}

/// A seq above all that the segment can hold.
fn upper_seq(named: &Named) -> u64 {
    match named.state {
        State::Sealed { .. } => named.max_seq.saturating_add(1),
        State::Open { .. } => u64::MAX,
    }
}

/// Whether a scan ended where it should, or at a tail that was never acknowledged as durable.
fn is_regular_end(
    segment: &Segment,
    (named, is_whole): (&Named, bool),
    scan: &Scan<'_>,
    limit: u64,
) -> Result<bool> {
    let offset = scan.offset();
    Ok(match named.state {
        State::Sealed { len } => offset == len,
        State::Open { .. } if scan.sealed() => true,
        State::Open { .. } if is_whole => false,
        State::Open { durable_upto } => {
            let rest = beyond(&*segment.file, &segment.path, segment.salt, offset, limit)?;
            offset >= durable_upto.max(scan.durable_upto()).max(rest.durable_upto)
        }
    })
}
