//! The engines by name, and what has to be said of each.

pub mod candystore;
pub mod emdb;
pub mod fjall;
pub mod kvs;
#[cfg(feature = "lmdb")]
pub mod lmdb;
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
pub mod sled;

use std::path::Path;

use crate::engine::{Engine, Res, Setup};

pub const KVS: &str = "kvs";

/// Memory that every engine with a cache of its own may use for it.
pub const CACHE_BYTES: usize = 1 << 30;

/// The engines that this build can measure, in the order of the tables.
pub const NAMES: &[&str] = &[
    KVS,
    "emdb",
    "candystore",
    #[cfg(feature = "lmdb")]
    "lmdb",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    "redb",
    "fjall",
    "sled",
];

/// Opens or creates the store of the engine `name` in `dir`.
pub fn open(name: &str, dir: &Path, setup: Setup) -> Res<Box<dyn Engine>> {
    Ok(match name {
        KVS => Box::new(kvs::Kvs::open(dir, setup)?),
        "emdb" => Box::new(emdb::Emdb::open(dir, setup)?),
        "candystore" => Box::new(candystore::Candy::open(dir, setup)?),
        #[cfg(feature = "lmdb")]
        "lmdb" => Box::new(lmdb::Lmdb::open(dir, setup)?),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Box::new(rocksdb::Rocks::open(dir, setup)?),
        "redb" => Box::new(redb::Redb::open(dir, setup)?),
        "fjall" => Box::new(fjall::Fjall::open(dir, setup)?),
        "sled" => Box::new(sled::Sled::open(dir, setup)?),
        _ => return Err(format!("no engine {name} in this build").into()),
    })
}

/// The package of crates.io behind an engine.
pub fn package(engine: &str) -> &str {
    match engine {
        "lmdb" => "heed",
        other => other,
    }
}

/// Whether the engine's figure for this metric may count as the best rival's.
pub fn counts_as_rival(engine: &str, metric: &str) -> bool {
    if engine == KVS || engine == crate::limits::NAME {
        return false;
    }
    // sled's flush starts the write-out of pages and does not flush the disk.
    !(engine == "sled" && metric.starts_with("sync_"))
}

/// What a reader of the tables must know about how the engines were used.
pub const NOTES: &[&str] = &[
    "The page cache is warm for every engine: files are read right after they were written. \
     Engines with a cache of their own may use 1 GiB for it.",
    "A get is a standalone call, as a user makes it: LMDB and redb begin and end a read \
     transaction in each. KVS, emdb and candystore return an owned copy of the value; LMDB, redb, \
     fjall, sled and RocksDB hand out a reference to it. The rows without a copy are for \
     information.",
    "A scan of KVS, as of LMDB, hands out references (`Range::next_with`), and its range is begun \
     and ended with each scan.",
    "A single set of LMDB or redb is a write transaction of its own, without sync (`MDB_NOSYNC`, \
     `Durability::None`). candystore has no batches: its batch is a loop of sets.",
    "redb (`Durability::None`) and sled keep acknowledged writes in the process: they are lost \
     with a kill -9. KVS, emdb, candystore, LMDB, fjall and RocksDB hand them to the operating \
     system. The row of missing keys shows what a kill right after the load lost.",
    "Synced sets overwrite random keys. emdb: insert and flush (it shares syncs); candystore: set \
     and flush; fjall: insert and persist; sled: insert and flush, which does not wait for the \
     disk, so it does not count as the best rival there.",
    "candystore runs with its defaults: a checkpoint every 128 KiB, compaction at 4 MiB/s. emdb \
     compacts only when it is asked to, so the soak shows it growing. fjall, redb, sled and \
     RocksDB run without compression (the values are random).",
    "Memory is anonymous memory (`RssAnon`): mapped files (LMDB; the index of candystore; the \
     logs of KVS and emdb) are not in it.",
    "Bytes on disk are allocated blocks after a close, over the bytes of keys and values.",
    "A load or a removal that would take longer than its time limit is measured up to the limit \
     (the rest of the load is then done by batches, unmeasured), which flatters slow engines.",
];
