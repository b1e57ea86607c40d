//! `kvs-client export [FILE]`: every record of the server into a file or to standard output.

use std::path::PathBuf;

use kvs::cli::failure::Failure;
use kvs::cli::format::{FORMATS_HELP, Format, format_of};
use kvs::cli::output::{self, Output};
use kvs::cli::progress::Bar;
use kvs::cli::{jsonl, tsv};
use kvs::client::{BlockingKvsClient, ScanOptions};

const EXAMPLES: &str = "\
Examples:
  kvs-client export backup.jsonl.gz
  kvs-client export --format tsv | sort";

/// Write all records to a file or to standard output
///
/// In the order of the keys. A file is written under a temporary name beside it, synced, and
/// renamed when it is whole: an export that fails leaves what was there before. What is written is
/// the state of one moment, if the engine of the server has snapshots and the connection does not
/// break.
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
pub fn run(client: &BlockingKvsClient, args: &Args) -> Result<(), Failure> {
    let path = (args.file.as_os_str() != "-").then_some(args.file.as_path());
    let format = format_of(path, args.format)?;
    let mut output = Output::create(path)?;
    let bar = Bar::records("exporting", client.stats()?.keys);
    let (mut line, mut count) = (Vec::new(), 0_u64);
    for record in client.scan(ScanOptions::new()) {
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
    output.finish()?;
    drop(bar);
    if path.is_some() {
        output::print(format!("{count} records written\n").as_bytes())?;
    }
    Ok(())
}
