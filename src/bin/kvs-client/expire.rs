//! `kvs-client expire KEY MS`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use kvs::cli::failure::Failure;
use kvs::client::BlockingKvsClient;

use crate::rm::not_found;

/// Let a key expire, or no longer
///
/// Prints nothing. Where the key does not exist, it prints `Key not found` on standard error and
/// ends with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kvs-client expire session 60000
  kvs-client expire session --at-ms 4102444800000
  kvs-client expire session --never")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    #[command(flatten)]
    when: When,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct When {
    /// In how many milliseconds it expires
    ms: Option<u64>,
    /// When it expires, in milliseconds since 1970-01-01 UTC
    #[arg(long, value_name = "MS")]
    at_ms: Option<u64>,
    /// It does not expire
    #[arg(long)]
    never: bool,
}

/// Sets the expiry.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<ExitCode, Failure> {
    let key = args.key.into_vec();
    let existed = match (args.when.ms, args.when.at_ms) {
        (Some(ms), _) => client.expire_after(key, ms)?,
        (None, Some(at_ms)) => client.expire_at(key, at_ms)?,
        (None, None) => client.persist(key)?,
    };
    Ok(if existed { ExitCode::SUCCESS } else { not_found() })
}
