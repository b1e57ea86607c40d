//! An engine that keeps its data in a directory, as a migration reads and writes it.

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::str::FromStr;

use bytes::Bytes;

use crate::batch::Batch;
use crate::engine::{BlockingEngine, Scan, SledKvsEngine, Write};
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options};
use crate::store::{Store, Versioned, engine_file, names};

/// How much is read from sled at a time.
const PAGE_RECORDS: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// An engine that keeps its data in a directory.
///
/// ```
/// use kvs::engine::StoredEngine;
/// let engine: StoredEngine = "sled".parse()?;
/// assert_eq!(engine.name(), "sled");
/// assert!("memory".parse::<StoredEngine>().is_err());
/// # Ok::<(), kvs::KvsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredEngine {
    /// `kvs`, the log-structured store.
    Kvs,
    /// `sled`.
    Sled,
}

impl StoredEngine {
    /// Both.
    pub const ALL: [StoredEngine; 2] = [StoredEngine::Kvs, StoredEngine::Sled];

    /// Its name, as in the file `ENGINE`.
    ///
    /// ```
    /// assert_eq!(kvs::engine::StoredEngine::Kvs.name(), "kvs");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StoredEngine::Kvs => engine_file::KVS,
            StoredEngine::Sled => engine_file::SLED,
        }
    }

    /// Whether a name in a directory is one that this engine makes.
    pub(super) fn has(self, name: &str) -> bool {
        match self {
            StoredEngine::Kvs => names::is_of_kvs(name),
            StoredEngine::Sled => names::is_of_sled(name),
        }
    }
}

impl fmt::Display for StoredEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StoredEngine {
    type Err = KvsError;

    fn from_str(name: &str) -> Result<StoredEngine> {
        let found = StoredEngine::ALL.into_iter().find(|engine| engine.name() == name);
        found.ok_or_else(|| KvsError::InvalidOption {
            option: "engine",
            value: name.to_owned(),
            expected: "kvs or sled",
        })
    }
}

/// An open directory.
pub(super) enum Side {
    Kvs(Store),
    Sled(Box<SledKvsEngine>),
}

impl Side {
    pub(super) fn open(engine: StoredEngine, directory: &Path) -> Result<Side> {
        Ok(match engine {
            StoredEngine::Kvs => {
                let options = Options::new().durability(Durability::Os).compaction(false);
                Side::Kvs(options.open(directory)?)
            }
            StoredEngine::Sled => {
                Side::Sled(Box::new(SledKvsEngine::open(directory, Durability::Os)?))
            }
        })
    }

    pub(super) fn now_ms(&self) -> u64 {
        match self {
            Side::Kvs(store) => store.now_ms(),
            Side::Sled(engine) => engine.now_ms(),
        }
    }

    pub(super) fn len(&self) -> Result<u64> {
        match self {
            Side::Kvs(store) => Ok(store.len()),
            Side::Sled(engine) => engine.len(),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Versioned>> {
        match self {
            Side::Kvs(store) => store.get_versioned(key),
            Side::Sled(engine) => {
                let found = engine.get_many(&[Bytes::copy_from_slice(key)])?;
                Ok(found.into_iter().next().flatten())
            }
        }
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<()> {
        match self {
            Side::Kvs(store) => store.write(batch).map(drop),
            Side::Sled(engine) => {
                let write = Write { batch: batch.clone(), ..Write::default() };
                engine.write(&[write])?.into_iter().try_for_each(|outcome| outcome.map(drop))
            }
        }
    }

    /// Goes over all records, in an order of the engine's.
    pub(super) fn for_each(
        &self,
        mut record: impl FnMut(Vec<u8>, Versioned) -> Result<()>,
    ) -> Result<()> {
        match self {
            Side::Kvs(store) => store.records().try_for_each(|found| {
                let (key, versioned) = found?;
                record(key, versioned)
            }),
            Side::Sled(engine) => {
                let (from, to) = (Bound::Unbounded, Bound::Unbounded);
                let mut rest = Scan { from, to, reverse: false, keys_only: false };
                loop {
                    let page = engine.page(&rest, PAGE_RECORDS, PAGE_BYTES)?;
                    let Some((last, _)) = page.last() else {
                        return Ok(());
                    };
                    rest.go_on_after(last);
                    page.into_iter().try_for_each(|(key, versioned)| record(key, versioned))?;
                }
            }
        }
    }

    /// Makes everything durable and lets the directory go.
    pub(super) fn close(self) -> Result<()> {
        match self {
            Side::Kvs(store) => store.close(),
            Side::Sled(engine) => engine.close(),
        }
    }
}
