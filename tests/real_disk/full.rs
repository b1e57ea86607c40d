//! Disks that are full: tmpfs, ext4 and XFS.

use std::ops::Range;
use std::path::Path;

use kvs::{KvsError, Options, Store};

use super::mounts::{DISK_BYTES, FileSystem, Mount, alone, or_skip};
use super::records::{VALUE_BYTES, durably, key};

/// Sets until the disk is full; the number of keys that have a value.
fn fill(store: &Store) -> usize {
    for number in 0.. {
        match store.set(key(number), vec![b'v'; VALUE_BYTES]) {
            Ok(_) => {}
            Err(KvsError::DiskFull { .. }) => return number,
            Err(other) => panic!("set {number}: {other:?}"),
        }
        assert!(number < 10_000, "the disk is never full");
    }
    0
}

fn options() -> Options {
    Options::new().segment_bytes(256 << 10).ballast_bytes(1 << 20)
}

fn check_values(store: &Store, numbers: Range<usize>) {
    for number in numbers {
        assert_eq!(store.get(key(number)).unwrap().unwrap().len(), VALUE_BYTES, "{number}");
    }
}

/// Reads, removes and compaction go on, and then sets do, without opening again.
fn check_goes_on(dir: &Path) {
    let store = options().open(dir).unwrap();
    let there = fill(&store);
    assert!(there > 500, "only {there} values fit");
    check_values(&store, 0..there);
    let removed = there / 2;
    for number in 0..removed {
        assert!(store.remove(key(number)).unwrap().existed);
    }
    store.compact().unwrap();
    check_values(&store, removed..there);
    for number in 0..removed / 2 {
        store.set_opt(key(number), vec![b'v'; VALUE_BYTES], durably()).unwrap();
    }
    store.close().unwrap();
    let store = options().open(dir).unwrap();
    check_values(&store, 0..removed / 2);
    check_values(&store, removed..there);
    assert_eq!(store.len(), (there - removed + removed / 2) as u64);
    store.close().unwrap();
}

/// A full disk is no reason not to close, and none not to open.
fn check_reopens(dir: &Path) {
    let store = options().open(dir).unwrap();
    let there = fill(&store);
    store.close().unwrap();
    let store = options().open(dir).unwrap();
    check_values(&store, 0..there);
    store.clear().unwrap();
    store.set_opt("key", "value", durably()).unwrap();
    store.close().unwrap();
}

/// The file systems of this machine that are small enough to be filled.
fn small_disks(test: &str) -> impl Iterator<Item = Mount> {
    let made = [
        ("tmpfs", Mount::tmpfs(DISK_BYTES)),
        ("ext4", Mount::small(FileSystem::Ext4)),
        ("XFS", Mount::small(FileSystem::Xfs)),
    ];
    made.into_iter().filter_map(move |(name, made)| or_skip(&format!("{test}, {name}"), made))
}

#[test]
fn a_full_disk_is_no_reason_to_stop() {
    let _alone = alone();
    for mount in small_disks("a full disk") {
        check_goes_on(&mount.place.join("store"));
    }
}

#[test]
fn a_full_disk_is_closed_and_opened() {
    let _alone = alone();
    for mount in small_disks("closing on a full disk") {
        check_reopens(&mount.place.join("store"));
    }
}
