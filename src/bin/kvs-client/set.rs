//! `kvs-client set KEY VALUE`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kvs::cli::failure::Failure;
use kvs::client::BlockingKvsClient;
use kvs::{Durability, SetOptions};

/// Give a key a value
///
/// Prints nothing. When the command ends with 0, the value is as durable as the server was started
/// to make it; with --sync, it is on the disk. The key does not expire, even if it did before,
/// unless this says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs-client set city Utrecht\n  kvs-client set -- -key -value")]
pub struct Args {
    /// The key: any bytes, at most 1 MiB
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// Its new value: any bytes
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// Let the key expire so many milliseconds from now
    #[arg(long, value_name = "MS")]
    expire_after_ms: Option<u64>,
    /// Wait until it is on the disk
    #[arg(long)]
    sync: bool,
}

/// Writes it.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<(), Failure> {
    let mut options = SetOptions::new();
    if let Some(ms) = args.expire_after_ms {
        options = options.expire_after_ms(ms);
    }
    if args.sync {
        options = options.durability(Durability::Always);
    }
    client.set_with(args.key.into_vec(), args.value.into_vec(), options)?;
    Ok(())
}
