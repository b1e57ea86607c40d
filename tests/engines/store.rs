//! The engine `kvs`: the store.

use std::ops::Bound;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use kvs::engine::{Answer, Scan, StoreEngine, Write, conformance};
use kvs::thread_pool::{PoolKind, ThreadPool};
use kvs::{Batch, Durability, Index, KvsEngine, KvsError, Options, Result};

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

type Jobs = Vec<Box<dyn FnOnce() + Send>>;

/// A pool in which jobs wait until they are told to run.
#[derive(Clone)]
struct Stuck(Arc<Mutex<Jobs>>);

impl Stuck {
    fn run(&self) {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap());
        jobs.into_iter().for_each(|job| job());
    }
}

/// The answer, if it is there without waiting.
fn at_once<T>(answer: Answer<'_, T>) -> Option<Result<T>> {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

impl ThreadPool for Stuck {
    fn new(_threads: u32) -> Result<Stuck> {
        Ok(Stuck(Arc::default()))
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
    let pool = Stuck::new(1).unwrap();
    let engine = StoreEngine::open(dir.path(), &Options::new(), pool.clone()).unwrap();
    let keys = vec![Bytes::from("key"); 10_000];
    assert_eq!(engine.get_many(&keys[..200]).await.unwrap().len(), 200);
    assert!(at_once(engine.get_many(&keys)).is_none());
    assert!(at_once(engine.get_some(&keys, usize::MAX)).is_none());
    let snapshot = engine.snapshot();
    pool.run();
    assert!(at_once(snapshot.await.unwrap().get_many(&keys)).is_none());
}

#[tokio::test]
async fn what_a_watch_reads_is_not_read_on_the_thread_of_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Stuck::new(1).unwrap();
    let engine = StoreEngine::open(dir.path(), &Options::new(), pool.clone()).unwrap();
    let set = |key: String| {
        let mut batch = Batch::new();
        batch.set(key, vec![0; 100_000]);
        engine.write(vec![Write { batch, ..Write::default() }])
    };
    for number in 0..30 {
        set(format!("other {number}")).await.unwrap();
    }
    set("key".to_owned()).await.unwrap();
    let mut changes = engine.watch(Some(0), b"key").await.unwrap();
    // Of a log in which nothing is wanted, some is read at a time. No reading is lost if it is not
    // waited for to its end.
    let mut rounds = 0;
    let found = loop {
        match at_once(changes.next(10)) {
            Some(found) => break found.unwrap(),
            None => pool.run(),
        }
        rounds += 1;
    };
    assert!(rounds > 2, "{rounds}");
    assert_eq!((found.len(), &found[0].key[..]), (1, &b"key"[..]));
    assert!(at_once(changes.next(10)).is_none());
    assert!(pool.0.lock().unwrap().is_empty(), "there is nothing to read");
    engine.close().await.unwrap();
    assert!(matches!(changes.next(1).await, Err(KvsError::Closed)));
    assert!(matches!(changes.next(1).await, Err(KvsError::Closed)));
}
