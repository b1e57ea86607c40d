//! `kvs-client ttl KEY`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::BlockingKvsClient;

/// Print how long a key has to live
///
/// Prints the milliseconds until it expires, `never`, or `Key not found`; all end with 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs-client ttl session")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
}

/// Looks it up and prints it, by the clock of the server.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<(), Failure> {
    let line = match client.expires_at(args.key.into_vec())? {
        None => "Key not found\n".to_owned(),
        Some(None) => "never\n".to_owned(),
        Some(Some(at_ms)) => format!("{}\n", at_ms.saturating_sub(client.ping()?)),
    };
    output::print(line.as_bytes())
}
