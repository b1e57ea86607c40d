//! `kvs doctor`: what is wrong, and what to do about it.

use std::fmt::Write;
use std::path::Path;

use kvs::{ClockReset, Finding, Verdict};

use crate::failure::{Failure, name_of};
use crate::progress::Bar;
use crate::{open, output};

/// Check the store and the machine under it, and say what to do
///
/// Prints a line for each check: ok, warning or problem, what was found, and advice. Ends with 1
/// if there is a problem. Looks at the manifest, the headers and lengths of the files and at the
/// hints; with --deep, at every record. Limits are those of this shell. Changes nothing, and makes
/// no store.
///
/// With --reset-clock it does something else: a store that once saw the clock of the machine far
/// ahead lets keys expire early for good; this makes it believe the clock again, which must be
/// right by now. Keys that had expired, and whose records are still on the disk, may be back, also
/// those that were removed since.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kvs --dir data doctor\n  kvs --dir data doctor --deep\n  kvs \
                        --dir data doctor --reset-clock"
)]
pub struct Args {
    /// Read every record
    #[arg(long)]
    deep: bool,
    /// Believe the clock of the machine, even if it was ahead before
    #[arg(long, conflicts_with = "deep")]
    reset_clock: bool,
}

/// Checks and prints what was found.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    open::check_directory(dir)?;
    if args.reset_clock {
        return reset_clock(dir);
    }
    let bar = Bar::bytes("verifying", Some(0));
    let findings = kvs::doctor(dir, args.deep, &mut |progress| {
        bar.set_of(progress.done_bytes, progress.total_bytes);
    })?;
    drop(bar);
    let mut text = String::new();
    for Finding { check, verdict, found, advice, .. } in &findings {
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        };
        let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{verdict:<8} {check}: {found}{advice}");
    }
    output::print(text.as_bytes())?;
    let problems = findings.iter().filter(|it| it.verdict == Verdict::Problem).count();
    if problems > 0 {
        return Err(Failure::Unwell { name: name_of(dir), problems });
    }
    Ok(())
}

fn reset_clock(dir: &Path) -> Result<(), Failure> {
    let ClockReset { floor_before_ms, floor_after_ms, .. } = kvs::reset_clock(dir)?;
    let text = if floor_after_ms < floor_before_ms {
        format!("the clock floor was {floor_before_ms} ms and is {floor_after_ms} ms now\n")
    } else {
        "the clock floor was not ahead of the clock\n".to_owned()
    };
    output::print(text.as_bytes())
}
