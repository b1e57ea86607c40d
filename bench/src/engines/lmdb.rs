//! LMDB, by way of heed.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Lmdb {
    env: Env,
    db: Database<'static, Bytes, Bytes>,
}

impl Lmdb {
    pub fn open(dir: &Path, setup: Setup) -> Res<Lmdb> {
        let mut options = EnvOpenOptions::new();
        let map_bytes = (setup.data_bytes * 8).next_multiple_of(1 << 30);
        options.map_size(usize::try_from(map_bytes)?).max_readers(256);
        // SAFETY: no other process or handle writes to this file, and no flag but the one that
        // leaves out the sync of a commit is set.
        let env = unsafe {
            if setup.durability == Durability::Os {
                options.flags(EnvFlags::NO_SYNC);
            }
            options.open(dir)?
        };
        let txn = env.write_txn()?;
        let db = env
            .create_databases_and_commit(txn, |opener, txn| {
                opener.create_database(txn, None).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        Ok(Lmdb { env, db })
    }
}

impl Engine for Lmdb {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.set_batch(&[(key, value)])
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in pairs {
            self.db.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        let txn = self.env.read_txn()?;
        Ok(self.db.get(&txn, key)?.map(seen).is_some())
    }

    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let txn = self.env.read_txn()?;
        let mut found = 0;
        // LMDB has no empty key, not even to begin from.
        let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        let range = (from, Bound::Unbounded);
        for pair in self.db.range(&txn, &range)?.take(count) {
            let (key, value) = pair?;
            seen(key, value);
            found += 1;
        }
        Ok(Some(found))
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        let mut txn = self.env.write_txn()?;
        self.db.delete(&mut txn, key)?;
        Ok(txn.commit()?)
    }

    fn close(self: Box<Self>) -> Res<()> {
        self.env.force_sync()?;
        let closing = self.env.prepare_for_closing();
        closing.wait();
        Ok(())
    }
}
