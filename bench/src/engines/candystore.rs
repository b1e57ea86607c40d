//! candystore: a log with a mapped index; a checkpoint every 128 KiB written, its default.

use std::path::Path;

use ::candystore::{CandyStore, Config};

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Candy {
    db: CandyStore,
    synced: bool,
}

impl Candy {
    pub fn open(dir: &Path, setup: Setup) -> Res<Candy> {
        let config = Config { checkpoint_delta_bytes: Some(128 * 1024), ..Config::default() };
        let db = CandyStore::open(dir, config)?;
        Ok(Candy { db, synced: setup.durability == Durability::Synced })
    }

    fn sync(&self) -> Res<()> {
        if self.synced {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Engine for Candy {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.db.set(key, value)?;
        self.sync()
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        for (key, value) in pairs {
            self.db.set(key, value)?;
        }
        self.sync()
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.db.get(key)?.map(|value| seen(&value)).is_some())
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        self.db.remove(key)?;
        self.sync()
    }

    fn close(self: Box<Self>) -> Res<()> {
        Ok(self.db.checkpoint()?)
    }
}
