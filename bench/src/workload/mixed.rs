//! Half sets, half gets on 2 threads, over uniform and over zipfian keys.

use crate::data::{Data, Drawn, Rng};
use crate::engine::{Engine, Res};
use crate::plan::{Plan, emit};
use crate::workload::run_for;

const THREADS: usize = 2;

pub fn run(engine: &dyn Engine, data: &Data, plan: &Plan) -> Res<()> {
    type Draw = fn(u64, &mut Rng) -> Drawn;
    let kinds: [(&str, Draw); 2] =
        [("mixed_uniform", Drawn::uniform), ("mixed_zipfian", Drawn::zipfian)];
    for (metric, draw) in kinds {
        let drawn: Vec<Drawn> = (0..THREADS)
            .map(|thread| draw(data.shape.keys, &mut Rng::new(100 + thread as u64)))
            .collect();
        emit(metric, half_and_half(engine, data, plan.seconds(), &drawn)?)?;
    }
    Ok(())
}

fn half_and_half(engine: &dyn Engine, data: &Data, seconds: f64, drawn: &[Drawn]) -> Res<f64> {
    run_for(THREADS, seconds, 64, |hand| {
        let index = drawn[hand.thread].at(hand.step);
        let random = hand.rng.next();
        let key = data.key(index, &mut hand.key);
        if random & 1 == 0 {
            return engine.set(key, data.value(random));
        }
        let mut len = 0;
        if engine.get(key, &mut |value| len = value.len())? && len == data.shape.value_len {
            return Ok(());
        }
        Err(format!("key {index} is missing or has a wrong length").into())
    })
}
