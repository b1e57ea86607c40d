//! The ways in which the first Bitcask brought removed keys back, lost keys or leaked, each as the
//! sequence that showed it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::{Moment, Scene, model};
use crate::error::KvsError;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};

#[test]
pub fn a_tombstone_outlives_the_older_set_in_another_segment() {
    let scene = Scene::new();
    scene.set("key", "old");
    scene.set("other", "value");
    scene.rotate();
    scene.remove("key");
    let newer = scene.rotate();
    scene.compact(&[newer]);
    scene.reopen().expect(&[("other", "value")]);
}

#[test]
pub fn a_tombstone_goes_only_when_no_older_set_is_left() {
    let scene = Scene::new();
    scene.set("key", "old");
    let first = scene.rotate();
    scene.set("key", "new");
    let second = scene.rotate();
    scene.remove("key");
    let third = scene.rotate();
    scene.compact(&[second, third]);
    let scene = scene.restart();
    assert_eq!(scene.contents().unwrap(), model(&[]), "the first set is still on the disk");
    let ids = scene.store.segment_ids();
    assert!(ids.contains(&first));
    scene.compact(&ids[..ids.len() - 1]);
    scene.expect(&[]);
}

#[test]
pub fn a_remove_in_a_lower_file_than_a_copy_of_the_set_counts() {
    let scene = Scene::new();
    scene.set("key", "old");
    let first = scene.rotate();
    scene.compact(&[first]);
    let copy = scene.store.segment_ids()[0];
    assert!(copy > *scene.store.segment_ids().last().unwrap(), "the copy has a higher id");
    scene.remove("key");
    scene.expect(&[]);
}

#[test]
pub fn a_set_in_a_lower_file_than_a_copy_of_an_older_one_counts() {
    let scene = Scene::new();
    scene.set("key", "old");
    let first = scene.rotate();
    scene.compact(&[first]);
    scene.set("key", "new");
    scene.expect(&[("key", "new")]);
}

#[test]
pub fn a_copy_is_as_old_as_its_original() {
    let scene = Scene::new();
    scene.set("key", "old");
    let first = scene.rotate();
    scene.compact(&[first]);
    scene.set("key", "new");
    scene.rotate();
    scene.restart().expect(&[("key", "new")]);
}

#[test]
pub fn of_two_sets_in_one_segment_the_later_is_moved() {
    let scene = Scene::new();
    scene.set("key", "aaaa");
    scene.set("key", "bbbb");
    let first = scene.rotate();
    scene.compact(&[first]);
    scene.expect(&[("key", "bbbb")]);
}

fn written_meanwhile(write: fn(&crate::store::Store), expected: &[(&str, &str)]) {
    let scene = Scene::new();
    scene.set("key", "old");
    scene.set("other", "value");
    let first = scene.rotate();
    let (store, done) = (scene.store.clone(), Arc::new(AtomicBool::new(false)));
    let written = Arc::clone(&done);
    // The copies are made; the index is not changed yet.
    scene.at(Moment::SyncDir, move || {
        write(&store);
        written.store(true, Ordering::SeqCst);
    });
    scene.compact(&[first]);
    assert!(done.load(Ordering::SeqCst));
    scene.expect(expected);
}

#[test]
pub fn a_set_during_a_compaction_is_not_undone_by_it() {
    written_meanwhile(
        |store| {
            store.set("key", "new").unwrap();
        },
        &[("key", "new"), ("other", "value")],
    );
}

#[test]
pub fn a_remove_during_a_compaction_is_not_undone_by_it() {
    written_meanwhile(
        |store| {
            store.remove("key").unwrap();
        },
        &[("other", "value")],
    );
}

#[test]
pub fn a_key_removed_and_set_during_a_compaction_has_its_new_value() {
    written_meanwhile(
        |store| {
            store.remove("key").unwrap();
            store.set("key", "old").unwrap();
            store.set("other", "new").unwrap();
        },
        &[("key", "old"), ("other", "new")],
    );
}

#[test]
pub fn a_failed_compaction_keeps_its_inputs() {
    let prepared = || {
        let scene = Scene::new();
        for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
            scene.set(key, value);
        }
        scene.rotate();
        scene.remove("a");
        scene.set("b", "4");
        scene.rotate();
        scene
    };
    let expected = [("b", "4"), ("c", "3")];
    let scene = prepared();
    let before = scene.disk.calls(None);
    let ids = scene.store.segment_ids();
    scene.compact(&ids[..2]);
    let calls = scene.disk.calls(None) - before;
    assert!(calls > 8, "{calls}");
    for after in 0..calls {
        for (failure, forever) in [(Failure::Eio, false), (Failure::Enospc, true)] {
            let scene = prepared();
            scene.disk.set_fault(Fault { kind: None, after, failure, forever });
            let compacted = scene.store.compact_segments(&ids[..2]);
            scene.disk.clear_faults();
            assert_eq!(scene.contents().unwrap(), model(&expected), "{after}: {compacted:?}");
            scene.restart().expect(&expected);
        }
    }
}

#[test]
pub fn the_id_of_a_segment_is_never_given_again() {
    let mut scene = Scene::new();
    let mut highest = 0;
    let mut given = BTreeSet::new();
    for round in 0..60_u32 {
        let before: BTreeSet<u64> = scene.store.segment_ids().into_iter().collect();
        scene.set("key", &round.to_string());
        scene.rotate();
        match round % 4 {
            0 => scene.store.compact().unwrap(),
            1 => scene.store.clear().unwrap(),
            _ => {}
        }
        for id in scene.store.segment_ids() {
            if !before.contains(&id) {
                assert!(given.insert(id), "{id} was given before");
                highest = highest.max(id);
            }
        }
        scene = match round % 5 {
            0 => scene.reopen(),
            1 => scene.restart(),
            2 => scene.lose_power(),
            _ => scene,
        };
        let active = *scene.store.segment_ids().last().unwrap();
        assert!(given.contains(&active) || active > highest, "{active} after {highest}");
        given.insert(active);
        highest = highest.max(active);
    }
}

#[test]
pub fn a_hint_with_a_flipped_bit_loses_no_key() {
    let scene = Scene::new();
    for key in ["a", "b", "c", "d"] {
        scene.set(key, "value");
    }
    scene.remove("b");
    let id = scene.rotate();
    // A hint counts only for a segment that the manifest calls sealed.
    let scene = scene.reopen();
    scene.write_hints();
    let expected = scene.contents().unwrap();
    let disk = scene.die();
    let bytes = disk.bytes(&Scene::hint(id)).unwrap();
    for bit in 0..bytes.len() * 8 {
        let damaged = disk.fork();
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        damaged.set_bytes(&Scene::hint(id), bytes);
        let scene = Scene::on(damaged, 9).unwrap();
        assert_eq!(scene.contents().unwrap(), expected, "bit {bit}");
        scene.die();
    }
}

#[test]
pub fn no_key_is_loaded_from_a_record_whose_checksum_fails() {
    let scene = Scene::new();
    scene.set("key", "old");
    scene.rotate();
    scene.set("key", "new");
    scene.set("other", "value");
    let id = scene.rotate();
    // Now the manifest says how long the segment is; before, this would look like a torn tail.
    let scene = scene.reopen();
    let bare = scene.disk.fork();
    scene.write_hints();
    let hinted = scene.die();
    let bytes = bare.bytes(&Scene::segment(id)).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        for disk in [bare.fork(), hinted.fork()] {
            disk.set_bytes(&Scene::segment(id), bytes.clone());
            let Ok(scene) = Scene::on(disk, 9) else { continue };
            for (key, value) in [("key", "new"), ("other", "value")] {
                match scene.store.get(key) {
                    Err(error) => assert!(matches!(error, KvsError::Corrupt { .. }), "{error}"),
                    Ok(found) => assert_eq!(found.as_deref(), Some(value.as_bytes()), "bit {bit}"),
                }
            }
            scene.die();
        }
    }
}

/// A scan reads a segment in pieces of 1 MiB; one of them ends in, before or behind each part of
/// a record.
#[test]
pub fn a_scan_finds_every_record_wherever_its_buffer_ends() {
    const BUFFER: usize = 1 << 20;
    for size in (BUFFER - 208..=BUFFER + 8).step_by(8) {
        let scene = Scene::new();
        let long = "x".repeat(size - 96);
        scene.set("long", &long);
        for key in ["a", "b", "c"] {
            scene.set(key, "value");
        }
        scene.rotate();
        let expected = scene.contents().unwrap();
        assert_eq!(expected.len(), 4);
        let scene = scene.restart();
        assert_eq!(scene.contents().unwrap(), expected, "{size}");
        let ids = scene.store.segment_ids();
        scene.compact(&ids[..1]);
        assert_eq!(scene.restart().contents().unwrap(), expected, "{size}, compacted");
    }
}

#[test]
pub fn a_short_read_is_not_the_end_of_a_file() {
    let scene = Scene::new();
    let long = "x".repeat(5000);
    scene.set("long", &long);
    scene.set("key", "old");
    scene.rotate();
    scene.set("key", "new");
    scene.rotate();
    scene.set("last", "value");
    let expected = scene.contents().unwrap();
    let disk = scene.die();
    let kind = Some(CallKind::Read);
    disk.set_fault(Fault { kind, after: 0, failure: Failure::Short, forever: true });
    let scene = Scene::on(disk.clone(), 9).unwrap();
    assert_eq!(scene.contents().unwrap(), expected);
    scene.store.compact().unwrap();
    assert_eq!(scene.contents().unwrap(), expected);
    disk.clear_faults();
    assert_eq!(scene.restart().contents().unwrap(), expected);
}

#[test]
pub fn no_file_is_left_open() {
    let mut scene = Scene::new();
    for round in 0..200_u32 {
        scene.set("key", &round.to_string());
        scene.rotate();
        scene.set("other", &round.to_string());
        match round % 3 {
            0 => scene.store.compact().unwrap(),
            1 => drop(scene.store.compact_step().unwrap()),
            _ => {}
        }
        let disk = scene.disk.clone();
        if round % 2 == 0 {
            scene.store.close().unwrap();
        } else {
            scene.store.abandon();
        }
        assert_eq!(disk.open_files(), 0, "round {round}");
        // Nor is one if the store cannot be opened.
        let kind = Some(CallKind::Read);
        let after = u64::from(round % 9);
        disk.set_fault(Fault { kind, after, failure: Failure::Eio, forever: true });
        let opened = Scene::on(disk.clone(), 5);
        disk.clear_faults();
        if let Ok(scene) = opened {
            scene.die();
        }
        assert_eq!(disk.open_files(), 0, "not opened in round {round}");
        scene = Scene::on(disk, u64::from(round)).unwrap();
    }
}
