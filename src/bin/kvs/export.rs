//! `kvs export [FILE]`: every record of the store into a file or to standard output.

use std::path::{Path, PathBuf};

use kvs::ReadOnlyStore;

use crate::failure::Failure;
use crate::format::{FORMATS_HELP, Format, format_of};
use crate::output::{self, Output};
use crate::progress::Bar;
use crate::{jsonl, open, tsv};

const EXAMPLES: &str = "\
Examples:
  kvs --dir data export backup.jsonl.gz
  kvs --dir data export records.tsv
  kvs --dir data export --format tsv | sort";

/// Write all records to a file or to standard output
///
/// The order of the records is not defined. A file is written under a temporary name beside it,
/// synced, and renamed when it is whole: an export that fails leaves what was there before. Works
/// beside a process that has the store open, with the state at one moment, and changes nothing.
/// Makes no store.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{FORMATS_HELP}\n\n{EXAMPLES}"))]
pub struct Args {
    /// The file to write, or - for standard output; .gz compresses
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// How records are written in it [default: told by the name; jsonl for -]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "tsv|jsonl")]
    format: Option<Format>,
}

/// Exports, and says how many records went to a file.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let path = (args.file.as_os_str() != "-").then_some(args.file.as_path());
    let format = format_of(path, args.format)?;
    let store = open::to_read(dir)?;
    let mut output = Output::create(path)?;
    let count = export(&store, format, &mut output)?;
    output.finish()?;
    if path.is_some() {
        output::print(format!("{count} records written\n").as_bytes())?;
    }
    Ok(())
}

fn export(store: &ReadOnlyStore, format: Format, output: &mut Output) -> Result<u64, Failure> {
    let bar = Bar::records("exporting", store.stats().live_keys);
    let mut line = Vec::new();
    let mut count = 0;
    for record in store.records() {
        let (key, found) = record?;
        line.clear();
        match format {
            Format::Tsv => tsv::format(&key, &found, &mut line)?,
            Format::Jsonl => jsonl::format(&key, &found, &mut line)?,
        }
        output.write(&line)?;
        count += 1;
        bar.set(count);
    }
    Ok(count)
}
