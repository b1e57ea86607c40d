//! `kvs set KEY VALUE`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use kvs::SetOptions;

use crate::failure::Failure;
use crate::open;

/// Give a key a value; the store is made if it is not there
///
/// Prints nothing. When the command ends with 0, the value is on the disk. The key does not expire,
/// even if it did before, unless this says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs set city Utrecht\n  kvs --dir data set -- -key -value")]
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
}

/// Writes it, and syncs.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let store = open::or_create(dir)?;
    let options = SetOptions::new();
    let options = match args.expire_after_ms {
        Some(ms) => options.expire_after_ms(ms),
        None => options,
    };
    store.set_with(args.key.into_vec(), args.value.into_vec(), options)?;
    Ok(store.close()?)
}
