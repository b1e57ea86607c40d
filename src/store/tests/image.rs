//! A small data directory with everything in it, and all that was ever true of it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::oracle::{key, value};
use super::workload::{SMALL, open};
use crate::batch::Batch;
use crate::options::{Durability, WriteOptions};
use crate::store::Store;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::state::Rng;

/// How many different keys it has.
pub const KEYS: usize = 14;

/// The keys and values of a store.
pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A data directory, and everything that was ever true of it.
pub struct Image {
    pub disk: SimDisk,
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// The contents after each operation.
    pub states: Vec<Contents>,
    /// Every value that a key ever had.
    pub ever: HashSet<(Vec<u8>, Vec<u8>)>,
    /// The first state that may be found: what the last mark proves, and, for damage that can
    /// take the marks away as well, what the sealed segments hold.
    pub proven: usize,
    pub sealed: usize,
}

/// Writes to a store and keeps what is true.
struct Writer {
    store: Store,
    rng: Rng,
    states: Vec<Contents>,
    ever: HashSet<(Vec<u8>, Vec<u8>)>,
}

impl Writer {
    fn write(&mut self, operations: usize) {
        let mut state = self.states.last().cloned().unwrap_or_default();
        let mut batch = Batch::new();
        for _ in 0..operations {
            let key = key(self.rng.below(KEYS));
            if self.rng.one_in(4) {
                batch.remove(&key);
                state.remove(&key);
            } else {
                let len = self.rng.below(360);
                let value = value(&key, self.states.len(), len);
                batch.set(&key, &value);
                self.ever.insert((key.clone(), value.clone()));
                state.insert(key, value);
            }
        }
        let options = WriteOptions::new().durability(Durability::Os);
        self.store.write_opt(&batch, options).unwrap();
        self.states.push(state);
    }

    fn write_some(&mut self, count: usize) {
        for _ in 0..count {
            let operations = if self.rng.one_in(4) { 3 } else { 1 };
            self.write(operations);
        }
    }
}

impl Image {
    pub fn new(seed: u64, clean: bool) -> Image {
        let disk = SimDisk::new();
        let store = open(&disk, &SMALL.options(), seed).unwrap();
        let rng = Rng::new(seed);
        let mut writer = Writer { store, rng, states: vec![Contents::new()], ever: HashSet::new() };
        for _ in 0..4 {
            writer.write_some(8);
            writer.store.rotate().unwrap();
        }
        let oldest: Vec<u64> = writer.store.segment_ids().into_iter().take(2).collect();
        writer.store.compact_segments(&oldest).unwrap();
        writer.write_some(5);
        writer.store.rotate().unwrap();
        writer.store.sync().unwrap();
        writer.store.core().write_hints();
        let sealed = writer.states.len() - 1;
        writer.write_some(3);
        writer.store.sync().unwrap();
        let proven = writer.states.len() - 1;
        writer.write_some(3);
        let Writer { store, states, ever, .. } = writer;
        let last = states.len() - 1;
        let (proven, sealed) = if clean { (last, last) } else { (proven, sealed) };
        if clean {
            store.close().unwrap();
        } else {
            store.abandon();
        }
        let mut image =
            Image { disk: disk.fork(), files: disk.files(), states, ever, proven, sealed };
        image.files.retain(|(_, bytes)| !bytes.is_empty());
        assert!(image.count(".seg") >= 4 && image.count(".hint") >= 3, "{:?}", image.names());
        image
    }

    pub fn names(&self) -> Vec<(&Path, usize)> {
        self.files.iter().map(|(path, bytes)| (path.as_path(), bytes.len())).collect()
    }

    fn count(&self, end: &str) -> usize {
        self.files.iter().filter(|(path, _)| path.to_string_lossy().ends_with(end)).count()
    }
}
