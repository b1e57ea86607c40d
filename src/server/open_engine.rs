//! Opens the engine that a configuration names, or that the directory has.

use std::sync::Arc;

use super::config::{Config, EngineName, PoolName};
use crate::engine::{KvsEngine, MemoryEngine, StoreEngine, engine_of};
#[cfg(feature = "sled")]
use crate::engine::{Pooled, SledKvsEngine};
use crate::error::{KvsError, Result};
use crate::thread_pool::PoolKind;

/// Opens the engine of a server.
///
/// # Errors
/// [`WrongEngine`](crate::KvsError::WrongEngine) if the directory belongs to another one;
/// [`Unsupported`](crate::KvsError::Unsupported) for
/// an engine that this build does not have; and what opening it answers.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let mut config = kvs::server::Config::default();
/// config.dir = dir.path().to_owned();
/// assert_eq!(kvs::server::open_engine(&config)?.name(), "kvs");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_engine(config: &Config) -> Result<Arc<dyn KvsEngine>> {
    let pool = match config.pool {
        PoolName::Shared => PoolKind::Shared,
        PoolName::Rayon => PoolKind::Rayon,
        PoolName::Naive => PoolKind::Naive,
    };
    let name = match config.engine {
        Some(name) => name,
        None => match engine_of(&config.dir)?.as_deref() {
            Some("sled") => EngineName::Sled,
            // What belongs to an engine that is not known is refused by the one that is opened.
            _ => EngineName::Kvs,
        },
    };
    Ok(match name {
        EngineName::Kvs => {
            let pool = pool.build(config.pool_threads)?;
            Arc::new(StoreEngine::open(&config.dir, &config.store_options(), pool)?)
        }
        EngineName::Memory => {
            // It keeps nothing there, but whoever names the directory of another engine errs.
            if let Some(found) = engine_of(&config.dir)? {
                let path = config.dir.clone();
                return Err(KvsError::WrongEngine { path, found, wanted: "memory" });
            }
            Arc::new(MemoryEngine::new()?)
        }
        #[cfg(feature = "sled")]
        EngineName::Sled => {
            let engine = SledKvsEngine::open(&config.dir, config.durability())?;
            Arc::new(Pooled::new(engine, pool.build(config.pool_threads)?))
        }
        #[cfg(not(feature = "sled"))]
        EngineName::Sled => {
            let capability = "be opened: this build is without the feature sled";
            return Err(KvsError::Unsupported { engine: "sled", capability });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Config, EngineName, KvsError, open_engine};

    #[test]
    fn memory_is_no_engine_for_the_directory_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let config = |engine| {
            let (dir, engine) = (dir.path().to_owned(), Some(engine));
            Config { dir, engine, ..Config::default() }
        };
        assert_eq!(open_engine(&config(EngineName::Memory)).unwrap().name(), "memory");
        drop(open_engine(&config(EngineName::Kvs)).unwrap());
        match open_engine(&config(EngineName::Memory)).map(|engine| engine.name()) {
            Err(KvsError::WrongEngine { found, wanted: "memory", .. }) => assert_eq!(found, "kvs"),
            other => panic!("{other:?}"),
        }
    }
}
