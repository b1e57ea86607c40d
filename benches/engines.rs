//! The benchmarks of the PingCAP Talent Plan's project 4: two engines, reads and writes, on each
//! thread pool with several numbers of threads.
//!
//! An iteration is a thousand jobs, each one call on the engine, and the wait for the last of them.
//! Nothing is synced: what is measured is the way through pool and engine. `cargo bench` takes
//! about two minutes; `bench/` measures the engines themselves.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use kvs::engine::{BlockingEngine, SledKvsEngine, Write};
use kvs::thread_pool::{AnyThreadPool, PoolKind, ThreadPool};
use kvs::{Batch, Durability, Options, Store};
use tempfile::TempDir;

const JOBS: usize = 1000;
const THREADS: [u32; 3] = [1, 2, 4];
const VALUE: [u8; 100] = [b'v'; 100];

/// A call on an engine, about the key of that number.
type Call = Arc<dyn Fn(usize) + Send + Sync>;

fn key(number: usize) -> String {
    format!("key {number:06}")
}

fn done<T>(result: kvs::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// An engine with all keys, and what reads and writes it.
struct Subject {
    name: &'static str,
    read: Call,
    write: Call,
    _dir: TempDir,
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"))
}

fn kvs() -> Subject {
    let dir = temporary();
    let store: Store = done(Options::new().durability(Durability::Os).open(dir.path()));
    let reader = store.clone();
    Subject {
        name: "kvs",
        read: Arc::new(move |number| assert!(done(reader.get(key(number))).is_some())),
        write: Arc::new(move |number| assert!(done(store.set(key(number), VALUE)).seq > 0)),
        _dir: dir,
    }
}

fn sled() -> Subject {
    let dir = temporary();
    let engine = Arc::new(done(SledKvsEngine::open(dir.path(), Durability::Os)));
    let reader = Arc::clone(&engine);
    let write = move |number| {
        let mut batch = Batch::new();
        batch.set(key(number), VALUE);
        let write = Write { batch, ..Write::default() };
        let outcomes = done(engine.write(&[write]));
        assert!(outcomes.into_iter().map(done).all(|written| written.seq > 0));
    };
    Subject {
        name: "sled",
        read: Arc::new(move |number| {
            let found = done(reader.get_many(&[Bytes::from(key(number))]));
            assert!(found.iter().all(Option::is_some));
        }),
        write: Arc::new(write),
        _dir: dir,
    }
}

/// Runs a call for each key on a pool, and waits for all.
fn run(pool: &AnyThreadPool, call: &Call) {
    let (sender, receiver) = channel::<()>();
    for number in 0..JOBS {
        let (call, sender) = (Arc::clone(call), sender.clone());
        pool.spawn(move || {
            call(number);
            drop(sender);
        });
    }
    drop(sender);
    // It ends when the last sender is gone.
    assert!(receiver.recv().is_err());
}

fn engines(criterion: &mut Criterion) {
    for subject in [kvs(), sled()] {
        (0..JOBS).for_each(|number| (subject.write)(number));
        for (doing, call) in [("write", &subject.write), ("read", &subject.read)] {
            let mut group = criterion.benchmark_group(format!("{doing} {}", subject.name));
            group.throughput(Throughput::Elements(JOBS as u64));
            for kind in PoolKind::ALL {
                for threads in THREADS {
                    let pool = done(kind.build(threads));
                    let id = BenchmarkId::new(kind.name(), threads);
                    group.bench_function(id, |bencher| bencher.iter(|| run(&pool, call)));
                }
            }
            group.finish();
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    engines(&mut criterion);
    criterion.final_summary();
}
