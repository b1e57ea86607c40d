//! Keys that expire: absent everywhere at once, for good, and without a trace in the end.

use std::sync::atomic::Ordering;

use super::clock::START_MS;
use super::scene::{Scene, contents, model};
use super::workload::remove_hints;
use crate::batch::{Batch, Expected};
use crate::error::KvsError;
use crate::options::{EXPIRES_AT_MS_MAX, SetOptions};
use crate::store::clock::AHEAD_MS;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault, ReadFault};

impl Scene {
    /// Sets a key that expires after so many milliseconds.
    pub fn set_for(&self, key: &str, value: &str, ms: u64) {
        let options = SetOptions::new().expire_after_ms(ms);
        self.store.set_with(key, value, options).unwrap();
    }

    /// Lets time go by, and the thread that syncs do its work.
    pub fn pass(&self, ms: u64) {
        self.clock.pass(ms);
        self.store.sync_step().unwrap();
    }

    fn set_clock_back(&self) {
        self.clock.set_wall(START_MS / 2);
    }
}

#[test]
fn an_expired_key_is_absent_everywhere_at_once() {
    let scene = Scene::new();
    let store = &scene.store;
    scene.set("stays", "1");
    scene.set_for("goes", "2", 5000);
    scene.set_for("goes later", "3", 9000);
    scene.pass(4999);
    assert_eq!(scene.contents().unwrap().len(), 3);
    assert_eq!(store.expires_at("goes").unwrap(), Some(Some(START_MS + 5000)));
    scene.pass(1);
    assert_eq!(scene.contents().unwrap(), model(&[("goes later", "3"), ("stays", "1")]));
    assert!(store.get("goes").unwrap().is_none());
    assert!(store.get_with("goes", |_| ()).unwrap().is_none());
    assert!(store.get_many(&["goes"]).unwrap()[0].is_none());
    assert!(!store.contains_key("goes").unwrap());
    assert!(store.get_versioned("goes").unwrap().is_none());
    assert!(store.expires_at("goes").unwrap().is_none());
    assert_eq!(store.keys().count(), 2);
    let (present, absent) = (SetOptions::new().if_present(), SetOptions::new().if_absent());
    assert!(store.set_with("goes", "4", present).unwrap().is_none());
    assert!(!store.remove("goes").unwrap().existed);
    assert_eq!(store.len(), 3, "it counts until it is swept");
    store.sweep_step().unwrap();
    assert_eq!((store.len(), store.expiring_keys()), (2, 1));
    let written = store.set_with("goes", "5", absent).unwrap().unwrap();
    assert!(!written.existed);
    scene.expect(&[("goes", "5"), ("goes later", "3"), ("stays", "1")]);
}

#[test]
fn what_has_expired_stays_so_when_the_clock_is_set_back() {
    for sweeps in [false, true] {
        let scene = Scene::new();
        scene.set("key", "older");
        scene.rotate();
        scene.set_for("key", "newer", 5000);
        scene.pass(5000);
        if sweeps {
            scene.store.sweep_step().unwrap();
        }
        scene.set_clock_back();
        assert_eq!(scene.contents().unwrap(), model(&[]));
        let scene = scene.restart();
        assert_eq!(scene.contents().unwrap(), model(&[]), "after a kill");
        let scene = scene.lose_power();
        assert_eq!(scene.contents().unwrap(), model(&[]), "after a power loss");
        let scene = scene.reopen();
        assert!(scene.store.now_ms() >= START_MS + 5000);
        scene.set_for("other", "1", 1000);
        scene.expect(&[("other", "1")]);
    }
}

#[test]
pub fn nothing_is_seen_to_expire_before_the_disk_knows_the_time() {
    let scene = Scene::new();
    scene.set_for("key", "1", 5000);
    scene.store.sync().unwrap();
    scene.clock.pass(6000);
    let seen = scene.contents().unwrap();
    scene.clock.set_wall(START_MS);
    let scene = scene.lose_power();
    if seen.is_empty() {
        assert_eq!(scene.contents().unwrap(), seen, "it was gone before");
    }
    scene.clock.set_wall(START_MS + 6000);
    scene.store.sync_step().unwrap();
    scene.expect(&[]);
}

#[test]
pub fn a_set_that_expired_is_a_tombstone_for_the_one_before() {
    let scene = Scene::new();
    scene.set("key", "older");
    scene.set("other", "1");
    scene.rotate();
    scene.set_for("key", "newer", 5000);
    let newer = scene.rotate();
    scene.pass(6000);
    scene.compact(&[newer]);
    assert_eq!(scene.contents().unwrap(), model(&[("other", "1")]));
    scene.set_clock_back();
    let scene = scene.restart();
    assert_eq!(scene.contents().unwrap(), model(&[("other", "1")]));
    scene.store.compact().unwrap();
    scene.store.compact().unwrap();
    let segments = scene.store.core().segments.all();
    let tombstones = segments.iter().map(|it| it.tombstone_bytes.load(Ordering::SeqCst));
    assert_eq!(tombstones.sum::<u64>(), 0, "nothing is left of it");
    scene.expect(&[("other", "1")]);
}

#[test]
fn whole_segments_of_expired_keys_are_dropped() {
    let scene = Scene::new();
    let value = "v".repeat(1000);
    for round in 0..3 {
        for number in 0..100 {
            scene.set_for(&format!("{round}/{number}"), &value, 5000);
        }
        scene.rotate();
    }
    let before = scene.store.stats();
    assert_eq!((before.live_keys, before.expiring_keys), (300, 300));
    scene.pass(5000);
    scene.store.sweep_step().unwrap();
    let swept = scene.store.stats();
    assert_eq!((swept.live_keys, swept.live_bytes, swept.expiring_keys), (0, 0, 0));
    while scene.store.compact_step().unwrap() {}
    let after = scene.store.stats();
    assert!(after.segment_file_bytes < 2 << 20, "{} bytes", after.segment_file_bytes);
    scene.store.compact().unwrap();
    assert_eq!(scene.store.stats().segments.len(), 1);
    scene.expect(&[]);
}

#[test]
fn a_sweep_takes_no_newer_value_away() {
    let scene = Scene::new();
    scene.set_for("again", "1", 5000);
    scene.set_for("longer", "1", 5000);
    scene.set_for("kept", "1", 5000);
    scene.rotate();
    scene.set("again", "2");
    scene.set_for("longer", "2", 50_000);
    assert!(scene.store.persist("kept").unwrap().is_some());
    assert!(scene.store.persist("kept").unwrap().is_none());
    scene.pass(6000);
    scene.store.sweep_step().unwrap();
    assert_eq!((scene.store.len(), scene.store.expiring_keys()), (3, 1));
    scene.expect(&[("again", "2"), ("kept", "1"), ("longer", "2")]);
}

#[test]
fn a_sweep_finds_the_same_with_hints_without_and_in_the_log() {
    let scene = Scene::new();
    let set = |scene: &Scene| {
        for (name, ms) in [("a", 3000), ("b", 5000), ("c", 7000)] {
            let segment = scene.store.segment_ids().len();
            scene.set_for(&format!("{name}{segment}"), "1", ms);
        }
    };
    set(&scene);
    scene.rotate();
    scene.write_hints();
    set(&scene);
    scene.rotate();
    set(&scene);
    for (ms, left) in [(3000, 6), (2000, 3), (2000, 0)] {
        scene.pass(ms);
        scene.store.sweep_step().unwrap();
        assert_eq!((scene.store.len(), scene.store.expiring_keys()), (left, left));
    }
    assert_eq!(remove_hints(&scene.disk), 1);
    scene.expect(&[]);
}

#[test]
fn what_expired_while_the_store_was_closed_is_not_loaded() {
    let scene = Scene::new();
    scene.set("key", "older");
    scene.set_for("key", "newer", 5000);
    scene.set_for("other", "1", 60_000);
    scene.clock.pass(6000);
    let scene = scene.reopen();
    assert_eq!((scene.store.len(), scene.store.expiring_keys()), (1, 1));
    scene.set_clock_back();
    let scene = scene.restart();
    scene.expect(&[("other", "1")]);
}

#[test]
fn a_crash_lets_keys_expire_early_by_no_more_than_is_said_and_a_close_not_at_all() {
    for (crashes, left) in [(false, 2), (true, 1)] {
        let scene = Scene::new();
        scene.set_for("first", "1", 1);
        scene.set_for("soon", "1", AHEAD_MS);
        scene.set_for("later", "1", AHEAD_MS + 2);
        scene.pass(1);
        assert_eq!(scene.contents().unwrap().len(), 2);
        let scene = if crashes { scene.restart() } else { scene.reopen() };
        assert_eq!(scene.contents().unwrap().len(), left, "{crashes}");
    }
}

#[test]
fn expiries_that_make_no_sense_are_refused_and_change_nothing() {
    let scene = Scene::new();
    let store = &scene.store;
    scene.set_for("key", "1", 60_000);
    let past = |at| {
        let refused = store.set_with("key", "2", SetOptions::new().expire_at_ms(at));
        matches!(refused, Err(KvsError::InvalidExpiry { expires_at_ms, now_ms: START_MS })
            if expires_at_ms == at)
    };
    assert!([0, 1, START_MS, EXPIRES_AT_MS_MAX + 1, u64::MAX].into_iter().all(past));
    for ms in [0, u64::MAX] {
        let refused = store.set_with("key", "2", SetOptions::new().expire_after_ms(ms));
        assert!(matches!(refused, Err(KvsError::InvalidExpiry { .. })));
    }
    assert!(matches!(store.expire_at("key", START_MS), Err(KvsError::InvalidExpiry { .. })));
    let mut batch = Batch::new();
    batch.set("key", "2").set_until("key", "3", 5);
    assert!(matches!(store.write(&batch), Err(KvsError::InvalidExpiry { .. })));
    assert!(store.expire_at("key", EXPIRES_AT_MS_MAX).unwrap().is_some());
    assert!(store.expire_at("none", EXPIRES_AT_MS_MAX).unwrap().is_none());
    assert_eq!(store.expires_at("key").unwrap(), Some(Some(EXPIRES_AT_MS_MAX)));
    scene.expect(&[("key", "1")]);
}

#[test]
fn an_expiry_is_kept_or_lost_as_each_write_says() {
    let scene = Scene::new();
    let store = &scene.store;
    let expiry = || store.expires_at("key").unwrap().unwrap();
    let at = Some(START_MS + 5000);
    scene.set_for("key", "1", 5000);
    store.increment("key", 1).unwrap();
    store.append("key", "0").unwrap();
    store.update("key", |old| old.map(|old| [old, b"5"].concat())).unwrap();
    store.set_with("key", "6", SetOptions::new().keep_expiry()).unwrap();
    assert_eq!(expiry(), at);
    store.set("key", "7").unwrap();
    assert_eq!(expiry(), None);
    scene.set_for("key", "8", 5000);
    store.compare_and_swap("key", Expected::value("8"), Some("9")).unwrap().unwrap();
    assert_eq!(expiry(), None);
    scene.set_for("key", "1", 5000);
    scene.pass(5000);
    assert_eq!(store.increment("key", 1).unwrap(), 1, "an expired key counts as 0");
    assert_eq!(expiry(), None);
    scene.expect(&[("key", "1")]);
}

#[test]
fn a_failed_sync_does_not_stop_time() {
    let scene = Scene::new();
    scene.set_for("key", "1", 5000);
    scene.clock.pass(5000);
    let kind = Some(CallKind::Sync);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: true });
    assert!(scene.store.sync_step().is_err());
    assert!(scene.store.get("key").unwrap().is_none());
    assert_eq!(contents(&scene.store).unwrap(), model(&[]));
}

/// The sweep cannot read a segment. Time goes on for the other keys in it.
#[test]
fn a_segment_that_cannot_be_read_does_not_keep_its_keys_alive() {
    let scene = Scene::new();
    scene.set_for("a", "1", 5000);
    scene.set_for("b", "1", 9000);
    let id = scene.rotate();
    scene.disk.set_read_fault(&Scene::segment(id), 48, ReadFault::Error(8));
    scene.pass(5000);
    assert!(scene.store.sweep_step().is_err());
    scene.pass(4000);
    scene.store.sweep_step().unwrap();
    assert!(scene.store.get("b").unwrap().is_none());
}

/// Nor does it keep the keys of other segments in the keydir.
#[test]
fn a_segment_that_cannot_be_read_does_not_end_a_sweep() {
    let scene = Scene::new();
    scene.set_for("a", "1", 5000);
    let sealed = scene.rotate();
    scene.set_for("b", "1", 5000);
    // What is rewritten lies behind the segment in which the log grows.
    scene.compact(&[sealed]);
    let active = *scene.store.segment_ids().last().unwrap();
    scene.disk.set_read_fault(&Scene::segment(active), 48, ReadFault::Error(8));
    scene.pass(5000);
    assert!(scene.store.sweep_step().is_err());
    assert_eq!(scene.store.len(), 1);
    scene.disk.clear_faults();
    scene.store.sweep_step().unwrap();
    assert_eq!(scene.store.len(), 0);
}

/// A plain error of the log stops neither time nor the syncs.
#[test]
fn a_mark_that_cannot_be_written_does_not_stop_the_sync() {
    let scene = Scene::new();
    scene.set_for("key", "1", 5000);
    scene.set("other", "1");
    scene.clock.pass(5000);
    let kind = Some(CallKind::Write);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: false });
    scene.store.sync_step().unwrap();
    assert!(scene.store.stats().last_background_error.is_some());
    assert!(scene.store.get("key").unwrap().is_none());
    let scene = scene.lose_power();
    assert_eq!(scene.contents().unwrap().len(), 1);
    scene.expect(&[("other", "1")]);
}

/// For a while the disk takes no marks, and expiry goes by the clock alone; when it takes them
/// again, the mark that comes first is older than that.
#[test]
pub fn time_does_not_go_back_when_a_horizon_comes_late() {
    let scene = Scene::new();
    scene.set("key", "older");
    scene.rotate();
    scene.set_for("key", "newer", 2000);
    let newer = scene.rotate();
    let time = &scene.store.core().time;
    time.give_up_horizon();
    let floor_ms = time.wanted_horizon_ms(0).unwrap();
    scene.clock.pass(2500);
    assert!(scene.store.get("key").unwrap().is_none());
    scene.store.sweep_step().unwrap();
    time.move_horizon(floor_ms);
    assert!(scene.store.core().time.is_over(START_MS + 2000));
    scene.compact(&[newer]);
    assert_eq!(scene.restart().contents().unwrap(), model(&[]));
}

#[test]
fn the_thread_that_syncs_is_woken_for_an_earlier_expiry_alone() {
    let scene = Scene::new();
    let woken = |(key, ms): (&str, u64)| {
        let rung = &scene.store.core().bell.rung;
        rung.lock().unwrap().sync = false;
        scene.set_for(key, "1", ms);
        rung.lock().unwrap().sync
    };
    let keys = [("a", 5000), ("b", 9000), ("c", 5000), ("d", 4000)];
    assert_eq!(keys.map(woken), [true, false, false, true]);
}
