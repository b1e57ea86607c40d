//! A clock that stands still until it is set.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::clock::Clock;

/// What a clock of the tests shows at first, in milliseconds since 1970-01-01 UTC.
pub const START_MS: u64 = 1_000_000_000_000;

/// A clock that the tests set.
pub struct SetClock {
    wall_ms: AtomicU64,
    steady_ms: AtomicU64,
}

impl SetClock {
    /// A clock that shows this.
    pub fn at(wall_ms: u64) -> SetClock {
        SetClock { wall_ms: AtomicU64::new(wall_ms), steady_ms: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn pass(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.steady_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the clock of the machine.
    pub fn set_wall(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Default for SetClock {
    fn default() -> SetClock {
        SetClock::at(START_MS)
    }
}

impl Clock for SetClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> u64 {
        self.steady_ms.load(Ordering::SeqCst)
    }
}
