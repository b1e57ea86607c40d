//! The ballast: a file that holds disk space back, to be given up when the disk is full.
//!
//! A full disk must not keep anyone from making room: removes and compaction need some bytes
//! before they free any. The ballast is theirs alone, and comes back when there is space again.
//! When it is used up, the hints go the same way: without them an open takes longer, no more.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::disk::{Access, Disk};
use super::names::{self, Name};
use super::sync::lock;
use crate::error::{KvsError, Result};

/// What was given up to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Ballast,
    Hints,
}

/// Removes the ballast; if there is none, the hints. None: there were none either.
pub(crate) fn make_room(disk: &dyn Disk, directory: &Path) -> Option<Room> {
    if disk.remove(&directory.join(names::BALLAST)).is_ok() {
        return Some(Room::Ballast);
    }
    let found = disk.list(directory).unwrap_or_default();
    let hints = found.iter().filter(|name| matches!(names::parse(name), Name::Hint(_)));
    let removed = hints.filter(|name| disk.remove(&directory.join(name)).is_ok()).count();
    (removed > 0).then_some(Room::Hints)
}

impl Core {
    /// Whether the disk was too full for the ballast when last looked at.
    pub(crate) fn is_ballast_missing(&self) -> bool {
        self.options.ballast_bytes > 0 && !*lock(&self.has_ballast)
    }

    /// Gives the ballast up, or the hints. False: there is nothing left to give up.
    pub(crate) fn release_ballast(&self) -> bool {
        // Held until it is gone: nobody makes it at the same time.
        let mut has_ballast = lock(&self.has_ballast);
        *has_ballast = false;
        let room = make_room(&*self.shelf.disk, &self.shelf.directory);
        if room == Some(Room::Hints) {
            let segments = self.segments.all();
            segments.iter().for_each(|it| it.hinted.store(false, Ordering::Relaxed));
        }
        room.is_some()
    }

    /// Runs work that makes room; while the disk is too full for it, again without the ballast.
    pub(crate) fn with_ballast(&self, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            match work() {
                Err(KvsError::DiskFull { .. }) if self.release_ballast() => {}
                result => return result,
            }
        }
    }

    /// Makes the ballast, if it is missing and there is room for it.
    pub(crate) fn restore_ballast(&self) -> Result<()> {
        let bytes = self.options.ballast_bytes;
        let mut has_ballast = lock(&self.has_ballast);
        if bytes == 0 || *has_ballast {
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
                *has_ballast = true;
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
