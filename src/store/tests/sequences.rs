//! Sequences that a careless design loses: what was durable is gone, or what was gone is back.

use std::path::Path;

use super::scene::{Model, Moment, Scene, model};
use super::workload::DIRECTORY;
use crate::batch::Batch;
use crate::error::KvsError;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault, ReadFault};

/// Whether the key `name` has this value.
fn has(model: &Model, name: &str, value: &str) -> bool {
    model.get(name.as_bytes()).is_some_and(|found| found == value.as_bytes())
}

/// The error of opening the store on this disk.
fn refusal(disk: SimDisk) -> KvsError {
    match Scene::on(disk, 5) {
        Err(error) => error,
        Ok(scene) => panic!("opened, with {:?}", scene.contents()),
    }
}

#[test]
pub fn what_was_acknowledged_as_durable_survives() {
    let scene = Scene::new();
    scene.set_durably("key", "value").unwrap();
    scene.lose_power().expect(&[("key", "value")]);
}

#[test]
pub fn a_durable_set_goes_only_when_what_killed_it_is_durable() {
    let scene = Scene::new();
    scene.set_durably("key", "old").unwrap();
    let first = scene.rotate();
    scene.set("key", "new");
    scene.crash_in(
        |scene| scene.compact(&[first]),
        |found, last| has(found, "key", "new") || (!last && has(found, "key", "old")),
    );
}

#[test]
fn a_clear_is_wholly_done_or_not_at_all() {
    for is_log_empty in [false, true] {
        let scene = Scene::new();
        scene.set_durably("key", "value").unwrap();
        if is_log_empty {
            scene.store.compact().unwrap();
        }
        scene.crash_in(
            |scene| scene.store.clear().unwrap(),
            |found, last| found.is_empty() || (!last && has(found, "key", "value")),
        );
    }
}

#[test]
pub fn a_lost_manifest_is_no_empty_store() {
    let scene = Scene::new();
    scene.set_durably("key", "value").unwrap();
    scene.rotate();
    let disk = scene.reopen().die();
    let segments = |disk: &SimDisk| {
        let files = disk.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect::<Vec<_>>()
    };
    let before = segments(&disk);
    let manifest = Path::new(DIRECTORY).join("MANIFEST");
    let bytes = disk.bytes(&manifest).unwrap();
    crate::store::disk::Disk::remove(&disk, &manifest).unwrap();
    let error = refusal(disk.clone());
    assert!(matches!(error, KvsError::ManifestMissing { .. }), "{error}");
    assert_eq!(segments(&disk), before);
    disk.set_bytes(&manifest, bytes);
    Scene::on(disk, 7).unwrap().expect(&[("key", "value")]);
}

#[test]
pub fn a_new_segment_is_named_before_it_is_written_to() {
    let scene = Scene::new();
    scene.set_durably("old", "value").unwrap();
    scene.disk.record();
    scene.rotate();
    scene.set_durably("new", "value").unwrap();
    drop(scene.disk.take_trace());
    scene.restart().expect(&[("new", "value"), ("old", "value")]);

    let scene = Scene::new();
    scene.set_durably("old", "value").unwrap();
    scene.crash_in(
        |scene| {
            scene.rotate();
            scene.set_durably("new", "value").unwrap();
        },
        |found, last| has(found, "old", "value") && (!last || has(found, "new", "value")),
    );
}

#[test]
pub fn a_torn_batch_adopts_no_later_records() {
    let scene = Scene::new();
    scene.set("before", "value");
    let id = *scene.store.segment_ids().last().unwrap();
    scene.disk.record();
    let mut batch = Batch::new();
    batch.set("a", "1").set("b", "2").set("c", "3").remove("before");
    scene.store.write(&batch).unwrap();
    let written = scene.disk.take_trace().last_write().unwrap();
    let disk = scene.die();
    let bytes = disk.bytes(&Scene::segment(id)).unwrap();
    for cut in written {
        for zeros in [0, bytes.len() - cut] {
            let torn = disk.fork();
            let mut bytes = bytes[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            torn.set_bytes(&Scene::segment(id), bytes);
            let scene = Scene::on(torn, 9).unwrap();
            if scene.store.contains_key("a").unwrap() {
                // Only padding was cut off.
                scene.die();
                continue;
            }
            scene.set("c", "3");
            scene.set("d", "4");
            let scene = scene.restart();
            let expected = [("before", "value"), ("c", "3"), ("d", "4")];
            assert_eq!(scene.contents().unwrap(), model(&expected), "cut at {cut}");
            scene.die();
        }
    }
}

#[test]
pub fn a_durable_write_has_no_hole_before_it() {
    let scene = Scene::new();
    scene.set("first", "value");
    scene.rotate();
    scene.set_durably("second", "value").unwrap();
    scene.lose_power().expect(&[("first", "value"), ("second", "value")]);

    Scene::new().crash_in(
        |scene| {
            scene.set("first", "value");
            scene.rotate();
            scene.set("second", "value");
            scene.rotate();
            scene.set_durably("third", "value").unwrap();
        },
        |found, last| {
            let has = |name| has(found, name, "value");
            (has("first") || !has("second"))
                && (has("second") || !has("third"))
                && (!last || has("third"))
        },
    );
}

#[test]
pub fn the_index_may_grow_while_a_compaction_moves_keys() {
    let scene = Scene::new();
    let name = |number: usize| format!("key-{number}");
    for number in 0..3000 {
        scene.set(&name(number), "old");
    }
    let first = scene.rotate();
    let store = scene.store.clone();
    scene.at(Moment::SyncDir, move || {
        for number in 2000..20_000 {
            store.set(name(number), "new").unwrap();
        }
        for number in (0..20_000).step_by(3) {
            store.remove(name(number)).unwrap();
        }
    });
    scene.compact(&[first]);
    let scene = scene.restart();
    let found = scene.contents().unwrap();
    for number in 0..20_000 {
        let expected = match number {
            _ if number % 3 == 0 => None,
            0..2000 => Some(&b"old"[..]),
            _ => Some(&b"new"[..]),
        };
        assert_eq!(found.get(name(number).as_bytes()).map(Vec::as_slice), expected, "{number}");
    }
    scene.die();
}

#[test]
pub fn a_key_moves_before_its_old_segment_goes() {
    let scene = Scene::new();
    scene.set("key", "value");
    let first = scene.rotate();
    let store = scene.store.clone();
    scene.at(Moment::Unlink, move || {
        assert_eq!(store.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    });
    scene.compact(&[first]);
    scene.expect(&[("key", "value")]);
}

#[test]
pub fn a_segment_stays_as_long_as_somebody_reads_it() {
    let scene = Scene::new();
    scene.set("key", "value");
    let first = scene.rotate();
    let path = Scene::segment(first);
    let read = scene.store.get_with("key", |value| {
        scene.compact(&[first]);
        assert!(scene.disk.bytes(&path).is_some(), "it is being read");
        value.to_vec()
    });
    assert_eq!(read.unwrap().as_deref(), Some(&b"value"[..]));
    while scene.store.compact_step().unwrap() {}
    assert!(scene.disk.bytes(&path).is_none(), "nobody reads it any more");
    scene.expect(&[("key", "value")]);
}

#[test]
pub fn a_record_that_cannot_be_read_is_not_another_key() {
    let scene = Scene::new();
    scene.set("key", "old");
    scene.set("key", "now");
    let active = *scene.store.segment_ids().last().unwrap();
    let bytes = scene.disk.bytes(&Scene::segment(active)).unwrap();
    let value = bytes.windows(3).position(|window| window == b"now").unwrap();
    scene.disk.set_read_fault(&Scene::segment(active), value, ReadFault::Error(512));
    assert!(scene.store.get("key").is_err());
    assert!(scene.store.set("key", "new").is_err(), "nobody knows what this supersedes");
    assert!(scene.store.remove("key").is_err());
    scene.disk.clear_faults();
    scene.expect(&[("key", "now")]);
}

#[test]
pub fn a_bad_sector_is_an_error_and_not_zeros() {
    let scene = Scene::new();
    scene.set("key", &"x".repeat(3000));
    let id = scene.rotate();
    for offset in (0..3000).step_by(100) {
        let zeros = ReadFault::Instead(vec![0; 512].into());
        for fault in [ReadFault::Error(512), zeros] {
            scene.disk.set_read_fault(&Scene::segment(id), offset, fault);
            assert!(scene.store.get("key").is_err(), "offset {offset}");
            assert!(scene.store.get_with("key", <[u8]>::len).is_err(), "offset {offset}");
            assert!(scene.store.compact_segments(&[id]).is_err(), "offset {offset}");
            scene.disk.clear_faults();
        }
    }
    let expected = "x".repeat(3000);
    scene.expect(&[("key", &expected)]);
}

#[test]
pub fn damage_below_a_mark_is_no_torn_tail() {
    let scene = Scene::new();
    scene.set("key", "durable");
    scene.store.sync().unwrap();
    // With this goes a mark that says so.
    scene.set("other", "value");
    let id = *scene.store.segment_ids().last().unwrap();
    let disk = scene.die();
    let bytes = disk.bytes(&Scene::segment(id)).unwrap();
    let start = bytes.windows(7).position(|window| window == b"durable").unwrap();
    for bit in 0..7 * 8 {
        let damaged = disk.fork();
        let mut bytes = bytes.clone();
        bytes[start + bit / 8] ^= 1 << (bit % 8);
        damaged.set_bytes(&Scene::segment(id), bytes);
        let error = refusal(damaged);
        assert!(matches!(error, KvsError::Corrupt { .. }), "bit {bit}: {error}");
    }
}

#[test]
pub fn a_block_of_another_segment_is_damage() {
    let scene = Scene::new();
    scene.set("key", "old");
    let first = scene.rotate();
    scene.set("key", "new");
    let second = scene.rotate();
    let disk = scene.die();
    let older = disk.bytes(&Scene::segment(first)).unwrap();
    let mut bytes = disk.bytes(&Scene::segment(second)).unwrap();
    let header = crate::store::segment::HEADER_BYTES;
    bytes.truncate(header);
    bytes.extend_from_slice(&older[header..]);
    disk.set_bytes(&Scene::segment(second), bytes);
    let error = refusal(disk);
    assert!(matches!(error, KvsError::Corrupt { .. }), "{error}");
}

#[test]
pub fn a_manifest_names_nothing_whose_name_is_not_durable() {
    let scene = Scene::new();
    for key in ["a", "b", "c"] {
        scene.set(key, "value");
    }
    let first = scene.rotate();
    scene.remove("a");
    scene.store.sync().unwrap();
    scene.crash_in(
        |scene| scene.compact(&[first]),
        |found, _| *found == model(&[("b", "value"), ("c", "value")]),
    );
}

#[test]
pub fn a_seq_is_given_once_even_if_its_write_is_lost() {
    let scene = Scene::new();
    scene.set_durably("key", "durable").unwrap();
    let mut last = scene.store.set("key", "lost").unwrap().seq;
    let mut scene = scene;
    for round in 0..4 {
        scene = if round % 2 == 0 { scene.lose_power() } else { scene.restart() };
        let seq = scene.store.set("key", "again").unwrap().seq;
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
    scene.expect(&[("key", "again")]);
}

#[test]
pub fn a_write_that_failed_does_not_come_back_behind_the_next() {
    for failure in [Failure::Eio, Failure::Enospc] {
        let scene = Scene::new();
        scene.set("key", "value");
        let kind = Some(CallKind::Write);
        let half = Fault { kind, after: 0, failure: Failure::Short, forever: false };
        scene.disk.set_fault(half);
        scene.disk.set_fault(Fault { after: 1, failure, ..half });
        let mut batch = Batch::new();
        for name in ["a", "b", "c", "d"] {
            batch.set(name, "failed");
        }
        let failed = scene.store.write(&batch);
        assert!(failed.is_err());
        scene.disk.clear_faults();
        assert_eq!(scene.contents().unwrap(), model(&[("key", "value")]));
        match scene.store.set("e", "small") {
            Ok(_) => scene.restart().expect(&[("e", "small"), ("key", "value")]),
            Err(error) => {
                assert!(matches!(error, KvsError::Poisoned { .. }), "{error}");
                scene.restart().expect(&[("key", "value")]);
            }
        }
    }
}

#[test]
pub fn after_a_failed_sync_nothing_is_acknowledged() {
    for failure in [Failure::Eio, Failure::Enospc] {
        let scene = Scene::new();
        scene.set_durably("key", "durable").unwrap();
        let kind = Some(CallKind::Sync);
        scene.disk.set_fault(Fault { kind, after: 0, failure, forever: false });
        let error = scene.set_durably("key", "uncertain").unwrap_err();
        assert!(matches!(error, KvsError::Poisoned { .. }), "{error}");
        let found = scene.store.get("key").unwrap();
        assert_eq!(found.as_deref(), Some(&b"durable"[..]), "what may be lost is not seen");
        for error in [scene.set_durably("key", "new").err(), scene.store.sync().err()] {
            assert!(matches!(error, Some(KvsError::Poisoned { .. })), "{error:?}");
        }
        let found = scene.restart().contents().unwrap();
        assert!(has(&found, "key", "durable") || has(&found, "key", "uncertain"), "{found:?}");
    }
}
