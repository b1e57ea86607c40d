//! `kvs verify`: read every byte that should be there, and say what is damaged.

use std::fmt::Write;
use std::path::Path;

use indicatif::{BinaryBytes, HumanCount};

use crate::failure::{Failure, name_of};
use crate::progress::Bar;
use crate::{open, output};

/// Check every record of the store, changing nothing
///
/// Prints a line for each damaged place, `FILE: offset OFFSET: REASON`, and ends with 1 if there
/// is one. `kvs salvage` saves what is not damaged. Makes no store. Where the store cannot be
/// written to, as on a read-only file system, it is read without its lock.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs --dir data verify")]
pub struct Args {}

/// Verifies and prints what was found.
pub fn run(dir: &Path, _args: &Args) -> Result<(), Failure> {
    open::check_directory(dir)?;
    let bar = Bar::bytes("verifying", Some(0));
    let report = kvs::verify(dir, &mut |progress| {
        bar.set_of(progress.done_bytes, progress.total_bytes);
    })?;
    drop(bar);
    if report.damage.is_empty() {
        let (segments, records) = (HumanCount(report.segments), HumanCount(report.records));
        let bytes = BinaryBytes(report.bytes);
        let line = format!("no damage: {segments} segments, {records} records, {bytes}\n");
        return output::print(line.as_bytes());
    }
    output::print(damage_lines(&report.damage).as_bytes())?;
    Err(Failure::Damaged { name: name_of(dir), places: report.damage.len() })
}

/// A line for each damaged place.
pub fn damage_lines(damage: &[kvs::Damage]) -> String {
    let mut lines = String::new();
    for kvs::Damage { path, offset, reason, .. } in damage {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{}: offset {offset}: {reason}", path.display());
    }
    lines
}
