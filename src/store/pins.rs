//! Pins: how a reader keeps what it found from being freed, without a lock or a shared counter.
//!
//! Epoch-based reclamation (Fraser, 2004), cut down to what the store needs. A reader writes the
//! current epoch into a slot of its own thread, and clears it when it is done. Who takes
//! something out of reach calls `retire`, which begins a new epoch; once no slot holds an older
//! one (`is_quiescent`), no reader can still have it.
//!
//! Pins of one thread nest. Nothing here frees anything: the owner of a retired thing asks.

use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::sync::thread_index;
use super::sync::{AtomicU32, AtomicU64, heavy_barrier, light_barrier, register_barriers};

/// Slots are made in chunks, each twice as large as the one before.
const FIRST_CHUNK: usize = 32;
const CHUNKS: usize = 24;

/// One thread's place. Aligned so that threads do not share cache lines (two, because processors
/// fetch them in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Slot {
    /// The epoch in which the thread pinned; 0: it is not pinned.
    epoch: AtomicU64,
    /// How many pins the thread holds. Only its own thread touches this.
    depth: AtomicU32,
}

/// The pins of one store.
pub(crate) struct Pins {
    epoch: AtomicU64,
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
}

/// The point in time at which something went out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

/// While this lives, nothing that its thread can reach is freed.
pub(crate) struct Pin<'a> {
    slot: &'a Slot,
    /// A pin belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Pins {
    pub(crate) fn new() -> Pins {
        register_barriers();
        Pins { epoch: AtomicU64::new(1), chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// Keeps everything that is within reach now from being freed.
    #[inline]
    pub(crate) fn pin(&self) -> Pin<'_> {
        let slot = self.slot(thread_index());
        let depth = slot.depth.load(Ordering::Relaxed);
        slot.depth.store(depth + 1, Ordering::Relaxed);
        if depth == 0 {
            // Acquire: who sees the epoch of a `retire` also sees what was put out of reach.
            let epoch = self.epoch.load(Ordering::Acquire);
            // Release: who sees this epoch also sees that the thread's earlier pins are over.
            slot.epoch.store(epoch, Ordering::Release);
            light_barrier();
        }
        Pin { slot, _not_send: PhantomData }
    }

    #[inline]
    fn slot(&self, index: usize) -> &Slot {
        let chunk = ((index / FIRST_CHUNK) + 1).ilog2();
        let within = index - FIRST_CHUNK * ((1 << chunk) - 1);
        let slots = self.chunks.get(chunk as usize).map(|slots| {
            slots.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| Slot::default()).collect())
        });
        match slots.and_then(|slots| slots.get(within)) {
            Some(slot) => slot,
            // 2^29 threads do not run in one process.
            None => std::process::abort(),
        }
    }

    /// To be called after something was put out of reach: gives the epoch to wait for.
    pub(crate) fn retire(&self) -> Epoch {
        Epoch(self.epoch.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Whether every reader that could reach what was retired is gone.
    pub(crate) fn is_quiescent(&self, Epoch(retired): Epoch) -> bool {
        heavy_barrier();
        let pinned_before = |slot: &Slot| {
            let epoch = slot.epoch.load(Ordering::Acquire);
            epoch != 0 && epoch < retired
        };
        let chunks = self.chunks.iter().filter_map(OnceLock::get);
        kvs_bug!("ignore_pins") || !chunks.flat_map(|slots| slots.iter()).any(pinned_before)
    }
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = self.slot.depth.load(Ordering::Relaxed) - 1;
        self.slot.depth.store(depth, Ordering::Relaxed);
        if depth == 0 {
            self.slot.epoch.store(0, Ordering::Release);
        }
    }
}
