//! `kvs get KEY`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::failure::Failure;
use crate::{open, output};

/// Print the value of a key
///
/// Prints the value and a line feed, or `Key not found` if there is none; both end with 0. Works
/// beside a process that has the store open, and changes nothing. Makes no store: where the
/// directory holds none, no key is found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs get city\n  kvs --dir data get -- -key")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
    /// Print the version before the value, and a tab: the number of the write that set it
    #[arg(long)]
    version: bool,
}

/// Looks it up and prints it.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let found = match open::if_any(open::to_read(dir))? {
        Some(store) => store.get_versioned(args.key.into_vec())?,
        None => None,
    };
    let mut line = match found {
        Some(found) if args.version => {
            [format!("{}\t", found.seq).as_bytes(), &found.value].concat()
        }
        Some(found) => found.value.into_vec(),
        None => b"Key not found".to_vec(),
    };
    line.push(b'\n');
    output::print(&line)
}
