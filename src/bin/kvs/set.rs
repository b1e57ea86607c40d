//! `kvs set KEY VALUE`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::failure::Failure;
use crate::open;

/// Give a key a value; the store is made if it is not there
///
/// Prints nothing. When the command ends with 0, the value is on the disk.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs set city Utrecht\n  kvs --dir data set -- -key -value")]
pub struct Args {
    /// The key: any bytes, at most 1 MiB
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// Its new value: any bytes
    #[arg(allow_negative_numbers = true)]
    value: OsString,
}

/// Writes it, and syncs.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let store = open::or_create(dir)?;
    store.set(args.key.into_vec(), args.value.into_vec())?;
    Ok(store.close()?)
}
