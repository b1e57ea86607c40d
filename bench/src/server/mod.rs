//! `kvs-server` beside `redis-server`: the same requests to each, over loopback, in turn.

mod kvs_protocol;
mod measure;
mod process;
mod redis_benchmark;
mod resp;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::engine::Res;
use crate::engines::KVS;
use crate::machine::{self, Machine};
use crate::report::{Kind, Report, Sample, table};
use crate::run;
use measure::{Plan, Requests};
use process::Programs;

pub const REDIS: &str = "redis";

/// The servers, in the order of the tables.
pub const NAMES: &[&str] = &[KVS, REDIS];

/// Connections that ask at the same time.
const CONNECTIONS: usize = 50;
const VALUE_BYTES: usize = 100;

/// Measure kvs-server beside redis-server
#[derive(Args)]
pub struct Server {
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Send fewer requests
    #[arg(long)]
    quick: bool,
    /// How many keys there are
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// How many keys are loaded to see the memory that they take; 0: leave that out
    #[arg(long, default_value_t = 5_000_000)]
    memory_keys: u64,
    /// Where the results are written
    #[arg(long, default_value = "bench/out/server")]
    out: PathBuf,
    /// Where the data is put while it is measured [default: the temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The kvs-server to measure [default: the one of this source, built now]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// How many threads of kvs-server serve connections; 0: as many as it likes
    #[arg(long, value_name = "N", default_value_t = 0)]
    worker_threads: u32,
}

pub fn run(arguments: Server) -> Res<()> {
    let programs = Programs::find(arguments.server, arguments.worker_threads)?;
    let dir = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let mut report = Report {
        kind: Kind::Server,
        machine: Machine::look(&dir),
        command: run::command(),
        versions: run::versions([KVS].into_iter()),
        samples: Vec::new(),
        soaks: Vec::new(),
        failures: Vec::new(),
    };
    report.versions.push(("redis".into(), programs.redis_version()?));
    for round in 0..arguments.rounds {
        // Each round begins with another server, so that a drift of the machine favours none.
        for place in 0..NAMES.len() {
            let name = NAMES[(place + round) % NAMES.len()];
            let plan = Plan {
                name,
                programs: &programs,
                dir: &dir,
                keys: arguments.keys,
                memory_keys: arguments.memory_keys,
                requests: if arguments.quick { Requests::QUICK } else { Requests::USUAL },
            };
            measure(&plan, round, &mut report);
            report.save(&arguments.out)?;
        }
    }
    table::print(&report, &arguments.out);
    Ok(())
}

/// Measures one server, and keeps what it reports until it fails.
fn measure(plan: &Plan, round: usize, report: &mut Report) {
    eprint!("round {}, {} ...", round + 1, plan.name);
    let start = Instant::now();
    machine::settle();
    let mut keep = |keys: u64, metric: String, value: f64| {
        let (scale, engine) = (keys.to_string(), plan.name.to_string());
        report.samples.push(Sample { round, scale, engine, metric, value });
    };
    let result = plan.measure(&mut keep);
    eprintln!(" {:.0} s", start.elapsed().as_secs_f64());
    if let Err(error) = result {
        let failure = format!("round {}, {}: {error}", round + 1, plan.name);
        eprintln!("{failure}");
        report.failures.push(failure);
    }
}

/// What a reader of the tables must know.
pub const NOTES: &[&str] = &[
    "One server at a time, in a process and on a directory of its own, with the load on the same \
     machine over loopback; the order alternates by round.",
    "Both sync once a second (`redis-server --appendonly yes --appendfsync everysec --save \"\"`, \
     `kvs-server --durability interval --sync-interval-ms 1000`), but for the synced sets: \
     `--appendfsync always` and `--durability always`. Everything else is as each has it by \
     default, unless the command says otherwise; Redis rewrites its log and KVS compacts as they \
     see fit.",
    "The load is `redis-benchmark -c 50 -d 100 -r KEYS -P DEPTH`, which has one thread and takes \
     the time of a request up to the first reply of its pipeline. All keys are there before, so \
     every GET hits. Gets come before sets, and no log is being rewritten when they begin.",
    "The own protocol is asked by a generator of this program, in the same pattern: 50 \
     connections, one thread, random keys, the next requests of a connection when all replies \
     have come; its times are those up to the last reply of a pipeline. The server is the same \
     process as before, with the same keys.",
    "Memory is anonymous memory (`RssAnon`) after a load of new keys. The values of KVS are in \
     mapped files, which the system takes back when it needs them; those of Redis are in it.",
];
