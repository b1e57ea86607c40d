//! What stands in the place of the engine's primitives: shuttle's, and atomic words that know
//! whether their memory was given back.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, fence};
pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use shuttle::thread::{Thread, current, park};

use std::any::Any;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use shuttle::sync::atomic;

/// Any number of bytes is worth asking for the readers.
pub(crate) const RETIRED_BYTES_MIN: u64 = 1;

/// A mutex of shuttle, or a real one. A real one is no point of a schedule: only one thread of a
/// test may use it.
pub(crate) trait Lock {
    type Guard<'a>
    where
        Self: 'a;
    fn guard(&self) -> Self::Guard<'_>;
}

impl<T> Lock for Mutex<T> {
    type Guard<'a>
        = MutexGuard<'a, T>
    where
        T: 'a;
    fn guard(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lock for std::sync::Mutex<T> {
    type Guard<'a>
        = std::sync::MutexGuard<'a, T>
    where
        T: 'a;
    fn guard(&self) -> std::sync::MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn lock<M: Lock>(mutex: &M) -> M::Guard<'_> {
    mutex.guard()
}

pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn spin() {
    shuttle::thread::yield_now();
}

pub(crate) fn register_barriers() {}

pub(crate) fn light_barrier() {
    fence(Ordering::SeqCst);
}

pub(crate) fn heavy_barrier() {
    fence(Ordering::SeqCst);
}

pub(crate) fn thread_index() -> usize {
    shuttle::current::me().into()
}

/// Memory that was given back in this schedule. It is kept, so that an access to it is found and
/// harmless.
struct Reclaimed {
    addresses: Range<usize>,
    _memory: Box<dyn Any>,
}

thread_local! {
    // A schedule runs on one thread of the system.
    static RECLAIMED: RefCell<Vec<Reclaimed>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn reclaim<T: 'static>(memory: Box<[T]>) {
    let Range { start, end } = memory.as_ptr_range();
    let reclaimed = Reclaimed { addresses: start.addr()..end.addr(), _memory: Box::new(memory) };
    RECLAIMED.with_borrow_mut(|all| all.push(reclaimed));
}

/// To be called when a schedule begins.
pub(crate) fn forget_reclaimed() {
    RECLAIMED.with_borrow_mut(Vec::clear);
}

fn was_reclaimed<T>(place: &T) -> bool {
    let address = std::ptr::from_ref(place).addr();
    RECLAIMED.with_borrow(|all| all.iter().any(|it| it.addresses.contains(&address)))
}

/// A word that fails the test when it is used after its memory was given back.
#[derive(Default)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> AtomicU64 {
        AtomicU64(atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        let value = self.0.load(order);
        self.check();
        value
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
        self.check();
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        let before = self.0.fetch_add(value, order);
        self.check();
        before
    }

    fn check(&self) {
        assert!(!was_reclaimed(self), "use of memory that was given back");
    }
}
