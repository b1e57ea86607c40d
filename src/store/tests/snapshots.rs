//! Snapshots: what they see, what they pin, and what becomes of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::actions::KEYS;
use super::oracle::key;
use super::proof::Checked;
use super::ranges::same_range;
use super::scene::{Model, Scene, model};
use crate::batch::Batch;
use crate::error::KvsError;
use crate::options::{Durability, Options};
use crate::store::{Snapshot, Store};

/// Whether a snapshot holds that and nothing else, by iterating, by asking and in order; or has
/// ended.
pub fn same_snapshot(
    snapshot: &Snapshot,
    model: &Model,
    has_ended: bool,
    index: usize,
) -> Checked<()> {
    let wrong = |error: KvsError| error.to_string();
    if has_ended {
        let gone = |error| matches!(error, KvsError::SnapshotEnded { .. });
        let found = snapshot.get(key(0)).err().is_some_and(gone);
        return if found { Ok(()) } else { Err("it should have ended".to_owned()) };
    }
    let pairs = snapshot.iter().collect::<crate::Result<Vec<_>>>().map_err(wrong)?;
    let count = pairs.len();
    let found: Model = pairs.into_iter().map(|(key, value)| (key, value.into_vec())).collect();
    for index in 0..KEYS {
        let got = snapshot.get(key(index)).map_err(wrong)?;
        if got.map(crate::Value::into_vec).as_ref() != model.get(&key(index)) {
            return Err(format!("the snapshot has another value of key {index}"));
        }
    }
    same_range(&Ok(snapshot.clone()), model, 0, index % KEYS, 3)?;
    if found != *model || count != model.len() {
        return Err("the snapshot has other contents".to_owned());
    }
    Ok(())
}

fn contents(snapshot: &Snapshot) -> Model {
    snapshot.iter().map(|pair| pair.map(|(key, value)| (key, value.into_vec())).unwrap()).collect()
}

#[test]
pub fn a_snapshot_stays_as_it_is() {
    let scene = Scene::new();
    for (key, value) in [("kept", "1"), ("changed", "1"), ("removed", "1"), ("again", "1")] {
        scene.set(key, value);
    }
    scene.set_for("expires", "1", 5000);
    let snapshot = scene.store.snapshot().unwrap();
    let before = contents(&snapshot);
    assert_eq!(before.len(), 5);
    scene.set("changed", "2");
    scene.set("changed", "3");
    scene.remove("removed");
    scene.remove("again");
    scene.set("again", "2");
    scene.set("new", "1");
    scene.pass(6000);
    scene.store.sweep_step().unwrap();
    let check = |snapshot: &Snapshot| {
        assert_eq!(contents(snapshot), before);
        for (key, value) in &before {
            assert_eq!(snapshot.get(key).unwrap().as_deref(), Some(&value[..]));
        }
        assert!(!snapshot.contains_key("new").unwrap());
    };
    check(&snapshot);
    let later = scene.store.snapshot().unwrap();
    assert_eq!(contents(&later), scene.contents().unwrap());
    drop(snapshot.clone());
    check(&snapshot);
    let expected = [("again", "2"), ("changed", "3"), ("kept", "1"), ("new", "1")];
    assert_eq!(contents(&later), model(&expected));
    drop((snapshot, later));
    assert_eq!(scene.store.stats().snapshot_bytes, 0);
    scene.expect(&expected);
}

#[test]
pub fn what_a_snapshot_sees_outlives_its_compaction() {
    let scene = Scene::new();
    scene.set("key", "old");
    scene.set("other", "1");
    let first = scene.rotate();
    let snapshot = scene.store.snapshot().unwrap();
    scene.set("key", "new");
    scene.rotate();
    scene.store.compact().unwrap();
    assert!(scene.disk.bytes(&Scene::segment(first)).is_some(), "the snapshot is in it");
    assert!(scene.store.stats().snapshot_bytes > 0);
    // Were its number given again, the place would be in another segment.
    for number in 0..3 {
        scene.set("other", &number.to_string());
        scene.rotate();
        scene.store.compact().unwrap();
    }
    assert_eq!(snapshot.get("key").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(contents(&snapshot), model(&[("key", "old"), ("other", "1")]));
    drop(snapshot);
    while scene.store.compact_step().unwrap() {}
    assert!(scene.disk.bytes(&Scene::segment(first)).is_none(), "nobody is in it any more");
    scene.expect(&[("key", "new"), ("other", "2")]);
}

#[test]
fn many_overwrites_take_one_place_for_each_snapshot() {
    let scene = Scene::new();
    scene.set("key", "0");
    let first = scene.store.snapshot().unwrap();
    for number in 1..1000 {
        scene.set("key", &number.to_string());
    }
    let one = scene.store.stats().snapshot_bytes;
    let second = scene.store.snapshot().unwrap();
    for number in 1000..2000 {
        scene.set("key", &number.to_string());
    }
    assert_eq!(scene.store.stats().snapshot_bytes, 2 * one);
    assert_eq!(second.get("key").unwrap().as_deref(), Some(&b"999"[..]));
    drop(first);
    assert_eq!(scene.store.stats().snapshot_bytes, one);
    assert_eq!(second.get("key").unwrap().as_deref(), Some(&b"999"[..]));
}

#[test]
pub fn the_end_of_one_snapshot_takes_nothing_from_the_others() {
    let scene = Scene::new();
    let mut snapshots = Vec::new();
    for number in 0..4 {
        scene.set("key", &number.to_string());
        snapshots.push(scene.store.snapshot().unwrap());
    }
    scene.set("key", "4");
    while let [ended, left @ ..] = &snapshots[..] {
        assert_eq!(ended.seq() + left.len() as u64 + 1, scene.store.snapshot().unwrap().seq());
        snapshots.remove(0);
        for (snapshot, number) in snapshots.iter().rev().zip((0..4).rev()) {
            let expected = number.to_string();
            assert_eq!(snapshot.get("key").unwrap().as_deref(), Some(expected.as_bytes()));
        }
    }
}

#[test]
fn a_snapshot_that_pins_too_much_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(4096).durability(Durability::Os);
    let store = options.compaction(false).snapshot_bytes(64 << 10).open(dir.path()).unwrap();
    let fill = |round: usize| {
        for number in 0..200 {
            store.set(format!("{number}"), vec![b'v'; 300 + round]).unwrap();
        }
    };
    fill(0);
    let (snapshot, iter) = (store.snapshot().unwrap(), store.iter());
    assert_eq!(store.stats().snapshots, 2);
    fill(1);
    store.compact().unwrap();
    fill(2);
    store.compact().unwrap();
    let ended = |error: &KvsError| matches!(error, KvsError::SnapshotEnded { .. });
    assert!(snapshot.get("7").is_err_and(|error| ended(&error)));
    assert!(iter.last().unwrap().is_err_and(|error| ended(&error)));
    assert!(store.stats().snapshot_bytes <= 64 << 10);
    let fresh = store.snapshot().unwrap();
    assert_eq!(fresh.get("7").unwrap().unwrap().len(), 302);
}

/// Money goes from account to account. Whenever one looks, all of it is there.
#[test]
fn every_snapshot_is_of_one_moment() {
    const ACCOUNTS: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(16 << 10).durability(Durability::Os);
    let store = options.open(dir.path()).unwrap();
    let mut opening = Batch::new();
    for account in 0..ACCOUNTS {
        opening.set(format!("{account}"), "100");
    }
    store.write(&opening).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let transfer = |first: usize| {
            let (store, done) = (&store, &done);
            move || {
                for step in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    // Each thread has accounts of its own, of which some are closed when empty.
                    let account = |n: usize| format!("{}", (first + 2 * n) % ACCOUNTS);
                    let (from, to) = (account(step * 7), account(step * 11 + 1));
                    let read = |key: &str| {
                        let value = store.get(key).unwrap();
                        value.map_or(0, |it| String::from_utf8_lossy(&it).parse::<i64>().unwrap())
                    };
                    if from == to || read(&from) == 0 {
                        continue;
                    }
                    let mut batch = Batch::new();
                    match read(&from) - 10 {
                        0 => batch.remove(&from),
                        left => batch.set(&from, left.to_string()),
                    };
                    batch.set(&to, (read(&to) + 10).to_string());
                    store.write(&batch).unwrap();
                }
            }
        };
        scope.spawn(transfer(0));
        scope.spawn(transfer(1));
        for round in 0..60 {
            let snapshot = store.snapshot().unwrap();
            let sum = |snapshot: &Snapshot| {
                contents(snapshot)
                    .values()
                    .map(|it| String::from_utf8_lossy(it).parse::<i64>().unwrap())
                    .sum::<i64>()
            };
            assert_eq!(sum(&snapshot), 30_000, "round {round}");
            let first = contents(&snapshot);
            store.compact().unwrap();
            assert!(contents(&snapshot) == first, "round {round}: it changed");
            for (key, value) in first.iter().step_by(17) {
                assert_eq!(snapshot.get(key).unwrap().as_deref(), Some(&value[..]));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(store);
    assert!(!Store::open(dir.path()).unwrap().is_empty());
}
