//! Formats stay readable: a data directory of each version of the format opens and holds what was
//! written to it.
//!
//! `formats/v1` to `v3` were made by this file as it was then, the newest with
//! `KVS_MAKE_FORMAT=<new directory>`: several segments, hints, a batch, removes, since version 2
//! keys that expire, since version 3 a compaction, and an end that was never closed.
//!
//! `formats/v3.txt` is what `kvs inspect` says of the newest: the format as text, in which a change
//! shows. It is written anew with `KVS_MAKE_GOLDEN=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kvs::{Batch, Durability, KvsError, Options, SetOptions, Store};
use tempfile::tempdir;

const BYTES_MAX: u64 = 100 << 10;
const NEWEST: u32 = 3;

fn directory_of(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/formats/v{version}"))
}

fn copy(from: &Path, to: &Path) -> u64 {
    fs::create_dir_all(to).unwrap();
    let entries = fs::read_dir(from).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| fs::copy(entry.path(), to.join(entry.file_name())).unwrap()).sum()
}

fn options() -> Options {
    Options::new().segment_bytes(4096).ballast_bytes(0).compaction(false).durability(Durability::Os)
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn value(number: usize, round: usize) -> Vec<u8> {
    format!("value {number} of round {round}, ").repeat(number % 20).into_bytes()
}

/// The first part of the contents, after which the store was closed.
fn first_part(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for round in 0..2 {
        for number in 0..40 {
            store.set(key(number), value(number, round)).unwrap();
            contents.insert(key(number), value(number, round));
        }
    }
    for number in (0..40).step_by(5) {
        store.remove(key(number)).unwrap();
        contents.remove(&key(number));
    }
    contents
}

/// The second part, after which it was not.
fn second_part(store: &Store, contents: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut batch = Batch::new();
    for number in 30..50 {
        batch.set(key(number), value(number, 2));
        contents.insert(key(number), value(number, 2));
    }
    batch.remove(key(31));
    contents.remove(&key(31));
    store.write(&batch).unwrap();
    for (key, value) in [(&b""[..], &b"of the empty key"[..]), (b"\0\xff", b""), (b"last", b"end")]
    {
        store.set(key, value).unwrap();
        contents.insert(key.to_vec(), value.to_vec());
    }
    store.remove(key(1)).unwrap();
    contents.remove(&key(1));
}

/// In the year 2100.
const LATER_MS: u64 = 4_102_444_800_000;

/// What version 2 has more: a key that expires late, and one that has expired when it is read.
fn expiring_part(store: &Store, contents: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    store.set("expired", "before it expired").unwrap();
    let soon = SetOptions::new().expire_after_ms(1);
    store.set_with("expired", "until it expired", soon).unwrap();
    store.set_with("later", "2100", SetOptions::new().expire_at_ms(LATER_MS)).unwrap();
    contents.insert(b"later".to_vec(), b"2100".to_vec());
}

/// Writes all parts of a version to a directory and gives the contents.
fn make(version: u32, dir: &Path, end: impl FnOnce()) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let store = options().open(dir).unwrap();
    let mut contents = first_part(&store);
    if version > 2 {
        store.compact().unwrap();
    }
    store.close().unwrap();
    let store = options().open(dir).unwrap();
    second_part(&store, &mut contents);
    if version > 1 {
        expiring_part(&store, &mut contents);
    }
    end();
    contents
}

fn check(store: &Store, expected: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let found: BTreeMap<_, _> = store
        .iter()
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
        .collect();
    assert_eq!(&found, expected);
    assert_eq!(store.len(), expected.len() as u64);
    for (key, value) in expected {
        assert_eq!(&store.get(key).unwrap().unwrap()[..], &value[..]);
    }
}

#[test]
fn version_1_is_read() {
    is_read(1, |_| ());
}

#[test]
fn version_2_is_read() {
    is_read(2, |store| {
        assert_eq!(store.expires_at("later").unwrap(), Some(Some(LATER_MS)));
        assert_eq!(store.stats().expiring_keys, 1);
    });
}

#[test]
fn version_3_is_read() {
    is_read(3, |store| {
        assert_eq!(store.expires_at("later").unwrap(), Some(Some(LATER_MS)));
    });
}

/// What is told of the past: nothing from before the compaction.
#[test]
fn the_history_of_an_old_directory_ends_where_it_was_compacted() {
    for version in 1..=NEWEST {
        let dir = tempdir().unwrap();
        copy(&directory_of(version), dir.path());
        let store = options().open(dir.path()).unwrap();
        let mut changes = 0;
        // The first part has 88 writes.
        let mut watch = store.watch(Some(88), "").unwrap();
        while watch.next().unwrap().is_some() {
            changes += 1;
        }
        assert_eq!(changes, if version == 1 { 24 } else { 27 });
        let first = store.watch(Some(0), "");
        match version {
            3 => assert!(first.is_err_and(|it| matches!(it, KvsError::HistoryGone { .. }))),
            _ => assert!(first.is_ok()),
        }
    }
}

fn is_read(version: u32, look: impl Fn(&Store)) {
    let made = tempdir().unwrap();
    let expected = make(version, made.path(), || {
        if let Some(to) = std::env::var_os("KVS_MAKE_FORMAT").filter(|_| version == NEWEST) {
            copy(made.path(), Path::new(&to));
        }
    });
    let dir = tempdir().unwrap();
    let bytes = copy(&directory_of(version), dir.path());
    assert!(bytes <= BYTES_MAX, "{bytes} bytes are many for a repository");
    let names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for (end, least) in [(".seg", 4), (".hint", 3)] {
        let count = names.iter().filter(|name| name.ends_with(end)).count();
        assert!(count >= least, "{count} files with the end {end}");
    }
    let store = options().open(dir.path()).unwrap();
    assert!(store.stats().recovered_bytes > 0, "the end was not closed");
    check(&store, &expected);
    store.compact().unwrap();
    check(&store, &expected);
    store.close().unwrap();
    let store = Store::open(dir.path()).unwrap();
    check(&store, &expected);
    look(&store);
}

#[cfg(feature = "cli")]
#[test]
fn the_newest_version_as_text() {
    let directory = directory_of(NEWEST);
    let mut names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name == "MANIFEST" || name.contains('.'))
        .collect();
    names.sort();
    let mut dump = String::new();
    for name in names {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvs"));
        let output =
            command.arg("--dir").arg(&directory).args(["inspect", &name]).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        dump.push_str(&format!("== {name}\n{}\n", String::from_utf8(output.stdout).unwrap()));
    }
    let golden = directory.with_extension("txt");
    if std::env::var_os("KVS_MAKE_GOLDEN").is_some() {
        fs::write(&golden, &dump).unwrap();
    }
    let golden = fs::read_to_string(golden).unwrap();
    for (number, (found, expected)) in (1..).zip(dump.lines().zip(golden.lines())) {
        assert_eq!(found, expected, "line {number}");
    }
    assert_eq!(dump.lines().count(), golden.lines().count());
}
