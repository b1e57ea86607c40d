//! Many writes in one call: each for itself, in order, with as few appends and syncs as fit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::Store;
use crate::batch::{Batch, Expected};
use crate::error::KvsError;
use crate::options::{Durability, KEY_BYTES_MAX, Options, WriteOptions};

fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Options::new().durability(Durability::Os).open(directory.path()).unwrap();
    (directory, store)
}

fn set(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.set(key, value);
    batch
}

#[test]
fn each_has_its_own_outcome_and_sees_those_before_it() {
    let (_directory, store) = open();
    let mut conditional = set("b", "2");
    conditional.require("a", Expected::value("1"));
    let mut refused = set("c", "3");
    refused.require("b", Expected::Absent);
    let mut both = set("a", "4");
    both.remove("b");
    let long = set(&"k".repeat(KEY_BYTES_MAX + 1), "");
    let all = [set("a", "1"), conditional, refused, long, both, Batch::new()];
    let options = WriteOptions::new();
    let writes: Vec<_> = all.iter().map(|batch| (batch, options)).collect();
    let outcomes = store.write_many(&writes);
    let seqs: Vec<_> = outcomes.iter().map(|it| it.as_ref().ok().map(|it| it.seq)).collect();
    assert!(seqs[0] < seqs[1] && seqs[1] < seqs[4], "{outcomes:?}");
    let Err(KvsError::PreconditionFailed { requirement: 0, key }) = &outcomes[2] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(key, b"b");
    assert!(matches!(outcomes[3], Err(KvsError::KeyTooLarge { .. })), "{outcomes:?}");
    assert!(outcomes[4].as_ref().is_ok_and(|it| it.existed) && outcomes[5].is_ok());
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"4"[..]));
    assert_eq!(store.get_many(&["b", "c"]).unwrap(), [None, None]);
}

/// Whoever reads several keys waits for what is published as one, and for nothing else.
#[test]
fn a_batch_is_published_as_one_and_a_single_write_is_not() {
    let (_directory, store) = open();
    let (one, mut two) = (set("a", "1"), set("a", "2"));
    two.set("b", "2");
    let publications = |write: &dyn Fn()| {
        let count = || store.core().keydir.publication.load(Ordering::Relaxed);
        let before = count();
        write();
        (count() - before) / 2
    };
    let options = WriteOptions::new();
    assert_eq!(publications(&|| drop(store.write(&one))), 0);
    assert_eq!(publications(&|| drop(store.write_many(&[(&one, options), (&one, options)]))), 0);
    assert_eq!(publications(&|| drop(store.write(&two))), 1);
}

#[test]
fn what_was_removed_just_before_is_not_there_any_more() {
    let (_directory, store) = open();
    let (set, mut remove) = (set("a", "1"), Batch::new());
    remove.remove("a");
    let options = WriteOptions::new();
    let writes = [&remove, &set, &set, &remove, &remove, &set].map(|batch| (batch, options));
    let existed = store.write_many(&writes).into_iter().map(|it| it.unwrap().existed);
    assert_eq!(existed.collect::<Vec<_>>(), [false, false, true, true, false, false]);
}

#[test]
fn a_chain_ends_where_one_is_refused() {
    let (_directory, store) = open();
    let mut refused = set("a", "1");
    refused.require("x", Expected::Present);
    let (chained, free) = (WriteOptions::new().chained(), WriteOptions::new());
    let (b, c, d, e) = (set("b", "1"), set("c", "1"), set("d", "1"), set("e", "1"));
    let writes = [(&b, chained), (&refused, chained), (&c, chained), (&d, free), (&e, chained)];
    let outcomes = store.write_many(&writes);
    assert!(outcomes[0].is_ok());
    assert!(matches!(outcomes[1], Err(KvsError::PreconditionFailed { .. })));
    assert!(matches!(outcomes[2], Err(KvsError::Skipped)));
    assert!(outcomes[3].is_ok() && outcomes[4].is_ok());
    let found = store.get_many(&["a", "b", "c", "d", "e"]).unwrap();
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, false, true, true]);
}

/// The chain goes on where a group was full.
#[test]
fn a_chain_is_skipped_over_groups() {
    let (_directory, store) = open();
    let mut refused = set("a", "1");
    refused.require("x", Expected::Present);
    let large = set("large", &"v".repeat(700 << 10));
    let chained = WriteOptions::new().chained();
    let writes = [(&refused, chained), (&large, chained), (&large, chained), (&large, chained)];
    let outcomes = store.write_many(&writes);
    let skipped = outcomes.iter().filter(|it| matches!(it, Err(KvsError::Skipped))).count();
    assert_eq!((skipped, store.len()), (3, 0), "{outcomes:?}");
}

#[test]
fn one_sync_is_enough() {
    let (_directory, store) = open();
    let batches: Vec<Batch> = (0..100).map(|it| set(&format!("key {it}"), "value")).collect();
    let always = WriteOptions::new().durability(Durability::Always);
    let writes: Vec<_> = batches.iter().map(|batch| (batch, always)).collect();
    let before = store.stats().syncs;
    assert!(store.write_many(&writes).iter().all(Result::is_ok));
    assert_eq!((store.stats().syncs - before, store.len()), (1, 100));
}

/// Larger than a group, with keys that come again: the last one counts.
#[test]
fn many_groups_keep_the_order() {
    let (_directory, store) = open();
    let batches: Vec<Batch> = (0..40)
        .map(|it| set(&format!("key {}", it % 7), &format!("{it} {}", "v".repeat(100 << 10))))
        .collect();
    let options = WriteOptions::new();
    let writes: Vec<_> = batches.iter().map(|batch| (batch, options)).collect();
    assert!(store.write_many(&writes).iter().all(Result::is_ok));
    for key in 0..7 {
        let last = (0..40).rev().find(|it| it % 7 == key).unwrap();
        let value = store.get(format!("key {key}")).unwrap().unwrap();
        assert!(value.starts_with(format!("{last} ").as_bytes()));
    }
}

#[test]
fn a_walk_meets_what_is_there_throughout() {
    let (_directory, store) = open();
    for number in 0..3000 {
        store.set(format!("stays {number}"), "").unwrap();
    }
    let mut met = std::collections::HashSet::new();
    let (mut cursor, mut step) = (0, 0);
    loop {
        let walked = store.walk(cursor, 7).unwrap();
        met.extend(walked.keys);
        // Shards grow and shrink on the way.
        for number in 0..20 {
            store.set(format!("comes {}", step * 20 + number), "").unwrap();
            store.remove(format!("comes {}", step * 10 + number)).unwrap();
        }
        store.set(format!("stays {}", step % 3000), "again").unwrap();
        (cursor, step) = (walked.cursor, step + 1);
        if cursor == 0 {
            break;
        }
    }
    for number in 0..3000 {
        assert!(met.contains(format!("stays {number}").as_bytes()), "{number}");
    }
    let end = (super::super::keydir::Keydir::shards() as u64) << 24;
    assert!(matches!(store.walk(end, 1), Err(KvsError::InvalidCursor { .. })));
}

/// Runs one thing again and again beside another.
fn beside(writer: impl Fn(u64) + Send, reader: impl Fn() + Sync) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let is_over = &is_over;
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let reader = &reader;
                scope.spawn(move || (0..20_000).for_each(|_| reader()))
            })
            .collect();
        scope.spawn(move || {
            for round in 1.. {
                writer(round);
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let read: Vec<_> = readers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(read.into_iter().all(|read| read.is_ok()));
    });
}

/// `a` is always as high as `b`, or one ahead.
#[test]
fn several_keys_are_read_at_one_moment() {
    let (_directory, store) = open();
    let put = |round: u64| {
        store.set("a", round.to_string()).unwrap();
        store.set("b", round.to_string()).unwrap();
    };
    put(0);
    let number =
        |value: &Option<crate::Value>| String::from_utf8_lossy(value.as_ref().unwrap()).parse();
    beside(put, || {
        let found = store.get_many(&["a", "b"]).unwrap();
        let (a, b): (u64, u64) = (number(&found[0]).unwrap(), number(&found[1]).unwrap());
        assert!(a == b || a == b + 1, "{a} {b}");
    });
}

/// One of the two is always there.
#[test]
fn absences_are_of_one_moment() {
    let (_directory, store) = open();
    store.set("a", "").unwrap();
    let put = |_| {
        store.set("b", "").unwrap();
        store.remove("a").unwrap();
        store.set("a", "").unwrap();
        store.remove("b").unwrap();
    };
    beside(put, || {
        let found = store.get_many(&["a", "b"]).unwrap();
        assert!(found.iter().any(Option::is_some));
    });
}
