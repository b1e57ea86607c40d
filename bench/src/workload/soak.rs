//! Overwrites of random keys for a while: throughput over time, times of a set, disk over live;
//! then at half of that rate, with compaction and without.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::data::{Data, KEY_MAX, Rng};
use crate::engine::{Engine, Res};
use crate::histogram::Histogram;
use crate::machine;
use crate::plan::{Message, Plan, SoakPoint, emit, print};

const POINT_SECONDS: f64 = 0.5;
const LOOK: Duration = Duration::from_millis(50);

/// The soak ends early when less than this is free on the disk.
const FREE_MIN: u64 = 4 << 30;

/// Overwrites as fast as possible; answers the sets per second.
pub fn saturated(engine: &dyn Engine, data: &Data, plan: &Plan, dir: &Path) -> Res<f64> {
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (times, observed) = thread::scope(|scope| {
        let observer = scope.spawn(|| observe(engine, data, dir, &done, &stop));
        let times = overwrite(engine, data, plan.soak_seconds(), &done, &stop);
        stop.store(true, Ordering::Relaxed);
        (times, observer.join().expect("the observer panicked"))
    });
    let (times, rate) = times?;
    emit("soak", rate)?;
    emit("soak_p50_us", times.quantile_us(0.5))?;
    emit("soak_p99_us", times.quantile_us(0.99))?;
    emit("soak_p999_us", times.quantile_us(0.999))?;
    emit("soak_disk", observed.disk_max)?;
    if let Some(ratio) = observed.segments_max {
        emit("soak_segments", ratio)?;
    }
    if let Some(bound) = observed.bound_max {
        emit("soak_bound", bound)?;
    }
    print(&Message::Soak { points: observed.points })?;
    Ok(rate)
}

fn overwrite(
    engine: &dyn Engine,
    data: &Data,
    seconds: f64,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> Res<(Histogram, f64)> {
    let mut buffer = [0; KEY_MAX];
    let mut rng = Rng::new(11);
    let mut times = Histogram::new();
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let mut before = start;
    let mut count = 0_u64;
    while before < end && !stop.load(Ordering::Relaxed) {
        let index = rng.below(data.shape.keys);
        engine.set(data.key(index, &mut buffer), data.value(rng.next()))?;
        let now = Instant::now();
        times.add((now - before).as_nanos() as u64);
        before = now;
        count += 1;
        done.store(count, Ordering::Relaxed);
    }
    Ok((times, count as f64 / start.elapsed().as_secs_f64()))
}

struct Observed {
    points: Vec<SoakPoint>,
    disk_max: f64,
    /// Segment files over live bytes, for an engine that counts its live bytes.
    segments_max: Option<f64>,
    /// The same after two segments are taken off: what the promised bound is about.
    bound_max: Option<f64>,
}

fn observe(
    engine: &dyn Engine,
    data: &Data,
    dir: &Path,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> Observed {
    let mut observed =
        Observed { points: Vec::new(), disk_max: 0.0, segments_max: None, bound_max: None };
    let start = Instant::now();
    let (mut point_at, mut point_done) = (0.0, 0);
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
        let disk = machine::disk_use(dir);
        let disk_over_live = disk.allocated as f64 / data.shape.bytes() as f64;
        observed.disk_max = observed.disk_max.max(disk_over_live);
        if let Some(live) = engine.live_bytes() {
            let two_segments = 2 * segment_bytes(live);
            let over = |bytes: u64| bytes as f64 / live.max(1) as f64;
            raise(&mut observed.segments_max, over(disk.segments));
            raise(&mut observed.bound_max, over(disk.segments.saturating_sub(two_segments)));
        }
        let seconds = start.elapsed().as_secs_f64();
        if seconds - point_at >= POINT_SECONDS {
            let now = done.load(Ordering::Relaxed);
            let rate = (now - point_done) as f64 / (seconds - point_at);
            observed.points.push(SoakPoint { seconds, rate, disk_over_live });
            (point_at, point_done) = (seconds, now);
            if machine::free_bytes(dir).is_ok_and(|free| free < FREE_MIN) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    observed
}

/// The documented size of a segment: a sixteenth of the live bytes, from 1 MiB to 128 MiB.
fn segment_bytes(live: u64) -> u64 {
    (live / 16).clamp(1 << 20, 128 << 20)
}

fn raise(max: &mut Option<f64>, value: f64) {
    *max = Some(max.map_or(value, |max| max.max(value)));
}

/// Overwrites at `rate` sets per second. After a start that does not count, reports p99 of the call
/// under `metric`, and under `metric` + `_due` p99 from the moment that the set was due.
pub fn paced(engine: &dyn Engine, data: &Data, plan: &Plan, rate: f64, metric: &str) -> Res<()> {
    let mut buffer = [0; KEY_MAX];
    let mut rng = Rng::new(13);
    let (mut calls, mut since_due) = (Histogram::new(), Histogram::new());
    let start = Instant::now();
    let end = plan.soak_seconds() / 2.0;
    let mut due = 0.0;
    while due < end {
        let due_at = start + Duration::from_secs_f64(due);
        let mut begin = Instant::now();
        while begin < due_at {
            std::hint::spin_loop();
            begin = Instant::now();
        }
        let index = rng.below(data.shape.keys);
        engine.set(data.key(index, &mut buffer), data.value(rng.next()))?;
        let done = Instant::now();
        if due > 0.1 * end {
            calls.add((done - begin).as_nanos() as u64);
            since_due.add((done - due_at).as_nanos() as u64);
        }
        due += 1.0 / rate;
    }
    emit(metric, calls.quantile_us(0.99))?;
    emit(&format!("{metric}_due"), since_due.quantile_us(0.99))
}
