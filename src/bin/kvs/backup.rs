//! `kvs backup DST`.

use std::path::{Path, PathBuf};

use indicatif::HumanCount;
use kvs::KvsError;

use crate::failure::Failure;
use crate::{open, output};

/// Back the store up into a directory
///
/// DST is made. Where the file system allows it, the files of sealed segments get a second name
/// there instead of being copied. Where DST holds an earlier backup of this store, only what has
/// come since is added. When the command ends with 0, the backup is on the disk and was read to its
/// end.
///
/// Works beside a process that has the store open, without holding it up: then it is of the state
/// about a tenth of a second ago, of which all is in the backup, also what that process has not
/// synced yet. Where nobody has the store open, this command does, until it is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kvs backup saved\n  kvs --dir data backup /mnt/saved")]
pub struct Args {
    /// The directory of the backup
    dst: PathBuf,
}

/// Backs up and prints what was done.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let done = match open::existing(dir) {
        Err(Failure::Store(KvsError::Locked { .. })) => open::to_read(dir)?.backup(&args.dst)?,
        store => {
            let store = store?;
            let done = store.backup(&args.dst);
            store.close()?;
            done?
        }
    };
    let text = format!(
        "backed up to seq {}: {} segments kept, {} linked, {} copied ({} bytes)\n",
        done.seq,
        done.kept,
        done.linked,
        done.copied,
        HumanCount(done.copied_bytes),
    );
    output::print(text.as_bytes())
}
