//! Remove every key, in an order unlike the one of the load.

use std::time::{Duration, Instant};

use crate::data::{Data, KEY_MAX};
use crate::engine::{Engine, Res};
use crate::plan::{Plan, emit};

pub fn run(engine: &dyn Engine, data: &Data, plan: &Plan) -> Res<()> {
    let mut buffer = [0; KEY_MAX];
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(plan.limit_seconds());
    let mut removed = 0_u64;
    for index in data.shuffled() {
        engine.remove(data.key(index, &mut buffer))?;
        removed += 1;
        if removed.is_multiple_of(256) && Instant::now() >= end {
            break;
        }
    }
    emit("remove", removed as f64 / start.elapsed().as_secs_f64())?;
    for index in data.shuffled().take(removed.min(1000) as usize) {
        if engine.get(data.key(index, &mut buffer), &mut |_| ())? {
            return Err(format!("key {index} is there after its removal").into());
        }
    }
    Ok(())
}
