//! Writes that depend on what is there.

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;

use super::scene::Scene;
use crate::batch::{Batch, Expected, Operation, Requirement};
use crate::error::KvsError;
use crate::options::{Durability, Options, VALUE_BYTES_MAX};
use crate::store::Store;
use crate::store::group::{Check, Checks, Commits, Look};
use crate::store::queue::Group;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};

#[test]
fn a_batch_is_written_only_if_all_that_it_requires_holds() {
    let scene = Scene::new();
    let store = &scene.store;
    let version = store.set("key", "1").unwrap().seq;
    let refused = |requirements: &[(&str, Expected)]| {
        let mut batch = Batch::new();
        for (key, expected) in requirements {
            batch.require(key, expected.clone());
        }
        batch.set("key", "2").set("new", "2");
        match store.write(&batch) {
            Err(KvsError::PreconditionFailed { requirement, key }) => {
                assert_eq!(key, requirements[requirement].0.as_bytes());
                Some(requirement)
            }
            written => written.map(|_| None).unwrap(),
        }
    };
    let absent = || ("none", Expected::Absent);
    let cases = [
        ("key", Expected::Absent),
        ("none", Expected::Present),
        ("key", Expected::Version(version + 1)),
        ("none", Expected::Version(version)),
        ("key", Expected::value("2")),
        ("none", Expected::value("")),
    ];
    for case in cases {
        assert_eq!(refused(std::slice::from_ref(&case)), Some(0), "{case:?}");
        assert_eq!(refused(&[absent(), case.clone()]), Some(1), "{case:?}");
        assert_eq!(refused(&[absent(), case.clone(), case]), Some(1));
    }
    assert_eq!(store.len(), 1);
    let holding = [
        absent(),
        ("key", Expected::Present),
        ("key", Expected::Version(version)),
        ("key", Expected::value("1")),
    ];
    assert_eq!(refused(&holding), None);
    scene.expect(&[("key", "2"), ("new", "2")]);
}

#[test]
fn a_version_is_of_one_write() {
    let scene = Scene::new();
    let store = &scene.store;
    let first = store.set("key", "same").unwrap().seq;
    let second = store.set("key", "same").unwrap().seq;
    let swap = |seq| store.compare_and_swap("key", Expected::Version(seq), Some("new")).unwrap();
    assert!(swap(first).is_none());
    scene.rotate();
    store.compact().unwrap();
    let found = store.get_versioned("key").unwrap().unwrap();
    assert_eq!(found.seq, second, "a compaction makes no new version");
    assert!(swap(second).is_some());
    assert!(swap(second).is_none());
    scene.expect(&[("key", "new")]);
}

#[test]
fn what_cannot_be_counted_or_grow_is_left_as_it_was() {
    let scene = Scene::new();
    let store = &scene.store;
    scene.set("text", "1x");
    scene.set("most", "9223372036854775807");
    let text = store.increment("text", 1);
    assert!(matches!(text, Err(KvsError::NotAnInteger { key }) if key == b"text"));
    let most = store.increment("most", 1);
    assert!(matches!(most, Err(KvsError::IntegerOverflow { by: 1, .. })));
    assert_eq!(store.increment("most", -7).unwrap(), i64::MAX - 7);
    assert_eq!(store.increment("most", 7).unwrap(), i64::MAX);
    assert_eq!(store.increment("least", i64::MIN).unwrap(), i64::MIN);
    assert!(store.increment("least", -1).is_err());
    let long = store.append("text", vec![0; VALUE_BYTES_MAX - 1]);
    assert!(matches!(long, Err(KvsError::ValueTooLarge { bytes, .. })
        if bytes == VALUE_BYTES_MAX + 1));
    let least = i64::MIN.to_string();
    scene.expect(&[("least", &least), ("most", "9223372036854775807"), ("text", "1x")]);
}

#[test]
fn an_update_that_wants_nothing_writes_nothing() {
    let scene = Scene::new();
    let before = scene.disk.calls(None);
    assert!(scene.store.update("none", |_| None).unwrap().is_none());
    assert!(scene.store.persist("none").unwrap().is_none());
    assert_eq!(scene.disk.calls(None), before);
    scene.set("key", "1");
    assert!(scene.store.update("key", |_| None).unwrap().is_none());
    scene.expect(&[]);
}

#[test]
fn of_many_that_claim_a_key_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().durability(Durability::Always).open(dir.path()).unwrap();
    let start = Barrier::new(8);
    let won: usize = thread::scope(|scope| {
        let claim = |name: usize| {
            let (store, start) = (&store, &start);
            move || {
                let mut won = 0;
                for lock in 0..50 {
                    start.wait();
                    let mut batch = Batch::new();
                    batch.require(format!("{lock}"), Expected::Absent);
                    batch.set(format!("{lock}"), name.to_string());
                    won += usize::from(store.write(&batch).is_ok());
                }
                won
            }
        };
        let claims: Vec<_> = (0..8).map(|name| scope.spawn(claim(name))).collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).sum()
    });
    assert_eq!(won, 50, "each lock has one owner");
}

/// A refusal may have seen a write of its own group. If that one fails, the refusal was not true.
#[test]
fn a_condition_is_not_refused_because_of_a_write_that_failed() {
    let scene = Scene::new();
    let core = scene.store.core();
    let hash = core.hasher.hash(b"key");
    let set = Operation::Set { key: b"key", value: b"1", expires_at_ms: None };
    let mut group = Commits::default();
    for expected in [None, Some(Expected::Absent)] {
        let requirement = expected.map(|expected| Requirement { key: b"key".to_vec(), expected });
        let all = requirement.map(|requirement| vec![Check { requirement, hash }]);
        let checks = all.map(|all| Box::new(Checks { all, refused: None }));
        let look = Look { hash, seen: None, generation: core.keydir.generation() };
        let seq = core.next_seq.fetch_add(1, Ordering::SeqCst);
        group.join(seq, [(set, look)].into_iter(), checks, false);
    }
    let fault =
        Fault { kind: Some(CallKind::Write), after: 0, failure: Failure::Enospc, forever: true };
    scene.disk.set_fault(fault);
    core.commit(&mut group);
    for request in 0..2 {
        let outcome = group.outcome(request..request + 1).first();
        assert!(matches!(outcome, Some(Err(KvsError::DiskFull { .. }))), "{request}");
    }
    scene.disk.clear_faults();
    let absent = scene.store.compare_and_swap("key", Expected::Absent, Some("2")).unwrap();
    assert!(absent.is_some());
    scene.expect(&[("key", "2")]);
}

#[test]
fn counters_of_many_threads_lose_nothing() {
    const EACH: i64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let count = || {
        for number in 0..EACH {
            store.increment("sum", 1).unwrap();
            let add = |old: Option<&[u8]>| Some([old.unwrap_or_default(), b"."].concat());
            store.update(format!("dots {}", number % 3), add).unwrap();
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(count);
        }
    });
    assert_eq!(store.increment("sum", 0).unwrap(), 4 * EACH);
    let dots = (0..3).map(|key| store.get(format!("dots {key}")).unwrap().unwrap().len());
    assert_eq!(dots.sum::<usize>(), 4 * usize::try_from(EACH).unwrap());
}
