//! Opening and closing a directory of sled.
//!
//! Beside the records there is a tree of what has to be known of them: the format, which tree has
//! the records, up to where versions are reserved, how many keys there are (only after a clean
//! close), and a time that has passed. The lock is the one that the store takes, so no two engines
//! are ever at work in a directory, and whoever is refused hears which process has it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::sled::{Config, Db, Tree};

use super::cursors::Cursors;
use super::record::Record;
use super::write::Writer;
use super::{NAME, failed, in_doubt};
use crate::engine::memory::random;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options};
use crate::store::names::SLED_DB;
use crate::store::{
    Disk, DiskLock, RealClock, RealDisk, Time, engine_file, lock_directory, refuse_backup,
};

/// The version of what is written here.
const FORMAT: u64 = 1;
/// How often sled syncs by itself where no interval was asked for: its own default.
const FLUSH_EVERY_MS: u64 = 500;
/// How often sled is asked again while the threads of an earlier handle let go of its file.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The tree of what has to be known of the records, and its keys.
const ABOUT: &[u8] = b"kvs";
const ABOUT_FORMAT: &str = "format";
const ABOUT_RECORDS: &str = "records";
pub(super) const ABOUT_RESERVED: &str = "reserved_seq";
const ABOUT_CLOCK: &str = "clock_floor_ms";
const ABOUT_KEYS: &str = "keys";
const ABOUT_EXPIRING: &str = "expiring_keys";

/// An open database.
pub(super) struct Opened {
    pub(super) directory: PathBuf,
    pub(super) db: Db,
    pub(super) about: Tree,
    /// The number of the tree of records; clearing begins the next one.
    pub(super) generation: u64,
    pub(super) records: Tree,
    pub(super) writer: RwLock<Writer>,
    pub(super) cursors: Mutex<Cursors>,
    /// Why it is not certain which tree has the records for the next open; then nothing more is
    /// written.
    doubt: Option<Arc<KvsError>>,
    /// The last to go: until then sled is at work.
    _lock: Box<dyn DiskLock>,
}

/// Opens the database in a directory, making both if they are not there.
pub(super) fn open(directory: &Path, durability: Durability) -> Result<(Opened, Time)> {
    Options::new().durability(durability).check()?;
    let made = RealDisk.create_dir(directory);
    made.map_err(|error| KvsError::io("create", directory, error))?;
    let canonical = std::fs::canonicalize(directory);
    let directory = canonical.map_err(|error| KvsError::io("open", directory, error))?;
    // Before anything is put into it, and again when nobody else can be at work.
    engine_file::check(&RealDisk, &directory, NAME)?;
    refuse_backup(&RealDisk, &directory)?;
    let lock = lock_directory(&RealDisk, &directory)?;
    engine_file::check(&RealDisk, &directory, NAME)?;
    let db = open_db(&directory, durability)?;
    if !db.tree_names().iter().any(|name| name == ABOUT) && !is_untouched(&db) {
        // Somebody else's database: its values do not begin with a version.
        return Err(KvsError::NotEmpty { path: directory });
    }
    let claimed = engine_file::claim(&RealDisk, &directory, NAME);
    claimed.and_then(|()| {
        let synced = RealDisk.sync_dir(&directory);
        synced.map_err(|error| KvsError::io("sync", &directory, error))
    })?;
    load(directory, db, lock)
}

fn open_db(directory: &Path, durability: Durability) -> Result<Db> {
    let every_ms = match durability {
        Durability::Interval(ms) => ms,
        Durability::Os | Durability::Always => FLUSH_EVERY_MS,
    };
    let config = Config::new().path(directory).flush_every_ms(Some(every_ms));
    for _ in 0..TRIES {
        match config.open() {
            Err(error) if is_lock(&error) => std::thread::sleep(PAUSE),
            opened => return opened.map_err(|error| failed("open", directory, error)),
        }
    }
    Err(KvsError::Locked { path: directory.to_owned(), pid: None })
}

/// Whether sled could not lock its file. It says so in words only.
fn is_lock(error: &::sled::Error) -> bool {
    match error {
        ::sled::Error::Io(error) => {
            error.kind() == io::ErrorKind::Other && error.to_string().contains("acquire lock")
        }
        _ => false,
    }
}

/// Whether nobody has put anything into a database yet.
fn is_untouched(db: &Db) -> bool {
    db.tree_names().len() <= 1 && db.is_empty()
}

fn load(directory: PathBuf, db: Db, lock: Box<dyn DiskLock>) -> Result<(Opened, Time)> {
    let io = |error| failed("open", &directory, error);
    let about = db.open_tree(ABOUT).map_err(io)?;
    let stated = |name: &str| -> Result<Option<u64>> {
        let found = about.get(name).map_err(io)?;
        Ok(found.and_then(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?))))
    };
    if let Some(found) = stated(ABOUT_FORMAT)?.filter(|found| *found != FORMAT) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(KvsError::UnsupportedVersion {
            path: directory.join(SLED_DB),
            found,
            supported: 1,
        });
    }
    let generation = stated(ABOUT_RECORDS)?.unwrap_or(1);
    let records = db.open_tree(tree_name(generation)).map_err(io)?;
    for name in db.tree_names() {
        // What was cleared, and what was about to be made, when a process died.
        if name.starts_with(b"records.") && name != tree_name(generation).as_bytes() {
            db.drop_tree(name).map_err(io)?;
        }
    }
    let floor_ms = stated(ABOUT_CLOCK)?.unwrap_or(0);
    let next_seq = stated(ABOUT_RESERVED)?.unwrap_or(1);
    let (keys, expiring) = match (stated(ABOUT_KEYS)?, stated(ABOUT_EXPIRING)?) {
        (Some(keys), Some(expiring)) => (keys, expiring),
        _ => count(&records, &directory)?,
    };
    // From here on they may be wrong.
    about.remove(ABOUT_KEYS).map_err(io)?;
    about.remove(ABOUT_EXPIRING).map_err(io)?;
    about.insert(ABOUT_RECORDS, &generation.to_le_bytes()).map_err(io)?;
    about.insert(ABOUT_FORMAT, &FORMAT.to_le_bytes()).map_err(io)?;
    db.flush().map_err(io)?;
    let writer = RwLock::new(Writer::new(next_seq, keys, expiring));
    let cursors = Mutex::new(Cursors::new(random()?));
    let time = Time::new(Arc::new(RealClock), floor_ms);
    let opened = Opened {
        directory,
        db,
        about,
        generation,
        records,
        writer,
        cursors,
        doubt: None,
        _lock: lock,
    };
    Ok((opened, time))
}

fn tree_name(generation: u64) -> String {
    format!("records.{generation}")
}

/// Counts all keys, and those that expire some time: what a process that died has not noted.
fn count(records: &Tree, directory: &Path) -> Result<(u64, u64)> {
    let (mut keys, mut expiring) = (0, 0);
    for pair in records {
        let (_, bytes) = pair.map_err(|error| failed("read", directory, error))?;
        keys += 1;
        expiring += u64::from(Record::decode(&bytes)?.expiry().is_some());
    }
    Ok((keys, expiring))
}

impl Opened {
    /// Makes everything durable.
    pub(super) fn flush(&self) -> Result<()> {
        self.check_writable()?;
        let flushed = self.db.flush();
        flushed.map(|_| ()).map_err(|error| failed("sync", &self.directory, error))
    }

    /// Refuses to write if it is not certain in which tree an open would look for that.
    pub(super) fn check_writable(&self) -> Result<()> {
        match &self.doubt {
            Some(cause) => Err(KvsError::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    /// Removes all records at once: the next tree takes the place of this one.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.clear_with(Opened::flush)
    }

    fn clear_with(&mut self, flush: impl FnOnce(&Opened) -> Result<()>) -> Result<()> {
        self.check_writable()?;
        let next = self.generation + 1;
        let records = self.db.open_tree(tree_name(next));
        let records = records.map_err(|error| failed("write", &self.directory, error))?;
        if let Err(error) = self.note_tree(next).and_then(|()| flush(self)) {
            // Writes go on into this tree: no open may take the next one for theirs.
            if let Err(error) = self.note_tree(self.generation) {
                self.doubt = Some(Arc::new(error));
            }
            return Err(in_doubt(error));
        }
        let old = tree_name(self.generation);
        (self.generation, self.records) = (next, records);
        self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).cleared();
        // If this fails, the next open drops it.
        let _ = self.db.drop_tree(old);
        Ok(())
    }

    /// Notes which tree has the records.
    fn note_tree(&self, generation: u64) -> Result<()> {
        let noted = self.about.insert(ABOUT_RECORDS, &generation.to_le_bytes());
        noted.map(|_| ()).map_err(|error| failed("write", &self.directory, error))
    }

    /// Notes what need not be found out again, makes everything durable, and lets the directory
    /// go.
    pub(super) fn close(self, now_ms: u64) -> Result<()> {
        let noted = self.note_end(now_ms);
        let Opened { directory, db, about, records, .. } = self;
        drop((db, about, records));
        // sled's own threads may be at its files for a moment longer. The lock is still ours.
        for _ in 0..TRIES {
            match RealDisk.is_locked(&directory.join(SLED_DB)) {
                Ok(true) => std::thread::sleep(PAUSE),
                _ => break,
            }
        }
        noted
    }

    fn note_end(&self, now_ms: u64) -> Result<()> {
        let writer = self.writer.write().unwrap_or_else(PoisonError::into_inner);
        let notes = [
            (ABOUT_RESERVED, writer.next_seq),
            (ABOUT_KEYS, writer.keys),
            (ABOUT_EXPIRING, writer.expiring),
            (ABOUT_CLOCK, now_ms),
        ];
        // The counts are right only with everything that was written before.
        self.flush()?;
        for (name, value) in notes {
            let noted = self.about.insert(name, &value.to_le_bytes());
            noted.map_err(|error| failed("write", &self.directory, error))?;
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, PoisonError};

    use super::{KvsError, Opened, open};
    use crate::{Batch, Durability};

    fn write(opened: &Opened, key: &str) -> crate::Result<crate::Written> {
        let mut batch = Batch::new();
        batch.set(key, "value");
        let mut writer = opened.writer.write().unwrap_or_else(PoisonError::into_inner);
        opened.write(&mut writer, &batch, 1)
    }

    #[test]
    fn a_clear_that_failed_takes_no_later_writes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut opened, _) = open(dir.path(), Durability::Os).unwrap();
        write(&opened, "before").unwrap();
        let failed = opened.clear_with(|_| Err(KvsError::DiskFull { path: "db".into() }));
        assert!(matches!(failed, Err(KvsError::Engine { .. })), "{failed:?}");
        write(&opened, "after").unwrap();
        opened.close(1).unwrap();
        let (mut opened, _) = open(dir.path(), Durability::Os).unwrap();
        assert!(
            opened.get(b"before").unwrap().is_some() && opened.get(b"after").unwrap().is_some()
        );
        opened.clear().unwrap();
        assert!(opened.get(b"before").unwrap().is_none());
        // Where the number cannot be put back either, nothing more is written.
        opened.doubt = Some(Arc::new(KvsError::Closed));
        assert!(matches!(write(&opened, "later"), Err(KvsError::Poisoned { .. })));
        assert!(matches!(opened.clear(), Err(KvsError::Poisoned { .. })));
        assert!(matches!(opened.flush(), Err(KvsError::Poisoned { .. })));
        assert!(matches!(opened.close(1), Err(KvsError::Poisoned { .. })));
    }
}
