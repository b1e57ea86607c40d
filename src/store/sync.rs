//! The synchronisation primitives that the lock-free files are written against, in one place, so
//! that model checkers can put their own in their place.
//!
//! The light and the heavy barrier are a pair (as in user-space RCU): the heavy one makes every
//! running thread of the process execute a full barrier (`membarrier(2)`), so the light one costs
//! nothing. Where the kernel has no such call, both are full fences.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, fence};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::{Thread, current, park};

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Once, PoisonError, TryLockError};

/// How many bytes must wait to be given back before it is worth asking for their readers.
pub(crate) const RETIRED_BYTES_MIN: u64 = 64 << 10;

/// Gives memory back that nobody can reach any more.
pub(crate) fn reclaim<T>(memory: Box<[T]>) {
    drop(memory);
}

/// Locks, whatever happened to an earlier holder: what these locks protect is never left half
/// changed by a panic, because it is changed in steps that cannot panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks if nobody else holds the lock.
pub(crate) fn try_lock<T: ?Sized>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits on a condition variable, as `lock` locks.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Tells the processor that this thread waits for another one.
pub(crate) fn spin() {
    std::hint::spin_loop();
}

static MEMBARRIER: AtomicBool = AtomicBool::new(false);

/// Finds out which barriers this kernel has. To be called before the first barrier.
pub(crate) fn register_barriers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| MEMBARRIER.store(membarrier::register(), Ordering::SeqCst));
}

/// Orders this thread's earlier stores before its later loads, as seen across a heavy barrier.
#[inline]
pub(crate) fn light_barrier() {
    if MEMBARRIER.load(Ordering::Relaxed) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Orders this thread's earlier stores before its later loads, and those of every thread that is
/// between a store and a load across its light barrier.
pub(crate) fn heavy_barrier() {
    fence(Ordering::SeqCst);
    if MEMBARRIER.load(Ordering::Relaxed) {
        membarrier::run();
        fence(Ordering::SeqCst);
    }
}

#[cfg(target_os = "linux")]
mod membarrier {
    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn register() -> bool {
        call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
            && call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }

    pub(super) fn run() {
        // Registered processes cannot be refused; were they, readers would not be seen.
        assert!(call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED), "membarrier failed");
    }
}

#[cfg(not(target_os = "linux"))]
mod membarrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn run() {}
}

/// The indexes that are free, and the lowest that was never given.
static INDEXES: Mutex<(BTreeSet<usize>, usize)> = Mutex::new((BTreeSet::new(), 0));
const NO_INDEX: usize = usize::MAX;

thread_local! {
    // Two variables, because the one without a destructor can be read at any time and fast.
    static INDEX: Cell<usize> = const { Cell::new(NO_INDEX) };
    static RETURN: ReturnIndex = const { ReturnIndex };
}

struct ReturnIndex;

impl Drop for ReturnIndex {
    fn drop(&mut self) {
        let index = INDEX.replace(NO_INDEX);
        if index != NO_INDEX {
            lock(&INDEXES).0.insert(index);
        }
    }
}

/// A small number that no other running thread of this process has.
#[inline]
pub(crate) fn thread_index() -> usize {
    let index = INDEX.get();
    if index != NO_INDEX { index } else { claim_index() }
}

#[cold]
fn claim_index() -> usize {
    let mut indexes = lock(&INDEXES);
    let index = indexes.0.pop_first().unwrap_or_else(|| {
        indexes.1 += 1;
        indexes.1 - 1
    });
    INDEX.set(index);
    // In a thread that is already being torn down the index is not returned: a leak of a number.
    let _ = RETURN.try_with(|_| ());
    index
}
