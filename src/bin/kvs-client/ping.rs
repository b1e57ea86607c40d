//! `kvs-client ping`.

use std::time::Instant;

use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::BlockingKvsClient;

use crate::connect;

/// Ask whether the server is there, and print how long that took
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs-client ping --count 10")]
pub struct Args {
    /// How many times
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
}

/// Asks and prints.
pub fn run(client: &BlockingKvsClient, server: &connect::Args, args: &Args) -> Result<(), Failure> {
    let info = client.server();
    for _ in 0..args.count {
        let begun = Instant::now();
        client.ping()?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        let line = format!(
            "{} {} with the engine {} at {}: {ms:.3} ms\n",
            info.software, info.version, info.engine, server.addr
        );
        output::print(line.as_bytes())?;
    }
    Ok(())
}
