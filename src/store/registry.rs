//! The stores that this process has open: one for each directory, shared by its handles.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::sync::lock;
use super::{Handle, Store};
use crate::error::Result;

/// By canonical path. What is here is open or is being closed.
static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Handle>>>> = Mutex::new(None);
/// Told when a store leaves.
static LEFT: Condvar = Condvar::new();

/// How long an open waits for the last handle of the store before it to be gone. In a forked
/// child that never comes: whoever was closing it is not there.
const PATIENCE: Duration = Duration::from_secs(30);

/// The store that is open in a directory, or the one that `open` opens there. One that is closed,
/// or poisoned, is put to rest first.
pub(super) fn find_or_open(
    canonical: &Path,
    open: impl FnOnce() -> Result<Store>,
) -> Result<Store> {
    loop {
        let mut registry = lock(&OPEN);
        let stores = registry.get_or_insert_with(HashMap::new);
        let is_leaving = |stores: &mut Option<HashMap<PathBuf, Weak<Handle>>>| {
            let found = stores.as_ref().and_then(|stores| stores.get(canonical));
            found.is_some_and(|handle| handle.strong_count() == 0)
        };
        match stores.get(canonical).map(Weak::upgrade) {
            None => {
                let store = open()?;
                stores.insert(canonical.to_owned(), std::sync::Arc::downgrade(&store.handle));
                return Ok(store);
            }
            Some(Some(handle)) => {
                // Outside of the lock: this may turn out to be the last handle.
                drop(registry);
                if handle.core.check_writable().is_ok() {
                    return Ok(Store { handle });
                }
                // Who closes it hears about its errors.
                let _ = handle.close();
                lock(&OPEN).iter_mut().for_each(|stores| {
                    stores.retain(|_, open| !std::ptr::eq(open.as_ptr(), &raw const *handle));
                });
            }
            Some(None) => {
                let waited = LEFT.wait_timeout_while(registry, PATIENCE, is_leaving);
                let (mut registry, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    registry.iter_mut().for_each(|stores| drop(stores.remove(canonical)));
                }
            }
        }
    }
}

/// Takes out a store whose last handle is gone and that is closed.
pub(super) fn forget(handle: &Handle) {
    if let Some(stores) = lock(&OPEN).as_mut() {
        stores.retain(|_, open| !std::ptr::eq(open.as_ptr(), handle));
    }
    LEFT.notify_all();
}
