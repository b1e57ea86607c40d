//! The thread pools, each by the tests of the PingCAP Talent Plan's project 4 and some more.

use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};

use kvs::KvsError;
use kvs::thread_pool::{
    AnyThreadPool, NaiveThreadPool, PoolKind, RayonThreadPool, SharedQueueThreadPool, ThreadPool,
    run_on,
};

/// A panic that prints nothing.
struct Silent;

fn quietly_panic() {
    std::panic::resume_unwind(Box::new(Silent));
}

fn wait_for_all<T>(receiver: &std::sync::mpsc::Receiver<T>, count: usize) {
    for _ in 0..count {
        receiver.recv().unwrap();
    }
}

/// Adds to a counter in many jobs, spawned from several threads.
fn many_jobs<P: ThreadPool>(threads: u32) {
    const SPAWNERS: usize = 4;
    const JOBS: usize = 250;
    let pool = P::new(threads).unwrap();
    let counter = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for _ in 0..SPAWNERS {
            let (pool, counter, sender): (_, _, Sender<()>) = (&pool, &counter, sender.clone());
            scope.spawn(move || {
                for _ in 0..JOBS {
                    let (counter, sender) = (Arc::clone(counter), sender.clone());
                    pool.spawn(move || {
                        counter.fetch_add(1, Ordering::SeqCst);
                        sender.send(()).unwrap();
                    });
                }
            });
        }
    });
    wait_for_all(&receiver, SPAWNERS * JOBS);
    assert_eq!(counter.load(Ordering::SeqCst), SPAWNERS * JOBS);
}

/// After many panics, as many jobs as there are threads run side by side.
fn panics_cost_no_thread<P: ThreadPool>() {
    const THREADS: usize = 4;
    let pool = P::new(4).unwrap();
    for _ in 0..THREADS * 4 {
        pool.spawn(quietly_panic);
    }
    let barrier = Arc::new(Barrier::new(THREADS));
    let (sender, receiver) = channel();
    for _ in 0..THREADS {
        let (barrier, sender) = (Arc::clone(&barrier), sender.clone());
        pool.spawn(move || {
            barrier.wait();
            sender.send(()).unwrap();
        });
    }
    wait_for_all(&receiver, THREADS);
}

/// A job may spawn others, also on a pool that is dropped meanwhile.
fn jobs_spawn_jobs<P: ThreadPool>() {
    let pool = Arc::new(P::new(1).unwrap());
    let (sender, receiver) = channel();
    let own = Arc::clone(&pool);
    pool.spawn(move || {
        let again = sender.clone();
        own.spawn(move || again.send(2).unwrap());
        sender.send(1).unwrap();
        drop(own);
    });
    drop(pool);
    let mut sent = [receiver.recv().unwrap(), receiver.recv().unwrap()];
    sent.sort_unstable();
    assert_eq!(sent, [1, 2]);
}

/// The last handle goes in a job of the pool itself.
fn dropped_by_its_own_job<P: ThreadPool>() {
    let pool = Arc::new(P::new(2).unwrap());
    let (sender, receiver) = channel();
    let (go, gone) = channel();
    let own = Arc::clone(&pool);
    pool.spawn(move || {
        gone.recv().unwrap();
        drop(own);
        sender.send(()).unwrap();
    });
    drop(pool);
    go.send(()).unwrap();
    receiver.recv().unwrap();
}

fn answers_come_through_a_future<P: ThreadPool>() {
    let pool = P::new(2).unwrap();
    assert_eq!(block_on(run_on(&pool, || Ok(42))).unwrap(), 42);
    let failed = block_on(run_on(&pool, || Err::<(), _>(KvsError::KeyNotFound)));
    assert!(matches!(failed, Err(KvsError::KeyNotFound)));
    let lost = block_on(run_on(&pool, || {
        quietly_panic();
        Ok(())
    }));
    assert!(matches!(lost, Err(KvsError::JobLost)));
}

fn no_threads_are_refused<P: ThreadPool>() {
    assert!(matches!(P::new(0), Err(KvsError::InvalidOption { option: "threads", .. })));
}

/// Polls without a waker that does anything: the pools run on by themselves.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

macro_rules! for_each_pool {
    ($($test:ident),*) => {
        mod naive {
            $(#[test] fn $test() { super::$test::<super::NaiveThreadPool>(); })*
        }
        mod shared_queue {
            $(#[test] fn $test() { super::$test::<super::SharedQueueThreadPool>(); })*
        }
        mod rayon {
            $(#[test] fn $test() { super::$test::<super::RayonThreadPool>(); })*
        }
        mod any {
            $(#[test] fn $test() { super::$test::<super::AnyThreadPool>(); })*
        }
    };
}

fn many_jobs_on_four_threads<P: ThreadPool>() {
    many_jobs::<P>(4);
}

fn many_jobs_on_one_thread<P: ThreadPool>() {
    many_jobs::<P>(1);
}

for_each_pool!(
    many_jobs_on_four_threads,
    many_jobs_on_one_thread,
    panics_cost_no_thread,
    jobs_spawn_jobs,
    dropped_by_its_own_job,
    answers_come_through_a_future,
    no_threads_are_refused
);

#[test]
fn dropping_the_shared_queue_lets_its_jobs_finish() {
    let counter = Arc::new(AtomicUsize::new(0));
    let pool = SharedQueueThreadPool::new(2).unwrap();
    for number in 0..100 {
        let counter = Arc::clone(&counter);
        pool.spawn(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            if number % 10 == 0 {
                quietly_panic();
            }
        });
    }
    drop(pool);
    assert_eq!(counter.load(Ordering::SeqCst), 100);
}

#[test]
fn a_panic_with_any_payload_costs_no_thread() {
    let pool = SharedQueueThreadPool::new(1).unwrap();
    pool.spawn(|| panic_any(7));
    assert_eq!(block_on(run_on(&pool, || Ok(1))).unwrap(), 1);
}

#[test]
fn pools_are_chosen_by_name() {
    for kind in PoolKind::ALL {
        assert_eq!(kind.name().parse::<PoolKind>().unwrap(), kind);
        let pool = kind.build(2).unwrap();
        assert_eq!(block_on(run_on(&pool, || Ok(42))).unwrap(), 42);
    }
    let unknown = "abacus".parse::<PoolKind>();
    assert!(matches!(unknown, Err(KvsError::InvalidOption { option: "pool", .. })));
}
