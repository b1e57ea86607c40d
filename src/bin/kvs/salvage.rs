//! `kvs salvage SRC DST`: what can still be read of a damaged store, into a new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanCount;

use crate::failure::Failure;
use crate::progress::Bar;
use crate::{jsonl, open, output, verify};

/// Copy what is not damaged from one store into a new one
///
/// SRC is only read, without its lock where it cannot be written to. DST is made, and must not
/// hold anything yet. A damaged range may have held a newer value of any key whose record is older
/// than the range: such keys are listed, as JSON Lines, and their values may be stale; with
/// --strict they are left out of DST. Ends with 0 when DST is whole, however much was lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs salvage data saved\n  kvs salvage --strict data saved")]
pub struct Args {
    /// The directory of the damaged store
    src: PathBuf,
    /// The directory to make
    dst: PathBuf,
    /// Leave out the keys whose value may be stale
    #[arg(long)]
    strict: bool,
}

/// Salvages and prints what was saved and what was not.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Args { src, dst, strict } = args;
    open::check_directory(src)?;
    check_empty(dst)?;
    let bar = Bar::bytes("salvaging", Some(0));
    let report = kvs::salvage(src, dst, *strict, &mut |progress| {
        bar.set_of(progress.done_bytes, progress.total_bytes);
    })?;
    drop(bar);
    let mut text = format!(
        "{} keys saved from {} records; {} bytes could not be read\n",
        HumanCount(report.keys),
        HumanCount(report.records),
        HumanCount(report.lost_bytes),
    )
    .into_bytes();
    text.extend_from_slice(verify::damage_lines(&report.damage).as_bytes());
    if !report.stale_keys.is_empty() {
        let count = HumanCount(u64::try_from(report.stale_keys.len()).unwrap_or(u64::MAX));
        let what = if *strict { "may have been stale and were left out" } else { "may be stale" };
        text.extend_from_slice(format!("the values of {count} keys {what}:\n").as_bytes());
    }
    for key in &report.stale_keys {
        jsonl::format_key(key, &mut text)?;
    }
    output::print(&text)
}

/// An error if `dst` is there and is not an empty directory.
fn check_empty(dst: &Path) -> Result<(), Failure> {
    let refuse = |error| Err(Failure::io("write", dst, error));
    match fs::read_dir(dst).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => refuse(io::ErrorKind::DirectoryNotEmpty.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => refuse(error),
    }
}
