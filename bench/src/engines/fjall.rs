//! fjall: a log-structured merge tree in Rust.

use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Fjall {
    db: Database,
    keyspace: Keyspace,
    synced: bool,
}

impl Fjall {
    pub fn open(dir: &Path, setup: Setup) -> Res<Fjall> {
        let db = Database::builder(dir).cache_size(super::CACHE_BYTES as u64).open()?;
        let keyspace = db.keyspace("bench", KeyspaceCreateOptions::default)?;
        Ok(Fjall { db, keyspace, synced: setup.durability == Durability::Synced })
    }

    fn sync(&self) -> Res<()> {
        if self.synced {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Engine for Fjall {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.keyspace.insert(key, value)?;
        self.sync()
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.keyspace, *key, *value);
        }
        batch.commit()?;
        self.sync()
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.keyspace.get(key)?.map(|value| seen(&value)).is_some())
    }

    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let mut found = 0;
        for guard in self.keyspace.range(from..).take(count) {
            let (key, value) = guard.into_inner()?;
            seen(&key, &value);
            found += 1;
        }
        Ok(Some(found))
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        self.keyspace.remove(key)?;
        self.sync()
    }

    fn close(self: Box<Self>) -> Res<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}
