//! emdb: a log with mapped reads and an index in memory.

use std::path::Path;

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Emdb {
    db: ::emdb::Emdb,
    synced: bool,
}

impl Emdb {
    pub fn open(dir: &Path, setup: Setup) -> Res<Emdb> {
        let db = ::emdb::Emdb::open(dir.join("bench.emdb"))?;
        Ok(Emdb { db, synced: setup.durability == Durability::Synced })
    }

    fn sync(&self) -> Res<()> {
        if self.synced {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Engine for Emdb {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.db.insert(key, value)?;
        self.sync()
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        self.db.insert_many(pairs.iter().copied())?;
        self.sync()
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.db.get(key)?.map(|value| seen(&value)).is_some())
    }

    fn has_no_copy(&self) -> bool {
        true
    }

    fn get_no_copy(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.db.get_zerocopy(key)?.map(|value| seen(value.as_slice())).is_some())
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        self.db.remove(key)?;
        self.sync()
    }

    fn close(self: Box<Self>) -> Res<()> {
        Ok(self.db.checkpoint()?)
    }
}
