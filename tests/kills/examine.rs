//! A directory whose process was killed: what others find in it, what an owner makes of it, and
//! whether it is sound.

use std::fs;
use std::path::Path;

use kvs::{Durability, Index, KvsError, Options, ReadPath, Store};
use tempfile::{TempDir, tempdir, tempdir_in};

use super::oracle::{State, difference};
use super::proof::Checked;
use super::random::Random;

/// As small as they can be.
pub const SEGMENT_BYTES: u64 = 4096;

/// What a directory holds. It is left as it is; a copy of it is opened, compacted, verified.
pub fn examine(dir: &Path, random: &mut Random) -> Checked<State> {
    let found = match Store::open_read_only(dir) {
        Ok(store) => read(store.records())?,
        // Killed before there was a store.
        Err(KvsError::NotAStore { .. }) => State::new(),
        Err(error) => return Err(format!("opened to read: {error}")),
    };
    let copy = in_memory();
    copy_files(dir, copy.path());
    verify(copy.path())?;
    let store = options(random).open(copy.path()).map_err(|error| format!("open: {error}"))?;
    let same = |store: &Store, when: &str| {
        let again = read(store.records())?;
        if again == found {
            return Ok(());
        }
        Err(format!("{when}: {}", difference(&found, &again)))
    };
    same(&store, "opened to write, it holds something else than to read")?;
    if random.one_in(4) {
        store.compact().map_err(|error| format!("compact: {error}"))?;
        same(&store, "compacted, it holds something else")?;
    }
    if let Some(error) = store.stats().last_background_error {
        return Err(format!("background: {error}"));
    }
    store.close().map_err(|error| format!("close: {error}"))?;
    verify(copy.path())?;
    Ok(found)
}

/// A directory for a copy: what is opened there is to be right, and need not wait for a disk.
fn in_memory() -> TempDir {
    tempdir_in("/dev/shm").or_else(|_| tempdir()).unwrap()
}

/// Any options with small segments.
pub fn options(random: &mut Random) -> Options {
    let durability = random.choose(&[Durability::Os, Durability::Interval(5), Durability::Always]);
    Options::new()
        .segment_bytes(SEGMENT_BYTES)
        .ballast_bytes(0)
        .durability(*durability)
        .index(*random.choose(&[Index::Hash, Index::Ordered]))
        .read_path(*random.choose(&[ReadPath::Mapped, ReadPath::Pread]))
}

fn read(records: kvs::Records) -> Checked<State> {
    let record = |record: kvs::Result<(Vec<u8>, kvs::Versioned)>| {
        let (key, held) = record.map_err(|error| format!("read: {error}"))?;
        Ok((key, (held.value.to_vec(), held.expires_at_ms)))
    };
    records.map(record).collect()
}

fn verify(dir: &Path) -> Checked<()> {
    match kvs::verify(dir, &mut |_| ()) {
        Ok(report) if report.damage.is_empty() => Ok(()),
        Ok(report) => Err(format!("damage: {:?}", report.damage)),
        Err(KvsError::NotAStore { .. }) => Ok(()),
        Err(error) => Err(format!("verify: {error}")),
    }
}

pub fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    for entry in entries.map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
