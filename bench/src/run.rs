//! The run: rounds, and in each a process per engine and scale, in turn.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::data::Shape;
use crate::engine::Res;
use crate::engines;
use crate::limits;
use crate::machine::{self, Machine};
use crate::plan::{Message, Plan, Work};
use crate::report::metrics::MEMORY_SCALE;
use crate::report::{Kind, Report, Sample, Soak};

/// What the user asked for.
pub struct Request {
    pub rounds: usize,
    pub scales: Vec<&'static str>,
    pub engines: Vec<String>,
    pub workloads: Vec<String>,
    pub quick: bool,
    pub out: PathBuf,
    pub dir: PathBuf,
    pub command: String,
}

pub fn run(request: &Request) -> Res<Report> {
    let mut report = Report {
        kind: Kind::Embedded,
        machine: Machine::look(&request.dir),
        command: request.command.clone(),
        versions: versions(request.engines.iter().map(String::as_str)),
        samples: Vec::new(),
        soaks: Vec::new(),
        failures: Vec::new(),
    };
    for round in 0..request.rounds {
        for scale in &request.scales {
            round_at(request, round, scale, &mut report);
            report.save(&request.out)?;
        }
        if round == 0 {
            memory_series(request, &mut report);
            report.save(&request.out)?;
        }
    }
    Ok(report)
}

/// The command line that this process was started with.
pub fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -p kvs-bench -- {}", words.join(" "))
}

pub fn shape(scale: &str) -> Shape {
    match scale {
        "5m" => Shape { keys: 5_000_000, key_len: 24, value_len: 150 },
        "1m" => Shape { keys: 1_000_000, key_len: 16, value_len: 100 },
        _ => Shape { keys: 100_000, key_len: 16, value_len: 100 },
    }
}

fn plan(request: &Request, engine: &str, shape: Shape, work: Work) -> Plan {
    Plan {
        engine: engine.into(),
        shape,
        work,
        dir: request.dir.clone(),
        quick: request.quick,
        workloads: request.workloads.clone(),
    }
}

fn round_at(request: &Request, round: usize, scale: &str, report: &mut Report) {
    let wants_engines = request.workloads.is_empty()
        || request.workloads.iter().any(|name| name != "memory" && name != "limits");
    let shape = shape(scale);
    let limits_plan = plan(request, limits::NAME, shape, Work::Limits);
    let mut plans = Vec::new();
    if limits_plan.wants("limits") {
        plans.push(limits_plan);
    }
    if wants_engines {
        // Each round begins with another engine, so that a drift of the machine favours none.
        let count = request.engines.len();
        for place in 0..count {
            let engine = &request.engines[(place + round) % count];
            plans.push(plan(request, engine, shape, Work::All));
        }
    }
    for plan in plans {
        let place = Place { round, scale, engine: &plan.engine, metric: None };
        work(request, &plan, &place, report);
    }
}

/// KVS alone: memory by count and length of keys, each in a process that does only this.
fn memory_series(request: &Request, report: &mut Report) {
    let kvs = request.engines.iter().any(|name| name == engines::KVS);
    for scale in &request.scales {
        let counts: &[u64] = match *scale {
            "1m" => &[1_000_000],
            "5m" => &[5_000_000, 10_000_000],
            _ => &[100_000],
        };
        for (&keys, key_len) in counts.iter().flat_map(|keys| [(keys, 16), (keys, 200)]) {
            let shape = Shape { keys, key_len, value_len: 16 };
            let plan = plan(request, engines::KVS, shape, Work::Memory);
            if !kvs || !plan.wants("memory") {
                continue;
            }
            let metric = format!("{} M keys of {key_len} bytes", keys as f64 / 1e6);
            let engine = engines::KVS;
            let place = Place { round: 0, scale: MEMORY_SCALE, engine, metric: Some(&metric) };
            work(request, &plan, &place, report);
        }
    }
}

/// Where the results of one process belong.
struct Place<'a> {
    round: usize,
    scale: &'a str,
    engine: &'a str,
    /// Stands for the name that the process gives.
    metric: Option<&'a str>,
}

fn work(request: &Request, plan: &Plan, place: &Place, report: &mut Report) {
    let name = place.metric.unwrap_or(place.scale);
    eprint!("round {}, {name}, {} ...", place.round + 1, place.engine);
    let start = Instant::now();
    let result =
        enough_space(plan, &request.dir).and_then(|()| in_process(request, plan, place, report));
    eprintln!(" {:.0} s", start.elapsed().as_secs_f64());
    if let Err(error) = result {
        let failure = format!("round {}, {name}, {}: {error}", place.round + 1, place.engine);
        eprintln!("{failure}");
        report.failures.push(failure);
    }
}

/// Refuses to start what could fill the disk.
fn enough_space(plan: &Plan, dir: &Path) -> Res<()> {
    let needed = 8 * plan.shape.bytes() + (12 << 30);
    let free = machine::free_bytes(dir)?;
    if free < needed {
        let gib = |bytes: u64| bytes.div_ceil(1 << 30);
        let (free, needed) = (gib(free), gib(needed));
        return Err(format!("{free} GiB are free in {}, {needed} needed", dir.display()).into());
    }
    Ok(())
}

/// Runs the plan in a process of its own, in a directory of its own, and keeps what it reports.
fn in_process(request: &Request, plan: &Plan, place: &Place, report: &mut Report) -> Res<()> {
    let dir = TempDir::with_prefix_in("kvs-bench-", &request.dir)?;
    let plan = Plan { dir: dir.path().into(), ..plan.clone() };
    machine::settle();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("worker")
        .arg(serde_json::to_string(&plan)?)
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("a child without an output")?;
    for line in BufReader::new(out).lines() {
        keep(serde_json::from_str(&line?)?, place, report);
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("the process ended with {status}").into());
    }
    Ok(())
}

fn keep(message: Message, place: &Place, report: &mut Report) {
    let Place { round, scale, engine, .. } = *place;
    let (scale, engine) = (scale.to_string(), engine.to_string());
    match message {
        Message::Value { metric, value } => {
            let metric = place.metric.map_or(metric, str::to_string);
            report.samples.push(Sample { round, scale, engine, metric, value });
        }
        Message::Soak { points } => report.soaks.push(Soak { round, scale, engine, points }),
    }
}

/// Names and versions, the packages' from the lock file that this program was built with.
pub fn versions<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let mut versions: Vec<(String, String)> = names
        .map(|name| {
            let package = engines::package(name);
            let shown = if package == name { name.into() } else { format!("{name} ({package})") };
            (shown, locked(LOCK, package).unwrap_or_else(|| "unknown".into()))
        })
        .collect();
    if let Some(commit) = machine::first_line("git", &["describe", "--always", "--dirty"]) {
        versions.push(("commit".into(), commit));
    }
    if let Some(line) = machine::first_line("rustc", &["--version"]) {
        let version = line.split(' ').nth(1).unwrap_or("unknown").to_string();
        versions.push(("rustc".into(), version));
    }
    versions
}

fn locked(lock: &str, package: &str) -> Option<String> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(after.split('"').next()?.to_string())
}
