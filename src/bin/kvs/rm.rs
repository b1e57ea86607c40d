//! `kvs rm KEY`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::{open, output};

/// Remove a key
///
/// Prints nothing. When the command ends with 0, the removal is on the disk. Where the key does
/// not exist, it prints `Key not found` on standard output and ends with 1. Makes no store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs rm city\n  kvs --dir data rm -- -key")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
}

/// Removes it, and syncs.
pub fn run(dir: &Path, args: Args) -> Result<ExitCode, Failure> {
    let existed = match open::if_any(open::existing(dir))? {
        Some(store) => {
            let existed = store.remove(args.key.into_vec())?.existed;
            store.close()?;
            existed
        }
        None => false,
    };
    if existed {
        return Ok(ExitCode::SUCCESS);
    }
    output::print(b"Key not found\n")?;
    Ok(ExitCode::FAILURE)
}
