//! RocksDB, with a bloom filter and without compression.

use std::path::Path;

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use crate::engine::{Durability, Engine, Res, Setup};

pub struct Rocks {
    db: DB,
    write_options: WriteOptions,
}

impl Rocks {
    pub fn open(dir: &Path, setup: Setup) -> Res<Rocks> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(super::CACHE_BYTES));
        table.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.increase_parallelism(2);
        options.set_compression_type(DBCompressionType::None);
        options.set_disable_auto_compactions(!setup.compaction);
        options.set_block_based_table_factory(&table);
        let db = DB::open(&options, dir)?;
        let mut write_options = WriteOptions::default();
        write_options.set_sync(setup.durability == Durability::Synced);
        Ok(Rocks { db, write_options })
    }
}

impl Engine for Rocks {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        Ok(self.db.put_opt(key, value, &self.write_options)?)
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write_options)?)
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        Ok(self.db.get_pinned(key)?.map(|value| seen(&value)).is_some())
    }

    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let mode = IteratorMode::From(from, Direction::Forward);
        let mut found = 0;
        for pair in self.db.iterator(mode).take(count) {
            let (key, value) = pair?;
            seen(&key, &value);
            found += 1;
        }
        Ok(Some(found))
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        Ok(self.db.delete_opt(key, &self.write_options)?)
    }

    fn close(self: Box<Self>) -> Res<()> {
        Ok(self.db.flush_wal(true)?)
    }
}
