//! Opening the store of `--dir`: reading commands never make one, and change nothing.

use std::fs;
use std::io;
use std::path::Path;

use kvs::{KvsError, Options, ReadOnlyStore, Store};

use crate::failure::Failure;

/// The store in `dir`, which is made if it is not there.
pub fn or_create(dir: &Path) -> Result<Store, Failure> {
    Ok(Store::open(dir)?)
}

/// The store in `dir`; an error if there is none.
pub fn existing(dir: &Path) -> Result<Store, Failure> {
    check_directory(dir)?;
    Ok(Options::new().must_exist(true).open(dir)?)
}

/// The store in `dir` to read from, whoever has it open, and left as it is; an error if there is
/// none.
pub fn to_read(dir: &Path) -> Result<ReadOnlyStore, Failure> {
    check_directory(dir)?;
    Ok(Store::open_read_only(dir)?)
}

/// `None` where the directory holds no store: it then holds no key either.
pub fn if_any<S>(store: Result<S, Failure>) -> Result<Option<S>, Failure> {
    match store {
        Ok(store) => Ok(Some(store)),
        Err(Failure::Store(KvsError::NotAStore { .. })) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// An error if `dir` is no directory.
pub fn check_directory(dir: &Path) -> Result<(), Failure> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::io("open", dir, io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(Failure::io("open", dir, error)),
    }
}
