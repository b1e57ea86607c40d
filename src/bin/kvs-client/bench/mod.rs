//! `kvs-client bench`: many clients at once, and how long each of their requests took.
//!
//! 1. Keys of the benchmark's own are written, so that reads find something.
//! 2. Each client is a connection, with so many requests in flight; they are measured.
//! 3. The keys are removed.

mod load;
mod drawing;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::ClientError;

use crate::connect;
use load::Measured;

const EXAMPLES: &str = "\
Examples:
  kvs-client bench
  kvs-client bench --clients 100 --pipeline 16 --requests 1000000 --reads 90";

/// Measure how fast the server is
///
/// Writes keys that begin with `bench/` and removes them at the end. Half of the requests are gets,
/// the others sets, of keys by chance. The time of a request is from when it was asked to when its
/// answer was there, on this side; with more clients or a longer pipeline there is more done in a
/// second, and each request waits longer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// How many requests each of them has in flight
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pipeline: u32,
    /// How many requests in all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// How long values are
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
    value_bytes: u32,
    /// How many of a hundred requests read
    #[arg(long, value_name = "PERCENT", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    reads: u32,
    /// How many keys there are
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    keys: u64,
    /// Leave the keys there at the end
    #[arg(long)]
    keep: bool,
}

/// Measures and prints.
pub fn run(server: &connect::Args, args: &Args) -> Result<(), Failure> {
    let options = server.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|source| ClientError::Runtime { source: Arc::new(source) })?;
    let measured = runtime.block_on(load::run(&options, &server.addr, args))?;
    output::print(report(args, &measured).as_bytes())
}

fn report(args: &Args, measured: &Measured) -> String {
    let mut text = format!(
        "{} clients, {} in flight each, values of {} bytes, {} keys\n",
        args.clients, args.pipeline, args.value_bytes, args.keys
    );
    for (name, times) in [("get", &measured.reads), ("set", &measured.writes)] {
        if times.is_empty() {
            continue;
        }
        let rate = per_second(times.len(), measured.elapsed);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{name}: {} requests, {rate} a second", times.len());
        text.push_str(&drawing::summary(times));
        text.push_str(&drawing::histogram(times));
    }
    let count = measured.reads.len() + measured.writes.len();
    let rate = per_second(count, measured.elapsed);
    let seconds = measured.elapsed.as_secs_f64();
    let _ = writeln!(text, "\n{count} requests in {seconds:.2} s: {rate} a second");
    text
}

fn per_second(count: u64, elapsed: Duration) -> u128 {
    u128::from(count) * 1_000_000_000 / elapsed.as_nanos().max(1)
}
