//! `kvs scan`.

use std::ffi::OsString;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kvs::{Range, ReadOnlyStore};

use crate::failure::Failure;
use crate::output::Output;
use crate::{jsonl, open};

const EXAMPLES: &str = "\
Examples:
  kvs scan --prefix user/
  kvs --dir data scan --from a --to b --limit 10 --keys
  kvs scan --reverse --limit 1 --json";

/// Print keys and values in the order of the keys
///
/// Prints KEY<TAB>VALUE lines as they are, or with --json an object a line, as export does; without
/// --prefix, --from and --to, of all keys. What is printed is the state of one moment. To sort
/// them, all keys of the store are read, and those of the range are held in memory. Makes no
/// store.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only keys that begin with this
    #[arg(long, conflicts_with_all = ["from", "to"])]
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
    limit: Option<usize>,
    /// Only the keys
    #[arg(long)]
    keys: bool,
    /// As JSON Lines
    #[arg(long)]
    json: bool,
}

/// Goes over the range and prints it.
pub fn run(dir: &Path, args: Args) -> Result<(), Failure> {
    let store = open::to_read(dir)?;
    let keys = range(&store, &args)?.keys();
    let keys: Box<dyn Iterator<Item = kvs::Result<Vec<u8>>>> =
        if args.reverse { Box::new(keys.rev()) } else { Box::new(keys) };
    let mut output = Output::create(None)?;
    let mut line = Vec::new();
    for key in keys.take(args.limit.unwrap_or(usize::MAX)) {
        line.clear();
        put(&store, &key?, &args, &mut line)?;
        output.write(&line)?;
    }
    output.finish()
}

fn range(store: &ReadOnlyStore, args: &Args) -> Result<Range, Failure> {
    if let Some(prefix) = &args.prefix {
        return Ok(store.prefix(prefix.as_bytes())?);
    }
    let from = args.from.as_ref().map_or(Bound::Unbounded, |key| Bound::Included(key.as_bytes()));
    let to = args.to.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
    Ok(store.range::<&[u8]>((from, to))?)
}

/// Adds the line of a key to `line`.
fn put(store: &ReadOnlyStore, key: &[u8], args: &Args, line: &mut Vec<u8>) -> Result<(), Failure> {
    if args.keys && args.json {
        jsonl::format_key(key, line)?;
        return Ok(());
    }
    if args.json {
        if let Some(found) = store.get_versioned(key)? {
            jsonl::format(key, &found, line)?;
        }
        return Ok(());
    }
    line.extend_from_slice(key);
    if !args.keys {
        line.push(b'\t');
        line.extend(store.get(key)?.map(kvs::Value::into_vec).unwrap_or_default());
    }
    line.push(b'\n');
    Ok(())
}
