//! Load by single sets and by batches of 100.

use std::time::Instant;

use crate::data::{Data, KEY_MAX};
use crate::engine::{Engine, Res};

const BATCH: usize = 100;

/// Sets every key once, one by one; answers sets per second. After `limit_seconds` the rest is
/// loaded by batches and not counted.
pub fn single(engine: &dyn Engine, data: &Data, limit_seconds: f64) -> Res<f64> {
    let mut buffer = [0; KEY_MAX];
    let start = Instant::now();
    for index in 0..data.shape.keys {
        engine.set(data.key(index, &mut buffer), data.value(index))?;
        let done = index + 1;
        if done % 256 == 0
            && start.elapsed().as_secs_f64() >= limit_seconds
            && done < data.shape.keys
        {
            let rate = done as f64 / start.elapsed().as_secs_f64();
            batches(engine, data, done, f64::INFINITY)?;
            return Ok(rate);
        }
    }
    Ok(data.shape.keys as f64 / start.elapsed().as_secs_f64())
}

/// Sets the keys from index `from` on by batches of 100; answers sets per second. After
/// `limit_seconds` the rest is left out.
pub fn batches(engine: &dyn Engine, data: &Data, from: u64, limit_seconds: f64) -> Res<f64> {
    let mut buffers = [[0; KEY_MAX]; BATCH];
    let start = Instant::now();
    let mut done = 0;
    while from + done < data.shape.keys && start.elapsed().as_secs_f64() < limit_seconds {
        let count = (data.shape.keys - from - done).min(BATCH as u64);
        let first = from + done;
        let indexed = buffers[..count as usize].iter_mut().zip(first..);
        let pairs: Vec<(&[u8], &[u8])> =
            indexed.map(|(buffer, index)| (data.key(index, buffer), data.value(index))).collect();
        engine.set_batch(&pairs)?;
        done += count;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
