//! Readers beside the owner of a store: what they see is a prefix of its writes, and they change
//! nothing.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::clock::{START_MS, SetClock};
use super::oracle::{Contents, History};
use super::proof::{Checked, prove};
use super::scene::{Scene, contents, model};
use super::workload::{
    Action, BATCHES, COMPACTING, DIRECTORY, EXPIRING, LATER_MS, SMALL, Session, Shape,
};
use crate::error::{KvsError, Result};
use crate::options::{Options, ReadPath, SetOptions};
use crate::store::disk::{Access, Disk, DiskFile, DiskLock};
use crate::store::reading::Place;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};
use crate::store::sync::lock;
use crate::store::{ReadOnlyStore, Store};

/// Opens the store on a disk to be read, at a time.
pub fn reader_at(disk: Arc<dyn Disk>, clock: &Arc<SetClock>) -> Result<ReadOnlyStore> {
    reader_in(DIRECTORY, disk, clock)
}

/// Opens what is in a directory of a disk to be read, at a time.
pub fn reader_in(
    directory: &str,
    disk: Arc<dyn Disk>,
    clock: &Arc<SetClock>,
) -> Result<ReadOnlyStore> {
    ReadOnlyStore::open_in(Place {
        disk,
        clock: Arc::<SetClock>::clone(clock),
        directory: Path::new(directory).to_owned(),
        options: Options::new().read_path(ReadPath::Pread),
    })
}

/// Opens the store on a disk to be read.
pub fn reader(disk: &SimDisk) -> Result<ReadOnlyStore> {
    reader_at(Arc::new(disk.clone()), &Arc::default())
}

/// The owner does what its thread does every so often.
pub fn post(scene: &Scene) {
    scene.store.sync_step().unwrap();
}

/// A reader sees these keys and values and nothing else.
#[track_caller]
pub fn sees(reader: &ReadOnlyStore, pairs: &[(&str, &str)]) {
    assert_eq!(contents(reader).unwrap(), model(pairs));
}

/// After each action of a workload, a new reader sees a prefix, of at least what was posted; one
/// that is refreshed sees the same; and without its owner all of it is seen.
pub fn read_everywhere(shape: Shape, seed: u64) -> Checked<u64> {
    let later = Arc::new(SetClock::at(START_MS + LATER_MS));
    let mut session = Session::new(SimDisk::new(), shape, seed, (History::new(), 0));
    session.open().map_err(|error| error.to_string())?;
    let open = |disk: &SimDisk| {
        let opened = reader_at(Arc::new(disk.clone()), &later);
        opened.map_err(|error| format!("open to read: {error}"))
    };
    let old = open(&session.disk)?;
    let (mut posted, mut count) = (0, 0);
    for (index, action) in shape.script(seed).into_iter().enumerate() {
        let wrong = |what: String| format!("after action {index}, {action:?}: {what}");
        session.act(action).map_err(|error| wrong(error.to_string()))?;
        if !matches!(action, Action::Write { .. } | Action::Sync | Action::Rotate) {
            // All others post, but for a step of compaction that finds nothing to do.
            let may_rest = matches!(action, Action::CompactStep | Action::CompactSome(_));
            posted = if may_rest { posted } else { session.history.len() };
        }
        let all = session.history.len();
        let (calls, open_files) = (session.disk.calls(None), session.disk.open_files());
        let found = Contents::read(&open(&session.disk)?, shape.keys).map_err(wrong)?;
        session.history.check(&found, (posted, all)).map_err(wrong)?;
        if session.disk.open_files() != open_files {
            return Err(wrong("a reader left a file open".into()));
        }
        old.refresh().map_err(|error| wrong(format!("refresh: {error}")))?;
        if Contents::read(&old, shape.keys).map_err(wrong)? != found {
            return Err(wrong("a refreshed reader sees something else than a new one".into()));
        }
        if old.refresh().map_err(|error| wrong(error.to_string()))? {
            return Err(wrong("a second refresh found something".into()));
        }
        if session.disk.calls(None) != calls {
            return Err(wrong("a reader changed something".into()));
        }
        let alone = session.disk.fork();
        let found = Contents::read(&open(&alone)?, shape.keys).map_err(wrong)?;
        session.history.check(&found, (all, all)).map_err(wrong)?;
        if alone.calls(None) != 0 {
            return Err(wrong("a reader without an owner changed something".into()));
        }
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_reader_sees_a_prefix_at_every_point_and_changes_nothing() {
    let shapes = [SMALL, COMPACTING, BATCHES, EXPIRING];
    prove("readers beside a writer", 6000, |seed| {
        read_everywhere(shapes[usize::try_from(seed % 4).unwrap()], seed)
    });
}

#[test]
pub fn a_reader_reads_no_further_than_the_owner_says() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    scene.set("a", "2");
    let reader = reader(&scene.disk).unwrap();
    sees(&reader, &[("a", "1")]);
    assert!(!reader.refresh().unwrap());
    post(&scene);
    sees(&reader, &[("a", "1")]);
    assert!(reader.refresh().unwrap());
    sees(&reader, &[("a", "2")]);
    assert!(!reader.refresh().unwrap());
}

#[test]
pub fn what_failed_to_become_durable_is_not_for_others_to_read() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    let kind = Some(CallKind::Sync);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: true });
    assert!(matches!(scene.set_durably("a", "2"), Err(KvsError::Poisoned { .. })));
    assert!(scene.store.sync_step().is_err());
    sees(&reader(&scene.disk).unwrap(), &[("a", "1")]);
}

#[test]
pub fn a_record_is_dropped_only_when_others_may_read_what_killed_it() {
    let scene = Scene::new();
    scene.set("a", "1");
    let old = scene.rotate();
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    scene.set("a", "2");
    scene.compact(&[old]);
    sees(&reader, &[("a", "1")]);
    assert!(reader.refresh().unwrap());
    sees(&reader, &[("a", "2")]);
}

#[test]
fn a_reader_goes_along_with_rotation_compaction_and_clear() {
    let scene = Scene::new();
    for key in ["a", "b", "c"] {
        scene.set(key, "1");
    }
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    let other = reader.clone();
    let mut begun = reader.iter();
    let first = begun.next().unwrap().unwrap();
    let sealed = scene.rotate();
    scene.set("a", "2");
    scene.remove("b");
    post(&scene);
    assert!(reader.refresh().unwrap());
    sees(&other, &[("a", "2"), ("c", "1")]);
    let mut old = reader.iter();
    scene.compact(&[sealed]);
    assert!(scene.disk.bytes(&Scene::segment(sealed)).is_none(), "it was unlinked");
    // What was open stays readable, for those who do not refresh and for iterations.
    sees(&reader, &[("a", "2"), ("c", "1")]);
    assert!(reader.refresh().unwrap());
    sees(&reader, &[("a", "2"), ("c", "1")]);
    assert_eq!(old.by_ref().map(Result::unwrap).count(), 2);
    let rest: Vec<_> = begun.map(|pair| pair.unwrap().0).collect();
    assert!(!rest.contains(&first.0) && rest.contains(&b"c".to_vec()) || first.0 == b"c");
    scene.store.clear().unwrap();
    assert!(reader.refresh().unwrap());
    assert!(reader.is_empty() && contents(&reader).unwrap().is_empty());
    scene.set("d", "1");
    post(&scene);
    assert!(reader.refresh().unwrap());
    sees(&reader, &[("d", "1")]);
    assert_eq!((reader.stats().live_keys, reader.keys().count()), (1, 1));
    let (theirs, own) = (reader.stats(), scene.store.stats());
    assert_eq!(theirs.live_bytes, own.live_bytes);
}

/// A disk that calls back before a segment is opened.
pub struct Interrupted {
    /// The disk.
    pub disk: SimDisk,
    /// Called before a segment is opened.
    pub before_open: Mutex<Box<dyn FnMut() + Send>>,
}

impl Disk for Interrupted {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        if path.extension().is_some_and(|extension| extension == "seg") {
            (*self.before_open.lock().unwrap())();
        }
        self.disk.open(path, access)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.create_dir(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }
}

/// Opens a reader whose owner compacts everything before the reader opens a segment, so often.
fn open_interrupted(scene: &Scene, mut times: usize) -> Result<ReadOnlyStore> {
    let store: Store = scene.store.clone();
    let mut number = 0;
    let before_open = move || {
        if times > 0 {
            times -= 1;
            number += 1;
            store.set("count", number.to_string()).unwrap();
            store.compact().unwrap();
        }
    };
    let before_open = Mutex::new(Box::new(before_open) as Box<dyn FnMut() + Send>);
    let disk = Interrupted { disk: scene.disk.clone(), before_open };
    reader_at(Arc::new(disk), &Arc::default())
}

#[test]
fn a_segment_that_is_gone_sends_the_reader_back_to_the_manifest() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    scene.set("count", "0");
    scene.rotate();
    sees(&open_interrupted(&scene, 3).unwrap(), &[("a", "1"), ("count", "3")]);
    let unsettled = open_interrupted(&scene, usize::MAX);
    assert!(matches!(unsettled, Err(KvsError::Unsettled { .. })), "{unsettled:?}");
    sees(&reader(&scene.disk).unwrap(), &[("a", "1"), ("count", &scene_count(&scene))]);
}

fn scene_count(scene: &Scene) -> String {
    String::from_utf8(scene.store.get("count").unwrap().unwrap().into_vec()).unwrap()
}

#[test]
fn a_torn_tail_is_not_read_and_stays_until_an_owner_comes() {
    let scene = Scene::new();
    scene.set("a", "1");
    let segment = Scene::segment(*scene.store.segment_ids().last().unwrap());
    let beside = reader(&scene.disk).unwrap();
    scene.set("b", "1");
    let disk = scene.die();
    let mut bytes = disk.bytes(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end.next_multiple_of(8));
    bytes.extend([0xab; 40]);
    disk.set_bytes(&segment, bytes);
    let (files, calls) = (disk.files(), disk.calls(None));
    let alone = reader(&disk).unwrap();
    sees(&alone, &[("a", "1"), ("b", "1")]);
    assert_eq!(alone.stats().truncated_bytes, 40);
    assert!(!alone.refresh().unwrap());
    // The word of an owner that was killed counts for nothing.
    assert!(beside.refresh().unwrap());
    sees(&beside, &[("a", "1"), ("b", "1")]);
    assert_eq!((disk.files(), disk.calls(None)), (files, calls));
    let scene = Scene::on(disk, 2).unwrap();
    scene.set("c", "1");
    post(&scene);
    for reader in [alone, beside] {
        assert!(reader.refresh().unwrap());
        sees(&reader, &[("a", "1"), ("b", "1"), ("c", "1")]);
        assert_eq!(reader.stats().truncated_bytes, 0);
    }
}

#[test]
fn damage_is_refused_as_by_an_open() {
    let scene = Scene::new();
    scene.set("a", "1");
    let sealed = Scene::segment(scene.rotate());
    scene.set("b", "1");
    scene.store.sync().unwrap();
    post(&scene);
    let active = Scene::segment(*scene.store.segment_ids().last().unwrap());
    let reader = reader(&scene.disk).unwrap();
    for path in [sealed, active] {
        let whole = scene.disk.bytes(&path).unwrap();
        let mut bad = whole.clone();
        bad[60] ^= 1;
        for (disk, what) in [(scene.disk.clone(), "owned"), (scene.disk.fork(), "alone")] {
            disk.set_bytes(&path, bad.clone());
            let opened = self::reader(&disk);
            let is_refused =
                matches!(&opened, Err(KvsError::Corrupt { path: found, .. }) if *found == path);
            assert!(is_refused, "{what}: {opened:?}");
            disk.set_bytes(&path, whole.clone());
        }
    }
    let missing = scene.disk.fork();
    missing.remove(&Path::new(DIRECTORY).join("MANIFEST")).unwrap();
    let opened = self::reader(&missing);
    assert!(matches!(opened, Err(KvsError::ManifestMissing { .. })), "{opened:?}");
    sees(&reader, &[("a", "1"), ("b", "1")]);
}

#[test]
fn without_a_store_there_is_nothing_to_read_and_nothing_is_made() {
    let disk = SimDisk::new();
    let opened = reader(&disk);
    assert!(matches!(opened, Err(KvsError::NotAStore { .. })), "{opened:?}");
    disk.create_dir(Path::new(DIRECTORY)).unwrap();
    let calls = disk.calls(None);
    let opened = reader(&disk);
    assert!(matches!(opened, Err(KvsError::NotAStore { .. })), "{opened:?}");
    assert_eq!(disk.calls(None), calls);
}

#[test]
fn for_a_reader_time_is_never_earlier_than_the_disk_says() {
    let scene = Scene::new();
    let soon = SetOptions::new().expire_after_ms(5000);
    scene.store.set_with("a", "1", soon).unwrap();
    post(&scene);
    let clock = Arc::new(SetClock::at(START_MS));
    let open = |clock| reader_at(Arc::new(scene.disk.clone()), clock).unwrap();
    let early = open(&clock);
    sees(&early, &[("a", "1")]);
    scene.clock.pass(5100);
    // The owner may let keys expire now, and says so in the log.
    post(&scene);
    assert!(scene.store.get("a").unwrap().is_none());
    let slow = Arc::new(SetClock::at(START_MS - 1_000_000));
    sees(&open(&slow), &[]);
    assert!(early.refresh().unwrap());
    sees(&early, &[]);
    // By its own clock, a reader waits for nobody.
    scene.store.set_with("b", "1", SetOptions::new().expire_after_ms(1_000_000)).unwrap();
    post(&scene);
    assert!(early.refresh().unwrap());
    sees(&early, &[("b", "1")]);
    clock.pass(2_000_000);
    sees(&early, &[]);
    assert_eq!(early.expires_at("b").unwrap(), None);
    // Time does not go back for a reader when it reads everything anew.
    let now_ms = early.now_ms();
    clock.set_wall(START_MS);
    scene.rotate();
    post(&scene);
    assert!(early.refresh().unwrap());
    assert!(early.now_ms() >= now_ms);
}

#[test]
fn time_goes_on_for_a_reader_while_it_reads_everything_anew() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    post(&scene);
    let clock = Arc::new(SetClock::at(START_MS + 1_000_000));
    let before: Arc<Mutex<Option<ReadOnlyStore>>> = Arc::default();
    let seen_ms: Arc<Mutex<u64>> = Arc::default();
    let (handle, seen, of_hook) = (Arc::clone(&before), Arc::clone(&seen_ms), Arc::clone(&clock));
    let before_open = move || {
        of_hook.pass(1000);
        if let Some(reader) = &*handle.lock().unwrap() {
            *seen.lock().unwrap() = reader.now_ms();
        }
    };
    let before_open = Mutex::new(Box::new(before_open) as Box<dyn FnMut() + Send>);
    let disk = Interrupted { disk: scene.disk.clone(), before_open };
    let reader = reader_at(Arc::new(disk), &clock).unwrap();
    // From here on the clock of the machine is behind.
    clock.set_wall(START_MS);
    *before.lock().unwrap() = Some(reader.clone());
    scene.set("a", "2");
    scene.rotate();
    post(&scene);
    assert!(reader.refresh().unwrap());
    let seen_ms = *seen_ms.lock().unwrap();
    assert!(seen_ms > START_MS + 1_000_000 && reader.now_ms() >= seen_ms, "{seen_ms}");
}

#[test]
fn a_time_that_no_clock_comes_to_is_not_believed() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    let core = &scene.store.handle.core;
    core.append_mark(&mut lock(&core.log), u64::MAX).unwrap();
    scene.set("b", "1");
    post(&scene);
    assert!(reader.refresh().unwrap());
    sees(&reader, &[("a", "1"), ("b", "1")]);
    assert_eq!(reader.now_ms(), START_MS);
}
