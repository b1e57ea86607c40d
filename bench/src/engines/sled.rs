//! sled 0.34: a tree over a log.

use std::path::Path;

use ::sled::{Batch, Config, Db};

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Sled {
    db: Db,
    synced: bool,
}

impl Sled {
    pub fn open(dir: &Path, setup: Setup) -> Res<Sled> {
        let db = Config::new().path(dir).cache_capacity(super::CACHE_BYTES as u64).open()?;
        Ok(Sled { db, synced: setup.durability == Durability::Synced })
    }

    fn sync(&self) -> Res<()> {
        if self.synced {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Engine for Sled {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.db.insert(key, value)?;
        self.sync()
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(*key, *value);
        }
        self.db.apply_batch(batch)?;
        self.sync()
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.db.get(key)?.map(|value| seen(&value)).is_some())
    }

    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let mut found = 0;
        for pair in self.db.range(from..).take(count) {
            let (key, value) = pair?;
            seen(&key, &value);
            found += 1;
        }
        Ok(Some(found))
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        self.db.remove(key)?;
        self.sync()
    }

    fn close(self: Box<Self>) -> Res<()> {
        self.db.flush()?;
        Ok(())
    }
}
