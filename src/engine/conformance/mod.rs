//! What every engine must do, as checks that any engine can be put through.
//!
//! An engine joins with one line in a test: a function that makes a new, empty place for its data
//! and answers with how to open the engine there. What an engine says it cannot do
//! ([`Capabilities`](super::Capabilities)) must be answered with
//! [`KvsError::Unsupported`](crate::KvsError::Unsupported); all else is asked of each alike.
//!
//! The checks need no async runtime. They wait for nothing but the engine: where time must pass,
//! they ask the engine until it has.

mod subject;
mod reads;
mod writes;
mod expiry;
mod order;
mod walks;
mod whole;
mod snapshots;
mod watches;
mod threads;
mod reopening;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use subject::Subject;
#[cfg(test)]
pub(crate) use subject::wait;

use super::KvsEngine;
use crate::error::Result;

/// Opens the engine under test on one place of data. Called again after the engine was closed, it
/// opens what is there; an engine that is not durable begins anew.
pub type Open = Box<dyn Fn() -> Result<Arc<dyn KvsEngine>>>;

/// A promise that an engine is asked to keep.
#[derive(Clone, Copy)]
pub struct Check {
    /// What it is about, in snake case.
    pub name: &'static str,
    /// Puts an engine without keys through it; a panic or an error is a broken promise.
    pub run: fn(&mut Subject) -> Result<()>,
}

macro_rules! checks {
    ($($topic:ident: $($name:ident),+;)+) => {
        /// All checks.
        pub const CHECKS: &[Check] = &[
            $($(Check { name: stringify!($name), run: $topic::$name }),+),+
        ];
    };
}

checks! {
    reads: values_come_back, many_keys_at_once, some_of_many_keys, versions_of_many_keys,
        keys_and_values_are_bytes,
        long_keys_and_values;
    writes: outcomes_say_what_existed, the_last_operation_on_a_key_counts,
        a_batch_is_all_or_nothing, requirements_of_each_kind, the_failed_requirement_is_named,
        several_writes_in_one_call, chains_end_where_one_is_refused, no_failure_mends_a_chain,
        compare_and_swap, limits_are_kept, versions_rise,
        each_durability;
    expiry: expired_is_absent_everywhere, an_expiry_is_kept_exactly, impossible_expiries,
        expired_keys_are_counted_no_more;
    order: scans_are_in_order, scans_keep_to_their_bounds, scans_of_keys_only,
        pages_keep_their_limits, turned_ranges_are_refused, scans_while_keys_change;
    walks: walks_come_to_an_end, walks_over_long_keys, walks_while_keys_change,
        cursors_may_be_used_again, random_keys;
    whole: keys_are_counted, clear_removes_everything, sync_and_stats, compact_changes_nothing,
        closed_is_closed;
    snapshots: snapshots_stay_as_they_are, scans_of_snapshots;
    watches: watches_tell_every_change, watches_go_on_after_a_seq, watches_wait;
    threads: counters_add_up, several_keys_are_read_at_one_moment, batches_are_seen_whole,
        batches_are_seen_whole_in_part, scans_beside_writers;
    reopening: everything_is_there_again, versions_rise_over_a_reopen, clear_is_for_good;
}

/// Puts an engine through all checks, each on a new place for its data.
///
/// # Panics
/// If the engine breaks a promise, after all checks were made; the message names them.
///
/// ```no_run
/// use std::sync::Arc;
/// use kvs::engine::{MemoryEngine, conformance};
/// conformance::run(&|| Box::new(|| Ok(Arc::new(MemoryEngine::new()?))));
/// ```
pub fn run(make_place: &dyn Fn() -> Open) {
    let broken: Vec<String> = CHECKS
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.name, fails(check, make_place)?)))
        .collect();
    let (broken_count, count) = (broken.len(), CHECKS.len());
    assert!(broken.is_empty(), "{broken_count} of {count} checks failed:\n{}", broken.join("\n"));
}

/// How a check fails; none if it does not.
fn fails(check: &Check, make_place: &dyn Fn() -> Open) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut subject = Subject::new(make_place())?;
        (check.run)(&mut subject)?;
        subject.close()
    }));
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(message.unwrap_or("it panicked").to_owned())
        }
    }
}
