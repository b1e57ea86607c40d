//! `kvs migrate`: move the data to another engine.

use std::path::Path;

use indicatif::HumanCount;
use kvs::engine::{StoredEngine, migrate};

use crate::failure::{Failure, name_of};
use crate::progress::Bar;
use crate::{open, output};

/// Move the data of the directory to another engine, in place
///
/// Everything is copied, read back and compared before the directory changes hands, so it takes as
/// much space again while it runs. Keys, values and expiries are kept, versions are not. It can be
/// stopped at any moment: the directory then belongs to one engine or the other, whole, and the
/// same command finishes what was begun. Nothing may have the directory open.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs --dir data migrate --from kvs --to sled")]
pub struct Args {
    /// The engine that has the data: kvs or sled
    #[arg(long, value_name = "ENGINE")]
    from: StoredEngine,
    /// The engine that is to have it
    #[arg(long, value_name = "ENGINE")]
    to: StoredEngine,
}

/// Moves the data and prints how many records there were.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    open::check_directory(dir)?;
    let copying = Bar::records("copying", 0);
    let mut comparing = None;
    let report = migrate(dir, args.from, args.to, &mut |progress| {
        let bar = match progress.is_copying {
            true => &copying,
            false => comparing.get_or_insert_with(|| Bar::records("comparing", 0)),
        };
        bar.set_of(progress.done, progress.total);
    });
    drop((copying, comparing));
    let report = report?;
    let (name, to) = (name_of(dir), args.to);
    let mut text = match report.records {
        Some(records) => format!("{} records moved to {to}\n", HumanCount(records)),
        None => format!("{name} belongs to {to} already\n"),
    };
    if report.has_leftovers {
        let from = args.from;
        text += &format!("files of {from} are left in {name}; run this again to remove them\n");
    }
    output::print(text.as_bytes())
}
