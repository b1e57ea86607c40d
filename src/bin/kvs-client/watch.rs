//! `kvs-client watch`: what is committed, as it comes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use kvs::cli::changes;
use kvs::cli::failure::Failure;
use kvs::cli::output::Output;
use kvs::client::BlockingKvsClient;

const EXAMPLES: &str = "\
Examples:
  kvs-client watch --prefix user/
  kvs-client watch --after 1234 --json";

/// Print what is committed, in that order, as it comes
///
/// A line for each change: `SEQ<TAB>set<TAB>EXPIRY<TAB>KEY<TAB>VALUE` with key and value as they
/// are, or `SEQ<TAB>remove<TAB>-<TAB>KEY`; the expiry is - or in milliseconds since 1970-01-01 UTC.
/// With --json an object a line, as export does, with "seq" in it, and "removed":true instead of
/// a value. All changes of a batch have one seq.
///
/// Goes on until it is interrupted, nobody reads its output, or the server cannot be reached for
/// longer than --timeout-ms; a connection that breaks is made again, and no change is left out or
/// comes twice. To go on later, say the last seq that was printed: --after SEQ.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only what came after the write with this seq; 0: everything [default: from now on]
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only keys that begin with this
    #[arg(long)]
    prefix: Option<OsString>,
    /// End after so many changes
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// As JSON Lines
    #[arg(long)]
    json: bool,
}

/// Prints each change as soon as it comes.
pub fn run(client: &BlockingKvsClient, args: Args) -> Result<(), Failure> {
    let prefix = args.prefix.map(OsString::into_vec).unwrap_or_default();
    let mut watch = client.watch(args.after, prefix)?;
    let mut output = Output::create(None)?;
    let mut line = Vec::new();
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let change = match watch.next_within(Duration::ZERO)? {
            Some(change) => change,
            None => {
                // Before anybody waits, all lines are out.
                output.flush()?;
                watch.next()?
            }
        };
        line.clear();
        changes::format(&change, args.json, &mut line)?;
        output.write(&line)?;
        left -= 1;
    }
    output.finish()
}
