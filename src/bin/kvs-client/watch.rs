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
  kvs-client watch --after 1234 --json
  kvs-client watch --after 1233 --skip 2     two lines with the seq 1234 were printed before";

/// Print what is committed, in that order, as it comes
///
/// A line for each change: `SEQ<TAB>set<TAB>EXPIRY<TAB>KEY<TAB>VALUE` with key and value as they
/// are, or `SEQ<TAB>remove<TAB>-<TAB>KEY`; the expiry is - or in milliseconds since 1970-01-01 UTC.
/// With --json an object a line, as export does, with "seq" in it, and "removed":true instead of
/// a value. All changes of a batch have one seq.
///
/// Goes on until it is interrupted, nobody reads its output, or the server cannot be reached for
/// longer than --timeout-ms; a connection that breaks is made again, and no change is left out or
/// comes twice. To go on later, say the seq before the last one that was printed, and how many
/// lines had the last one: --after SEQ --skip N. With the last seq itself, what was still to come
/// of its batch would be left out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only what came after the write with this seq; 0: everything [default: from now on]
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Leave out the first so many changes
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    skip: u64,
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
    let (mut skip, mut left) = (args.skip, args.limit.unwrap_or(u64::MAX));
    while left > 0 {
        let change = match watch.next_within(Duration::ZERO)? {
            Some(change) => change,
            None => {
                // Before anybody waits, all lines are out.
                output.flush()?;
                watch.next()?
            }
        };
        if skip > 0 {
            skip -= 1;
            continue;
        }
        line.clear();
        changes::format(&change, args.json, &mut line)?;
        output.write(&line)?;
        left -= 1;
    }
    output.finish()
}
