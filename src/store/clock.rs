//! Time, as expiry sees it: it never goes back, not even over a restart with the clock set back.
//!
//! `Time::now_ms` is the wall clock, but at least the floor plus what has passed since the store
//! was opened. The floor is on disk. It is written ahead of its use: expiry never sees a time above
//! the horizon, which is the floor that is on disk already. So what was seen to be expired is
//! expired in every later life of the store. While something is about to expire, a thread moves
//! the horizon on; after a crash, keys may expire early by as much as it was ahead (`AHEAD_MS`).
//!
//! A wall clock that jumps forward by more than a day while the store is open is not followed:
//! data would be lost for a typing error. The next open believes it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far the horizon is moved ahead of now, in milliseconds.
pub(crate) const AHEAD_MS: u64 = 1000;
/// How far it is ahead at least, before it is moved again.
const AHEAD_MIN_MS: u64 = AHEAD_MS / 2;
/// A larger step of the wall clock is not believed.
pub(crate) const JUMP_MS: u64 = 24 * 60 * 60 * 1000;

/// The expiry of a record that does not expire.
pub(crate) const NEVER: u64 = 0;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC, by a clock that people and daemons may set.
    fn wall_ms(&self) -> u64;
    /// Milliseconds since some moment, by a clock that nobody sets and that goes on while the
    /// machine sleeps.
    fn steady_ms(&self) -> u64;
    /// The same in microseconds, for what is measured.
    fn steady_us(&self) -> u64 {
        self.steady_ms().saturating_mul(1000)
    }
}

/// The time of one open store.
pub(crate) struct Time {
    clock: Arc<dyn Clock>,
    /// What the time is at least when the steady clock is at 0; wraps around.
    base_ms: u64,
    /// How far the wall clock is ahead of the base and the steady clock. Only grows.
    ahead_ms: AtomicU64,
    /// Expiry sees no time above this.
    horizon_ms: AtomicU64,
    /// What the horizon is about to be: whatever is written meanwhile says so too.
    intended_ms: AtomicU64,
    /// Whether the horizon could not be moved. Then expiry does without it: on a full disk keys
    /// expire, and may come back if the clock is set back before there is room.
    is_unbounded: AtomicBool,
    has_jumped: AtomicBool,
}

impl Time {
    /// The time is at least `floor_ms` now, and what it is at least is on disk up to there.
    pub(crate) fn new(clock: Arc<dyn Clock>, floor_ms: u64) -> Time {
        let ahead_ms = clock.wall_ms().saturating_sub(floor_ms);
        Time {
            base_ms: floor_ms.wrapping_sub(clock.steady_ms()),
            ahead_ms: AtomicU64::new(ahead_ms),
            horizon_ms: AtomicU64::new(floor_ms),
            intended_ms: AtomicU64::new(floor_ms),
            is_unbounded: AtomicBool::new(false),
            has_jumped: AtomicBool::new(false),
            clock,
        }
    }

    /// Milliseconds since 1970-01-01 UTC; never less than before.
    pub(crate) fn now_ms(&self) -> u64 {
        // The wall clock first: what passes between the two must not look as if it were ahead.
        let wall = self.clock.wall_ms();
        let least = self.base_ms.wrapping_add(self.clock.steady_ms());
        let ahead = wall.saturating_sub(least);
        let known = self.ahead_ms.load(Ordering::Relaxed);
        let has_jumped = ahead > known.saturating_add(JUMP_MS);
        if has_jumped != self.has_jumped.load(Ordering::Relaxed) {
            self.has_jumped.store(has_jumped, Ordering::Relaxed);
        }
        let ahead = match has_jumped || ahead <= known {
            true => known,
            false => self.ahead_ms.fetch_max(ahead, Ordering::Relaxed).max(ahead),
        };
        least.saturating_add(ahead)
    }

    /// From now on, the time is at least this and what passes from here.
    pub(crate) fn not_before(&self, floor_ms: u64) {
        let least = self.base_ms.wrapping_add(self.clock.steady_ms());
        self.ahead_ms.fetch_max(floor_ms.saturating_sub(least), Ordering::Relaxed);
    }

    /// Whether the wall clock says something that is not believed.
    pub(crate) fn has_jumped(&self) -> bool {
        self.has_jumped.load(Ordering::Relaxed)
    }

    /// The time that expiry sees.
    pub(crate) fn expiry_ms(&self) -> u64 {
        let now = self.now_ms();
        if self.is_unbounded() || kvs_bug!("no_clock_floor") {
            return now;
        }
        now.min(self.horizon_ms.load(Ordering::Acquire))
    }

    /// Whether a record with that expiry is as good as removed.
    #[inline]
    pub(crate) fn is_over(&self, expires_at_ms: u64) -> bool {
        expires_at_ms != NEVER && expires_at_ms <= self.expiry_ms()
    }

    /// A moment for which one time holds, found out when it is first asked for.
    pub(crate) fn moment(&self) -> Moment<'_> {
        Moment { time: self, expiry_ms: Cell::new(None) }
    }

    /// The floor that the disk must have: none of the times that were seen is above.
    pub(crate) fn floor_ms(&self) -> u64 {
        let [horizon, intended] =
            [&self.horizon_ms, &self.intended_ms].map(|it| it.load(Ordering::Acquire));
        let horizon = horizon.max(intended);
        if self.is_unbounded() { horizon.max(self.now_ms()) } else { horizon }
    }

    /// A time that no time that was seen so far is above.
    pub(crate) fn seen_ms(&self) -> u64 {
        self.now_ms().min(self.floor_ms())
    }

    /// How far the horizon should be moved now, so that a record with that expiry can expire in
    /// time; none if it is far enough.
    pub(crate) fn wanted_horizon_ms(&self, expires_at_ms: u64) -> Option<u64> {
        let (now, horizon) = (self.now_ms(), self.horizon_ms.load(Ordering::Acquire));
        let is_near = expires_at_ms <= now.saturating_add(AHEAD_MS);
        let is_short = horizon < now.saturating_add(AHEAD_MIN_MS);
        (is_near && is_short).then(|| now.saturating_add(AHEAD_MS))
    }

    /// How long it is until `wanted_horizon_ms` is worth asking again, in milliseconds.
    pub(crate) fn rest_ms(&self, expires_at_ms: u64) -> u64 {
        let now = self.now_ms();
        let near = expires_at_ms.saturating_sub(AHEAD_MS);
        let used = self.horizon_ms.load(Ordering::Acquire).saturating_sub(AHEAD_MIN_MS);
        near.max(used).saturating_sub(now)
    }

    /// The horizon will be moved there, once the disk has it.
    pub(crate) fn intend(&self, floor_ms: u64) {
        self.intended_ms.fetch_max(floor_ms, Ordering::AcqRel);
    }

    /// The disk has this floor. If it comes so late that it may have been later already without a
    /// horizon, it stays without: time is not to go back.
    pub(crate) fn move_horizon(&self, floor_ms: u64) {
        self.horizon_ms.fetch_max(floor_ms, Ordering::AcqRel);
        if self.now_ms().saturating_add(AHEAD_MIN_MS) <= floor_ms || kvs_bug!("late_horizon") {
            self.is_unbounded.store(false, Ordering::Release);
        }
    }

    /// Whether expiry goes by the clock alone.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.is_unbounded.load(Ordering::Acquire)
    }

    /// The disk takes no floor: expiry goes by the clock alone until it does.
    pub(crate) fn give_up_horizon(&self) {
        self.is_unbounded.store(true, Ordering::Release);
    }
}

/// One time for everything that is decided together.
pub(crate) struct Moment<'a> {
    time: &'a Time,
    expiry_ms: Cell<Option<u64>>,
}

impl Moment<'_> {
    /// Whether a record with that expiry is as good as removed.
    pub(crate) fn is_over(&self, expires_at_ms: u64) -> bool {
        expires_at_ms != NEVER && {
            let now = self.expiry_ms.get().unwrap_or_else(|| self.time.expiry_ms());
            self.expiry_ms.set(Some(now));
            expires_at_ms <= now
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::clock::SetClock;
    use super::{AHEAD_MS, Clock, JUMP_MS, Time};

    fn time(floor_ms: u64, wall_ms: u64) -> (Arc<SetClock>, Time) {
        let clock = Arc::new(SetClock::at(wall_ms));
        (Arc::clone(&clock), Time::new(clock, floor_ms))
    }

    #[test]
    fn time_is_the_wall_clock_but_never_goes_back() {
        let (clock, time) = time(0, 10_000);
        assert_eq!(time.now_ms(), 10_000);
        clock.set_wall(9_000);
        assert_eq!(time.now_ms(), 10_000);
        clock.pass(500);
        assert_eq!(time.now_ms(), 10_500);
        clock.set_wall(20_000);
        assert_eq!(time.now_ms(), 20_000);
    }

    #[test]
    fn time_goes_on_from_the_floor_while_the_wall_clock_is_behind_it() {
        let (clock, time) = time(50_000, 10_000);
        assert_eq!(time.now_ms(), 50_000);
        clock.pass(700);
        assert_eq!(time.now_ms(), 50_700);
        clock.set_wall(60_000);
        assert_eq!(time.now_ms(), 60_000);
    }

    #[test]
    fn a_floor_that_is_found_later_counts_from_then_on() {
        let (clock, time) = time(0, 10_000);
        time.not_before(9_000);
        assert_eq!(time.now_ms(), 10_000);
        time.not_before(12_000);
        assert_eq!(time.now_ms(), 12_000);
        clock.pass(500);
        assert_eq!(time.now_ms(), 12_500);
        clock.set_wall(13_000);
        assert_eq!(time.now_ms(), 13_000);
    }

    #[test]
    fn a_jump_of_more_than_a_day_is_not_followed_until_the_next_open() {
        let (clock, time) = time(0, 10_000);
        clock.set_wall(10_000 + JUMP_MS);
        assert_eq!(time.now_ms(), 10_000 + JUMP_MS);
        clock.set_wall(10_001 + 2 * JUMP_MS);
        assert_eq!(time.now_ms(), 10_000 + JUMP_MS);
        assert!(time.has_jumped());
        clock.pass(100);
        assert_eq!(time.now_ms(), 10_100 + JUMP_MS);
        clock.set_wall(10_200 + JUMP_MS);
        assert_eq!(time.now_ms(), 10_200 + JUMP_MS);
        assert!(!time.has_jumped());
        clock.set_wall(3 * JUMP_MS);
        assert_eq!(Time::new(clock, 0).now_ms(), 3 * JUMP_MS);
    }

    #[test]
    fn expiry_sees_nothing_above_what_is_on_disk() {
        let (clock, time) = time(0, 10_000);
        assert!(!time.is_over(9_000) && !time.is_over(0));
        let wanted = time.wanted_horizon_ms(9_000).unwrap();
        assert_eq!(wanted, 10_000 + AHEAD_MS);
        time.move_horizon(wanted);
        assert!(time.is_over(9_000) && time.is_over(10_000) && !time.is_over(10_001));
        assert_eq!(time.wanted_horizon_ms(9_000), None);
        assert_eq!(time.rest_ms(9_000), AHEAD_MS / 2);
        clock.pass(AHEAD_MS + 1);
        assert!(time.is_over(10_000 + AHEAD_MS) && !time.is_over(10_001 + AHEAD_MS));
        assert_eq!(time.floor_ms(), 10_000 + AHEAD_MS);
        time.give_up_horizon();
        assert!(time.is_over(10_001 + AHEAD_MS));
        assert_eq!(time.floor_ms(), 10_001 + AHEAD_MS);
    }

    /// A wall clock that is read a while after the steady one.
    struct Slow(SetClock);

    impl Clock for Slow {
        fn wall_ms(&self) -> u64 {
            let now = self.0.wall_ms();
            self.0.pass(500);
            now
        }

        fn steady_ms(&self) -> u64 {
            let now = self.0.steady_ms();
            self.0.pass(500);
            now
        }
    }

    #[test]
    fn a_thread_that_is_held_up_does_not_make_time_go_faster() {
        let clock = Arc::new(Slow(SetClock::at(10_000)));
        let time = Time::new(Arc::<Slow>::clone(&clock), 10_000);
        for _ in 0..100 {
            let before = clock.0.wall_ms();
            assert!(time.now_ms() <= before + 500, "the time that it really was");
        }
    }

    #[test]
    fn what_expires_later_moves_no_horizon() {
        let (clock, time) = time(0, 10_000);
        assert_eq!(time.wanted_horizon_ms(100_000), None);
        assert_eq!(time.rest_ms(100_000), 90_000 - AHEAD_MS);
        assert_eq!(time.wanted_horizon_ms(u64::MAX), None);
        clock.pass(90_000 - AHEAD_MS);
        assert_eq!(time.wanted_horizon_ms(100_000), Some(100_000));
    }
}
