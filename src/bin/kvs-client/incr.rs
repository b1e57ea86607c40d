//! `kvs-client incr KEY [BY]`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::BlockingKvsClient;

/// Add to the number that a key has, and print the sum
///
/// A key that is not there counts as 0. A value that is no decimal integer of 64 bits is an error,
/// and stays as it is. The expiry stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs-client incr visits\n  kvs-client incr stock -3")]
pub struct Args {
    /// The key: any bytes, at most 1 MiB
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// What to add
    #[arg(allow_negative_numbers = true, default_value_t = 1)]
    by: i64,
}

/// Adds and prints.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<(), Failure> {
    let sum = client.increment(args.key.into_vec(), args.by)?;
    output::print(format!("{sum}\n").as_bytes())
}
