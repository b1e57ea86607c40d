//! redb: a copy-on-write B-tree.

use std::path::Path;

use ::redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::engine::{Durability, Engine, Res, Setup};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("bench");

pub struct Redb {
    db: Database,
    durability: ::redb::Durability,
}

impl Redb {
    pub fn open(dir: &Path, setup: Setup) -> Res<Redb> {
        let mut builder = Database::builder();
        builder.set_cache_size(super::CACHE_BYTES);
        let durability = match setup.durability {
            Durability::Os => ::redb::Durability::None,
            Durability::Synced => ::redb::Durability::Immediate,
        };
        let redb = Redb { db: builder.create(dir.join("bench.redb"))?, durability };
        let txn = redb.begin()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
        Ok(redb)
    }

    fn begin(&self) -> Res<WriteTransaction> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        Ok(txn)
    }
}

impl Engine for Redb {
    fn set(&self, key: &[u8], value: &[u8]) -> Res<()> {
        self.set_batch(&[(key, value)])
    }

    fn set_batch(&self, pairs: &[(&[u8], &[u8])]) -> Res<()> {
        let txn = self.begin()?;
        {
            let mut table = txn.open_table(TABLE)?;
            for (key, value) in pairs {
                table.insert(*key, *value)?;
            }
        }
        Ok(txn.commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Res<bool> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TABLE)?;
        Ok(table.get(key)?.map(|value| seen(value.value())).is_some())
    }

    fn scan(
        &self,
        from: &[u8],
        count: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Res<Option<usize>> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TABLE)?;
        let mut found = 0;
        for pair in table.range(from..)?.take(count) {
            let (key, value) = pair?;
            seen(key.value(), value.value());
            found += 1;
        }
        Ok(Some(found))
    }

    fn remove(&self, key: &[u8]) -> Res<()> {
        let txn = self.begin()?;
        txn.open_table(TABLE)?.remove(key)?;
        Ok(txn.commit()?)
    }

    fn close(self: Box<Self>) -> Res<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(::redb::Durability::Immediate)?;
        Ok(txn.commit()?)
    }
}
