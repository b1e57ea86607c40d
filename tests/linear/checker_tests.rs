//! The checker accepts what is linearizable and refuses what is not: histories that are known, and
//! random ones that are compared with trying every order.

use super::checker::{Verdict, check};
use super::history::{Action, Call, Outcome, State, Step};
use super::random::Random;
use super::reduce::smallest;

const EMPTY: State = [None, None];

/// A call of one step on the first key.
fn call(called: u64, returned: u64, action: Action, outcome: Outcome) -> Call {
    together(called, Some(returned), &[(0, action, outcome)])
}

fn unanswered(called: u64, action: Action) -> Call {
    together(called, None, &[(0, action, Outcome::Untold)])
}

fn together(called: u64, returned: Option<u64>, steps: &[(usize, Action, Outcome)]) -> Call {
    let step = |(key, action, outcome): &_| Step { key: *key, action: *action, outcome: *outcome };
    Call { client: 0, steps: steps.iter().map(step).collect(), called, returned }
}

fn set(called: u64, returned: u64, value: i64) -> Call {
    call(called, returned, Action::Set(value), Outcome::Untold)
}

fn get(called: u64, returned: u64, value: impl Into<Option<i64>>) -> Call {
    call(called, returned, Action::Get, Outcome::Value(value.into()))
}

#[track_caller]
fn accepted(calls: &[Call]) {
    assert_eq!(check(EMPTY, calls), Verdict::Linearizable);
}

#[track_caller]
fn refused(calls: &[Call]) {
    assert_eq!(check(EMPTY, calls), Verdict::Impossible);
    let smallest = smallest(EMPTY, calls);
    assert_eq!(check(EMPTY, &smallest), Verdict::Impossible);
    assert!(smallest.len() <= calls.len());
}

#[test]
fn what_overlaps_may_happen_in_any_order() {
    accepted(&[]);
    accepted(&[set(1, 2, 5), get(3, 4, 5)]);
    accepted(&[set(1, 5, 5), get(2, 3, None), get(6, 7, 5)]);
    accepted(&[set(1, 5, 5), get(2, 3, 5), get(6, 7, 5)]);
    accepted(&[set(1, 9, 5), set(1, 9, 6), get(10, 11, 5)]);
    accepted(&[set(1, 9, 5), set(1, 9, 6), get(10, 11, 6)]);
    // At the same time is together.
    accepted(&[set(1, 2, 5), get(2, 3, None)]);
    let sums = [(1, 9, 1), (1, 9, 3), (1, 9, 2)]
        .map(|(from, to, sum)| call(from, to, Action::Add(1), Outcome::Sum(sum)));
    accepted(&sums);
}

#[test]
fn what_has_no_answer_happens_later_or_never() {
    accepted(&[unanswered(1, Action::Set(5)), get(2, 3, None), get(4, 5, 5)]);
    accepted(&[unanswered(1, Action::Set(5)), get(2, 3, None), get(4, 5, None)]);
    let add = unanswered(1, Action::Add(5));
    accepted(&[add.clone(), call(2, 3, Action::Add(1), Outcome::Sum(1)), get(4, 5, 6)]);
    accepted(&[add, call(2, 3, Action::Add(1), Outcome::Sum(6)), get(4, 5, 6)]);
}

#[test]
fn a_stale_value_is_refused() {
    refused(&[set(1, 2, 5), set(3, 4, 6), get(5, 6, 5)]);
    refused(&[set(1, 2, 5), get(3, 4, None)]);
    // The new one was seen, and then the old one.
    refused(&[set(1, 2, 5), set(3, 9, 6), get(4, 5, 6), get(6, 7, 5)]);
}

#[test]
fn what_was_never_written_is_refused() {
    refused(&[set(1, 2, 5), get(3, 4, 7)]);
    refused(&[get(1, 2, 5), set(3, 4, 5)]);
    // Refused, and there all the same.
    let swap = Action::Swap(Some(1), Some(6));
    let not_swapped = call(3, 4, swap, Outcome::Refused(Some(Some(5))));
    refused(&[set(1, 2, 5), not_swapped, get(5, 6, 6)]);
}

#[test]
fn what_was_acknowledged_and_is_gone_is_refused() {
    refused(&[set(1, 2, 5), set(3, 4, 6), get(5, 6, None)]);
    let remove = call(3, 4, Action::Remove, Outcome::Existed(true));
    refused(&[set(1, 2, 5), remove.clone(), get(5, 6, 5)]);
    refused(&[remove]);
    // What had no answer was there, and is gone.
    refused(&[unanswered(1, Action::Set(5)), get(2, 3, 5), get(4, 5, None)]);
    // It came after something else, and both are not there at the end.
    refused(&[unanswered(1, Action::Set(5)), set(2, 3, 6), get(4, 5, 5), get(6, 7, 6)]);
}

#[test]
fn a_lost_update_is_refused() {
    let swap = |from, to, new| call(from, to, Action::Swap(Some(5), Some(new)), Outcome::Met);
    refused(&[set(1, 2, 5), swap(3, 9, 6), swap(3, 9, 7)]);
    let sum = |from, to, sum| call(from, to, Action::Add(1), Outcome::Sum(sum));
    refused(&[sum(1, 9, 1), sum(1, 9, 1)]);
    refused(&[sum(1, 9, 1), sum(1, 9, 3)]);
    // Done twice.
    refused(&[unanswered(1, Action::Add(5)), get(2, 3, 10)]);
}

#[test]
fn half_of_a_batch_is_refused() {
    let sets = [(0, Action::Set(5), Outcome::Untold), (1, Action::Set(5), Outcome::Untold)];
    let both = |from, to, first: Option<i64>, second: Option<i64>| {
        let get = |key, value| (key, Action::Get, Outcome::Value(value));
        together(from, Some(to), &[get(0, first), get(1, second)])
    };
    let batch = together(1, Some(9), &sets);
    accepted(&[batch.clone(), both(2, 3, None, None), both(4, 5, Some(5), Some(5))]);
    refused(&[batch, both(2, 3, Some(5), None)]);
    refused(&[together(1, None, &sets), both(2, 3, None, Some(5))]);
    // Its requirement was not met, and it was done.
    let required = [(0, Action::Require(Some(1)), Outcome::Refused(None)), sets[1]];
    refused(&[together(1, Some(2), &required), both(3, 4, None, Some(5))]);
    accepted(&[together(1, Some(2), &required), both(3, 4, None, None)]);
}

#[test]
fn the_smallest_part_is_shown() {
    let mut calls: Vec<Call> = (0..50).map(|at| get(1000 + at, 2000 + at, 7)).collect();
    calls.extend([set(1, 2, 5), set(3, 4, 7), get(500, 600, 5)]);
    let left = smallest(EMPTY, &calls);
    assert_eq!(left, [set(1, 2, 5), set(3, 4, 7), get(500, 600, 5)]);
}

/// Random calls with answers as an object in one order gives them, some of which are then changed.
fn random_history(random: &mut Random) -> (Vec<Call>, bool) {
    let mut state = EMPTY;
    let mut calls = Vec::new();
    for at in 1..=3 + random.below(5) {
        let value = i64::try_from(random.below(3)).unwrap();
        let action = match random.below(6) {
            0 | 1 => Action::Set(value),
            2 => Action::Remove,
            3 => Action::Add(1),
            _ => Action::Get,
        };
        let held: Option<i64> = state[0];
        let outcome = match action {
            Action::Add(by) => Outcome::Sum(held.unwrap_or(0) + by),
            Action::Get => Outcome::Value(held),
            _ => Outcome::Existed(held.is_some()),
        };
        // It happens at 10 times its number.
        let (from, to) = (at * 10 - random.below(25).min(at * 10), at * 10 + random.below(25));
        let mut next = call(from, to, action, outcome);
        match random.below(8) {
            // It happens, and nobody is told.
            0 => next.returned = None,
            // Nobody is told, and it does not happen.
            1 => {
                next.returned = None;
                calls.push(next);
                continue;
            }
            _ => (),
        }
        state = next.apply(state).unwrap();
        calls.push(next);
    }
    let is_changed = random.one_in(2);
    if is_changed {
        let count = u64::try_from(calls.len()).unwrap();
        let changed = &mut calls[usize::try_from(random.below(count)).unwrap()].steps[0];
        changed.outcome = match changed.outcome {
            Outcome::Sum(sum) => Outcome::Sum(sum + 1),
            Outcome::Existed(existed) => Outcome::Existed(!existed),
            Outcome::Value(Some(_)) => Outcome::Value(None),
            _ => Outcome::Value(Some(1)),
        };
    }
    (calls, is_changed)
}

/// Tries every order.
fn is_possible(state: State, calls: &[Call]) -> bool {
    let end = calls.iter().filter_map(|call| call.returned).min();
    let Some(end) = end else {
        return true;
    };
    (0..calls.len()).any(|index| {
        let mut left = calls.to_vec();
        let next = left.remove(index);
        // Nothing may have ended before it began.
        next.called <= end && next.apply(state).is_some_and(|state| is_possible(state, &left))
    })
}

#[test]
fn random_histories_are_judged_as_by_trying_every_order() {
    let mut random = Random::new(1);
    let mut impossible = 0;
    for _ in 0..20_000 {
        let (calls, is_changed) = random_history(&mut random);
        let expected = is_possible(EMPTY, &calls);
        assert!(expected || is_changed, "{calls:?}");
        let verdict = if expected { Verdict::Linearizable } else { Verdict::Impossible };
        assert_eq!(check(EMPTY, &calls), verdict, "{calls:?}");
        impossible += u32::from(!expected);
    }
    assert!(impossible > 2000, "only {impossible}");
}
