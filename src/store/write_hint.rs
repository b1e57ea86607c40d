//! How the hints of sealed segments are written, one after the other.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::disk::{Access, DiskFile, write_all_at};
use super::hint::{Builder, Subject};
use super::names;
use super::rewrite::unless_unreadable;
use super::scan::Scan;
use super::segment::Segment;
use crate::error::{KvsError, Result};

/// What is held in memory of a hint that is being written.
const HINT_BUFFER: usize = 64 << 10;

impl Core {
    /// Writes all hints that are missing, so that the next open is fast. Without them it is
    /// slower, and that is all.
    pub(crate) fn write_hints(&self) {
        while self.write_hint().is_ok_and(|written| written) {}
    }

    /// Writes the hint of one sealed segment that has none. False: all have theirs, or the disk is
    /// so full that the ballast is gone.
    pub(crate) fn write_hint(&self) -> Result<bool> {
        if self.is_ballast_missing() {
            return Ok(false);
        }
        let segments = self.segments.all();
        let Some(segment) = segments.iter().find(|segment| {
            segment.sealed.load(Ordering::Acquire)
                && !segment.hinted.load(Ordering::Relaxed)
                && !segment.damaged.load(Ordering::Relaxed)
        }) else {
            return Ok(false);
        };
        let path = self.shelf.path(&names::hint(segment.id));
        let io = |action| {
            let path = path.clone();
            move |error| KvsError::io(action, &path, error)
        };
        match self.shelf.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove")(error));
            }
            _ => {}
        }
        let file = self.shelf.disk.open(&path, Access::Create);
        let file = file.map_err(io("create"))?;
        if let Err(error) = self.write_hint_of(segment, &*file, &path) {
            // Half a hint is none.
            let _ = self.shelf.disk.remove(&path);
            return Err(error);
        }
        segment.hinted.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// Writes entries as the scan finds them, and the head, with the checksum, at the end. Nothing
    /// is synced: a hint without a matching head is not used.
    fn write_hint_of(&self, segment: &Segment, file: &dyn DiskFile, path: &Path) -> Result<()> {
        let io = |error| KvsError::io("write", path, error);
        let mut scan = Scan::new(&*segment.file, &segment.path, segment.salt, segment.end());
        let mut hint = Builder::new();
        while let Some(found) = unless_unreadable(segment, scan.next())? {
            hint.add(&found, &self.hasher);
            if let Some((offset, entries)) = hint.take(HINT_BUFFER) {
                write_all_at(file, &entries, offset).map_err(io)?;
            }
        }
        if scan.offset() != segment.end() {
            segment.damaged.store(true, Ordering::Relaxed);
            let reason = scan.reason();
            return Err(segment.corrupt(scan.offset(), reason));
        }
        if let Some((offset, entries)) = hint.take(1) {
            write_all_at(file, &entries, offset).map_err(io)?;
        }
        write_all_at(file, &hint.head(Subject::new(&self.shelf, segment)), 0).map_err(io)
    }
}
