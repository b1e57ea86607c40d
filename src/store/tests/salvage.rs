//! Salvage and verify where the disk itself fails: pages and files that cannot be read, and file
//! systems that take no writes; and the batches that salvage writes.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::START_MS;
use super::scene::{Model, Scene, model};
use super::workload::DIRECTORY;
use crate::batch::{Batch, Operation};
use crate::error::{KvsError, Result};
use crate::options::BATCH_BYTES_MAX;
use crate::store::Store;
use crate::store::damage::Damage;
use crate::store::disk::{Access, Disk, DiskFile, DiskLock};
use crate::store::manifest::Manifest;
use crate::store::names;
use crate::store::record::Record;
use crate::store::salvage::{SalvageReport, salvage, salvage_on};
use crate::store::scan::Scan;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault, ReadFault};
use crate::store::verify::{VerifyReport, verify_on};

/// The page that goes bad: in the middle of records.
const BAD: Range<u64> = 8192..12288;
const KEYS: usize = 40;
const MIB: usize = 1 << 20;

/// What a salvage gave.
struct Salvaged {
    report: SalvageReport,
    saved: Model,
    /// The bytes of keys and values of each batch.
    batches: Vec<usize>,
}

fn salvage_from(disk: impl Disk + 'static, strict: bool) -> Result<Salvaged> {
    let (mut saved, mut batches) = (Model::new(), Vec::new());
    let write = &mut |batch: &Batch| {
        batches.push(batch.byte_len());
        for operation in batch.iter() {
            let Operation::Set { key, value, .. } = operation else { panic!("a remove") };
            saved.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    };
    let report =
        salvage_on(Arc::new(disk), Path::new(DIRECTORY), START_MS, strict, &mut |_| (), write)?;
    Ok(Salvaged { report, saved, batches })
}

fn verify(disk: impl Disk + 'static) -> Result<VerifyReport> {
    verify_on(Arc::new(disk), Path::new(DIRECTORY), &mut |_| ())
}

fn manifest() -> PathBuf {
    Path::new(DIRECTORY).join(names::MANIFEST)
}

/// A value of a thousand bytes that tells its key and its age.
fn value(key: &str, age: &str) -> String {
    format!("{key} {age} ").repeat(1000).chars().take(1000).collect()
}

/// A set in a segment: where it lies, and its key.
struct Set {
    place: Range<u64>,
    key: Vec<u8>,
}

impl Set {
    fn touches(&self, page: &Range<u64>) -> bool {
        self.place.start < page.end && page.start < self.place.end
    }

    /// Whether the second of two segments has no newer set.
    fn is_newest(&self) -> bool {
        self.key[1] % 2 == 1
    }
}

/// A store: a first segment with an old value of each of the keys "00", "01" and so on,
/// and a second one with a new value of the even ones.
struct TwoSegments {
    disk: SimDisk,
    first: u64,
    second: u64,
    model: Model,
    /// What the first segment holds.
    sets: Vec<Set>,
}

impl TwoSegments {
    fn new() -> TwoSegments {
        TwoSegments::build(true)
    }

    /// Closed, or left when the process died after a sync.
    fn build(closed: bool) -> TwoSegments {
        let scene = Scene::new();
        let mut model = Model::new();
        let mut set = |number: usize, age| {
            let key = format!("{number:02}");
            scene.set(&key, &value(&key, age));
            model.insert(key.clone().into_bytes(), value(&key, age).into_bytes());
        };
        (0..KEYS).for_each(|number| set(number, "old"));
        let first = scene.rotate();
        (0..KEYS).step_by(2).for_each(|number| set(number, "new"));
        let second = *scene.store.segment_ids().last().unwrap();
        let disk = if closed {
            scene.rotate();
            scene.store.core().write_hints();
            scene.reopen().die()
        } else {
            scene.store.sync().unwrap();
            scene.die()
        };
        let sets = sets_in(&disk, first);
        TwoSegments { disk, first, second, model, sets }
    }

    /// The sets of the first segment on this page, in their order; and the page goes bad.
    fn spoil(&self, page: &Range<u64>) -> Vec<&Set> {
        spoil(&self.disk, &Scene::segment(self.first), page);
        self.sets.iter().filter(|set| set.touches(page)).collect()
    }

    /// What is left without these sets of the first segment.
    fn without<'a>(&self, lost: impl IntoIterator<Item = &'a Set>) -> Model {
        let mut left = self.model.clone();
        for set in lost.into_iter().filter(|set| set.is_newest()) {
            assert!(left.remove(&set.key).is_some());
        }
        left
    }
}

/// The sets in a segment that the manifest names.
fn sets_in(disk: &SimDisk, id: u64) -> Vec<Set> {
    let manifest = Manifest::load(disk, Path::new(DIRECTORY)).unwrap().unwrap();
    let salt = manifest.segments.iter().find(|named| named.id == id).unwrap().salt();
    let path = Scene::segment(id);
    let file = disk.open(&path, Access::Read).unwrap();
    let mut scan = Scan::new(&*file, &path, salt, file.len().unwrap());
    let mut sets = Vec::new();
    while let Some(found) = scan.next().unwrap() {
        if let Record::Set { key, .. } = found.record {
            let place = found.offset..found.offset + found.disk_len as u64;
            sets.push(Set { place, key: key.to_vec() });
        }
    }
    sets
}

/// These bytes of a file cannot be read from now on.
fn spoil(disk: &SimDisk, path: &Path, bytes: &Range<u64>) {
    let [start, end] = [bytes.start, bytes.end].map(|at| usize::try_from(at).unwrap());
    disk.set_read_fault(path, start, ReadFault::Error(end - start));
}

/// As `assert_eq`, without the values in the message.
#[track_caller]
fn assert_same(saved: &Model, expected: &Model) {
    assert_eq!(saved.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(saved == expected, "a value differs");
}

/// Where there is damage, and whether the disk said so.
fn places(damage: &[Damage]) -> Vec<(&Path, u64, bool)> {
    let eio = Failure::Eio.error().to_string();
    damage.iter().map(|it| (it.path.as_path(), it.offset, it.reason == eio)).collect()
}

#[test]
fn a_batch_is_written_before_it_grows_too_large() {
    let scene = Scene::new();
    for (key, len) in [("a", 700 << 10), ("b", 700 << 10), ("c", 10), ("d", 3 * MIB), ("e", 10)] {
        scene.set(key, &"v".repeat(len));
    }
    let Salvaged { report, saved, batches } = salvage_from(scene.die(), false).unwrap();
    assert_eq!((report.keys, saved.len(), report.damage), (5, 5, vec![]));
    let large: Vec<usize> = batches.iter().copied().filter(|bytes| *bytes > MIB).collect();
    assert_eq!(large, [3 * MIB + 1], "one record may be as large as it is: {batches:?}");
}

#[test]
fn a_value_as_large_as_a_batch_may_be_is_saved() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let large = vec![7; BATCH_BYTES_MAX];
    let store = Store::open(&from).unwrap();
    store.set("a", "small").unwrap();
    store.set("b", &large).unwrap();
    store.close().unwrap();
    let report = salvage(&from, &to, false, &mut |_| ()).unwrap();
    assert_eq!((report.keys, report.damage), (2, vec![]));
    let store = Store::open(&to).unwrap();
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"small"[..]));
    assert!(store.get("b").unwrap().as_deref() == Some(&large[..]));
    store.close().unwrap();
}

#[test]
fn a_bad_page_costs_the_records_on_it() {
    let two = TwoSegments::new();
    let lost = two.spoil(&BAD);
    assert!(lost.len() > 3 && lost[0].place.start < BAD.start, "in the middle of a record");
    let Salvaged { report, saved, .. } = salvage_from(two.disk.clone(), false).unwrap();
    assert_same(&saved, &two.without(lost.iter().copied()));
    let damage = [(&*Scene::segment(two.first), lost[0].place.start, true)];
    assert_eq!(places(&report.damage), damage);
    assert_eq!(report.damage[0].segment, Some(two.first));
    let behind = lost[lost.len() - 1].place.end;
    assert_eq!(report.lost_bytes, behind - lost[0].place.start);

    // A lost record may be newer than all before it, and is older than all behind it.
    let stale = || two.sets.iter().filter(|set| set.place.end <= lost[0].place.start);
    let listed: Vec<Vec<u8>> =
        stale().filter(|set| set.is_newest()).map(|set| set.key.clone()).collect();
    assert_eq!(report.stale_keys, listed);
    let strict = salvage_from(two.disk.clone(), true).unwrap();
    assert_same(&strict.saved, &two.without(stale().chain(lost.iter().copied())));
}

#[test]
fn several_bad_pages_cost_no_more_than_their_records() {
    let two = TwoSegments::new();
    // Two that are neighbours, one by itself, and one at the end of the segment.
    let end = two.disk.bytes(&Scene::segment(two.first)).unwrap().len() as u64;
    let pages = [BAD, BAD.end..BAD.end + 4096, 24576..28672, end / 4096 * 4096..end];
    let lost: Vec<&Set> = pages.iter().flat_map(|page| two.spoil(page)).collect();
    let mut left = two.model.clone();
    for set in lost.iter().filter(|set| set.is_newest()) {
        left.remove(&set.key);
    }
    let Salvaged { report, saved, .. } = salvage_from(two.disk.clone(), false).unwrap();
    assert_same(&saved, &left);
    let places = places(&report.damage);
    assert!(places.len() == 3 && places.iter().all(|place| place.2), "{places:?}");
}

#[test]
fn a_bad_page_behind_the_log_hides_what_may_have_been_durable() {
    let scene = Scene::new();
    let age = "only";
    for number in 0..KEYS {
        let key = format!("{number:02}");
        scene.set_durably(&key, &value(&key, age)).unwrap();
    }
    let id = *scene.store.segment_ids().last().unwrap();
    let disk = scene.die();
    let end = sets_in(&disk, id).pop().unwrap().place.end;
    let bad = end.next_multiple_of(4096)..end.next_multiple_of(4096) + 4096;
    spoil(&disk, &Scene::segment(id), &bad);
    let Salvaged { report, saved, .. } = salvage_from(disk.clone(), false).unwrap();
    assert_eq!((saved.len(), report.stale_keys.len()), (KEYS, KEYS));
    let found = places(&report.damage);
    assert!(found.len() == 1 && found[0].1 >= end && found[0].2, "{found:?}");
    assert_eq!(places(&verify(disk).unwrap().damage), found);
}

#[test]
fn a_segment_of_which_nothing_can_be_read_costs_itself() {
    let two = TwoSegments::new();
    let path = Scene::segment(two.first);
    let lost = two.spoil(&(0..two.disk.bytes(&path).unwrap().len() as u64));
    assert_eq!(lost.len(), KEYS);
    let Salvaged { report, saved, .. } = salvage_from(two.disk.clone(), false).unwrap();
    assert_same(&saved, &two.without(lost));
    assert_eq!(places(&report.damage), [(&*path, 0, true), (&*path, 48, true)]);
}

#[test]
fn a_manifest_that_cannot_be_read_is_as_good_as_none() {
    let two = TwoSegments::new();
    let on_read = two.disk.fork();
    spoil(&on_read, &manifest(), &(0..16));
    // The first call of this kind is that on the lock file.
    let on_open = two.disk.fork();
    let (kind, failure) = (Some(CallKind::Open), Failure::Eio);
    on_open.set_fault(Fault { kind, after: 1, failure, forever: false });
    for disk in [on_read, on_open] {
        let Salvaged { report, saved, .. } = salvage_from(disk, false).unwrap();
        assert_eq!(places(&report.damage), [(&*manifest(), 0, true)]);
        assert_same(&saved, &two.model);
        assert_eq!(report.stale_keys.len(), KEYS);
    }
    let disk = two.disk.fork();
    spoil(&disk, &manifest(), &(0..16));
    assert_eq!(places(&verify(disk).unwrap().damage), [(&*manifest(), 0, true)]);
}

#[test]
fn a_header_that_cannot_be_read_costs_its_page() {
    let two = TwoSegments::new();
    let path = Scene::segment(two.first);
    let lost = two.spoil(&(0..512));
    let on_page = two.sets.iter().filter(|set| set.touches(&(0..4096)));
    let Salvaged { report, saved, .. } = salvage_from(two.disk.clone(), false).unwrap();
    assert_same(&saved, &two.without(on_page));
    assert!(!lost.is_empty());
    assert_eq!(places(&report.damage), [(&*path, 0, true), (&*path, 48, true)]);
    assert_eq!(places(&verify(two.disk.clone()).unwrap().damage), [(&*path, 0, true)]);
}

#[test]
fn without_a_manifest_a_lost_header_is_told() {
    let two = TwoSegments::new();
    two.disk.remove(&manifest()).unwrap();
    let path = Scene::segment(two.first);
    let damaged = two.disk.fork();
    let mut bytes = damaged.bytes(&path).unwrap();
    let len = bytes.len() as u64;
    bytes[20] ^= 1;
    damaged.set_bytes(&path, bytes);
    let unreadable = two.disk.fork();
    spoil(&unreadable, &path, &(0..512));
    for (disk, by_disk) in [(damaged, false), (unreadable, true)] {
        let Salvaged { report, saved, .. } = salvage_from(disk, false).unwrap();
        assert_eq!(places(&report.damage), [(&*path, 0, by_disk)]);
        assert_eq!(report.damage[0].segment, Some(two.first));
        assert_eq!(report.lost_bytes, len);
        assert_same(&saved, &two.without(&two.sets));
    }
}

#[test]
fn wherever_the_disk_fails_verify_tells_and_strict_gives_nothing_stale() {
    for two in [TwoSegments::build(true), TwoSegments::build(false)] {
        for (path, bytes) in two.disk.files() {
            if path.ends_with(names::LOCK) || path.ends_with(names::ENGINE) {
                continue;
            }
            let end = bytes.len().min(100_000) as u64;
            for start in (0..end).step_by(1536) {
                let disk = two.disk.fork();
                spoil(&disk, &path, &(start..start + 512));
                let place = || format!("{} at {start}", path.display());
                assert_ne!(verify(disk.clone()).unwrap().damage, [], "{}", place());
                let saved = salvage_from(disk, true).unwrap().saved;
                let is_right = saved.iter().all(|(key, value)| two.model.get(key) == Some(value));
                assert!(is_right, "{}", place());
            }
        }
    }
}

#[test]
fn verify_tells_where_the_disk_fails_and_goes_on() {
    let two = TwoSegments::new();
    let lost = two.spoil(&BAD);
    let other = &two.disk.bytes(&Scene::segment(two.second)).unwrap();
    let middle = other.len() as u64 / 2 / 4096 * 4096;
    spoil(&two.disk, &Scene::segment(two.second), &(middle..middle + 512));
    let in_second = sets_in(&two.disk.fork(), two.second);
    let at = in_second.iter().find(|set| set.touches(&(middle..middle + 4096))).unwrap();
    let report = verify(two.disk.clone()).unwrap();
    let damage = [
        (&*Scene::segment(two.first), lost[0].place.start, true),
        (&*Scene::segment(two.second), at.place.start, true),
    ];
    assert_eq!(places(&report.damage), damage);
    let both = |set: &&Set| set.touches(&(middle..middle + 4096));
    let gone = lost.len() + in_second.iter().filter(both).count();
    assert_eq!(report.records, (KEYS + KEYS / 2 - gone) as u64);
}

#[test]
fn zeros_that_cannot_be_read_are_damage() {
    let scene = Scene::new();
    scene.store.set("key", vec![0; 3 * 4096]).unwrap();
    let id = scene.rotate();
    let disk = scene.reopen().die();
    spoil(&disk, &Scene::segment(id), &(4096..8192));
    let found = [(&*Scene::segment(id), 4096, true)];
    assert_eq!(places(&verify(disk.clone()).unwrap().damage), found);
    assert_eq!(places(&salvage_from(disk, false).unwrap().report.damage), found);
}

#[test]
fn a_hint_is_not_blamed_for_its_segment() {
    let two = TwoSegments::new();
    let lost = two.spoil(&BAD);
    assert!(two.disk.bytes(&Scene::hint(two.first)).is_some());
    let report = verify(two.disk.clone()).unwrap();
    let damage = [(&*Scene::segment(two.first), lost[0].place.start, true)];
    assert_eq!(places(&report.damage), damage);
}

/// A disk that takes no writes, as a file system that is mounted read-only.
struct ReadOnly {
    disk: SimDisk,
    refusal: io::ErrorKind,
}

impl ReadOnly {
    fn refuse<T>(&self) -> io::Result<T> {
        Err(self.refusal.into())
    }
}

impl Disk for ReadOnly {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        if access == Access::Read { self.disk.open(path, access) } else { self.refuse() }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.refuse()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        self.refuse()
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        self.refuse()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        self.refuse()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.refuse()
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.refuse()
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }
}

#[test]
fn a_directory_that_takes_no_writes_can_be_read() {
    let scene = Scene::new();
    scene.set("key", "value");
    let disk = scene.reopen().die();
    for refusal in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
        let read_only = || ReadOnly { disk: disk.fork(), refusal };
        assert_eq!(verify(read_only()).unwrap().damage, []);
        let saved = salvage_from(read_only(), true).unwrap().saved;
        assert_eq!(saved, model(&[("key", "value")]));
    }
    let refusal = io::ErrorKind::OutOfMemory;
    let verified = verify(ReadOnly { disk: disk.fork(), refusal });
    assert!(matches!(verified, Err(KvsError::Io { action: "lock", .. })), "{verified:?}");
}

#[test]
fn a_directory_that_is_in_use_is_refused() {
    let scene = Scene::new();
    scene.set("key", "value");
    let verified = verify(scene.disk.clone());
    assert!(matches!(verified, Err(KvsError::Locked { .. })), "{verified:?}");
    let salvaged = salvage_from(scene.disk.clone(), false);
    assert!(matches!(salvaged, Err(KvsError::Locked { .. })));
    scene.store.close().unwrap();
}
