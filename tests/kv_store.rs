//! `KvStore` as the PingCAP Talent Plan's project 4 tests it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use kvs::{KvStore, KvsError, Result, Store};
use tempfile::tempdir;

fn key(i: usize) -> String {
    format!("key{i}")
}

fn value(i: usize) -> String {
    format!("value{i}")
}

#[test]
fn get_stored_value() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    store.set(key(1), value(1))?;
    store.set(key(2), value(2))?;
    assert_eq!(store.get(key(1))?, Some(value(1)));
    assert_eq!(store.get(key(2))?, Some(value(2)));

    drop(store);
    let store = KvStore::open(dir.path())?;
    assert_eq!(store.get(key(1))?, Some(value(1)));
    assert_eq!(store.get(key(2))?, Some(value(2)));
    Ok(())
}

#[test]
fn overwrite_value() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    store.set(key(1), value(1))?;
    assert_eq!(store.get(key(1))?, Some(value(1)));
    store.set(key(1), value(2))?;
    assert_eq!(store.get(key(1))?, Some(value(2)));

    drop(store);
    let store = KvStore::open(dir.path())?;
    assert_eq!(store.get(key(1))?, Some(value(2)));
    store.set(key(1), value(3))?;
    assert_eq!(store.get(key(1))?, Some(value(3)));
    Ok(())
}

#[test]
fn get_non_existent_value() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    store.set(key(1), value(1))?;
    assert_eq!(store.get(key(2))?, None);

    drop(store);
    let store = KvStore::open(dir.path())?;
    assert_eq!(store.get(key(2))?, None);
    Ok(())
}

#[test]
fn remove_non_existent_key() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    assert!(matches!(store.remove(key(1)), Err(KvsError::KeyNotFound)));
    Ok(())
}

#[test]
fn remove_key() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    store.set(key(1), value(1))?;
    store.remove(key(1))?;
    assert_eq!(store.get(key(1))?, None);
    assert!(matches!(store.remove(key(1)), Err(KvsError::KeyNotFound)));

    drop(store);
    let store = KvStore::open(dir.path())?;
    assert_eq!(store.get(key(1))?, None);
    Ok(())
}

/// The size of all files in a directory from which files may go away while they are counted.
fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        bytes += match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => bytes_in(&path)?,
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}

/// Writing the same keys over and over makes the directory grow until compaction, and then shrink.
#[test]
fn compaction_shrinks_the_directory() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    let mut largest = bytes_in(dir.path()).unwrap();
    for round in 0..1000 {
        for i in 0..1000 {
            store.set(key(i), round.to_string())?;
        }
        let bytes = bytes_in(dir.path()).unwrap();
        if bytes >= largest {
            largest = bytes;
            continue;
        }
        drop(store);
        let store = KvStore::open(dir.path())?;
        for i in 0..1000 {
            assert_eq!(store.get(key(i))?, Some(round.to_string()));
        }
        return Ok(());
    }
    panic!("it never shrank");
}

#[test]
fn concurrent_set() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    let barrier = Arc::new(Barrier::new(1001));
    for i in 0..1000 {
        let (store, barrier) = (store.clone(), Arc::clone(&barrier));
        thread::spawn(move || {
            store.set(key(i), value(i)).unwrap();
            drop(store);
            barrier.wait();
        });
    }
    barrier.wait();
    for i in 0..1000 {
        assert_eq!(store.get(key(i))?, Some(value(i)));
    }

    drop(store);
    let store = KvStore::open(dir.path())?;
    for i in 0..1000 {
        assert_eq!(store.get(key(i))?, Some(value(i)));
    }
    Ok(())
}

#[test]
fn concurrent_get() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    for i in 0..100 {
        store.set(key(i), value(i))?;
    }
    let read_all = |store: &KvStore| {
        thread::scope(|scope| {
            for first in 0..100 {
                let store = store.clone();
                scope.spawn(move || {
                    for i in 0..100 {
                        let i = (first + i) % 100;
                        assert_eq!(store.get(key(i)).unwrap(), Some(value(i)));
                    }
                });
            }
        });
    };
    read_all(&store);

    drop(store);
    read_all(&KvStore::open(dir.path())?);
    Ok(())
}

/// Readers see a whole value, old or new, while it is written over and over.
#[test]
fn get_while_set() -> Result<()> {
    let dir = tempdir().unwrap();
    let store = KvStore::open(dir.path())?;
    let text = |round: usize| format!("{round} ").repeat(round % 7 + 1);
    for i in 0..10 {
        store.set(key(i), text(0))?;
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let mut newest = [0; 10];
                while newest[9] < 2000 {
                    for (i, newest) in newest.iter_mut().enumerate() {
                        let got = store.get(key(i)).unwrap().unwrap();
                        let round: usize = got.split(' ').next().unwrap().parse().unwrap();
                        assert_eq!(got, text(round));
                        assert!(round >= *newest, "an older value came back");
                        *newest = round;
                    }
                }
            });
        }
        for round in 1..=2000 {
            for i in 0..10 {
                store.set(key(i), text(round)).unwrap();
            }
        }
    });
    Ok(())
}

#[test]
fn a_value_that_is_no_string_is_an_error() -> Result<()> {
    let dir = tempdir().unwrap();
    let bytes = Store::open(dir.path())?;
    let strings = KvStore::open(dir.path())?;
    bytes.set("binary", b"\xff")?;
    bytes.set("text", "é")?;
    match strings.get("binary".to_owned()) {
        Err(KvsError::NotUtf8 { key }) => assert_eq!(key, "binary"),
        other => panic!("{other:?}"),
    }
    assert_eq!(strings.get("text".to_owned())?.as_deref(), Some("é"));
    strings.remove("binary".to_owned())?;
    assert_eq!(strings.get("binary".to_owned())?, None);
    Ok(())
}

#[test]
fn it_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<KvStore>();
}
