//! What stands in the place of the engine's primitives: loom's.

pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread::{Thread, current, park};

use std::cell::Cell;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn spin() {
    loom::thread::yield_now();
}

pub(crate) fn register_barriers() {}

pub(crate) fn light_barrier() {
    if !kvs_bug!("no_light_barrier") {
        fence(Ordering::SeqCst);
    }
}

pub(crate) fn heavy_barrier() {
    if !kvs_bug!("no_heavy_barrier") {
        fence(Ordering::SeqCst);
    }
}

loom::thread_local! {
    static INDEX: Cell<usize> = Cell::new(0);
}

/// Gives this thread another index than 0.
pub(crate) fn set_thread_index(index: usize) {
    INDEX.with(|own| own.set(index));
}

pub(crate) fn thread_index() -> usize {
    INDEX.with(Cell::get)
}
