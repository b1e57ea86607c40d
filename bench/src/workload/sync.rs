//! Sets that are acknowledged when they are on disk, on 1, 8 and 64 threads.

use crate::data::Data;
use crate::engine::{Engine, Res};
use crate::plan::{Plan, emit};
use crate::workload::run_for;

pub fn run(engine: &dyn Engine, data: &Data, plan: &Plan) -> Res<()> {
    for threads in [1, 8, 64] {
        let rate = run_for(threads, plan.seconds(), 1, |hand| {
            let index = hand.rng.below(data.shape.keys);
            engine.set(data.key(index, &mut hand.key), data.value(index + hand.step))
        })?;
        emit(&format!("sync_{threads}"), rate)?;
    }
    Ok(())
}
