//! `kvs expire KEY MS`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::{open, output};

/// Let a key expire, or no longer
///
/// Prints nothing. When the command ends with 0, it is on the disk. Where the key does not exist,
/// it prints `Key not found` on standard output and ends with 1. Makes no store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kvs expire session 60000
  kvs expire session --at-ms 4102444800000
  kvs --dir data expire session --never")]
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

/// Sets the expiry, and syncs.
pub fn run(dir: &Path, args: Args) -> Result<ExitCode, Failure> {
    let existed = match open::if_any(open::existing(dir))? {
        Some(store) => {
            let key = args.key.into_vec();
            let in_ms = args.when.ms.map(|ms| store.now_ms().saturating_add(ms));
            let existed = match in_ms.or(args.when.at_ms) {
                Some(at_ms) => store.expire_at(&key, at_ms)?.is_some(),
                // A key that does not expire stays as it is.
                None => store.persist(&key)?.is_some() || store.contains_key(&key)?,
            };
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
