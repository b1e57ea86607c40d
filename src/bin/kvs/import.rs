//! `kvs import FILE`: records from a file into the store, in atomic batches.
//!
//! 1. The input is opened, and checked as a whole if it is compressed, before the store is.
//! 2. Lines become records until a batch is full.
//! 3. Of the records of a batch, those that the store has already, with the same value, are left
//!    out; so an import that was stopped goes fast over what is there when it is run again.
//! 4. The rest is written, all or nothing.
//! 5. The store is closed, which syncs it.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use kvs::EXPIRES_AT_MS_MAX;
use kvs::{Batch, KvsError, Store};

use crate::failure::Failure;
use crate::format::{FORMATS_HELP, Format, Record, format_of};
use crate::input::Input;
use crate::progress::Bar;
use crate::{open, output, records};

const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 256 << 10;

const EXAMPLES: &str = "\
Examples:
  kvs --dir data import records.tsv
  kvs --dir data import records.jsonl.zst
  kvs --dir data import --format tsv dump.txt
  zcat records.tsv.gz | kvs --dir data import --format tsv -";

/// Read records from a file into the store, which is made if it is not there
///
/// A record replaces the value that its key has. Records are written in batches, in the order of
/// the file; each batch is written as a whole or not at all. When the command ends with 0, all
/// records are on the disk.
///
/// A record that states an expiry which has come removes its key.
///
/// A line that cannot be imported stops the import with its number: the records of the batches
/// before that line may stay imported. A compressed file is read to its end first: nothing is
/// imported of one that is damaged or cut short. An import that was stopped can be run again: it
/// gives the same result, and skips what is there already.
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

/// What became of the records, by their number.
#[derive(Clone, Copy, Default)]
struct Count {
    written: u64,
    already_there: u64,
    /// Followed by another value for the same key in the same batch.
    replaced: u64,
    expired: u64,
}

/// Imports the file and prints how many records it had.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let path = (args.file.as_os_str() != "-").then_some(args.file.as_path());
    let format = format_of(path, args.format)?;
    let mut input = Input::open(path, format)?;
    let store = open::or_create(dir)?;
    let expires_at_ms = args.expire_after_ms.map(|ms| expiry_in(ms, &store)).transpose();
    let imported = expires_at_ms.and_then(|at| import(&mut input, format, &store, at));
    let closed = store.close();
    let count = imported?;
    closed?;
    output::print(count.sentence().as_bytes())
}

/// When something expires that does so in so many milliseconds.
fn expiry_in(ms: u64, store: &Store) -> Result<u64, Failure> {
    let now_ms = store.now_ms();
    let expires_at_ms = now_ms.saturating_add(ms);
    if expires_at_ms > EXPIRES_AT_MS_MAX {
        return Err(KvsError::InvalidExpiry { expires_at_ms, now_ms }.into());
    }
    Ok(expires_at_ms)
}

fn import(
    input: &mut Input,
    format: Format,
    store: &Store,
    expires_at_ms: Option<u64>,
) -> Result<Count, Failure> {
    let bar = Bar::bytes("importing", input.file_bytes());
    let mut count = Count::default();
    let mut records = Vec::with_capacity(BATCH_RECORDS);
    let mut bytes = 0;
    let mut batch = Batch::new();
    let mut line = Vec::new();
    while input.next_line(&mut line)? {
        let mut record = records::parse(format, &line).map_err(|reason| input.bad_line(reason))?;
        record.expires_at_ms = record.expires_at_ms.or(expires_at_ms);
        let record_bytes = record.key.len() + record.value.len();
        // A record that is larger than a whole batch comes into one of its own.
        if records.len() >= BATCH_RECORDS || bytes + record_bytes > BATCH_BYTES {
            write(store, &records, &mut batch, &mut count)?;
            records.clear();
            bytes = 0;
            bar.set(input.read_bytes());
            bar.say(|| format!("({} records)", count.all()));
        }
        bytes += record_bytes;
        records.push(record);
    }
    write(store, &records, &mut batch, &mut count)?;
    Ok(count)
}

/// Writes the records that the store does not have yet, all or nothing.
fn write(
    store: &Store,
    records: &[Record],
    batch: &mut Batch,
    count: &mut Count,
) -> Result<(), Failure> {
    loop {
        let mut counted = *count;
        choose(store, records, batch, &mut counted)?;
        let written = if batch.is_empty() { Ok(()) } else { store.write(batch).map(drop) };
        match written {
            // One has expired since: once more, without it.
            Err(KvsError::InvalidExpiry { expires_at_ms, .. })
                if expires_at_ms <= EXPIRES_AT_MS_MAX => {}
            written => {
                *count = counted;
                return Ok(written?);
            }
        }
    }
}

/// Puts into the batch what has to be written.
fn choose(
    store: &Store,
    records: &[Record],
    batch: &mut Batch,
    count: &mut Count,
) -> Result<(), Failure> {
    batch.clear();
    let now_ms = store.now_ms();
    // Of a key that comes twice the last value counts, so only that one may be left out.
    let last: HashMap<&[u8], usize> =
        records.iter().enumerate().map(|(i, record)| (record.key.as_slice(), i)).collect();
    for (i, record) in records.iter().enumerate() {
        if last.get(record.key.as_slice()) != Some(&i) {
            count.replaced += 1;
        } else if record.expires_at_ms.is_some_and(|at| at <= now_ms) {
            batch.remove(&record.key);
            count.expired += 1;
        } else if is_there(store, record)? {
            count.already_there += 1;
        } else {
            match record.expires_at_ms {
                Some(at) => batch.set_until(&record.key, &record.value, at),
                None => batch.set(&record.key, &record.value),
            };
            count.written += 1;
        }
    }
    Ok(())
}

/// Whether the store has the record, with its value and its expiry.
fn is_there(store: &Store, record: &Record) -> Result<bool, Failure> {
    let is_same = store.get_with(&record.key, |value| value == record.value)? == Some(true);
    Ok(is_same && store.expires_at(&record.key)? == Some(record.expires_at_ms))
}

impl Count {
    fn all(&self) -> u64 {
        self.written + self.already_there + self.replaced + self.expired
    }

    fn sentence(&self) -> String {
        let mut sentence = format!("{} records read, {} written", self.all(), self.written);
        for (number, what) in [
            (self.already_there, "already there"),
            (self.replaced, "replaced by a later line"),
            (self.expired, "expired"),
        ] {
            if number > 0 {
                // Writing to a string cannot fail.
                let _ = write!(sentence, ", {number} {what}");
            }
        }
        sentence.push('\n');
        sentence
    }
}
