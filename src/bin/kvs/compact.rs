//! `kvs compact`: rewrite what is alive, drop the rest.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::Duration;

use indicatif::BinaryBytes;
use kvs::Store;

use crate::failure::Failure;
use crate::progress::Bar;
use crate::{open, output};

/// Give the space of dead records back, going through every segment
///
/// A store that is open compacts itself in the background; this does all of it now. It can be
/// stopped at any moment without loss. Makes no store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kvs --dir data compact")]
pub struct Args {}

/// Compacts, and prints the size before and after.
pub fn run(dir: &Path, _args: &Args) -> Result<(), Failure> {
    let store = open::existing(dir)?;
    let before = store.stats().segment_file_bytes;
    let compacted = compact(&store);
    let after = store.stats().segment_file_bytes;
    let closed = store.close();
    compacted?;
    closed?;
    let (before, after) = (BinaryBytes(before), BinaryBytes(after));
    output::print(format!("segment files: {before} before, {after} after\n").as_bytes())
}

fn compact(store: &Store) -> kvs::Result<()> {
    let bar = Bar::bytes("compacting", Some(store.stats().live_bytes));
    if bar.is_hidden() {
        return store.compact();
    }
    let begun_at = store.stats().compacted_bytes;
    thread::scope(|scope| {
        let work = scope.spawn(|| store.compact());
        while !work.is_finished() {
            bar.set(store.stats().compacted_bytes.saturating_sub(begun_at));
            thread::sleep(Duration::from_millis(50));
        }
        work.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
