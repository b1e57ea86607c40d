//! The engine `kvs`: the store.

use std::sync::Arc;

use kvs::engine::{StoreEngine, conformance};
use kvs::thread_pool::PoolKind;
use kvs::{Durability, Index, Options};

fn conforms(options: &Options, pool: PoolKind) {
    conformance::run(&|| {
        let dir = tempfile::tempdir().unwrap();
        let options = options.clone();
        Box::new(move || Ok(Arc::new(StoreEngine::open(dir.path(), &options, pool.build(2)?)?)))
    });
}

#[test]
fn the_store_conforms_on_each_pool() {
    for pool in PoolKind::ALL {
        conforms(&Options::new().durability(Durability::Os), pool);
    }
}

#[test]
fn the_store_conforms_with_every_write_synced() {
    conforms(&Options::new().durability(Durability::Always), PoolKind::Shared);
}

#[test]
fn the_store_conforms_with_the_ordered_index() {
    conforms(&Options::new().index(Index::Ordered), PoolKind::Shared);
}
