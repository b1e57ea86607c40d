//! Backups: of one moment, while writes go on, and whole or not there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::clock::START_MS;
use super::reader::{Interrupted, reader_in};
use super::scene::{Model, Moment, Scene, contents, model};
use crate::batch::{Batch, Operation};
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options};
use crate::store::disk::Disk;
use crate::store::names::{self, Name, SegmentId};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::CrashPlan;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};
use crate::store::sim_disk::state::Rng;
use crate::store::{Store, restore, restore::restore_on};

/// The directory of a backup on the simulated disk.
pub const BACKUP: &str = "/backup";

/// What a backup holds, at its end or at an earlier seq.
pub fn restored(disk: &SimDisk, to_seq: Option<u64>) -> Result<Model> {
    restored_with_seq(disk, to_seq).map(|(_, found)| found)
}

/// The seq of a backup, or the one that was asked for, and what it holds then.
pub fn restored_with_seq(disk: &SimDisk, to_seq: Option<u64>) -> Result<(u64, Model)> {
    restored_from(Arc::new(disk.clone()), to_seq)
}

fn restored_from(disk: Arc<dyn Disk>, to_seq: Option<u64>) -> Result<(u64, Model)> {
    let mut found = Model::new();
    let mut write = |batch: &Batch| {
        for operation in batch.iter() {
            let Operation::Set { key, value, .. } = operation else { panic!("a remove") };
            let twice = found.insert(key.to_vec(), value.to_vec());
            assert!(twice.is_none(), "{key:?} came twice");
        }
        Ok(())
    };
    let report = restore_on(disk, Path::new(BACKUP), to_seq, START_MS, &mut |_| (), &mut write)?;
    Ok((report.seq, found))
}

/// What a reader sees of a backup.
fn read(disk: &SimDisk) -> Result<Model> {
    contents(&reader_in(BACKUP, Arc::new(disk.clone()), &Arc::default())?)
}

#[test]
pub fn a_backup_is_brought_up_to_date_and_shares_what_does_not_change() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    scene.set("b", "1");
    let first = scene.store.backup(BACKUP).unwrap();
    assert_eq!((first.kept, first.linked, first.copied), (0, 1, 1));
    scene.set("b", "2");
    scene.rotate();
    scene.remove("a");
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1"), ("b", "1")]));
    let second = scene.store.backup(BACKUP).unwrap();
    assert_eq!((second.kept, second.linked, second.copied), (1, 1, 1));
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("b", "2")]));
    // What the store compacts away stays in the backup.
    scene.store.compact().unwrap();
    scene.store.clear().unwrap();
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("b", "2")]));
    let third = scene.store.backup(BACKUP).unwrap();
    assert_eq!((third.kept, third.linked, third.copied), (0, 0, 1));
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[]));
    let segments = |name: &(std::path::PathBuf, Vec<u8>)| {
        name.0.starts_with(BACKUP) && name.0.extension().is_some_and(|it| it == "seg")
    };
    assert_eq!(scene.disk.files().iter().filter(|file| segments(file)).count(), 1);
    scene.expect(&[]);
}

#[test]
pub fn what_is_compacted_while_it_is_backed_up_is_copied() {
    let scene = Scene::new();
    for key in ["a", "b"] {
        scene.set(key, "1");
        scene.rotate();
    }
    scene.set("a", "2");
    let store = scene.store.clone();
    scene.at(Moment::Link, move || {
        store.set("b", "2").unwrap();
        store.compact().unwrap();
    });
    let report = scene.store.backup(BACKUP).unwrap();
    assert_eq!((report.linked, report.copied), (0, 3));
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "2"), ("b", "1")]));
    scene.expect(&[("a", "2"), ("b", "2")]);
}

#[test]
pub fn every_seq_that_is_kept_can_be_restored() {
    let scene = Scene::new();
    let mut states = Vec::new();
    let mut now = Model::new();
    let mut rng = Rng::new(7);
    for number in 0..200 {
        let key = format!("{}", rng.below(12));
        let written = if rng.one_in(4) {
            now.remove(key.as_bytes());
            scene.store.remove(&key).unwrap()
        } else {
            now.insert(key.clone().into_bytes(), format!("{number}").into_bytes());
            scene.store.set(&key, format!("{number}")).unwrap()
        };
        states.push((written.seq, now.clone()));
        if number == 100 {
            scene.store.compact().unwrap();
        }
        if rng.one_in(20) {
            scene.store.rotate().unwrap();
        }
    }
    scene.store.backup(BACKUP).unwrap();
    let floor = states[100].0;
    for (seq, state) in states {
        match restored(&scene.disk, Some(seq)) {
            Ok(found) => assert!(seq >= floor && found == state, "seq {seq}"),
            Err(KvsError::HistoryGone { seq: asked, floor: said }) => {
                assert!(asked == seq && seq < floor && said <= floor, "seq {seq}");
            }
            Err(error) => panic!("seq {seq}: {error}"),
        }
    }
}

#[test]
pub fn a_crash_in_a_backup_leaves_the_one_before_or_the_new_one() {
    for has_earlier in [false, true] {
        let scene = Scene::new();
        scene.set("a", "1");
        scene.rotate();
        if has_earlier {
            scene.set("z", "1");
            scene.remove("z");
            scene.store.backup(BACKUP).unwrap();
        }
        // In the segment that the earlier backup has the beginning of.
        scene.set("b", "1");
        scene.rotate();
        scene.set("c", "1");
        let (older, newer) = (model(&[("a", "1")]), model(&[("a", "1"), ("b", "1"), ("c", "1")]));
        scene.disk.record();
        scene.store.backup(BACKUP).unwrap();
        let trace = scene.disk.take_trace();
        let mut replay = trace.replay();
        let mut rng = Rng::new(trace.len() as u64);
        for at in 0..=trace.len() {
            replay.advance_to(at);
            for plan in CrashPlan::choose(replay.pending(), 60, &mut rng) {
                let disk = SimDisk::of(replay.crash(&plan));
                let place = || format!("call {at}, {plan:?}, pending:{}", replay.describe());
                let found = restored(&disk, None);
                if let Ok(found) = &found {
                    assert_eq!(read(&disk).unwrap(), *found, "{}", place());
                }
                match found {
                    Ok(found) if found == newer => {}
                    Ok(found) if has_earlier && at < trace.len() => {
                        assert_eq!(found, older, "{}", place());
                    }
                    Err(KvsError::NotAStore { .. }) if !has_earlier && at < trace.len() => {}
                    other => panic!("{other:?}: {}", place()),
                }
                let scene = Scene::on(disk, 5).unwrap();
                scene.store.backup(BACKUP).unwrap();
                let found = scene.contents().unwrap();
                assert_eq!(restored(&scene.disk, None).unwrap(), found, "{}", place());
                scene.die();
            }
        }
    }
}

#[test]
fn a_backup_that_fails_leaves_the_store_and_the_one_before() {
    for after in 0.. {
        let scene = Scene::new();
        scene.set("a", "1");
        scene.store.backup(BACKUP).unwrap();
        scene.rotate();
        scene.set("a", "2");
        scene.rotate();
        scene.set("b", "1");
        let before = scene.disk.calls(None);
        let failure = if after % 2 == 0 { Failure::Enospc } else { Failure::Eio };
        scene.disk.set_fault(Fault { kind: None, after: after / 2, failure, forever: true });
        let backup = scene.store.backup(BACKUP);
        let calls = scene.disk.calls(None) - before;
        scene.disk.clear_faults();
        let newer = model(&[("a", "2"), ("b", "1")]);
        if backup.is_ok() && after / 2 >= calls {
            assert_eq!(restored(&scene.disk, None).unwrap(), newer);
            break;
        }
        let found = restored(&scene.disk, None).unwrap();
        assert!(found == model(&[("a", "1")]) || found == newer, "fault {after}: {found:?}");
        scene.set("c", "1");
        scene.store.backup(BACKUP).unwrap();
        assert_eq!(restored(&scene.disk, None).unwrap(), scene.contents().unwrap());
        scene.expect(&[("a", "2"), ("b", "1"), ("c", "1")]);
    }
}

/// Flips a bit of a file where it holds these bytes.
fn spoil(disk: &SimDisk, path: &Path, at: &str) {
    let mut bytes = disk.bytes(path).unwrap();
    let place = bytes.windows(at.len()).position(|it| it == at.as_bytes()).unwrap();
    bytes[place] ^= 1;
    disk.set_bytes(path, bytes);
}

#[test]
fn a_backup_of_what_is_damaged_leaves_the_one_before() {
    type Act = fn(&Scene) -> u64;
    let acts: [Act; 2] = [
        // What is damaged is new to the backup; what it has is gone from the store.
        |scene| {
            scene.store.compact().unwrap();
            scene.store.segment_ids()[0]
        },
        // The backup has the beginning of what is damaged, in the segment in which the log grew.
        Scene::rotate,
    ];
    for act in acts {
        let scene = Scene::new();
        scene.set("a", "first");
        scene.store.backup(BACKUP).unwrap();
        scene.set("b", "second");
        spoil(&scene.disk, &Scene::segment(act(&scene)), "first");
        for _ in 0..2 {
            let backup = scene.store.backup(BACKUP);
            assert!(matches!(backup, Err(KvsError::Corrupt { .. })), "{backup:?}");
            assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "first")]));
        }
    }
}

#[test]
fn what_has_rotted_in_a_backup_is_taken_anew() {
    let scene = Scene::new();
    scene.set("a", "first");
    let sealed = scene.rotate();
    scene.set("b", "second");
    scene.store.backup(BACKUP).unwrap();
    let kept = Path::new(BACKUP).join(names::segment(SegmentId(sealed)));
    // As on another file system: a file of its own.
    let bytes = scene.disk.bytes(&kept).unwrap();
    scene.disk.remove(&kept).unwrap();
    scene.disk.set_bytes(&kept, bytes);
    let report = scene.store.backup(BACKUP).unwrap();
    assert_eq!((report.kept, report.linked, report.copied), (2, 0, 0));
    spoil(&scene.disk, &kept, "first");
    assert!(matches!(restored(&scene.disk, None), Err(KvsError::Corrupt { .. })));
    let report = scene.store.backup(BACKUP).unwrap();
    assert_eq!((report.kept, report.linked, report.copied), (1, 1, 0));
    let both = model(&[("a", "first"), ("b", "second")]);
    assert_eq!(restored(&scene.disk, None).unwrap(), both);
}

#[test]
fn who_looks_at_a_backup_for_a_moment_does_not_keep_it_from_being_made() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.store.backup(BACKUP).unwrap();
    // A reader looks whether somebody has the lock by taking it, shared.
    let path = Path::new(BACKUP).join(names::LOCK);
    let lock = scene.disk.lock(&path).unwrap();
    scene.at(Moment::Refused, move || drop(lock));
    scene.store.backup(BACKUP).unwrap();
    let _lock = scene.disk.lock(&path).unwrap();
    let backup = scene.store.backup(BACKUP);
    assert!(matches!(backup, Err(KvsError::Locked { pid: None, .. })), "{backup:?}");
}

#[test]
fn only_what_makes_sense_is_backed_up_restored_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (store, other) = (Store::open(at("data")).unwrap(), Store::open(at("other")).unwrap());
    store.set("key", "value").unwrap();
    store.backup(at("backup")).unwrap();
    let is_not_empty = |result: Result<()>| matches!(result, Err(KvsError::NotEmpty { .. }));
    assert!(is_not_empty(other.backup(at("backup")).map(drop)), "the backup of another store");
    assert!(is_not_empty(store.backup(at("other")).map(drop)), "another store");
    assert!(is_not_empty(store.backup(at("data")).map(drop)), "the store itself");
    std::fs::create_dir(at("full")).unwrap();
    std::fs::write(at("full").join("letter"), "Dear").unwrap();
    assert!(is_not_empty(store.backup(at("full")).map(drop)));
    let back = |from: &str, to: &str, seq| restore(&at(from), &at(to), seq, &mut |_| ());
    assert!(is_not_empty(back("backup", "other", None).map(drop)), "over a store");
    assert!(matches!(back("full", "new", None), Err(KvsError::NotAStore { .. })));
    assert!(!at("new").exists());
    assert!(matches!(Store::open(at("backup")), Err(KvsError::IsABackup { .. })));
    assert_eq!(Store::open_read_only(at("backup")).unwrap().len(), 1);
    assert_eq!(back("backup", "new", Some(u64::MAX)).unwrap().keys, 1);
    let restored = Store::open(at("new")).unwrap();
    assert_eq!(restored.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    // It has an identity of its own.
    assert!(is_not_empty(restored.backup(at("backup")).map(drop)));
    // A flipped bit is found, and nothing is made of it.
    let segment = at("backup").join("0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes.windows(5).position(|it| it == b"value").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(matches!(back("backup", "again", None), Err(KvsError::Corrupt { .. })));
    assert!(!at("again").exists());
}

/// Money goes from account to account. In every backup, all of it is there.
#[test]
fn a_backup_is_of_one_moment_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let options = Options::new().segment_bytes(16 << 10).durability(Durability::Os);
    let store = options.open(at("data")).unwrap();
    let done = AtomicBool::new(false);
    let transfer = |step: usize| {
        let mut batch = Batch::new();
        batch.set(format!("{}", step % 97), "-1").set(format!("and {}", step % 97), "1");
        batch.remove(format!("{}", step % 31)).remove(format!("and {}", step % 31));
        store.write(&batch).unwrap();
    };
    thread::scope(|scope| {
        scope.spawn(|| (0..).take_while(|_| !done.load(Ordering::Relaxed)).for_each(transfer));
        for round in 0..8 {
            store.backup(at("backup")).unwrap();
            if round % 3 == 1 {
                store.compact().unwrap();
            }
            let to = at(&format!("{round}"));
            restore(&at("backup"), &to, None, &mut |_| ()).unwrap();
            let restored = Store::open(to).unwrap();
            let keys = restored.keys().collect::<Result<Vec<_>>>().unwrap();
            let pairs = keys.iter().filter(|key| !key.starts_with(b"and "));
            let whole = |key: &&Vec<u8>| keys.contains(&[&b"and "[..], key].concat());
            assert_eq!(pairs.clone().filter(whole).count() * 2, keys.len(), "round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The store lost with the power what the first backup has; the second one fails.
#[test]
pub fn a_backup_that_fails_leaves_what_only_the_one_before_has() {
    // The copy of the active segment, and the manifest.
    let kinds = [CallKind::Create, CallKind::Write, CallKind::Sync];
    for (kind, after) in kinds.into_iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
        let scene = Scene::new();
        scene.set_durably("a", "1").unwrap();
        scene.set("lost", "1");
        scene.store.backup(BACKUP).unwrap();
        let scene = scene.lose_power();
        scene.set("b", "1");
        scene.rotate();
        scene.set("c", "1");
        let kind = Some(kind);
        scene.disk.set_fault(Fault { kind, after, failure: Failure::Eio, forever: false });
        assert!(scene.store.backup(BACKUP).is_err(), "{kind:?} {after}");
        assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1"), ("lost", "1")]));
        scene.store.backup(BACKUP).unwrap();
        let now = model(&[("a", "1"), ("b", "1"), ("c", "1")]);
        assert_eq!(restored(&scene.disk, None).unwrap(), now);
        let names = scene.disk.list(Path::new(BACKUP)).unwrap();
        assert!(!names.iter().any(|name| names::parse(name) == Name::New), "{names:?}");
    }
}

#[test]
fn a_directory_that_becomes_a_backup_while_its_lock_is_waited_for_is_not_opened() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.disk.create_dir(Path::new(BACKUP)).unwrap();
    let lock = scene.disk.lock(&Path::new(BACKUP).join(names::LOCK)).unwrap();
    let store = scene.store.clone();
    scene.at(Moment::Refused, move || {
        drop(lock);
        store.backup(BACKUP).unwrap();
    });
    let opened = scene.open_in(BACKUP);
    assert!(matches!(opened, Err(KvsError::IsABackup { .. })), "{opened:?}");
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1")]));
}

#[test]
fn what_is_brought_up_to_date_while_it_is_restored_is_restored_as_it_is_then() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    scene.set("b", "1");
    scene.store.backup(BACKUP).unwrap();
    let store = scene.store.clone();
    let mut is_first = true;
    let before_open = move || {
        if std::mem::take(&mut is_first) {
            store.set("c", "1").unwrap();
            store.compact().unwrap();
            store.backup(BACKUP).unwrap();
        }
    };
    let before_open = Mutex::new(Box::new(before_open) as Box<dyn FnMut() + Send>);
    let disk = Interrupted { disk: scene.disk.clone(), before_open };
    let (_, found) = restored_from(Arc::new(disk), None).unwrap();
    assert_eq!(found, model(&[("a", "1"), ("b", "1"), ("c", "1")]));
}
