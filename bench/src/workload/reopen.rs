//! The time from opening a store to the answer of its first get: after a close, after a kill -9.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::data::{Data, KEY_MAX, Rng};
use crate::engine::{Engine, Res, Setup};
use crate::engines;
use crate::plan::{Plan, Work, emit};

/// What the child prints when the last set of its load has returned.
pub const LOADED: &str = "loaded";

/// Times the reopening of a store that was closed: every key must be there.
pub fn after_close(plan: &Plan, data: &Data, dir: &Path, setup: Setup) -> Res<()> {
    let engine = timed(plan, data, dir, setup, "reopen_close_ms")?;
    if missing_share(engine.as_ref(), data)? > 0.0 {
        return Err("keys are missing after a close".into());
    }
    engine.close()
}

/// Opens the store in `dir`, gets one random key, and reports the milliseconds as `metric`.
fn timed(plan: &Plan, data: &Data, dir: &Path, setup: Setup, metric: &str) -> Res<Box<dyn Engine>> {
    let mut buffer = [0; KEY_MAX];
    let key = data.key(Rng::new(7).below(data.shape.keys), &mut buffer);
    let start = Instant::now();
    let engine = engines::open(&plan.engine, dir, setup)?;
    engine.get(key, &mut |_| ())?;
    emit(metric, start.elapsed().as_secs_f64() * 1000.0)?;
    Ok(engine)
}

/// Lets a child process load a store in `dir`, kills it, and times the open.
pub fn after_kill(plan: &Plan, data: &Data, dir: &Path, setup: Setup) -> Res<()> {
    let child_plan = Plan { work: Work::LoadAndWait, dir: dir.into(), ..plan.clone() };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("worker")
        .arg(serde_json::to_string(&child_plan)?)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    child.kill()?;
    child.wait()?;
    if line.trim() != LOADED {
        return Err("the child that was to be killed did not load its store".into());
    }
    let engine = timed(plan, data, dir, setup, "reopen_kill_ms")?;
    emit("kill_missing", missing_share(engine.as_ref(), data)?)?;
    engine.close()
}

/// The share of the keys that are not there, by a sample spread over the load.
fn missing_share(engine: &dyn Engine, data: &Data) -> Res<f64> {
    const SAMPLE: u64 = 10_000;
    let mut buffer = [0; KEY_MAX];
    let mut missing = 0;
    for i in 1..=SAMPLE {
        let index = (data.shape.keys - 1) * i / SAMPLE;
        let found = engine.get(data.key(index, &mut buffer), &mut |_| ())?;
        missing += u64::from(!found);
    }
    Ok(missing as f64 / SAMPLE as f64)
}
