//! Runs the same workloads on KVS and on other stores, each in its own process, in turn, and writes
//! a table, the raw results and plots.
//!
//! `cargo run --release -p kvs-bench -- embedded` measures the store beside other embedded ones;
//! `--quick --scale small --rounds 1` is a look at whether it works. `-- server` measures
//! `kvs-server` beside `redis-server`.

mod data;
mod engine;
mod engines;
mod expiry;
mod histogram;
mod limits;
mod machine;
mod plan;
mod report;
mod run;
mod server;
mod worker;
mod workload;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::Res;
use crate::plan::{Plan, WORKLOADS};
use crate::report::{json, table};
use crate::run::Request;

#[derive(Parser)]
#[command(name = "kvs-bench", about = "Measures KVS beside other key-value stores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the workloads and save results.md, results.json and a plot per scale
    Embedded(Embedded),
    /// Measure kvs-server beside redis-server and save results.md, results.json and plots
    Server(server::Server),
    /// Soak KVS with keys that live for a short while
    Expiry(expiry::Expiry),
    /// Write the tables and plots again from a results.json
    Report {
        file: PathBuf,
        #[arg(long, default_value = "bench/out")]
        out: PathBuf,
    },
    #[command(hide = true)]
    Worker { plan: String },
}

#[derive(Args)]
struct Embedded {
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, value_enum, default_value_t = Scale::All)]
    scale: Scale,
    /// Engines, separated by commas [default: all of this build]
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Workloads, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Where the results are written
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
    /// Where the stores are put while they are measured [default: the temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure for a shorter time
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// 100 k keys of 16 bytes, values of 100
    Small,
    /// 1 M keys of 16 bytes, values of 100
    #[value(name = "1m")]
    OneMillion,
    /// 5 M keys of 24 bytes, values of 150
    #[value(name = "5m")]
    FiveMillion,
    /// 1m and 5m
    All,
}

fn main() -> Res<()> {
    match Arguments::parse().command {
        Command::Embedded(arguments) => embedded(arguments),
        Command::Server(arguments) => server::run(arguments),
        Command::Expiry(plan) => expiry::run(&plan),
        Command::Report { file, out } => json::load(&file)?.save(&out),
        Command::Worker { plan } => worker::run(&serde_json::from_str::<Plan>(&plan)?),
    }
}

fn embedded(arguments: Embedded) -> Res<()> {
    let known = |kind: &str, names: &[String], all: &[&str]| -> Res<()> {
        match names.iter().find(|name| !all.contains(&name.as_str())) {
            Some(name) => Err(format!("no {kind} {name}; there are {}", all.join(", ")).into()),
            None => Ok(()),
        }
    };
    known("engine", &arguments.engines, engines::NAMES)?;
    known("workload", &arguments.workloads, WORKLOADS)?;
    let engines = match arguments.engines.is_empty() {
        true => engines::NAMES.iter().map(|name| name.to_string()).collect(),
        false => arguments.engines,
    };
    let scales = match arguments.scale {
        Scale::Small => vec!["small"],
        Scale::OneMillion => vec!["1m"],
        Scale::FiveMillion => vec!["5m"],
        Scale::All => vec!["1m", "5m"],
    };
    let request = Request {
        rounds: arguments.rounds,
        scales,
        engines,
        workloads: arguments.workloads,
        quick: arguments.quick,
        out: arguments.out,
        dir: arguments.dir.unwrap_or_else(std::env::temp_dir),
        command: run::command(),
    };
    let report = run::run(&request)?;
    table::print(&report, &request.out);
    Ok(())
}
