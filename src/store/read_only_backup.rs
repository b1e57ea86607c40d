//! A backup of a store that another process may have open: of what a reader shows.
//!
//! A reader has all segments of its state open, so compaction and rotation take nothing from under
//! it. Only what the manifest calls sealed is sure to be durable and to stay as it is: only that
//! gets a second name. All else is copied, as far as the reader has read it.

use std::path::Path;
use std::sync::Arc;

use super::backup::{BackupReport, Subject, back_up};
use super::feed::Published;
use super::manifest::State;
use super::read_only::ReadOnlyStore;
use super::reading::{Reading, Sight};
use crate::error::Result;

impl ReadOnlyStore {
    /// Backs up what this handle shows into a directory, which is made if it is not there, beside a
    /// process that has the store open or without one. Nobody is held up by it, and not a byte of
    /// the store's directory is changed. The backup is of one moment, the last
    /// [`refresh`](ReadOnlyStore::refresh). When this returns it is durable, also what the owner of
    /// the store has not synced yet; so a backup may have writes that the store loses with the
    /// power.
    ///
    /// All else is as for [`Store::backup`](crate::Store::backup): sealed segments get a second
    /// name where that can be, an earlier backup of the same store is brought up to date, also one
    /// that its owner has made, and everything in it is read.
    ///
    /// # Errors
    /// As [`Store::backup`](crate::Store::backup), without
    /// [`KvsError::Closed`](crate::KvsError::Closed); an earlier backup in it is as it was. What
    /// the owner compacts meanwhile stays readable here. It can be too fast for opening a reader or
    /// refreshing it: then those answer [`KvsError::Unsettled`](crate::KvsError::Unsettled).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    /// # let store = kvs::Store::open(&data)?;
    /// let written = store.set("key", "value")?;
    /// store.close()?;
    /// let reader = kvs::Store::open_read_only(&data)?;
    /// assert_eq!(reader.backup(&backup)?.seq, written.seq);
    /// let restored = dir.path().join("restored");
    /// kvs::restore(&backup, &restored, None, &mut |_| ())?;
    /// assert_eq!(kvs::Store::open(restored)?.get("key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, directory: impl AsRef<Path>) -> Result<BackupReport> {
        let (reading, subject) =
            self.shown(|reading, sight| (Arc::clone(reading), subject(reading, sight)));
        back_up(&reading.view, directory.as_ref(), || subject)
    }
}

/// The state that a reader shows.
fn subject(reading: &Reading, sight: &Sight) -> Subject {
    let mut manifest = reading.manifest.clone();
    let (mut sealed, mut copied) = (Vec::new(), Vec::new());
    // What is prepared for later does not belong to it.
    manifest.segments.retain_mut(|named| {
        let Some(segment) = reading.view.segments.by_id(named.id()) else {
            return false;
        };
        let end = segment.end();
        if let State::Open { durable_upto } = &mut named.state {
            *durable_upto = end;
        }
        match sight.is_settled(segment.id) || kvs_bug!("backup_links_unproven") {
            true => sealed.push(segment),
            false => copied.push((segment, end)),
        }
        true
    });
    // `clear` has a seq, and no record.
    let floor = manifest.history_floor.max(manifest.compacted_seq);
    let seq = reading.published_seq().max(floor);
    Subject { manifest, sealed, copied, seq }
}
