//! Everything readable from a damaged directory, into a new one.
//!
//! Of each key the newest readable record counts. A damaged range may have held a newer record of
//! any key, so every key whose record is older than what the range could hold may be stale: those
//! are listed, and left out on demand. What the disk cannot read is a damaged range like any other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::clock::{Clock, NEVER};
use super::damage::{Damage, Suspect, note};
use super::disk::{Access, Disk};
use super::hash::{HashSeed, Hasher, KeyHash};
use super::manifest::{Manifest, Named, State};
use super::names::{self, Name};
use super::real_disk::{RealClock, RealDisk};
use super::record::Record;
use super::recovery::marked_floor_ms;
use super::segment::{HEADER_BYTES, Segment, Shelf, StoreId, stated};
use super::verify::{Progress, has_its_header, is_proven_whole, lock_to_read};
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{BATCH_BYTES_MAX, Options, ReadPath, WriteOptions};

/// How much is written to the new store at once, unless one record alone has more.
const BATCH_BYTES: usize = 1 << 20;
const _: () = assert!(BATCH_BYTES <= BATCH_BYTES_MAX, "each batch can be written");

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
    /// Without a manifest, and where the end of the log is damaged, that can be all keys, held in
    /// memory.
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
    /// What has expired by then is no more.
    now_ms: u64,
}

/// Copies everything readable from the damaged directory `from` into a new store in `to`, which
/// must not hold one. `from` is not changed. With `strict`, keys whose value may be stale are left
/// out. The new store is durable when this returns.
///
/// What the disk cannot read counts as damage. On a file system that is mounted read-only, or
/// where this user may not write to the file `LOCK`, `from` is read without its lock: then it is
/// for the caller to know that nobody writes to it.
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
    // Made when there is something to write: a `from` that is no store leaves nothing in `to`.
    let mut made = None;
    let report = salvage_on(disk, from, RealClock.wall_ms(), strict, progress, &mut |batch| {
        let store = match &mut made {
            Some(store) => store,
            none => none.insert(Store::open(to)?),
        };
        store.core().write_checked(batch, WriteOptions::new()).map(drop)
    })?;
    made.map_or(Ok(()), Store::close)?;
    Ok(report)
}

/// As `salvage`, from a disk of any kind and into any writer of batches, which is called at least
/// once. The time is at least `now_ms`.
pub(crate) fn salvage_on(
    disk: Arc<dyn Disk>,
    from: &Path,
    now_ms: u64,
    strict: bool,
    progress: &mut dyn FnMut(Progress),
    write: &mut dyn FnMut(&Batch) -> Result<()>,
) -> Result<SalvageReport> {
    let not_a_store = || KvsError::NotAStore { path: from.to_owned() };
    let names = disk.list(from).map_err(|_| not_a_store())?;
    if !names.iter().any(|name| matches!(names::parse(name), Name::Segment(_))) {
        return Err(not_a_store());
    }
    let _lock = lock_to_read(&*disk, from)?;
    let mut report = SalvageReport::default();
    let manifest = Manifest::load(&*disk, from).or_else(|error| {
        note(&mut report.damage, error)?;
        Ok(None)
    })?;
    let named = match &manifest {
        Some(manifest) => manifest.segments.clone(),
        None => named_by_headers(&*disk, from, &names, &mut report)?,
    };
    let store_id = manifest.as_ref().map_or(StoreId([0; 16]), |manifest| manifest.store_id);
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(disk, from, store_id, &options);
    let seed = manifest.as_ref().map_or(HashSeed([0; 2]), Manifest::hash_seed);
    let now_ms = now_ms.max(manifest.as_ref().map_or(0, |manifest| manifest.clock_floor_ms));
    let (segments, places) = (Vec::new(), HashMap::new());
    let mut gathered = Gathered { segments, places, report, lost_below: 0, now_ms };
    if manifest.is_none() {
        // Nobody knows which segments counted: whatever they hold may be stale.
        gathered.lost_below = u64::MAX;
    }
    gathered.gather(&shelf, &named, &Hasher::new(seed), progress)?;
    gathered.write_out(strict, write)
}

/// Without a manifest: all files that say that they are segments. A segment that does not is lost,
/// because its header alone has the salt of its checksums.
fn named_by_headers(
    disk: &dyn Disk,
    from: &Path,
    found: &[String],
    report: &mut SalvageReport,
) -> Result<Vec<Named>> {
    let mut named = Vec::new();
    for name in found {
        let Name::Segment(id) = names::parse(name) else {
            continue;
        };
        let path = from.join(name);
        let reason = "the header is damaged";
        let corrupt =
            || KvsError::Corrupt { path: path.clone(), segment: Some(id.0), offset: 0, reason };
        let mut file_len = 0;
        let opened = disk.open(&path, Access::Read);
        let header = opened.map_err(|error| KvsError::io("open", &path, error)).and_then(|file| {
            file_len = file.len().unwrap_or_default();
            stated(&*file, &path)?.map_err(|_| corrupt())
        });
        match header {
            Ok(header) => named.push(Named {
                id: id.0,
                salt: header.salt.0,
                state: State::Open { durable_upto: 0 },
                min_seq: 0,
                max_seq: u64::MAX,
                clean_upto: 0,
            }),
            Err(error) => {
                note(&mut report.damage, error)?;
                report.lost_bytes += file_len;
            }
        }
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
            let is_whole = shelf.store_id != StoreId([0; 16]) && is_proven_whole(shelf, all, named);
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
        let mut suspect = Suspect::new(segment, *named, is_whole)?;
        if !has_its_header(&suspect.segment, named)? {
            let header = 0..HEADER_BYTES as u64;
            self.report.damage.push(suspect.damage(header, "the header is damaged"));
            // What took it may have taken records as well, if there is none right behind it.
            suspect.is_whole |= suspect.scan().next()?.is_none();
        }
        let segment = &suspect.segment;
        if segment.end() < HEADER_BYTES as u64 {
            return Err(segment.corrupt(segment.end(), "the file is shorter than a header"));
        }
        let gathered = self.gather_records(&suspect, named, hasher);
        self.report.damage.extend(suspect.untold());
        // Whatever happened: some places may be in it.
        self.segments.push(suspect.segment);
        gathered
    }

    fn gather_records(&mut self, suspect: &Suspect, named: &Named, hasher: &Hasher) -> Result<()> {
        let segment = self.segments.len();
        let mut scan = suspect.scan();
        let mut is_behind_damage = false;
        loop {
            while let Some(found) = scan.next()? {
                let (key, is_set) = match found.record {
                    Record::Set { key, .. } => (key, true),
                    Record::Remove { key, .. } => (key, false),
                    Record::Mark { .. } => {
                        // Those of a sealed segment are older than the manifest's floor.
                        let known = match named.state {
                            State::Open { durable_upto } => durable_upto,
                            State::Sealed { .. } => u64::MAX,
                        };
                        self.now_ms = self.now_ms.max(marked_floor_ms(&found, known));
                        continue;
                    }
                    Record::Batch { .. } | Record::Seal { .. } => continue,
                };
                let seq = found.record.seq().unwrap_or_default();
                if std::mem::take(&mut is_behind_damage) && named.clean_upto == 0 {
                    // In the order in which they were written, what was lost is older than this.
                    self.lost_below = self.lost_below.max(seq);
                }
                self.report.records += 1;
                let place = Place { seq, segment, offset: found.offset, is_set };
                self.keep_newer(hasher.hash(key), place);
            }
            let lost = scan.offset();
            let Some(found_more) = suspect.pass_damage(&mut scan, &mut self.report.damage)? else {
                break;
            };
            self.report.lost_bytes += scan.offset() - lost;
            is_behind_damage = true;
            if !found_more {
                break;
            }
            if named.clean_upto != 0 {
                self.lost_below = self.lost_below.max(upper_seq(named));
            }
        }
        if is_behind_damage {
            self.lost_below = self.lost_below.max(upper_seq(named));
        }
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
                let Record::Set { key, value, expires_at_ms, .. } = record else {
                    return Ok(());
                };
                if expires_at_ms != NEVER && expires_at_ms <= self.now_ms {
                    return Ok(());
                }
                if is_stale {
                    report.stale_keys.push(key.to_vec());
                }
                if is_stale && strict {
                    return Ok(());
                }
                if !batch.is_empty() && batch.byte_len() + key.len() + value.len() > BATCH_BYTES {
                    write(&batch)?;
                    batch.clear();
                }
                report.keys += 1;
                match expires_at_ms {
                    NEVER => batch.set(key, value),
                    at => batch.set_until(key, value, at),
                };
                Ok(())
            });
            match read {
                Ok(written) => written?,
                Err(error) => note(&mut self.report.damage, error)?,
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
