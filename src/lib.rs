//! KVS, a log-structured key-value store: bytes in, bytes out, on one directory.
//!
//! Every write is appended to a log that is cut into segments; an index in memory, the keydir,
//! knows where the newest record of each key lies; compaction rewrites what is alive and drops
//! the rest. A read is a look into the keydir and one into the log.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! use kvs::{Batch, Durability, Store, WriteOptions};
//!
//! let store = Store::open(path)?;
//! store.set("key", "value")?;
//! assert_eq!(store.get("key")?.as_deref(), Some(&b"value"[..]));
//!
//! let mut batch = Batch::new();
//! batch.set("a", "1").remove("key");
//! store.write_opt(&batch, WriteOptions::new().durability(Durability::Always))?;
//! assert!(!store.contains_key("key")?);
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Store`] is the engine, opened with [`Options`]; [`Durability`] says when a write is
//!   acknowledged, for the store and, where it matters, for one write.
//! - [`ReadOnlyStore`] reads what another process has open, and changes nothing.
//! - [`KvStore`] is the same store with strings for keys and values.
//! - [`verify`] and [`salvage`] are for directories that have come to harm, [`reset_clock`] is for
//!   those that have seen a wrong clock; [`doctor`] says what to do, and [`inspect`] what is in a
//!   file.
//! - [`KvsError`] is the one error type.

pub mod error;
pub mod options;
pub mod batch;
pub mod store;
pub mod kv_store;
#[cfg(feature = "server")]
pub mod thread_pool;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use batch::{Batch, Expected, Operation, Requirement};
#[cfg(feature = "server")]
pub use client::KvsClient;
#[cfg(feature = "server")]
pub use engine::KvsEngine;
#[cfg(feature = "sled")]
pub use engine::SledKvsEngine;
pub use error::{KvsError, Result};
pub use kv_store::KvStore;
pub use options::{
    BATCH_BYTES_MAX, Durability, EXPIRES_AT_MS_MAX, Index, KEY_BYTES_MAX, Options, ReadPath,
    SEGMENT_BYTES, SetOptions, VALUE_BYTES_MAX, WriteOptions,
};
#[cfg(feature = "server")]
pub use server::KvsServer;
pub use store::{
    BackupReport, Change, ClockReset, Content, Damage, Finding, Inspected, Iter, Keys, Progress,
    Range, RangeKeys, ReadOnlyStore, ReadOnlyWatch, Records, RestoreReport, SalvageReport,
    SegmentStats, Snapshot, Stats, Store, Value, Verdict, VerifyReport, Versioned, Walked, Watch,
    Written, doctor, inspect, reset_clock, restore, salvage, verify,
};

/// The recipes of the documents, each a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/RECIPES.md")]
pub struct Recipes;
