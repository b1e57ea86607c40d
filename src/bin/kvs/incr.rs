//! `kvs incr KEY [BY]`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::failure::Failure;
use crate::{open, output};

/// Add to the number that a key has, and print the sum
///
/// A key that is not there counts as 0. A value that is no decimal integer of 64 bits is an error,
/// and stays as it is. When the command ends with 0, the sum is on the disk. The expiry stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs incr visits\n  kvs --dir data incr stock -3")]
pub struct Args {
    /// The key: any bytes, at most 1 MiB
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// What to add
    #[arg(allow_negative_numbers = true, default_value_t = 1)]
    by: i64,
}

/// Adds, syncs, prints.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let store = open::or_create(dir)?;
    let sum = store.increment(args.key.into_vec(), args.by)?;
    store.close()?;
    output::print(format!("{sum}\n").as_bytes())
}
