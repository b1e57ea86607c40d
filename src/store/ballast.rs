//! The ballast: a file that holds disk space back, to be given up when the disk is full.
//!
//! A full disk must not keep anyone from making room: removes and compaction need some bytes
//! before they free any. The ballast is theirs alone, and comes back when there is space again.

use std::io;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::disk::Access;
use super::names;
use crate::error::{KvsError, Result};

impl Core {
    /// Gives the ballast up. False: there was none.
    pub(crate) fn release_ballast(&self) -> bool {
        let path = self.shelf.path(names::BALLAST);
        let released = self.shelf.disk.remove(&path).is_ok();
        self.has_ballast.fetch_and(!released, Ordering::AcqRel);
        released
    }

    /// Runs work that makes room; if the disk is too full for it, again without the ballast.
    pub(crate) fn with_ballast(&self, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        match work() {
            Err(KvsError::DiskFull { .. }) if self.release_ballast() => work(),
            result => result,
        }
    }

    /// Makes the ballast, if it is missing and there is room for it.
    pub(crate) fn restore_ballast(&self) -> Result<()> {
        let bytes = self.options.ballast_bytes;
        if bytes == 0 || self.has_ballast.load(Ordering::Acquire) {
            return Ok(());
        }
        let path = self.shelf.path(names::BALLAST);
        let io = |action| {
            let path = path.clone();
            move |error| KvsError::io(action, &path, error)
        };
        let file = match self.shelf.disk.open(&path, Access::Create) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.shelf.disk.open(&path, Access::Write)
            }
            opened => opened,
        };
        let file = file.map_err(io("open"))?;
        match file.allocate(0, bytes) {
            Ok(()) => {
                self.has_ballast.store(true, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                // What was reserved is of more use to the log.
                let _ = self.shelf.disk.remove(&path);
                Err(io("allocate")(error))
            }
        }
    }
}
