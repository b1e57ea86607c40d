//! Makes a history that is not linearizable shorter, and as wrong as it was.
//!
//! What is cut off leaves a history that could have been observed in the same run: everything
//! after a moment, and calls that only read. A write is never left out: what read it would be
//! wrong only because of that.

use super::checker::{Verdict, check};
use super::history::{Call, State};

/// The shortest that is found, in the order of the beginnings.
pub fn smallest(initial: State, calls: &[Call]) -> Vec<Call> {
    let is_wrong = |calls: &[Call]| check(initial, calls) == Verdict::Impossible;
    let mut moments: Vec<u64> = calls.iter().filter_map(|call| call.returned).collect();
    moments.sort_unstable();
    // What follows a moment at which it is wrong already adds nothing.
    let first = moments.partition_point(|moment| !is_wrong(&until(calls, *moment)));
    let mut left = match moments.get(first) {
        Some(moment) => until(calls, *moment),
        None => calls.to_vec(),
    };
    left.sort_by_key(|call| call.called);
    let mut index = 0;
    while index < left.len() {
        let mut without = left.clone();
        if without.remove(index).only_reads() && is_wrong(&without) {
            left = without;
        } else {
            index += 1;
        }
    }
    left
}

/// What was known at a moment: what had not been answered then may have happened or not.
fn until(calls: &[Call], moment: u64) -> Vec<Call> {
    let begun = calls.iter().filter(|call| call.called <= moment);
    let known = |call: &Call| Call {
        returned: call.returned.filter(|returned| *returned <= moment),
        ..call.clone()
    };
    begun.map(known).collect()
}
