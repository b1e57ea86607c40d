//! The lock-free files once more, compiled against shuttle: every atomic access, lock and wait is
//! a point where another thread may go on, and the schedule is chosen by a seed.
//!
//! The engine's own sources are included a second time, with the `sync` of this folder in the
//! place of the engine's. Shuttle knows one order of all accesses, so nothing here is about
//! weak memory orders: those are for `loomed`. These sources hold no tests of their own, which
//! would run outside of a schedule.

mod sync;

use crate::store::{hash, names};

#[path = "../../keydir.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once more, for the checker")]
#[allow(unfulfilled_lint_expectations, reason = "in tests, indexing is no exception")]
#[expect(dead_code, reason = "the models need a part of it")]
mod keydir;
#[path = "../../pins.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once more, for the checker")]
mod pins;
#[path = "../../queue.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once more, for the checker")]
mod queue;
#[path = "../../segments.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once more, for the checker")]
#[expect(dead_code, reason = "the models need a part of it")]
mod segments;

mod segment;

mod batches;
mod callers;
mod keys;
mod lifetime;
mod readers;

use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

use super::proof::{Checked, prove};
use crate::store::bug;

/// Schedules of each test without a time budget.
const FLOOR: u64 = 20_000;
/// Schedules of one seed, by each of two schedulers.
const SCHEDULES: usize = 500;
/// A schedule that takes more steps is one in which somebody never gets on.
const STEPS_MAX: usize = 200_000;
/// Preemptions that the second scheduler places.
const DEPTH: usize = 3;

/// Checks `body` under random schedules, and under such with few preemptions (PCT, Burckhardt et
/// al., 2010), which find what needs a thread to stand still for long.
fn explore(test: &str, body: impl Fn() + Clone + Send + Sync + 'static) {
    prove(test, FLOOR, |seed| schedules(seed, body.clone()));
}

fn schedules(seed: u64, body: impl Fn() + Clone + Send + Sync + 'static) -> Checked<u64> {
    let random = RandomScheduler::new_from_seed(seed, SCHEDULES);
    let few = PctScheduler::new_from_seed(seed, DEPTH, SCHEDULES);
    let fresh = move |body: &dyn Fn()| {
        sync::forget_reclaimed();
        body();
    };
    let again = body.clone();
    let mut run = Runner::new(random, config()).run(move || fresh(&body));
    run += Runner::new(few, config()).run(move || fresh(&again));
    Ok(run as u64)
}

fn config() -> Config {
    let mut config = Config::new();
    config.silence_warnings = true;
    config.stack_size = 128 << 10;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    config.max_time = Some(Duration::from_secs(60));
    config.failure_persistence = FailurePersistence::None;
    config
}

/// Asserts that `body` fails under some schedule when the engine has that bug.
fn catches(name: &'static str, body: impl Fn() + Clone + Send + Sync + 'static) {
    let caught = bug::with(name, || {
        (0..20).any(|seed| {
            let run = std::panic::AssertUnwindSafe(|| schedules(seed, body.clone()));
            std::panic::catch_unwind(run).is_err()
        })
    });
    assert!(caught, "the bug {name} was not caught");
}
