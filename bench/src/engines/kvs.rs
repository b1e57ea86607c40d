//! KVS.

use std::path::Path;

use ::kvs::{Batch, Index, Options, Store};

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Kvs(Store);

impl Kvs {
    pub fn open(dir: &Path, setup: Setup) -> Res<Kvs> {
        let durability = match setup.durability {
            Durability::Os => ::kvs::Durability::Os,
            Durability::Synced => ::kvs::Durability::Always,
        };
        let index = if setup.ordered { Index::Ordered } else { Index::Hash };
        let options = Options::new().durability(durability).compaction(setup.compaction);
        let options = options.index(index);
        Ok(Kvs(options.open(dir)?))
    }
}

impl Engine for Kvs {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.0.set(key, value)?;
        Ok(())
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        let mut batch = Batch::new();
        for (key, value) in pairs {
            batch.set(key, value);
        }
        self.0.write(&batch)?;
        Ok(())
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.0.get(key)?.map(|value| seen(&value)).is_some())
    }

    fn has_no_copy(&self) -> bool {
        true
    }

    fn get_no_copy(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.0.get_with(key, |value| seen(value))?.is_some())
    }

    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let mut range = self.0.range(from..)?;
        let mut found = 0;
        while found < count
            && let Some(pair) = range.next_with(|key, value| seen(key, value))
        {
            pair?;
            found += 1;
        }
        Ok(Some(found))
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        self.0.remove(key)?;
        Ok(())
    }

    fn live_bytes(&self) -> Option<u64> {
        Some(self.0.stats().live_bytes)
    }

    fn index_bytes(&self) -> Option<u64> {
        let stats = self.0.stats();
        Some(stats.keydir_bytes + stats.ordered_bytes)
    }

    fn close(self: Box<Self>) -> Res<()> {
        Ok(self.0.close()?)
    }
}
