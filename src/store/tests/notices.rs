//! What the owner of a store says about its log, and how long others believe it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::reader::{Interrupted, post, reader, reader_at, sees};
use super::scene::Scene;
use super::workload::DIRECTORY;
use crate::error::KvsError;
use crate::store::disk::Disk;
use crate::store::names;
use crate::store::notice::{Notice, lock_directory};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};

#[test]
fn a_directory_that_is_locked_but_not_written_to_can_be_read() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    scene.set("b", "1");
    let disk = scene.die();
    // What `verify` and an owner that is not open yet do: there is a notice, but it says nothing.
    let lock = lock_directory(&disk, Path::new(DIRECTORY)).unwrap();
    let reader = reader(&disk).unwrap();
    sees(&reader, &[("a", "1"), ("b", "1")]);
    drop(lock);
    assert!(reader.refresh().unwrap(), "whether it is locked is part of what was looked at");
    assert!(!reader.refresh().unwrap());
    sees(&reader, &[("a", "1"), ("b", "1")]);
}

/// An owner that comes and goes while a reader reads on its own, before a segment is opened.
#[test]
fn an_owner_that_comes_meanwhile_is_noticed() {
    let scene = Scene::new();
    scene.set("a", "1");
    let disk = scene.die();
    let owner: Arc<Mutex<Option<Scene>>> = Arc::default();
    let (kept, of_owner, mut is_first) = (Arc::clone(&owner), disk.clone(), true);
    let before_open = move || {
        if std::mem::take(&mut is_first) {
            let scene = Scene::on(of_owner.clone(), 2).unwrap();
            scene.set("a", "2");
            *kept.lock().unwrap() = Some(scene);
        }
    };
    let before_open = Mutex::new(Box::new(before_open) as Box<dyn FnMut() + Send>);
    let interrupted = Arc::new(Interrupted { disk, before_open });
    let reader = reader_at(interrupted, &Arc::default()).unwrap();
    // The second set is in the log, but its owner has not said that it may be read.
    sees(&reader, &[("a", "1")]);
    post(owner.lock().unwrap().as_ref().unwrap());
    assert!(reader.refresh().unwrap());
    sees(&reader, &[("a", "2")]);
}

#[test]
fn what_an_owner_said_does_not_count_for_the_next_one() {
    let lock_path = Path::new(DIRECTORY).join(names::LOCK);
    for is_killed in [true, false] {
        let scene = Scene::new();
        scene.set("a", "1");
        post(&scene);
        let beside = reader(&scene.disk).unwrap();
        scene.set("b", "1");
        let disk = if is_killed {
            scene.die()
        } else {
            scene.store.close().unwrap();
            scene.disk
        };
        let both = [("a", "1"), ("b", "1")];
        assert!(beside.refresh().unwrap());
        sees(&beside, &both);
        // The next owner has the lock, and has not said anything yet.
        let lock = disk.lock(&lock_path).unwrap().unwrap();
        assert!(beside.refresh().unwrap());
        sees(&beside, &both);
        if !is_killed {
            sees(&reader(&disk).unwrap(), &both);
        }
        drop(lock);
        let scene = Scene::on(disk, 2).unwrap();
        scene.set("c", "1");
        assert!(beside.refresh().unwrap());
        sees(&beside, &both);
        post(&scene);
        assert!(beside.refresh().unwrap());
        sees(&beside, &[("a", "1"), ("b", "1"), ("c", "1")]);
    }
}

#[test]
fn an_owner_is_believed_that_says_what_the_one_before_it_said() {
    let scene = Scene::new();
    scene.set_durably("a", "1").unwrap();
    post(&scene);
    let disk = scene.die();
    let beside = reader(&disk).unwrap();
    let path = Path::new(DIRECTORY).join(names::LOCK);
    let readable = |disk: &SimDisk| Notice::decode(&disk.bytes(&path).unwrap()).readable.unwrap();
    let said = readable(&disk);
    let scene = Scene::on(disk, 2).unwrap();
    assert_eq!(readable(&scene.disk), said);
    scene.set("a", "2");
    assert!(beside.refresh().unwrap());
    sees(&beside, &[("a", "1")]);
}

#[test]
fn who_cannot_take_the_last_word_back_does_not_own_the_directory() {
    let full =
        Fault { kind: Some(CallKind::Write), after: 0, failure: Failure::Enospc, forever: false };
    let scene = Scene::new();
    scene.set("a", "1");
    let disk = scene.die();
    disk.set_fault(full);
    let locked = lock_directory(&disk, Path::new(DIRECTORY)).map(drop);
    assert!(matches!(locked, Err(KvsError::DiskFull { .. })), "{locked:?}");
    Scene::on(disk.clone(), 2).unwrap().store.close().unwrap();
    disk.set_fault(full);
    drop(lock_directory(&disk, Path::new(DIRECTORY)).unwrap());
}

#[test]
fn a_notice_that_could_not_be_posted_is_still_to_be_posted() {
    let scene = Scene::new();
    scene.set("a", "1");
    let core = &scene.store.handle.core;
    assert!(core.board.is_behind());
    let kind = Some(CallKind::Write);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: false });
    core.bell.rung.lock().unwrap().readers = false;
    assert!(matches!(core.post_notice(), Err(KvsError::Io { .. })));
    assert!(core.board.is_behind() && core.bell.rung.lock().unwrap().readers);
    core.post_notice().unwrap();
    assert!(!core.board.is_behind());
    sees(&reader(&scene.disk).unwrap(), &[("a", "1")]);
}

#[test]
fn half_a_notice_of_an_owner_is_read_again() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    scene.set("b", "1");
    let path = Path::new(DIRECTORY).join(names::LOCK);
    let whole = scene.disk.bytes(&path).unwrap();
    let mut half = whole.clone();
    half[40] ^= 1;
    scene.disk.set_bytes(&path, half);
    let opened = reader(&scene.disk);
    assert!(matches!(opened, Err(KvsError::Unsettled { .. })), "{opened:?}");
    // Without an owner it says nothing anyway.
    sees(&reader(&scene.disk.fork()).unwrap(), &[("a", "1"), ("b", "1")]);
    scene.disk.set_bytes(&path, whole);
    sees(&reader(&scene.disk).unwrap(), &[("a", "1")]);
}
