//! The stores that this process has open: one for each directory, shared by its handles.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, Weak};

use super::sync::{lock, wait};
use super::{Handle, Life, Store};
use crate::error::Result;

/// What is open or is being closed, by canonical path, and in which process: what a forked child
/// finds here of its parent is not its own.
type Stores = HashMap<PathBuf, (u32, Weak<Handle>)>;

static OPEN: Mutex<Option<Stores>> = Mutex::new(None);
/// Told when a store leaves.
static LEFT: Condvar = Condvar::new();

/// The store that is open in a directory, or the one that `open` opens there. One that is closed,
/// or poisoned, is put to rest first.
pub(super) fn find_or_open(
    canonical: &Path,
    open: impl FnOnce() -> Result<Store>,
) -> Result<Store> {
    let process = std::process::id();
    let mut registry = lock(&OPEN);
    loop {
        let stores = registry.get_or_insert_with(HashMap::new);
        let found = stores.get(canonical).filter(|(owner, _)| *owner == process);
        match found.map(|(_, handle)| handle.upgrade()) {
            None => {
                let store = open()?;
                stores.insert(canonical.to_owned(), (process, Arc::downgrade(&store.handle)));
                return Ok(store);
            }
            Some(Some(handle)) => {
                // Outside of the lock: this may turn out to be the last handle.
                drop(registry);
                let is_open =
                    handle.life.try_lock().is_ok_and(|it| matches!(*it, Life::Open { .. }));
                if is_open && handle.core.check_writable().is_ok() {
                    return Ok(Store { handle });
                }
                // Who closes it hears about its errors.
                let _ = handle.close();
                forget(&handle);
                drop(handle);
                registry = lock(&OPEN);
            }
            // Its last handle is being dropped.
            Some(None) => registry = wait(&LEFT, registry),
        }
    }
}

/// Takes out a store that is closed.
pub(super) fn forget(handle: &Handle) {
    if let Some(stores) = lock(&OPEN).as_mut() {
        stores.retain(|_, (_, open)| !std::ptr::eq(open.as_ptr(), handle));
    }
    LEFT.notify_all();
}
