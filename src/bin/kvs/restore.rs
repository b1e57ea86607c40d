//! `kvs restore SRC DST`.

use std::path::PathBuf;

use indicatif::HumanCount;

use crate::failure::Failure;
use crate::progress::Bar;
use crate::{open, output};

/// Make a new store of a backup
///
/// SRC is only read. DST is made, and must not hold anything yet. With --to-seq, the new store is
/// as the old one was after the write with that number (`kvs get --version` prints the one of a
/// value); what compaction had dropped by the time of the backup is gone. Keys that have expired
/// are left out. Where SRC is damaged, nothing is made: `kvs salvage` copies what can be read.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kvs restore saved data\n  kvs restore --to-seq 1234 saved then"
)]
pub struct Args {
    /// The directory of the backup
    src: PathBuf,
    /// The directory to make
    dst: PathBuf,
    /// The number of the last write that counts
    #[arg(long, value_name = "N")]
    to_seq: Option<u64>,
}

/// Restores and prints how much.
pub fn run(args: &Args) -> Result<(), Failure> {
    open::check_directory(&args.src)?;
    let bar = Bar::bytes("restoring", Some(0));
    let report = kvs::restore(&args.src, &args.dst, args.to_seq, &mut |progress| {
        bar.set_of(progress.done_bytes, progress.total_bytes);
    })?;
    drop(bar);
    let text = format!("{} keys restored, as of seq {}\n", HumanCount(report.keys), report.seq);
    output::print(text.as_bytes())
}
