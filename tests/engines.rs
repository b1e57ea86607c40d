//! The engines: each through the checks that all must pass, and what is particular to one.
#![cfg(feature = "server")]

use std::sync::Arc;

use kvs::engine::{MemoryEngine, conformance};

#[cfg(all(test, feature = "sled"))]
#[path = "engines/migrate.rs"]
mod migrate;
#[cfg(all(test, feature = "sled"))]
#[path = "engines/sled.rs"]
mod sled;

#[path = "engines/store.rs"]
mod store;

#[test]
fn memory_conforms() {
    conformance::run(&|| Box::new(|| Ok(Arc::new(MemoryEngine::new()?))));
}
