//! What all connections of a server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use super::config::Config;
use super::metrics::Metrics;
use super::password::Password;
use super::peer::Peers;
use super::serve::Started;
use super::shutdown::Shutdown;
use super::slow_log::SlowLog;
use super::turn_away;
use super::turns::Turns;
use crate::engine::KvsEngine;

pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) engine: Arc<dyn KvsEngine>,
    pub(crate) password: Option<Arc<Password>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) slow_log: Arc<SlowLog>,
    pub(crate) shutdown: Shutdown,
    pub(crate) peers: Arc<Peers>,
    pub(crate) since: Instant,
    /// When everything was last made durable because a client asked, in seconds since 1970.
    pub(crate) last_save_s: AtomicU64,
    /// Whether a compaction goes on that a client asked for.
    pub(crate) is_compacting: AtomicBool,
    /// Whether a save in the background goes on.
    pub(crate) is_saving: AtomicBool,
    /// Places for clients that are told that there is none.
    pub(crate) turned_away: Arc<Semaphore>,
    /// Places for scans that sort all keys first.
    pub(crate) sorted_scans: Arc<Semaphore>,
    /// Where writes that were refused too often take their turns.
    pub(crate) turns: Turns,
    /// The bytes of replies that connections hold.
    output_bytes: AtomicUsize,
    /// Those of requests that have not come to their end.
    input_bytes: AtomicUsize,
    /// Milliseconds since the start, as of the last tick.
    coarse_ms: AtomicU64,
}

/// Room in the account of replies, given back when it is dropped.
pub(crate) struct Room {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.hold_output(self.bytes, 0);
    }
}

/// How often deadlines are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);

impl Shared {
    pub(crate) fn new(started: &Started) -> Shared {
        Shared {
            config: Arc::clone(&started.config),
            engine: Arc::clone(&started.engine),
            password: started.password.clone(),
            metrics: Arc::clone(&started.metrics),
            slow_log: Arc::clone(&started.slow_log),
            shutdown: started.shutdown.clone(),
            peers: Arc::default(),
            since: Instant::now(),
            last_save_s: AtomicU64::new(unix_time().as_secs()),
            is_compacting: AtomicBool::new(false),
            is_saving: AtomicBool::new(false),
            turned_away: Arc::new(Semaphore::new(turn_away::PLACES)),
            sorted_scans: Arc::new(Semaphore::new(started.config.sorted_scans_max)),
            turns: Turns::new(),
            output_bytes: AtomicUsize::new(0),
            input_bytes: AtomicUsize::new(0),
            coarse_ms: AtomicU64::new(1),
        }
    }

    /// The time since the start in milliseconds, a tick late at most. It costs nothing to ask.
    pub(crate) fn coarse_ms(&self) -> u64 {
        self.coarse_ms.load(Ordering::Relaxed)
    }

    /// Looks at the clock, and ends connections that are late.
    pub(crate) fn tick(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.coarse_ms.store(now_ms, Ordering::Relaxed);
        self.peers.end_late(now_ms);
    }

    /// Counts what the replies of a connection take, instead of what they took before. False:
    /// there is no room for them.
    pub(crate) fn hold_output(&self, before: usize, now: usize) -> bool {
        hold(&self.output_bytes, self.config.output_bytes_max, before, now)
    }

    /// The same with what a connection has sent of a request.
    pub(crate) fn hold_input(&self, before: usize, now: usize) -> bool {
        hold(&self.input_bytes, self.config.input_bytes_max, before, now)
    }

    /// Counts what is held for a client beside its replies; none: there is no room for it.
    pub(crate) fn room(self: &Arc<Shared>, bytes: usize) -> Option<Room> {
        let has_room = self.hold_output(0, bytes);
        let room = Room { shared: Arc::clone(self), bytes };
        has_room.then_some(room)
    }
}

/// What there is no room for is counted, too: it is there until it is let go of.
fn hold(all: &AtomicUsize, limit: usize, before: usize, now: usize) -> bool {
    if now > before {
        let held = all.fetch_add(now - before, Ordering::Relaxed);
        held + (now - before) <= limit
    } else {
        all.fetch_sub(before - now, Ordering::Relaxed);
        true
    }
}

/// The time since 1970-01-01 UTC.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
