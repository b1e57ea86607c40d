//! What one process is to do, and what it tells the process that started it.

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::Shape;
use crate::engine::Res;

/// Handed to a worker process as its one argument.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    pub engine: String,
    pub shape: Shape,
    pub work: Work,
    pub dir: PathBuf,
    pub quick: bool,
    /// Empty: all.
    pub workloads: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Every workload in turn.
    All,
    /// A load, and the memory that it took.
    Memory,
    /// A load that reports its end and waits to be killed.
    LoadAndWait,
    /// The limits of the machine.
    Limits,
}

/// The names that `--workloads` takes.
pub const WORKLOADS: &[&str] = &[
    "load", "batch", "get", "miss", "scan", "mixed", "reopen", "sync", "soak", "remove", "memory",
    "limits",
];

impl Plan {
    pub fn wants(&self, workload: &str) -> bool {
        debug_assert!(WORKLOADS.contains(&workload));
        self.workloads.is_empty() || self.workloads.iter().any(|name| name == workload)
    }

    /// Seconds that one measurement of a rate takes.
    pub fn seconds(&self) -> f64 {
        if self.quick { 1.0 } else { 3.0 }
    }

    pub fn soak_seconds(&self) -> f64 {
        if self.quick { 5.0 } else { 20.0 }
    }

    /// Seconds after which a load or a removal is cut short.
    pub fn limit_seconds(&self) -> f64 {
        if self.quick { 15.0 } else { 60.0 }
    }
}

/// What a worker prints, one JSON object a line.
#[derive(Clone, Serialize, Deserialize)]
pub enum Message {
    Value { metric: String, value: f64 },
    Soak { points: Vec<SoakPoint> },
}

/// The state of the overwrite soak at one time.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct SoakPoint {
    pub seconds: f64,
    /// Sets per second since the point before.
    pub rate: f64,
    /// Allocated bytes on disk over the bytes of keys and values.
    pub disk_over_live: f64,
}

pub fn emit(metric: &str, value: f64) -> Res<()> {
    print(&Message::Value { metric: metric.into(), value })
}

pub fn print(message: &Message) -> Res<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
