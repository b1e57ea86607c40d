//! How the new files take the place of the old ones, so that a crash at any moment leaves one or
//! the other.
//!
//! No name of one engine is a name of the other, so both can lie in one directory, and the file
//! `ENGINE`, replaced by a rename, decides whose it is. The steps:
//!
//! 1. The new files are made in `kvs-migration/new`.
//! 2. `kvs-migration/STATE` says from which engine to which, and which names are about to be moved.
//! 3. They are moved into the directory, which still belongs to the old engine.
//! 4. `ENGINE` is replaced: from here on it belongs to the new one.
//! 5. The old engine's files are removed, then `kvs-migration`.
//!
//! `settle` finds out what step a migration died in and brings the directory back to before the
//! first, or on to behind the last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::side::StoredEngine;
use crate::error::{KvsError, Result};
use crate::store::{Disk, RealDisk, engine_file, replace};

/// The directory that is there while a migration is under way, and what is in it.
const MIGRATION: &str = "kvs-migration";
const NEW: &str = "new";
const STATE: &str = "STATE";
const STATE_NEW: &str = "STATE.new";

/// What is written down before the first file is moved.
struct State {
    from: StoredEngine,
    to: StoredEngine,
    names: Vec<String>,
}

/// Whether a migration died in a directory.
pub(super) fn is_begun(directory: &Path) -> bool {
    directory.join(MIGRATION).exists()
}

/// Makes the directory for the new files. What is in their way is an error before anything is
/// made.
pub(super) fn begin(directory: &Path, to: StoredEngine) -> Result<PathBuf> {
    for name in list(directory)? {
        if to.has(&name) {
            return Err(in_the_way(&directory.join(name)));
        }
    }
    let new = directory.join(MIGRATION).join(NEW);
    RealDisk.create_dir(&new).map_err(|error| KvsError::io("create", &new, error))?;
    Ok(new)
}

/// Gives the directory, whose lock is held, to the new engine, whose files are closed.
pub(super) fn swap(directory: &Path, from: StoredEngine, to: StoredEngine) -> Result<()> {
    let migration = directory.join(MIGRATION);
    let new = migration.join(NEW);
    let names: Vec<String> = list(&new)?.into_iter().filter(|name| to.has(name)).collect();
    for name in &names {
        // Their engine has synced what is in them; the names below them are of no use alone.
        let path = new.join(name);
        if path.is_dir() {
            sync_dir(&path)?;
        }
    }
    sync_dir(&new)?;
    let state = State { from, to, names };
    replace(&RealDisk, &migration, (STATE_NEW, STATE), state.encode().as_bytes())?;
    sync_dir(&migration)?;
    // The file must say so itself before there is anything that could be mistaken.
    engine_file::claim(&RealDisk, directory, from.name())?;
    sync_dir(directory)?;
    for name in &state.names {
        let (made, path) = (new.join(name), directory.join(name));
        if path.symlink_metadata().is_ok() {
            return Err(in_the_way(&path));
        }
        fs::rename(&made, &path).map_err(|error| KvsError::io("rename", &path, error))?;
    }
    sync_dir(directory)?;
    engine_file::claim(&RealDisk, directory, to.name())?;
    sync_dir(directory)
}

/// Ends what an earlier migration has begun in a directory whose lock is held: what was not given
/// to the new engine stays with the old one. The other one's files are removed.
pub(super) fn settle(directory: &Path) -> Result<()> {
    if !is_begun(directory) {
        return Ok(());
    }
    let migration = directory.join(MIGRATION);
    if let Some(state) = State::load(&migration)? {
        let owner = engine_file::read(&RealDisk, directory)?;
        let is_given = owner.as_deref() == Some(state.to.name());
        // Whose it is must be durable before the other one's files go.
        sync_dir(directory)?;
        for name in list(directory)? {
            let is_gone =
                if is_given { state.from.has(&name) } else { state.names.contains(&name) };
            if is_gone {
                remove(&directory.join(name))?;
            }
        }
        // What says which files to remove stays until they are gone.
        sync_dir(directory)?;
    }
    remove(&migration)?;
    sync_dir(directory)
}

impl State {
    fn encode(&self) -> String {
        let mut lines = vec![self.from.name(), self.to.name()];
        lines.extend(self.names.iter().map(String::as_str));
        lines.join("\n") + "\n"
    }

    fn load(migration: &Path) -> Result<Option<State>> {
        let path = migration.join(STATE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| KvsError::io("read", &path, error))?,
        };
        let mut lines = text.lines();
        let engine = |line: Option<&str>| line.and_then(|name| name.parse().ok());
        match (engine(lines.next()), engine(lines.next())) {
            (Some(from), Some(to)) => {
                Ok(Some(State { from, to, names: lines.map(str::to_owned).collect() }))
            }
            _ => {
                let reason = "it does not say from which engine to which";
                Err(KvsError::Corrupt { path, segment: None, offset: 0, reason })
            }
        }
    }
}

fn in_the_way(path: &Path) -> KvsError {
    KvsError::io("make", path, io::ErrorKind::AlreadyExists.into())
}

fn list(directory: &Path) -> Result<Vec<String>> {
    RealDisk.list(directory).map_err(|error| KvsError::io("list", directory, error))
}

fn sync_dir(directory: &Path) -> Result<()> {
    RealDisk.sync_dir(directory).map_err(|error| KvsError::io("sync", directory, error))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| KvsError::io("remove", path, error))
}
