//! Scans in the order of the keys: of 100 from a random one, and of all.

use std::time::Instant;

use crate::data::Data;
use crate::engine::{Engine, Res};
use crate::plan::{Plan, emit};
use crate::workload::run_for;

const COUNT: usize = 100;

/// Nothing is emitted for an engine without an order.
pub fn run(engine: &dyn Engine, data: &Data, plan: &Plan) -> Res<()> {
    if engine.scan(&[], 1, &mut |_, _| ())?.is_none() {
        return Ok(());
    }
    let rate = run_for(1, plan.seconds(), 16, |hand| {
        let from = data.key(hand.rng.below(data.shape.keys), &mut hand.key);
        let (mut values, mut last) = (0, Vec::new());
        let found = engine.scan(from, COUNT, &mut |key, value| {
            debug_assert!(last.as_slice() < key, "in order");
            values += value.len();
            if cfg!(debug_assertions) {
                last = key.to_vec();
            }
        })?;
        // Near the last key there are fewer.
        match values == found.unwrap_or_default() * data.shape.value_len && values > 0 {
            true => Ok(()),
            false => Err("a scan found something else".into()),
        }
    })?;
    emit("scan_100", rate)?;
    let start = Instant::now();
    let mut bytes = 0_u64;
    let found = engine.scan(&[], usize::MAX, &mut |key, value| {
        bytes += (key.len() + value.len()) as u64;
    })?;
    if found != usize::try_from(data.shape.keys).ok() || bytes != data.shape.bytes() {
        return Err(format!("a scan of all found {found:?} keys").into());
    }
    emit("scan_all", data.shape.keys as f64 / start.elapsed().as_secs_f64())
}
