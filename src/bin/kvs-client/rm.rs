//! `kvs-client rm KEY`.

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use kvs::cli::failure::Failure;
use kvs::client::BlockingKvsClient;

/// Remove a key
///
/// Prints nothing. Where the key does not exist, it prints `Key not found` on standard error and
/// ends with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs-client rm city\n  kvs-client rm -- -key")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
}

/// Removes it.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<ExitCode, Failure> {
    if client.remove(args.key.into_vec())?.existed {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(not_found())
}

/// Says that there is no such key, and that this is a failure.
pub fn not_found() -> ExitCode {
    // Where standard error is closed, the exit code is all that is left to say.
    let _ = writeln!(stderr(), "Key not found");
    ExitCode::FAILURE
}
