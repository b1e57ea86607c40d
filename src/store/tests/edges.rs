//! What happens at the edges: two closes at once, a full disk in the wrong moment, a store that
//! nobody uses, damage that shows only after something else was decided.

use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, atomic::Ordering};
use std::time::Duration;

use super::clock::START_MS;
use super::scene::{Moment, Scene, contents, model};
use super::workload::{DIRECTORY, open};
use crate::batch::{Batch, Operation};
use crate::error::KvsError;
use crate::options::{BATCH_BYTES_MAX, Durability, Options, ReadPath};
use crate::store::Store;
use crate::store::disk::Disk;
use crate::store::group::{Commits, Look};
use crate::store::hash::KeyHash;
use crate::store::hint::HEAD_BYTES;
use crate::store::names;
use crate::store::salvage::salvage_on;
use crate::store::segment::HEADER_BYTES;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::fault::{CallKind, Failure, Fault, ReadFault};
use crate::store::sim_disk::state::Rng;
use crate::store::sync::lock;
use crate::store::verify::verify_on;

fn fault(kind: CallKind, failure: Failure) -> Fault {
    Fault { kind: Some(kind), after: 0, failure, forever: true }
}

#[test]
pub fn the_largest_batch_of_the_smallest_records_is_wholly_there() {
    let mut batch = Batch::new();
    let count = u32::try_from(BATCH_BYTES_MAX / (4 + 56)).unwrap();
    for number in 0..count {
        batch.set(number.to_be_bytes(), []);
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.write(&batch).unwrap();
    let is_there = |store: &Store, number: u32| store.contains_key(number.to_be_bytes()).unwrap();
    assert_eq!(store.len(), u64::from(count));
    assert!((0..count).step_by(997).chain([count - 1]).all(|number| is_there(&store, number)));
    store.close().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!((0..count).step_by(997).chain([count - 1]).all(|number| is_there(&store, number)));
    batch.set(count.to_be_bytes(), []).set((count + 1).to_be_bytes(), []);
    assert!(matches!(store.write(&batch), Err(KvsError::BatchTooLarge { .. })));
}

#[test]
pub fn who_closes_second_waits_for_the_first() {
    let scene = Scene::new();
    scene.set("key", "value");
    let (store, disk) = (scene.store.clone(), scene.disk.clone());
    let (done, is_done) = channel();
    scene.at(Moment::SyncDir, move || {
        std::thread::spawn(move || done.send(store.close()).unwrap());
        // The first has not ended: the second must not either, nor anyone else have the lock.
        let closed = is_done.recv_timeout(Duration::from_millis(50));
        assert!(closed.is_err(), "{closed:?}");
        assert!(disk.lock(&Path::new(DIRECTORY).join(names::LOCK)).unwrap().is_none());
    });
    let disk = scene.disk.clone();
    scene.store.close().unwrap();
    Scene::on(disk, 2).unwrap().expect(&[("key", "value")]);
}

#[test]
pub fn what_waited_for_a_compaction_does_nothing_in_a_closed_store() {
    for act in [Store::compact, Store::clear] {
        let scene = Scene::new();
        scene.set("key", "value");
        let (store, core) = (scene.store.clone(), Arc::clone(&scene.store.handle.core));
        let compaction = lock(&core.compaction);
        let (begun, has_begun) = channel();
        let waiting = std::thread::spawn(move || {
            begun.send(()).unwrap();
            act(&store)
        });
        has_begun.recv().unwrap();
        let store = scene.store.clone();
        let closing = std::thread::spawn(move || store.close());
        while !core.closed.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        drop(compaction);
        closing.join().unwrap().unwrap();
        // It may also have been done before the close began.
        let acted = waiting.join().unwrap();
        assert!(matches!(acted, Err(KvsError::Closed)), "{acted:?}");
        Scene::on(scene.disk.clone(), 2).unwrap().expect(&[("key", "value")]);
    }
}

#[test]
pub fn the_log_is_synced_where_no_segment_can_be_prepared() {
    let scene = Scene::new();
    scene.set("key", "value");
    scene.disk.set_fault(fault(CallKind::Create, Failure::Enospc));
    assert!(matches!(scene.store.sync_step(), Err(KvsError::DiskFull { .. })));
    scene.disk.clear_faults();
    scene.lose_power().expect(&[("key", "value")]);
}

#[test]
pub fn an_idle_log_comes_to_rest() {
    let scene = Scene::new();
    scene.set("key", "value");
    for _ in 0..3 {
        scene.store.sync_step().unwrap();
    }
    let used = scene.disk.calls(Some(CallKind::Write)) + scene.disk.calls(Some(CallKind::Sync));
    for _ in 0..5 {
        scene.store.sync_step().unwrap();
    }
    let after = scene.disk.calls(Some(CallKind::Write)) + scene.disk.calls(Some(CallKind::Sync));
    assert_eq!(after, used);
    scene.expect(&[("key", "value")]);
}

#[test]
pub fn a_remove_of_nothing_is_not_believed_when_what_removed_it_failed() {
    let mut group = Commits::default();
    let look = || Look { hash: KeyHash { place: 1, rest: 1 }, seen: None, generation: 0 };
    let (remove, set) = (
        Operation::Remove { key: b"k" },
        Operation::Set { key: b"j", value: b"", expires_at_ms: None },
    );
    let other = Operation::Remove { key: b"other" };
    group.join(1, [(remove, look()), (set, look())].into_iter(), None, false);
    group.join(2, [(remove, look())].into_iter(), None, false);
    group.join(3, [(other, look())].into_iter(), None, false);
    // The batch removes the key, so the second request found nothing.
    group.requests[1].operations = 0..0;
    group.thin();
    assert!(group.keep_removes(&KvsError::DiskFull { path: "segment".into() }));
    let failed = |request: usize| group.requests[request].outcome.is_some();
    assert_eq!([failed(0), failed(1), failed(2)], [true, true, false]);
}

#[test]
pub fn an_open_that_refuses_has_cut_nothing() {
    let scene = Scene::new();
    scene.set_durably("first", "value").unwrap();
    scene.set("second", "value");
    scene.set("third", "value");
    let first = scene.rotate();
    scene.set_durably("fourth", "value").unwrap();
    let disk = scene.die();
    let path = Scene::segment(first);
    let mut bytes = disk.bytes(&path).unwrap();
    let place = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[place] ^= 1;
    disk.set_bytes(&path, bytes.clone());
    let refused = Scene::on(disk.clone(), 2).map(|_| ());
    assert!(matches!(refused, Err(KvsError::Corrupt { .. })), "{refused:?}");
    assert_eq!(disk.bytes(&path), Some(bytes));
    assert!(!disk.files().iter().any(|(path, _)| path.to_string_lossy().contains("quarantine")));
}

#[test]
pub fn a_segment_was_begun_even_if_its_first_record_is_damaged() {
    let scene = Scene::new();
    scene.set_durably("key", "old").unwrap();
    scene.rotate();
    scene.set_durably("key", "new").unwrap();
    let second = scene.rotate();
    scene.set("other", "value");
    scene.set("third", "value");
    let third = *scene.store.segment_ids().last().unwrap();
    let disk = scene.die();
    for (id, offset) in [(second, 90), (third, 60)] {
        let mut bytes = disk.bytes(&Scene::segment(id)).unwrap();
        bytes[offset] ^= 1;
        disk.set_bytes(&Scene::segment(id), bytes);
    }
    let before = disk.files();
    let refused = Scene::on(disk.clone(), 2).map(|_| ());
    assert!(matches!(refused, Err(KvsError::Corrupt { .. })), "{refused:?}");
    assert!(before.iter().all(|(path, bytes)| disk.bytes(path).as_ref() == Some(bytes)
        || !path.to_string_lossy().ends_with("seg")));
    let (mut keys, disk) = (Vec::new(), Arc::new(disk));
    let keep = &mut |batch: &Batch| {
        keys.extend(batch.iter().map(|operation| operation.key().to_vec()));
        Ok(())
    };
    salvage_on(disk, Path::new(DIRECTORY), START_MS, true, &mut |_| (), keep).unwrap();
    assert!(!keys.contains(&b"key".to_vec()), "its newest value is damaged");
}

#[test]
pub fn with_always_what_can_be_read_after_a_kill_is_durable() {
    let scene = Scene::new();
    scene.set("key", "value");
    let disk = scene.die();
    let options =
        Options::new().ballast_bytes(0).read_path(ReadPath::Pread).durability(Durability::Always);
    let store = open(&disk, &options, 2).unwrap();
    assert_eq!(contents(&store).unwrap(), model(&[("key", "value")]));
    store.abandon();
    let disk = disk.crash(&CrashPlan::new(Keep::Nothing, 3));
    Scene::on(disk, 4).unwrap().expect(&[("key", "value")]);
}

#[test]
pub fn a_tail_that_is_gone_is_not_called_durable() {
    let scene = Scene::new();
    scene.set("key", "value");
    let scene = scene.restart();
    let active = Scene::segment(*scene.store.segment_ids().last().unwrap());
    let mut bytes = scene.disk.bytes(&active).unwrap();
    bytes.truncate(60);
    scene.disk.set_bytes(&active, bytes);
    assert!(matches!(scene.store.sync(), Err(KvsError::Poisoned { .. })));
}

#[test]
pub fn a_segment_that_cannot_be_read_holds_up_no_other() {
    let scene = Scene::new();
    let value = "v".repeat(4000);
    for number in 0..600 {
        scene.set(&format!("bad {number}"), &value);
    }
    let bad = scene.rotate();
    for round in 0..4 {
        for number in 0..200 {
            scene.set(&format!("good {number}"), &format!("{round}{value}"));
        }
        scene.rotate();
    }
    for number in 0..300 {
        scene.remove(&format!("bad {number}"));
    }
    scene.rotate();
    scene.disk.set_read_fault(&Scene::segment(bad), 4096, ReadFault::Error(512));
    let before = scene.store.stats().disk_bytes;
    let steps = (0..40).take_while(|_| scene.store.compact_step().unwrap()).count();
    let error = scene.store.stats().last_background_error;
    assert!(matches!(error, Some(KvsError::Io { .. })), "{error:?} after {steps} steps");
    assert!(!scene.store.compact_step().unwrap(), "it comes to an end");
    let after = scene.store.stats().disk_bytes;
    assert!(after + 2_000_000 < before, "{before} bytes, then {after}");
}

#[test]
pub fn a_full_disk_without_ballast_and_hints_can_still_be_read() {
    let scene = Scene::new();
    scene.set_durably("key", "value").unwrap();
    scene.rotate();
    scene.set_durably("other", "value").unwrap();
    let disk = scene.die();
    disk.set_fault(fault(CallKind::Create, Failure::Enospc));
    let scene = Scene::on(disk, 2).unwrap();
    assert_eq!(scene.contents().unwrap(), model(&[("key", "value"), ("other", "value")]));
    let refused = scene.store.set("third", "value");
    assert!(matches!(refused, Err(KvsError::DiskFull { .. })), "{refused:?}");
    scene.disk.clear_faults();
    scene.set("third", "value");
    scene.expect(&[("key", "value"), ("other", "value"), ("third", "value")]);
}

#[test]
pub fn a_sync_on_a_full_disk_takes_nothing_from_removes() {
    let scene = Scene::new();
    scene.set_durably("key", "value").unwrap();
    scene.rotate();
    scene.write_hints();
    let disk = scene.die();
    disk.set_fault(fault(CallKind::Create, Failure::Enospc));
    let hints = |disk: &SimDisk| {
        let files = disk.files();
        files.iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "hint")).count()
    };
    let scene = Scene::on(disk.clone(), 2).unwrap();
    let before = hints(&disk);
    scene.store.sync().unwrap();
    assert_eq!(hints(&disk), before);
}

#[test]
pub fn random_bytes_in_a_damaged_range_are_passed_quickly() {
    let scene = Scene::new();
    let mut rng = Rng::new(7);
    let value: Vec<u8> = (0..1 << 20).flat_map(|_| rng.next().to_le_bytes()).collect();
    scene.store.set("large", &value).unwrap();
    scene.set("small", "value");
    scene.store.sync().unwrap();
    let active = Scene::segment(1);
    let disk = scene.die();
    let mut bytes = disk.bytes(&active).unwrap();
    bytes[100] ^= 1;
    disk.set_bytes(&active, bytes);
    // Checksums over every length that the bytes state would take minutes.
    let report = verify_on(Arc::new(disk), Path::new(DIRECTORY), &mut |_| ()).unwrap();
    assert_eq!((report.records, report.damage.len()), (1, 1), "{report:?}");
}

#[test]
pub fn a_hint_that_a_crash_left_unfinished_is_no_damage() {
    let scene = Scene::new();
    scene.set("key", "value");
    let hint = Scene::hint(scene.rotate());
    // A hint counts only for a segment that the manifest calls sealed.
    let scene = scene.reopen();
    scene.write_hints();
    let disk = scene.die();
    let whole = disk.bytes(&hint).unwrap();
    let damaged_places = |bytes: &[u8]| {
        disk.set_bytes(&hint, bytes.to_vec());
        let report = verify_on(Arc::new(disk.fork()), Path::new(DIRECTORY), &mut |_| ());
        report.unwrap().damage.len()
    };
    assert_eq!(damaged_places(&whole), 0);
    // The head is written last.
    let unfinished = [&[0; HEAD_BYTES], &whole[HEAD_BYTES..]].concat();
    for len in [0, HEAD_BYTES, HEAD_BYTES + 1, whole.len()] {
        assert_eq!(damaged_places(&unfinished[..len]), 0, "{len} bytes without a head");
    }
    for len in [1, HEAD_BYTES, whole.len() - 1] {
        assert_eq!(damaged_places(&whole[..len]), 1, "{len} bytes");
    }
}

#[test]
fn what_a_mark_proves_is_not_recovered_again() {
    let scene = Scene::new();
    scene.set_durably("a", &"1".repeat(1000)).unwrap();
    scene.set("b", "2");
    let recovered_bytes = scene.restart().store.stats().recovered_bytes;
    assert!((1..1000).contains(&recovered_bytes), "{recovered_bytes}");
}

#[test]
fn a_lost_header_passes_for_no_crash() {
    let scene = Scene::new();
    ["a", "b"].iter().for_each(|key| scene.set(key, "old"));
    scene.rotate();
    scene.set("a", "new");
    let second = scene.rotate();
    scene.set("b", "new");
    let third = *scene.store.segment_ids().last().unwrap();
    scene.store.sync().unwrap();
    let whole = scene.die();
    // Of the second its records alone.
    for lost in [&[(third, 0)][..], &[(second, HEADER_BYTES), (third, 0)]] {
        let disk = whole.fork();
        for (id, from) in lost {
            let mut bytes = disk.bytes(&Scene::segment(*id)).unwrap();
            let len = bytes.len().min(512);
            bytes[*from..len].fill(0);
            disk.set_bytes(&Scene::segment(*id), bytes);
        }
        let directory = Path::new(DIRECTORY);
        let mut saved = 0;
        let keep = &mut |batch: &Batch| {
            saved += batch.len();
            Ok(())
        };
        let report = salvage_on(Arc::new(disk), directory, START_MS, true, &mut |_| (), keep);
        let report = report.unwrap();
        assert_eq!((saved, report.stale_keys.len()), (0, 2), "{:?}", report.damage);
        assert!(report.lost_bytes > 0);
    }
}

#[test]
pub fn a_ballast_that_is_given_up_while_it_is_made_is_known_to_be_gone() {
    let scene = Scene::with(|options| options.ballast_bytes(32 << 10));
    let core = scene.store.core();
    assert!(core.release_ballast() && core.is_ballast_missing());
    let (store, (done, is_done)) = (scene.store.clone(), channel());
    let is_done = Arc::new(Mutex::new(is_done));
    let meanwhile = Arc::clone(&is_done);
    scene.at(Moment::Ballast, move || {
        std::thread::spawn(move || done.send(store.core().release_ballast()).unwrap());
        let early = lock(&meanwhile).recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "{early:?}");
    });
    core.restore_ballast().unwrap();
    assert!(lock(&is_done).recv().unwrap());
    let is_there = scene.disk.bytes(&Path::new(DIRECTORY).join(names::BALLAST)).is_some();
    assert_eq!((is_there, core.is_ballast_missing()), (false, true));
}

#[test]
pub fn a_segment_is_filled_before_the_log_goes_on_in_another() {
    let scene = Scene::new();
    let before = scene.store.segment_ids();
    (0..9).for_each(|_| drop(scene.store.set("key", vec![0; 100 << 10])));
    assert_eq!(scene.store.segment_ids(), before);
    (0..2).for_each(|_| drop(scene.store.set("key", vec![0; 100 << 10])));
    assert_ne!(scene.store.segment_ids(), before);
}

#[test]
pub fn a_sync_in_the_background_is_asked_for_every_so_many_bytes() {
    let scene = Scene::with(|options| options.segment_bytes(8 << 20));
    let asked = |bytes| {
        let rung = &scene.store.core().bell.rung;
        lock(rung).sync = false;
        scene.store.set("key", vec![0; bytes]).unwrap();
        lock(rung).sync
    };
    assert_eq!([10, 1 << 20, 10, 1 << 20].map(asked), [false, true, false, true]);
}
