//! Backups by readers, beside the owner of a store or without one: of what was posted, whole or not
//! there, and nothing changes in the store's directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::backups::{BACKUP, restored};
use super::reader::{Interrupted, post, reader, reader_at, reader_in};
use super::scene::{Moment, Scene, contents, model};
use super::workload::DIRECTORY;
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options, SetOptions};
use crate::store::names::{self, SegmentId};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};
use crate::store::sim_disk::state::Rng;
use crate::store::{BackupReport, Store, Value, restore};

/// Segments that were kept, linked and copied.
fn taken(report: &BackupReport) -> (u64, u64, u64) {
    (report.kept, report.linked, report.copied)
}

/// The files of the store, with their bytes.
fn files(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = disk.files();
    files.retain(|(path, _)| path.starts_with(DIRECTORY));
    files
}

/// A disk that calls back before the segment `number` from now on is opened.
fn interrupted(
    disk: &SimDisk,
    mut number: usize,
    call: impl FnOnce() + Send + 'static,
) -> Arc<Interrupted> {
    let mut call = Some(call);
    let before_open = move || {
        if number == 0
            && let Some(call) = call.take()
        {
            call();
        }
        number = number.saturating_sub(1);
    };
    let before_open = Mutex::new(Box::new(before_open) as Box<dyn FnMut() + Send>);
    Arc::new(Interrupted { disk: disk.clone(), before_open })
}

#[test]
fn beside_the_owner_a_backup_is_of_what_it_has_posted() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    let mut batch = Batch::new();
    batch.set("b", "1").set("c", "1");
    let seq = scene.store.write(&batch).unwrap().seq;
    post(&scene);
    scene.set("a", "not posted");
    let reader = reader(&scene.disk).unwrap();
    let before = files(&scene.disk);
    let first = reader.backup(BACKUP).unwrap();
    assert_eq!((first.seq, taken(&first)), (seq, (0, 1, 1)));
    assert!(files(&scene.disk) == before, "nothing changes in the store's directory");
    let then = model(&[("a", "1"), ("b", "1"), ("c", "1")]);
    assert_eq!(restored(&scene.disk, None).unwrap(), then);
    assert_eq!(restored(&scene.disk, Some(seq - 1)).unwrap(), model(&[("a", "1")]));
    let backup = reader_in(BACKUP, Arc::new(scene.disk.clone()), &Arc::default()).unwrap();
    assert_eq!(contents(&backup).unwrap(), then);
    // The same once more costs nothing, and what has come since comes with a refresh alone.
    post(&scene);
    let again = reader.backup(BACKUP).unwrap();
    assert_eq!((again.seq, taken(&again)), (seq, (2, 0, 0)));
    assert!(reader.refresh().unwrap());
    let second = reader.backup(BACKUP).unwrap();
    assert_eq!((second.seq, taken(&second)), (seq + 1, (1, 0, 1)));
    assert_eq!(restored(&scene.disk, None).unwrap(), scene.contents().unwrap());
    // The owner brings it up to date too, and a reader what the owner has made.
    scene.set("d", "1");
    assert_eq!(taken(&scene.store.backup(BACKUP).unwrap()), (1, 0, 1));
    post(&scene);
    assert!(reader.refresh().unwrap());
    assert_eq!(taken(&reader.backup(BACKUP).unwrap()), (1, 0, 1), "there is a mark more");
    assert_eq!(restored(&scene.disk, None).unwrap(), scene.contents().unwrap());
    scene.expect(&[("a", "not posted"), ("b", "1"), ("c", "1"), ("d", "1")]);
}

#[test]
fn without_an_owner_a_backup_is_of_all_that_is_valid() {
    let scene = Scene::new();
    scene.set("a", "1");
    let active = Scene::segment(*scene.store.segment_ids().last().unwrap());
    let disk = scene.die();
    let mut bytes = disk.bytes(&active).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end.next_multiple_of(8));
    bytes.extend([0xab; 40]);
    disk.set_bytes(&active, bytes);
    let before = files(&disk);
    reader(&disk).unwrap().backup(BACKUP).unwrap();
    assert!(files(&disk) == before);
    let disk = disk.crash(&CrashPlan::new(Keep::Nothing, 1));
    assert_eq!(restored(&disk, None).unwrap(), model(&[("a", "1")]), "without the torn tail");
}

#[test]
fn compaction_takes_nothing_from_under_a_backup() {
    let mut was_called = true;
    for number in 0.. {
        let scene = Scene::new();
        for key in ["a", "b", "c"] {
            scene.set(key, "1");
            scene.rotate();
        }
        scene.remove("c");
        post(&scene);
        let store = scene.store.clone();
        let called = Arc::new(AtomicBool::new(false));
        let calls = Arc::clone(&called);
        let disk = interrupted(&scene.disk, number, move || {
            calls.store(true, Ordering::Relaxed);
            store.set("a", "2").unwrap();
            store.remove("b").unwrap();
            store.compact().unwrap();
        });
        let reader = reader_at(disk, &Arc::default()).unwrap();
        let shown = contents(&reader).unwrap();
        let report = reader.backup(BACKUP).unwrap();
        let found = restored(&scene.disk, None).unwrap();
        assert_eq!(found, shown, "before the open {number}");
        assert_eq!(restored(&scene.disk, Some(report.seq)).unwrap(), shown);
        // Where it came while the reader was opened, that went back to the manifest.
        assert!(shown == model(&[("a", "1"), ("b", "1")]) || shown == model(&[("a", "2")]));
        was_called = called.load(Ordering::Relaxed);
        if !was_called {
            assert_eq!(taken(&report), (0, 3, 1));
            break;
        }
        scene.expect(&[("a", "2")]);
    }
    assert!(!was_called);
}

#[test]
fn what_went_before_it_was_linked_is_copied() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    scene.set("a", "2");
    scene.store.compact().unwrap();
    assert_eq!(taken(&reader.backup(BACKUP).unwrap()), (0, 0, 2));
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1")]));
}

/// What a compaction says of the history that it has dropped is true of what others may read.
#[test]
pub fn a_backup_has_every_write_up_to_its_seq() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.set("a", "2");
    let sealed = scene.rotate();
    let last = scene.store.set("b", "1").unwrap().seq;
    let store = scene.store.clone();
    scene.at(Moment::Posted, move || store.set("late", "1").map(drop).unwrap());
    scene.compact(&[sealed]);
    let report = reader(&scene.disk).unwrap().backup(BACKUP).unwrap();
    assert_eq!(report.seq, last);
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "2"), ("b", "1")]));
}

#[test]
fn a_backup_is_durable_where_the_store_is_not() {
    let scene = Scene::new();
    scene.set_durably("a", "1").unwrap();
    scene.set("b", "1");
    scene.store.core().post_notice().unwrap();
    reader(&scene.disk).unwrap().backup(BACKUP).unwrap();
    let scene = scene.lose_power();
    assert_eq!(scene.contents().unwrap(), model(&[("a", "1")]));
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1"), ("b", "1")]));
    // The next one is of what there is.
    scene.set("c", "1");
    post(&scene);
    reader(&scene.disk).unwrap().backup(BACKUP).unwrap();
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1"), ("c", "1")]));
}

#[test]
pub fn what_the_store_has_lost_is_not_taken_for_what_it_wrote_instead() {
    let (mut lens, later) = (Vec::new(), "v".repeat(64));
    for len in 0..100 {
        let scene = Scene::new();
        scene.set_durably("a", "1").unwrap();
        scene.store.set("lost", vec![b'v'; len]).unwrap();
        scene.store.core().post_notice().unwrap();
        reader(&scene.disk).unwrap().backup(BACKUP).unwrap();
        let scene = scene.lose_power();
        scene.set("b", &later);
        let name = names::segment(SegmentId(scene.rotate()));
        let len_in = |directory| {
            scene.disk.bytes(&Path::new(directory).join(&name)).map(|bytes| bytes.len()).unwrap()
        };
        lens.push((len_in(DIRECTORY), len_in(BACKUP)));
        scene.store.backup(BACKUP).unwrap();
        let found = restored(&scene.disk, None).unwrap();
        assert_eq!(found, model(&[("a", "1"), ("b", &later)]), "{len}");
    }
    let is_same = |(now, then): &(usize, usize)| now == then;
    assert!(lens.iter().any(is_same), "no file is as long as the one that it replaces: {lens:?}");
}

#[test]
pub fn what_was_sealed_but_may_not_be_durable_gets_no_second_name() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    scene.set("b", "1");
    // The seal is written, and its sync fails.
    let kind = Some(CallKind::Sync);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: true });
    assert!(scene.store.rotate().is_err());
    scene.disk.clear_faults();
    let disk = scene.die();
    let report = reader(&disk).unwrap().backup(BACKUP).unwrap();
    assert_eq!(report.linked, 0);
    let disk = disk.crash(&CrashPlan::new(Keep::Nothing, 1));
    assert_eq!(restored(&disk, None).unwrap(), model(&[("a", "1"), ("b", "1")]));
}

#[test]
fn beside_an_owner_that_takes_no_more_writes_a_backup_is_of_what_was_published() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    let kind = Some(CallKind::Sync);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: true });
    assert!(matches!(scene.set_durably("a", "2"), Err(KvsError::Poisoned { .. })));
    scene.disk.clear_faults();
    reader(&scene.disk).unwrap().backup(BACKUP).unwrap();
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1")]));
}

#[test]
fn after_a_clear_a_backup_is_of_its_seq() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.store.clear().unwrap();
    let seq = scene.store.snapshot().unwrap().seq();
    assert_eq!(reader(&scene.disk).unwrap().backup(BACKUP).unwrap().seq, seq);
    assert_eq!(restored(&scene.disk, Some(seq)).unwrap(), model(&[]));
}

#[test]
fn what_a_reader_saw_expire_stays_so_in_its_backup() {
    let scene = Scene::new();
    scene.store.set_with("a", "1", SetOptions::new().expire_after_ms(5000)).unwrap();
    scene.set("b", "1");
    post(&scene);
    let clock = Arc::clone(&scene.clock);
    let reader = reader_at(Arc::new(scene.disk.clone()), &clock).unwrap();
    clock.pass(6000);
    assert_eq!(contents(&reader).unwrap(), model(&[("b", "1")]));
    reader.backup(BACKUP).unwrap();
    // By a clock that is behind.
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("b", "1")]));
}

#[test]
pub fn a_crash_in_a_backup_of_an_earlier_state_leaves_one_or_the_other() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    let early = reader(&scene.disk).unwrap();
    scene.set("b", "1");
    scene.rotate();
    scene.set("c", "1");
    scene.store.backup(BACKUP).unwrap();
    let (older, newer) = (model(&[("a", "1")]), model(&[("a", "1"), ("b", "1"), ("c", "1")]));
    scene.disk.record();
    early.backup(BACKUP).unwrap();
    let trace = scene.disk.take_trace();
    let mut replay = trace.replay();
    let mut rng = Rng::new(trace.len() as u64);
    for at in 0..=trace.len() {
        replay.advance_to(at);
        for plan in CrashPlan::choose(replay.pending(), 60, &mut rng) {
            let disk = SimDisk::of(replay.crash(&plan));
            let found = restored(&disk, None).unwrap_or_else(|error| panic!("call {at}: {error}"));
            assert!(found == older || found == newer && at < trace.len(), "call {at}: {found:?}");
            let backup = reader_in(BACKUP, Arc::new(disk), &Arc::default()).unwrap();
            assert_eq!(contents(&backup).unwrap(), found, "call {at}");
        }
    }
}

#[test]
fn a_backup_can_be_backed_up() {
    let scene = Scene::new();
    scene.set("a", "1");
    scene.rotate();
    scene.set("b", "1");
    scene.store.backup("/first").unwrap();
    let first = reader_in("/first", Arc::new(scene.disk.clone()), &Arc::default()).unwrap();
    assert_eq!(taken(&first.backup(BACKUP).unwrap()), (0, 1, 1));
    assert_eq!(restored(&scene.disk, None).unwrap(), model(&[("a", "1"), ("b", "1")]));
}

/// Of every pair of keys, both are there or none is, and no write is there without those before.
#[test]
fn a_backup_by_a_reader_is_a_prefix_while_writes_and_compaction_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let options = Options::new().segment_bytes(16 << 10).durability(Durability::Os);
    let store = options.open(at("data")).unwrap();
    let write = |step: u64| {
        let mut batch = Batch::new();
        let step = step.to_string();
        batch.set("one", &step).set("other", &step).set(format!("{}", step.len()), vec![0; 300]);
        store.write(&batch).unwrap();
    };
    thread::scope(|scope| {
        let backups = scope.spawn(|| {
            let mut last = 0;
            for round in 0..8 {
                // A writer that rotates and compacts may be faster for a while, which is told.
                let reader = (0..1000)
                    .map(|_| Store::open_read_only(at("data")))
                    .find(|opened| !matches!(opened, Err(KvsError::Unsettled { .. })))
                    .unwrap()
                    .unwrap();
                let seq = reader.backup(at("backup")).unwrap().seq;
                if round % 3 == 1 {
                    store.compact().unwrap();
                }
                let to = at(&format!("{round}"));
                restore(&at("backup"), &to, None, &mut |_| ()).unwrap();
                let restored = Store::open(to).unwrap();
                let values =
                    ["one", "other"].map(|key| restored.get(key).unwrap().map(Value::into_vec));
                assert_eq!(values[0], values[1], "round {round}");
                let step = String::from_utf8(values[0].clone().unwrap_or_default()).unwrap();
                // The write of a step has that seq.
                assert_eq!(step.parse().unwrap_or(0), seq, "round {round}");
                assert!(seq >= last);
                last = seq;
            }
        });
        (1..).take_while(|_| !backups.is_finished()).for_each(write);
    });
}

#[test]
fn a_backup_by_a_reader_that_fails_leaves_the_one_before() -> Result<()> {
    for after in 0.. {
        let scene = Scene::new();
        scene.set("a", "1");
        scene.store.backup(BACKUP)?;
        scene.rotate();
        scene.set("b", "1");
        post(&scene);
        let reader = reader(&scene.disk)?;
        let before = scene.disk.calls(None);
        let failure = if after % 2 == 0 { Failure::Enospc } else { Failure::Eio };
        scene.disk.set_fault(Fault { kind: None, after: after / 2, failure, forever: true });
        let backup = reader.backup(BACKUP);
        let calls = scene.disk.calls(None) - before;
        scene.disk.clear_faults();
        let found = restored(&scene.disk, None)?;
        let newer = model(&[("a", "1"), ("b", "1")]);
        if backup.is_ok() && after / 2 >= calls {
            assert_eq!(found, newer);
            break;
        }
        assert!(found == model(&[("a", "1")]) || found == newer, "fault {after}: {found:?}");
        reader.backup(BACKUP)?;
        assert_eq!(restored(&scene.disk, None)?, newer);
    }
    Ok(())
}
