//! `kvs-client get KEY`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kvs::cli::failure::Failure;
use kvs::cli::output;
use kvs::client::BlockingKvsClient;

/// Print the value of a key
///
/// Prints the value and a line feed, or `Key not found` if there is none; both end with 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs-client get city\n  kvs-client get --version -- -key")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// Print the version before the value, and a tab: the number of the write that set it
    #[arg(long)]
    version: bool,
}

/// Looks it up and prints it.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<(), Failure> {
    let mut line = match client.get_versioned(args.key.into_vec())? {
        Some(found) if args.version => {
            [format!("{}\t", found.seq).as_bytes(), &found.value].concat()
        }
        Some(found) => found.value.into_vec(),
        None => b"Key not found".to_vec(),
    };
    line.push(b'\n');
    output::print(&line)
}
