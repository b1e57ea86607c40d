//! The engine `kvs`: the store.

use std::ops::Bound;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kvs::engine::{Scan, StoreEngine, conformance};
use kvs::thread_pool::{PoolKind, ThreadPool};
use kvs::{Durability, Index, KvsEngine, KvsError, Options, Result};

fn conforms(options: &Options, pool: PoolKind) {
    conformance::run(&|| {
        let dir = tempfile::tempdir().unwrap();
        let options = options.clone();
        Box::new(move || Ok(Arc::new(StoreEngine::open(dir.path(), &options, pool.build(2)?)?)))
    });
}

#[test]
fn the_store_conforms_on_each_pool() {
    for pool in PoolKind::ALL {
        conforms(&Options::new().durability(Durability::Os), pool);
    }
}

#[test]
fn the_store_conforms_with_every_write_synced() {
    conforms(&Options::new().durability(Durability::Always), PoolKind::Shared);
}

#[test]
fn the_store_conforms_with_the_ordered_index() {
    conforms(&Options::new().index(Index::Ordered), PoolKind::Shared);
}

/// A pool in which jobs wait for ever.
struct Stuck(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl ThreadPool for Stuck {
    fn new(_threads: u32) -> Result<Stuck> {
        Ok(Stuck(Mutex::default()))
    }

    fn spawn<F>(&self, job: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.0.lock().unwrap().push(Box::new(job));
    }
}

#[tokio::test]
async fn figures_and_the_end_wait_for_no_scan() {
    let dir = tempfile::tempdir().unwrap();
    let engine = StoreEngine::open(dir.path(), &Options::new(), Stuck::new(1).unwrap()).unwrap();
    let all =
        Scan { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false, keys_only: false };
    let scans: Vec<_> = (0..10).map(|_| engine.scan(all.clone())).collect();
    assert_eq!(engine.stats().await.unwrap().keys, 0);
    engine.compact().await.unwrap();
    engine.clear().await.unwrap();
    engine.close().await.unwrap();
    assert!(matches!(engine.stats().await, Err(KvsError::Closed)));
    drop(scans);
}

#[tokio::test]
async fn many_keys_are_not_read_on_the_thread_of_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let engine = StoreEngine::open(dir.path(), &Options::new(), Stuck::new(1).unwrap()).unwrap();
    let keys = vec![Bytes::from("key"); 10_000];
    assert_eq!(engine.get_many(&keys[..1000]).await.unwrap().len(), 1000);
    let mut many = engine.get_many(&keys);
    let mut some = engine.get_some(&keys, usize::MAX);
    tokio::select! {
        biased;
        _ = &mut many => panic!("it was read at once"),
        _ = &mut some => panic!("it was read at once"),
        () = std::future::ready(()) => {}
    }
}
