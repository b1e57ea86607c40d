//! The engine `sled`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs::engine::{BlockingEngine, Pooled, SledKvsEngine, Write, conformance, engine_of};
use kvs::thread_pool::{PoolKind, SharedQueueThreadPool, ThreadPool};
use kvs::{Batch, Durability, KvsError, Store};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn sled_conforms_on_each_pool() {
    for kind in PoolKind::ALL {
        conformance::run(&|| {
            let dir = tempfile::tempdir().unwrap();
            Box::new(move || {
                let engine = SledKvsEngine::open(dir.path(), Durability::Os)?;
                Ok(Arc::new(Pooled::new(engine, kind.build(4)?)))
            })
        });
    }
}

#[test]
fn sled_conforms_with_every_write_synced() {
    conformance::run(&|| {
        let dir = tempfile::tempdir().unwrap();
        Box::new(move || {
            let engine = SledKvsEngine::open(dir.path(), Durability::Always)?;
            Ok(Arc::new(Pooled::new(engine, SharedQueueThreadPool::new(2)?)))
        })
    });
}

fn open(dir: &Path) -> kvs::Result<SledKvsEngine> {
    SledKvsEngine::open(dir, Durability::Os)
}

fn set(engine: &SledKvsEngine, key: &str, value: &str) -> kvs::Written {
    let mut batch = Batch::new();
    batch.set(key, value);
    engine.write(&[Write { batch, ..Write::default() }]).unwrap().remove(0).unwrap()
}

fn get(engine: &SledKvsEngine, key: &str) -> Option<Vec<u8>> {
    let found = engine.get_many(&[Bytes::copy_from_slice(key.as_bytes())]).unwrap().remove(0);
    found.map(|found| found.value.into_vec())
}

#[test]
fn a_directory_has_one_engine() {
    let (of_kvs, of_sled) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Store::open(of_kvs.path()).unwrap().close().unwrap();
    open(of_sled.path()).unwrap().close().unwrap();
    assert_eq!(engine_of(of_kvs.path()).unwrap().as_deref(), Some("kvs"));
    assert_eq!(engine_of(of_sled.path()).unwrap().as_deref(), Some("sled"));
    for empties in [false, true] {
        if empties {
            // The file is lost: what else is there tells.
            fs::remove_file(of_kvs.path().join("ENGINE")).unwrap();
            fs::write(of_sled.path().join("ENGINE"), "").unwrap();
        }
        let refused = open(of_kvs.path()).map(|_| ());
        assert!(matches!(refused, Err(KvsError::WrongEngine { found, wanted: "sled", .. })
            if found == "kvs"));
        let refused = Store::open(of_sled.path()).map(|_| ());
        assert!(matches!(refused, Err(KvsError::WrongEngine { found, wanted: "kvs", .. })
            if found == "sled"));
    }
    // It is written again by the engine whose it is.
    open(of_sled.path()).unwrap().close().unwrap();
    assert_eq!(fs::read(of_sled.path().join("ENGINE")).unwrap(), b"sled\n");
    assert_eq!(engine_of(tempfile::tempdir().unwrap().path()).unwrap(), None);
}

#[test]
fn an_open_directory_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).unwrap();
    let again = open(dir.path()).map(|_| ());
    let own = std::process::id();
    assert!(matches!(again, Err(KvsError::Locked { pid: Some(pid), .. }) if pid == own));
    engine.close().unwrap();
    drop(open(dir.path()).unwrap());
    open(dir.path()).unwrap();
}

/// Opens the database alone. The threads of an earlier handle may have its file a while longer.
fn open_db(dir: &Path) -> ::sled::Db {
    let begun = Instant::now();
    loop {
        match ::sled::open(dir) {
            Err(error) if is_lock(&error) && begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
            opened => return opened.unwrap(),
        }
    }
}

fn is_lock(error: &::sled::Error) -> bool {
    error.to_string().contains("acquire lock")
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_db(dir.path());
    db.insert("key", "no header").unwrap();
    drop(db);
    let refused = open(dir.path()).map(|_| ());
    assert!(matches!(refused, Err(KvsError::NotEmpty { .. })), "{refused:?}");
    assert!(!dir.path().join("ENGINE").exists());
    // One that is empty is as good as a new one.
    let db = open_db(dir.path());
    db.remove("key").unwrap();
    drop(db);
    let engine = open(dir.path()).unwrap();
    set(&engine, "key", "value");
    assert_eq!(get(&engine, "key").as_deref(), Some(&b"value"[..]));
}

/// A process that is killed is a copy of its directory while it has it open.
#[test]
fn versions_are_not_given_twice_after_a_crash() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = open(dir.path()).unwrap();
    let synced = set(&engine, "synced", "value");
    engine.sync().unwrap();
    let lost = set(&engine, "lost", "value");
    copy_files(dir.path(), copy.path());
    let after = open(copy.path()).unwrap();
    assert_eq!(get(&after, "synced").as_deref(), Some(&b"value"[..]));
    assert_eq!(after.len().unwrap(), 1 + u64::from(get(&after, "lost").is_some()));
    let next = set(&after, "next", "value");
    assert!(next.seq > lost.seq && lost.seq > synced.seq);
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            fs::create_dir(to.join(&name)).unwrap();
            copy_files(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn unknown_cursors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).unwrap();
    for number in 0..10 {
        set(&engine, &format!("key {number}"), "value");
    }
    let cursor = engine.walk(0, 3).unwrap().cursor;
    engine.walk(cursor, 3).unwrap();
    let unknown = engine.walk(cursor + 100, 3);
    assert!(matches!(unknown, Err(KvsError::InvalidCursor { cursor: told })
        if told == cursor + 100));
}

/// Also those in thin branches, and one that is the begin of others.
#[test]
fn every_key_can_come_by_chance() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).unwrap();
    let keys = ["", "a", "aa", "aaa", "ab", "user:1", "user:10", "user:2", "\u{10ffff}"];
    for key in keys {
        set(&engine, key, "value");
    }
    let mut found = BTreeSet::new();
    for _ in 0..2000 {
        found.extend(engine.random_key().unwrap());
    }
    assert_eq!(found.len(), keys.len());
}

/// Writes take out what has expired, in passing; that this fails is not the write's failure.
#[test]
fn a_write_that_was_done_is_answered_so_though_what_comes_with_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).unwrap();
    set(&engine, "before", "value");
    engine.close().unwrap();
    let db = open_db(dir.path());
    db.open_tree("records.1").unwrap().insert("damaged", "short").unwrap();
    drop(db);
    let engine = open(dir.path()).unwrap();
    for value in ["1", "2"] {
        let mut batch = Batch::new();
        batch.set_until("expiring", "value", engine.now_ms() + 3_600_000).set("key", value);
        engine.write(&[Write { batch, ..Write::default() }]).unwrap().remove(0).unwrap();
        assert_eq!(get(&engine, "key").as_deref(), Some(value.as_bytes()));
    }
    assert!(matches!(engine.len(), Err(KvsError::Engine { .. })));
}
