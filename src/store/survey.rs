//! What an open would find in a directory, found out without one: nothing is cut off, written or
//! removed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compaction::Situation;
use super::core::segment_capacity;
use super::damage::{Damage, Suspect, note};
use super::disk::{Access, Disk};
use super::hash::Hasher;
use super::hint::{Builder, Hint, Subject};
use super::keydir::Keydir;
use super::load::{Source, load};
use super::manifest::{Manifest, Named, State};
use super::names;
use super::pins::Pins;
use super::recovery::load_hint;
use super::segment::Shelf;
use super::segments::Segments;
use super::verify::is_proven_whole;
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath};

/// What was found.
pub(crate) struct Survey {
    /// What is damaged, of what was read: headers, lengths, hints, and the segments without one.
    pub(crate) damage: Vec<Damage>,
    /// Of the segments that could be read.
    pub(crate) situation: Situation,
    /// How many sealed segments have no valid hint.
    pub(crate) unhinted: usize,
}

/// Goes through the segments that the manifest names. Takes as long as an open, and as much memory.
pub(crate) fn survey(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    manifest: &Manifest,
    now_ms: u64,
) -> Result<Survey> {
    let options = Options::new().read_path(ReadPath::Pread);
    let shelf = Shelf::new(Arc::clone(disk), directory, manifest.store_id, &options);
    let hasher = Hasher::new(manifest.hash_seed());
    let (numbers, mut sources, mut damage) = (Segments::new(), Vec::new(), Vec::new());
    for named in &manifest.segments {
        let is_whole = is_proven_whole(&shelf, &manifest.segments, named);
        let number = numbers.claim_number()?;
        match source(&shelf, (named, is_whole), number, &hasher, &mut damage) {
            Ok(source) => sources.push(source),
            Err(error) => note(&mut damage, error)?,
        }
    }
    let (keydir, pins) = (Keydir::new(), Pins::new());
    let loaded = load(&sources, (u64::MAX, now_ms), &mut keydir.write(&pins))?;
    let segments: Vec<_> = sources.iter().map(|source| source.segment.facts()).collect();
    let largest = segments.iter().map(|facts| facts.file_bytes).max().unwrap_or_default();
    let is_unhinted = |source: &&Source| {
        let segment = &source.segment;
        segment.sealed.load(Ordering::Relaxed) && !segment.hinted.load(Ordering::Relaxed)
    };
    Ok(Survey {
        unhinted: sources.iter().filter(is_unhinted).count(),
        damage,
        situation: Situation {
            total_bytes: segments.iter().map(|facts| facts.file_bytes).sum(),
            live_bytes: loaded.live_bytes,
            segment_bytes: segment_capacity(&options, loaded.live_bytes).max(largest),
            amplification: options.space_amplification,
            segments,
        },
    })
}

/// A segment and what is in it: by its hint, or by a scan, which goes on behind damage.
fn source(
    shelf: &Shelf,
    (named, is_whole): (&Named, bool),
    number: u16,
    hasher: &Hasher,
    damage: &mut Vec<Damage>,
) -> Result<Source> {
    let segment = shelf.open(named.id(), number, named.salt(), 0, Access::Read)?;
    let file_len = segment.file.len();
    let file_len = file_len.map_err(|error| KvsError::io("read", &segment.path, error))?;
    segment.file_bytes.store(file_len, Ordering::Relaxed);
    let suspect = Suspect::new(segment, *named, is_whole)?;
    let segment = &suspect.segment;
    let mut hint = None;
    if let State::Sealed { len } = named.state {
        if file_len < len {
            return Err(segment.corrupt(file_len, "the file is shorter than the manifest says"));
        }
        segment.sealed.store(true, Ordering::Relaxed);
        hint = load_hint(shelf, Subject::new(shelf, segment));
        segment.hinted.store(hint.is_some(), Ordering::Relaxed);
    }
    let hint = match hint {
        Some(hint) => hint,
        None => scanned(shelf, &suspect, hasher, damage)?,
    };
    segment.tombstone_bytes.store(hint.tombstone_bytes, Ordering::Relaxed);
    segment.clean_upto.store(named.clean_upto, Ordering::Relaxed);
    segment.count(hint.entries, named.min_seq, named.max_seq);
    Ok(Source { segment: Arc::new(suspect.segment), hint })
}

fn scanned(
    shelf: &Shelf,
    suspect: &Suspect,
    hasher: &Hasher,
    damage: &mut Vec<Damage>,
) -> Result<Hint> {
    let segment = &suspect.segment;
    let mut scan = suspect.scan();
    let mut builder = Builder::new();
    loop {
        while let Some(found) = scan.next()? {
            builder.add(&found, hasher);
        }
        if suspect.pass_damage(&mut scan, damage)? != Some(true) {
            break;
        }
    }
    damage.extend(suspect.untold());
    segment.set_end(scan.offset());
    let subject = Subject::new(shelf, segment);
    let hint = Hint::open(builder.finish(subject), subject);
    hint.ok_or_else(|| segment.corrupt(0, "its own index does not match it"))
}

/// How many files are in the quarantine, and their bytes.
pub(crate) fn quarantined(disk: &dyn Disk, directory: &Path) -> (usize, u64) {
    let quarantine = directory.join(names::QUARANTINE);
    let found = disk.list(&quarantine).unwrap_or_default();
    let len = |name: &String| {
        let file = disk.open(&quarantine.join(name), Access::Read);
        file.and_then(|file| file.len()).unwrap_or_default()
    };
    (found.len(), found.iter().map(len).sum())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::real_disk::RealDisk;
    use super::{Disk, Manifest, Survey, names, quarantined, survey};
    use crate::{Durability, Options, Store};

    fn options() -> Options {
        Options::new().segment_bytes(4096).compaction(false).durability(Durability::Os)
    }

    fn look(directory: &Path) -> Survey {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let manifest = Manifest::load(&*disk, directory).unwrap().unwrap();
        survey(&disk, directory, &manifest, 1 << 40).unwrap()
    }

    /// A closed store of several segments with dead records of all kinds.
    fn filled(directory: &Path) {
        let store = options().open(directory).unwrap();
        for number in 0..300 {
            store.set(format!("key {}", number % 70), "v".repeat(number)).unwrap();
        }
        for number in 0..30 {
            assert!(store.remove(format!("key {number}")).unwrap().existed);
        }
        store.close().unwrap();
    }

    fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
        let mut names = RealDisk.list(directory).unwrap();
        names.sort();
        let read = |name: String| (name.clone(), std::fs::read(directory.join(name)).unwrap());
        names.into_iter().map(read).collect()
    }

    #[test]
    fn it_finds_what_an_open_finds_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let before = files(dir.path());
        let with_hints = look(dir.path());
        for (name, _) in before.iter().filter(|(name, _)| name.ends_with(".hint")) {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        let without = look(dir.path());
        for (found, unhinted) in [(&with_hints, 0), (&without, before.len())] {
            assert!(found.damage.is_empty(), "{:?}", found.damage);
            assert!(found.unhinted <= unhinted, "{} hints are missing", found.unhinted);
        }
        assert!(without.unhinted > 5);
        for (name, bytes) in before {
            if !name.ends_with(".hint") {
                assert!(std::fs::read(dir.path().join(&name)).unwrap() == bytes, "{name}");
            }
        }
        let stats = options().open(dir.path()).unwrap().stats();
        for found in [with_hints, without] {
            let situation = found.situation;
            assert_eq!(situation.live_bytes, stats.live_bytes);
            assert_eq!(situation.total_bytes, stats.segment_file_bytes);
            assert_eq!(situation.segments.len(), stats.segments.len());
        }
    }

    #[test]
    fn damage_is_found_and_the_rest_is_still_counted() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let whole = look(dir.path()).situation.live_bytes;
        let [first, second, third] =
            [1, 2, 3].map(|id| dir.path().join(names::segment(names::SegmentId(id))));
        let change = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = std::fs::read(path).unwrap();
            change(&mut bytes);
            std::fs::write(path, bytes).unwrap();
        };
        change(&first, &|bytes| bytes[20] ^= 1);
        change(&second, &|bytes| bytes.truncate(1000));
        std::fs::remove_file(&third).unwrap();
        let found = look(dir.path());
        let paths: Vec<_> = found.damage.iter().map(|damage| damage.path.clone()).collect();
        assert_eq!(paths, [first, second, third]);
        assert!(found.situation.live_bytes <= whole && found.situation.live_bytes > 0);
    }

    #[test]
    fn an_end_that_a_crash_left_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.set("key", "value").unwrap();
        store.close().unwrap();
        let path = dir.path().join(names::segment(names::SegmentId(1)));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(&[7; 100]);
        std::fs::write(&path, bytes).unwrap();
        let found = look(dir.path());
        assert!(found.damage.is_empty(), "{:?}", found.damage);
        assert_eq!(quarantined(&RealDisk, dir.path()), (0, 0));
        drop(Store::open(dir.path()).unwrap());
        assert_eq!(quarantined(&RealDisk, dir.path()), (1, 100));
    }
}
