//! `kvs inspect [FILE]`: what a file of the store holds, a line for each piece.

use std::path::{Path, PathBuf};

use kvs::{Content, Inspected};

use crate::failure::{Failure, name_of, show_key};
use crate::open;
use crate::output::Output;

/// Show what the manifest, a segment or a hint holds
///
/// Without FILE, the manifest: a line for each field and each segment. With FILE, its header and
/// then a line for each record: offset, length, kind, seq, expiry, key and value, the long ones
/// shortened; last, what lies behind the last valid record. A hint is compared with its segment.
/// Bytes that are not valid are told with offset and reason, and the command goes on behind them
/// where it can, and ends with 1; an unfinished end of the log, as a crash leaves it, is told the
/// same way, and `kvs verify` knows which it is. Takes no lock and writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs --dir data inspect\n  kvs --dir data inspect 12\n  kvs \
                        inspect data/0000000012.hint")]
pub struct Args {
    /// A path, a name in the directory of the store, or the id of a segment
    file: Option<PathBuf>,
}

/// Prints a line for each piece.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    open::check_directory(dir)?;
    let mut output = Output::create(None)?;
    let mut written = Ok(());
    let mut damaged = Vec::new();
    let inspected = kvs::inspect(dir, args.file.as_deref(), &mut |piece| {
        if let Inspected::Invalid { damage, .. } = &piece {
            damaged.push(damage.path.clone());
        }
        if written.is_ok() {
            written = output.write(format!("{}\n", line(&piece)).as_bytes());
        }
    });
    written?;
    output.finish()?;
    inspected?;
    match damaged.first() {
        Some(path) => Err(Failure::Damaged { name: name_of(path), places: damaged.len() }),
        None => Ok(()),
    }
}

fn line(piece: &Inspected<'_>) -> String {
    match piece {
        Inspected::Field { name, value } => format!("{name:<15} {value}"),
        Inspected::Segment { id, salt, sealed, bytes, min_seq, max_seq, clean_upto } => {
            let state = if *sealed { "sealed, length" } else { "open, durable up to" };
            let seqs = match (*sealed, min_seq <= max_seq) {
                (true, true) => format!("seqs {min_seq} to {max_seq}"),
                (true, false) => "no seqs".to_owned(),
                (false, _) => format!("seqs from {min_seq}"),
            };
            format!(
                "segment {id}: {state} {bytes}, {seqs}, clean up to {clean_upto}, salt {salt:016x}"
            )
        }
        Inspected::Record { offset, bytes, content } => {
            format!("{offset:>10} {bytes:>9} {}", content_line(content))
        }
        Inspected::Entry { offset, bytes, remove, seq, expires_at_ms, hash } => {
            let kind = if *remove { "remove" } else { "set" };
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let expiry = expiry(*expires_at_ms);
            format!("{offset:>10} {bytes:>9} {kind:<7} seq {seq},{expiry} hash {hash}")
        }
        Inspected::Unused { offset, bytes } => format!("{offset:>10} {bytes:>9} unused  zeros"),
        Inspected::Invalid { damage, bytes: 0 } => {
            format!("{:>10} {:>9} invalid {}", damage.offset, "-", damage.reason)
        }
        Inspected::Invalid { damage, bytes } => {
            format!("{:>10} {bytes:>9} invalid {}", damage.offset, damage.reason)
        }
        other => format!("{other:?}"),
    }
}

fn content_line(content: &Content<'_>) -> String {
    match content {
        Content::Set { seq, expires_at_ms, key, value } => {
            let expiry = expiry(*expires_at_ms);
            format!("set     seq {seq},{expiry} {} = {}", show_key(key), show_key(value))
        }
        Content::Remove { seq, key } => format!("remove  seq {seq}, {}", show_key(key)),
        Content::Batch { seq, count, bytes } => {
            format!("batch   seq {seq}, {count} records of {bytes} bytes")
        }
        Content::Mark { durable_upto, clock_floor_ms } => {
            format!("mark    durable up to {durable_upto}, clock floor {clock_floor_ms} ms")
        }
        Content::Seal { records, min_seq, max_seq } => {
            format!("seal    {records} records, seqs {min_seq} to {max_seq}")
        }
        other => format!("{other:?}"),
    }
}

fn expiry(expires_at_ms: Option<u64>) -> String {
    expires_at_ms.map_or_else(String::new, |at_ms| format!(" expires at {at_ms} ms,"))
}
