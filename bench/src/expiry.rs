//! A soak of keys that live for a short while: how much disk they take, and how soon they are gone.
//!
//! New keys are set at a steady rate, so that `keys` of them are alive at a time. For KVS alone: of
//! the rivals, none expires keys.

use std::time::{Duration, Instant};

use clap::Args;
use kvs::{Durability, Options, SetOptions};
use tempfile::TempDir;

use crate::engine::Res;
use crate::histogram::Histogram;
use crate::machine;

const VALUE_BYTES: usize = 100;
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct Expiry {
    /// How many keys are alive at a time
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// How long each lives
    #[arg(long, default_value_t = 10_000)]
    live_ms: u64,
    /// How long the soak takes, after the first keys have expired
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

/// The worst that was seen.
#[derive(Default)]
struct Worst {
    /// Segment files, and what is left of them after two segments, over what is alive.
    over_live: f64,
    bound: f64,
    /// Keys that are counted and have expired, over those that are alive.
    late: f64,
}

pub fn run(plan: &Expiry) -> Res<()> {
    let dir = TempDir::new()?;
    let options = Options::new().durability(Durability::Os);
    let store = options.open(dir.path())?;
    let rate = plan.keys as f64 * 1000.0 / plan.live_ms as f64;
    let expiring = SetOptions::new().expire_after_ms(plan.live_ms);
    let (mut times, mut worst, mut looks) = (Histogram::new(), Worst::default(), 0_u32);
    let settled = Duration::from_millis(plan.live_ms);
    let end = settled + Duration::from_secs(plan.seconds);
    let start = Instant::now();
    let mut next_look = settled + settled / 10;
    let (mut number, mut record_bytes) = (0_u64, 0.0);
    loop {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        let mut now = Instant::now();
        while now < due {
            std::hint::spin_loop();
            now = Instant::now();
        }
        let elapsed = now - start;
        if elapsed >= end {
            break;
        }
        store.set_with(number.to_le_bytes(), [b'v'; VALUE_BYTES], expiring)?;
        times.add(now.elapsed().as_nanos() as u64);
        number += 1;
        if number == 1000 {
            record_bytes = store.stats().live_bytes as f64 / 1000.0;
        }
        if elapsed >= next_look {
            next_look = elapsed + LOOK;
            looks += 1;
            let (live, files) = (plan.keys as f64 * record_bytes, machine::disk_use(dir.path()));
            let segment = (live / 16.0).clamp(f64::from(1 << 20), f64::from(128 << 20));
            worst.over_live = worst.over_live.max(files.segments as f64 / live);
            worst.bound = worst.bound.max((files.segments as f64 - 2.0 * segment) / live);
            let late = store.len().saturating_sub(plan.keys) as f64 / plan.keys as f64;
            worst.late = worst.late.max(late);
        }
    }
    let seconds = plan.seconds;
    println!("{} keys alive, {} ms each, {seconds} s, {looks} looks:", plan.keys, plan.live_ms);
    println!("sets: {:.0} k/s, p99 of a set {:.2} us", rate / 1000.0, times.quantile_us(0.99));
    println!("segment files: at most {:.2} x live", worst.over_live);
    println!("(segment files - 2 segments): at most {:.2} x live; the bound is 1.5", worst.bound);
    println!("counted although expired: at most {:.1} % of the keys", 100.0 * worst.late);
    println!("compactions: {}", store.stats().compactions);
    Ok(store.close()?)
}
