//! `kvs-client scan`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use kvs::Versioned;
use kvs::cli::failure::Failure;
use kvs::cli::jsonl;
use kvs::cli::output::Output;
use kvs::client::{BlockingKvsClient, ScanOptions};

const EXAMPLES: &str = "\
Examples:
  kvs-client scan --prefix user/
  kvs-client scan --from a --to b --limit 10 --keys
  kvs-client scan --reverse --limit 1 --json";

/// Print keys and values in the order of the keys
///
/// Prints `KEY<TAB>VALUE` lines as they are, or with --json an object a line, as export does;
/// without --prefix, --from and --to, of all keys. What is printed is the state of one moment, if
/// the engine of the server has snapshots and the connection does not break.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only keys that begin with this
    #[arg(long)]
    prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long)]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long)]
    to: Option<OsString>,
    /// The last key first
    #[arg(long)]
    reverse: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only the keys
    #[arg(long)]
    keys: bool,
    /// As JSON Lines
    #[arg(long)]
    json: bool,
}

/// Goes over the range and prints it.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<(), Failure> {
    let (keys_only, as_json) = (args.keys, args.json);
    let mut output = Output::create(None)?;
    let mut line = Vec::new();
    for record in client.scan(options(args)) {
        let (key, found) = record?;
        line.clear();
        put(&key, &found, keys_only, as_json, &mut line)?;
        output.write(&line)?;
    }
    output.finish()
}

fn options(args: Args) -> ScanOptions {
    let mut options = ScanOptions::new();
    if let Some(prefix) = args.prefix {
        options = options.prefix(prefix.into_vec());
    }
    if let Some(from) = args.from {
        options = options.from(from.into_vec());
    }
    if let Some(to) = args.to {
        options = options.to(to.into_vec());
    }
    if args.reverse {
        options = options.reverse();
    }
    if let Some(limit) = args.limit {
        options = options.limit(limit);
    }
    if args.keys {
        options = options.keys_only();
    }
    options
}

/// Adds the line of a record to `line`.
fn put(
    key: &[u8],
    found: &Versioned,
    keys_only: bool,
    as_json: bool,
    line: &mut Vec<u8>,
) -> Result<(), Failure> {
    match (keys_only, as_json) {
        (true, true) => jsonl::format_key(key, line)?,
        (false, true) => jsonl::format(key, found, line)?,
        (_, false) => {
            line.extend_from_slice(key);
            if !keys_only {
                line.push(b'\t');
                line.extend_from_slice(&found.value);
            }
            line.push(b'\n');
        }
    }
    Ok(())
}
