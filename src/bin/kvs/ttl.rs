//! `kvs ttl KEY`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::failure::Failure;
use crate::{open, output};

/// Print how long a key has to live
///
/// Prints the milliseconds until it expires, `never`, or `Key not found`; all end with 0. Works
/// beside a process that has the store open, and changes nothing. Makes no store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs ttl session\n  kvs --dir data ttl -- -key")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
}

/// Looks it up and prints it.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let left = match open::if_any(open::to_read(dir))? {
        Some(store) => {
            let expiry = store.expires_at(args.key.into_vec())?;
            let now_ms = store.now_ms();
            expiry.map(|at_ms| at_ms.map(|at_ms| at_ms.saturating_sub(now_ms)))
        }
        None => None,
    };
    let line = match left {
        Some(Some(ms)) => format!("{ms}\n"),
        Some(None) => "never\n".to_owned(),
        None => "Key not found\n".to_owned(),
    };
    output::print(line.as_bytes())
}
