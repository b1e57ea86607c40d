//! `kvs watch`: what is committed, as it comes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use kvs::cli::changes;
use kvs::{KvsError, ReadOnlyWatch};

use crate::failure::Failure;
use crate::follow::Interrupt;
use crate::open;
use crate::output::Output;

/// How often it is looked for something new: as often as an owner has something new to read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  kvs --dir data watch --prefix user/
  kvs watch --after 0 --json                 from the beginning, if compaction has left it
  kvs watch --after 1234 --no-follow         what has come since, and no more";

/// Print what is committed, in that order, as it comes
///
/// A line for each change: SEQ<TAB>set<TAB>EXPIRY<TAB>KEY<TAB>VALUE with key and value as they
/// are, or SEQ<TAB>remove<TAB>-<TAB>KEY; the expiry is - or in milliseconds since 1970-01-01 UTC.
/// With --json an object a line, as export does, with "seq" in it, and "removed":true instead of
/// a value. All changes of a batch have one seq and are printed together.
///
/// Works beside a process that has the store open, and changes nothing: looks every 50 ms for what
/// that one has published. Goes on until it is interrupted (SIGINT, SIGTERM: ends with 0), or
/// nobody reads its output. To go on later, say the last seq of which all changes were printed:
/// --after SEQ; that is the last one, unless nobody read its output. What compaction has gone
/// through before it could be read is gone; that ends it with an error.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only what came after the write with this seq; 0: everything [default: from now on]
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only keys that begin with this
    #[arg(long)]
    prefix: Option<OsString>,
    /// End after so many changes, and those of the same batch
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// As JSON Lines
    #[arg(long)]
    json: bool,
    /// End where there is nothing further yet
    #[arg(long, requires = "after")]
    no_follow: bool,
}

/// Prints each change as soon as it can be read.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::listen()?;
    let store = open::to_read(dir)?;
    let prefix = args.prefix.as_deref().map(OsStrExt::as_bytes).unwrap_or_default();
    let mut watch = store.watch(args.after, prefix)?;
    let mut printer = Printer { output: Output::create(None)?, line: Vec::new(), count: 0, seq: 0 };
    while printer.print_all(&mut watch, args, &interrupt)? && !args.no_follow {
        interrupt.rest(POLL_INTERVAL)?;
        match store.refresh() {
            // The owner was faster each time; the next look may find it at rest.
            Err(KvsError::Unsettled { .. }) => {}
            refreshed => drop(refreshed?),
        }
    }
    printer.output.finish()
}

struct Printer {
    output: Output,
    line: Vec<u8>,
    /// How many changes were printed, and the seq of the last one.
    count: u64,
    seq: u64,
}

impl Printer {
    /// Prints what can be read, each write as a whole, so that its seq is one to go on after.
    /// False: that was all that was asked for.
    fn print_all(
        &mut self,
        watch: &mut ReadOnlyWatch,
        args: &Args,
        interrupt: &Interrupt,
    ) -> Result<bool, Failure> {
        let is_enough =
            |count| interrupt.is_asked() || args.limit.is_some_and(|limit| count >= limit);
        while let Some(change) = watch.next()? {
            if change.seq != self.seq && is_enough(self.count) {
                return Ok(false);
            }
            self.line.clear();
            changes::format(&change, args.json, &mut self.line)?;
            self.output.write(&self.line)?;
            (self.count, self.seq) = (self.count + 1, change.seq);
        }
        // Before anybody waits, all lines are out.
        self.output.flush()?;
        Ok(!is_enough(self.count))
    }
}
