//! Random gets of keys that exist, and of keys that do not.

use crate::data::Data;
use crate::engine::{Engine, Res};
use crate::plan::{Plan, emit};
use crate::workload::{Hand, run_for};

/// One get in this many compares the whole value, the others its length.
const CHECK_EVERY: u64 = 64;
const CHUNK: u64 = 256;

pub fn run(engine: &dyn Engine, data: &Data, plan: &Plan) -> Res<()> {
    let get = |hand: &mut Hand| one(data, hand, |key, seen| engine.get(key, seen));
    let no_copy = |hand: &mut Hand| one(data, hand, |key, seen| engine.get_no_copy(key, seen));
    if plan.wants("get") {
        run_for(1, plan.seconds() / 2.0, CHUNK, get)?;
        emit("get_1", run_for(1, plan.seconds(), CHUNK, get)?)?;
        emit("get_2", run_for(2, plan.seconds(), CHUNK, get)?)?;
        if engine.has_no_copy() {
            emit("get_no_copy_1", run_for(1, plan.seconds(), CHUNK, no_copy)?)?;
            emit("get_no_copy_2", run_for(2, plan.seconds(), CHUNK, no_copy)?)?;
        }
    }
    if plan.wants("miss") {
        emit("miss", run_for(1, plan.seconds(), CHUNK, |hand| miss(engine, data, hand))?)?;
    }
    Ok(())
}

fn one<G>(data: &Data, hand: &mut Hand, get: G) -> Res<()>
where
    G: Fn(&[u8], &mut dyn FnMut(&[u8])) -> Res<bool>,
{
    let index = hand.rng.below(data.shape.keys);
    let check = hand.step.is_multiple_of(CHECK_EVERY);
    let mut good = false;
    let found = get(data.key(index, &mut hand.key), &mut |value| {
        good = value.len() == data.shape.value_len && (!check || value == data.value(index));
    })?;
    match found && good {
        true => Ok(()),
        false => Err(format!("key {index} is missing or has a wrong value").into()),
    }
}

fn miss(engine: &dyn Engine, data: &Data, hand: &mut Hand) -> Res<()> {
    let index = data.missing(hand.rng.next());
    match engine.get(data.key(index, &mut hand.key), &mut |_| ())? {
        false => Ok(()),
        true => Err(format!("key {index} was never set and is there").into()),
    }
}
