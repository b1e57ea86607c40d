//! `kvs-client import FILE`: records from a file into the server, in atomic batches.

use std::path::PathBuf;

use kvs::cli::failure::Failure;
use kvs::cli::format::{FORMATS_HELP, Format, Record, format_of};
use kvs::cli::input::Input;
use kvs::cli::progress::Bar;
use kvs::cli::{output, records};
use kvs::client::{BlockingKvsClient, ErrorCode};
use kvs::{Batch, Durability, WriteOptions};

const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 256 << 10;

const EXAMPLES: &str = "\
Examples:
  kvs-client import records.tsv
  kvs-client import records.jsonl.zst
  zcat records.tsv.gz | kvs-client import --format tsv -";

/// Read records from a file into the server
///
/// A record replaces the value that its key has. Records are written in batches, in the order of
/// the file; each batch is written as a whole or not at all. When the command ends with 0, all
/// records are on the disk of the server. A record that states an expiry which has come removes its
/// key.
///
/// A line that cannot be imported stops the import with its number, as does a connection that
/// breaks: the records before that line may stay imported. An import that was stopped can be run
/// again, and gives the same result.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{FORMATS_HELP}\n\n{EXAMPLES}"))]
pub struct Args {
    /// The file to read, or - for standard input
    file: PathBuf,
    /// How records are written in it [default: told by the name; jsonl for -]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "tsv|jsonl")]
    format: Option<Format>,
    /// Let the records that state no expiry expire so many milliseconds after the import began
    #[arg(long, value_name = "MS")]
    expire_after_ms: Option<u64>,
}

/// Imports the file and prints how many records it had.
pub fn run(client: &BlockingKvsClient, args: &Args) -> Result<(), Failure> {
    let path = (args.file.as_os_str() != "-").then_some(args.file.as_path());
    let format = format_of(path, args.format)?;
    let mut input = Input::open(path, format)?;
    let now_ms = client.ping()?;
    let expires_at_ms = args.expire_after_ms.map(|ms| now_ms.saturating_add(ms));
    let bar = Bar::bytes("importing", input.file_bytes());
    let (mut records, mut bytes, mut count) = (Vec::with_capacity(BATCH_RECORDS), 0, 0_u64);
    let mut line = Vec::new();
    while input.next_line(&mut line)? {
        let parsed = records::parse(format, &line);
        let mut record = parsed.map_err(|reason| input.bad_line(reason))?;
        record.expires_at_ms = record.expires_at_ms.or(expires_at_ms);
        let record_bytes = record.key.len() + record.value.len();
        // A record that is larger than a whole batch comes into one of its own.
        if records.len() >= BATCH_RECORDS || bytes + record_bytes > BATCH_BYTES {
            write(client, &records)?;
            records.clear();
            bytes = 0;
            bar.set(input.read_bytes());
            bar.say(|| format!("({count} records)"));
        }
        bytes += record_bytes;
        count += 1;
        records.push(record);
    }
    write(client, &records)?;
    // Every batch was written with `Os`, so that it is waited for only once.
    client.sync()?;
    drop(bar);
    output::print(format!("{count} records read and written\n").as_bytes())
}

/// Writes records, all or nothing.
fn write(client: &BlockingKvsClient, records: &[Record]) -> Result<(), Failure> {
    if records.is_empty() {
        return Ok(());
    }
    let expiring = records.iter().any(|record| record.expires_at_ms.is_some());
    loop {
        let now_ms = if expiring { client.ping()? } else { 0 };
        let mut batch = Batch::new();
        for record in records {
            match record.expires_at_ms {
                None => batch.set(&record.key, &record.value),
                Some(at_ms) if at_ms > now_ms => batch.set_until(&record.key, &record.value, at_ms),
                Some(_) => batch.remove(&record.key),
            };
        }
        let options = WriteOptions::new().durability(Durability::Os);
        match client.write_opt(&batch, options) {
            // One has expired since: once more, without it.
            Err(error) if error.code() == ErrorCode::InvalidExpiry && expiring => {}
            written => return Ok(written.map(drop)?),
        }
    }
}
