//! `kvs get KEY`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::failure::Failure;
use crate::{open, output};

/// Print the value of a key
///
/// Prints the value and a line feed, or `Key not found` if there is none; both end with 0. Makes
/// no store: where the directory holds none, no key is found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs get city\n  kvs --dir data get -- -key")]
pub struct Args {
    /// The key: any bytes
    #[arg(allow_negative_numbers = true)]
    key: OsString,
}

/// Looks it up and prints it.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let value = match open::if_any(open::to_read(dir))? {
        Some(store) => {
            let value = store.get(args.key.into_vec())?;
            store.close()?;
            value
        }
        None => None,
    };
    let mut line = value.map_or_else(|| b"Key not found".to_vec(), kvs::Value::into_vec);
    line.push(b'\n');
    output::print(&line)
}
