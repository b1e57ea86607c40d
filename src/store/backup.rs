//! Backups, while writes go on: consistent as of one seq.
//!
//! A sealed segment never changes, so its file gets a second name in the backup, or a copy where
//! that cannot be. Of the segment in which the log grows, what was published is copied. While that
//! is done, segments may go away, but stay readable: all are open before the first is taken. The
//! manifest comes last and makes it a backup; a backup that is brought up to date stays the old one
//! until then. A file that is there already is known by its store, id, salt, length and last seq,
//! not by its name. All of a file is read before it counts: one that is there and has come to harm
//! is taken anew, and one that is damaged where it comes from gets no name.
//!
//! Which segments, how far and as of which seq, is for the source to say: the owner of a store
//! here, a process that only reads it in `read_only_backup.rs`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Store;
use super::core::Core;
use super::disk::{Access, Disk, DiskLock, copy, is_same, sync_name};
use super::manifest::{Manifest, Named, State};
use super::names::{self, Name};
use super::notice::lock_silently;
use super::scan::Scan;
use super::segment::{Segment, Shelf, stated};
use super::sync::lock;
use super::view::View;
use crate::error::{KvsError, Result};

/// What a backup did.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = kvs::Store::open(dir.path().join("data"))?;
/// let written = store.set("key", "value")?;
/// let report = store.backup(dir.path().join("backup"))?;
/// assert_eq!(report.seq, written.seq);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The backup is of the state after this seq.
    pub seq: u64,
    /// Segments that were there from an earlier backup.
    pub kept: u64,
    /// Segments whose files got a second name: they take no further space as long as the store has
    /// them.
    pub linked: u64,
    /// Segments that were copied, and their bytes.
    pub copied: u64,
    /// The bytes that were copied.
    pub copied_bytes: u64,
}

/// What is backed up: a state of the store. Every segment in it is open.
pub(crate) struct Subject {
    /// Names the segments below, and no others.
    pub(crate) manifest: Manifest,
    /// Segments that never change, durable as a whole: their files may get a second name.
    pub(crate) sealed: Vec<Arc<Segment>>,
    /// Segments that are copied, and how far: the one in which the log grows, and what nobody has
    /// proven durable.
    pub(crate) copied: Vec<(Arc<Segment>, u64)>,
    /// It is the state after this seq.
    pub(crate) seq: u64,
}

/// The directory of a backup.
struct Destination<'a> {
    /// Where the segments come from.
    shelf: &'a Shelf,
    directory: &'a Path,
    report: BackupReport,
    /// Files that wait for their names, and those: an earlier backup needs what has them now.
    late: Vec<(PathBuf, PathBuf)>,
    _lock: Box<dyn DiskLock>,
}

impl Store {
    /// Backs the store up into a directory, which is made if it is not there, while reads and
    /// writes go on. The backup is of one moment. When this returns it is durable.
    ///
    /// Where the file system allows it, the sealed segments are not copied: their files get a
    /// second name. Into a directory that holds an earlier backup of the same store, only what has
    /// come since is added. Everything in it is read, so that what is damaged is told, and what has
    /// come to harm in the backup alone is taken anew.
    /// A backup can be opened to be read ([`open_read_only`](Store::open_read_only)), but not to be
    /// written to: [`restore`](crate::restore) makes a store of it.
    ///
    /// # Errors
    /// [`KvsError::NotEmpty`] if the directory holds anything but a backup of this store;
    /// [`KvsError::Locked`] if another backup into it is going on; [`KvsError::Corrupt`] if a
    /// segment of the store is damaged, [`KvsError::DiskFull`], [`KvsError::Io`],
    /// [`KvsError::Closed`]: an earlier backup in it is as it was. (If that has writes which the
    /// store has lost with the power since, a crash or an error while the last names are changed
    /// can take them from it.)
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    /// let store = kvs::Store::open(data)?;
    /// store.set("key", "old")?;
    /// store.backup(&backup)?;
    /// store.set("key", "new")?;
    /// let restored = dir.path().join("restored");
    /// kvs::restore(&backup, &restored, None, &mut |_| ())?;
    /// assert_eq!(kvs::Store::open(restored)?.get("key")?.as_deref(), Some(&b"old"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, directory: impl AsRef<Path>) -> Result<BackupReport> {
        self.core().backup(directory.as_ref())
    }
}

impl Core {
    pub(crate) fn backup(&self, directory: &Path) -> Result<BackupReport> {
        self.check_open()?;
        back_up(self.as_ref(), directory, || self.subject())
    }

    /// The state of the store between two groups of commits.
    fn subject(&self) -> Subject {
        // While compaction rests, the manifest and the open segments are of one mind. What goes
        // afterwards can still be read: it is open.
        let _compaction = lock(&self.compaction);
        let log = lock(&self.log);
        let (active, mut end) = (Arc::clone(&log.appender.segment), log.published_end);
        if kvs_bug!("backup_unpublished") {
            end = log.appender.end();
        }
        let mut manifest = lock(&self.manifest).clone();
        let mut sealed = Vec::new();
        // Neither what is prepared for later nor what was discarded belongs to it.
        manifest.segments.retain_mut(|named| match self.segments.by_id(named.id()) {
            Some(segment) if segment.sealed.load(Ordering::Acquire) => {
                named.state = State::Sealed { len: segment.end() };
                named.min_seq = segment.min_seq.load(Ordering::Relaxed);
                named.max_seq = segment.max_seq.load(Ordering::Relaxed);
                sealed.push(segment);
                true
            }
            Some(segment) if segment.id == active.id => {
                named.state = State::Open { durable_upto: end };
                true
            }
            _ => false,
        });
        let seq = self.published_seq.load(Ordering::Acquire);
        Subject { manifest, sealed, copied: vec![(active, end)], seq }
    }
}

/// Backs up the state that `subject` answers with, which is asked once there is a directory for it.
/// Durable when this returns.
pub(crate) fn back_up(
    view: &View,
    directory: &Path,
    subject: impl FnOnce() -> Subject,
) -> Result<BackupReport> {
    let mut destination = Destination::new(&view.shelf, directory)?;
    let Subject { mut manifest, sealed, copied, seq } = subject();
    destination.report.seq = seq;
    for segment in &sealed {
        destination.take(segment)?;
    }
    for (segment, end) in &copied {
        destination.take_beginning(segment, *end)?;
    }
    // Who restores it believes no record behind that seq.
    manifest.reserved_seq = seq + 1;
    manifest.clock_floor_ms = view.time.seen_ms().max(manifest.clock_floor_ms);
    manifest.prepare(destination.disk(), directory)?;
    // From here on there are only names to change.
    destination.name_late()?;
    let disk = destination.disk();
    let synced = disk.sync_dir(directory);
    synced.map_err(|error| KvsError::io("sync", directory, error))?;
    Manifest::put_prepared(disk, directory).map_err(|failed| failed.error)?;
    destination.remove_others(&manifest)?;
    Ok(destination.report)
}

/// Whether a directory holds an earlier backup of the store of this shelf; an error if anything
/// else.
fn check_destination(shelf: &Shelf, directory: &Path) -> Result<bool> {
    let disk = &*shelf.disk;
    let names = disk.list(directory);
    let names = names.map_err(|error| KvsError::io("list", directory, error))?;
    let is_backup = names.iter().any(|name| name == names::BACKUP);
    // The mark comes first, so whatever a backup leaves when it dies can be told.
    let is_begun = names.iter().all(|name| [names::LOCK, names::BACKUP_NEW].contains(&&**name));
    let found = Manifest::load(disk, directory)?;
    let is_other = found.is_some_and(|found| found.store_id != shelf.store_id);
    if is_other || !(is_backup || is_begun) {
        return Err(KvsError::NotEmpty { path: directory.to_owned() });
    }
    Ok(is_backup)
}

impl<'a> Destination<'a> {
    /// Makes the directory, or finds an earlier backup of this store in it.
    fn new(shelf: &'a Shelf, directory: &'a Path) -> Result<Destination<'a>> {
        let disk = &*shelf.disk;
        let io = |action| move |error| KvsError::io(action, directory, error);
        disk.create_dir(directory).map_err(io("create"))?;
        sync_name(disk, directory)?;
        check_destination(shelf, directory)?;
        let lock = lock_silently(disk, directory)?;
        // Once more: another backup may have been faster.
        if !check_destination(shelf, directory)? {
            let mark = (names::BACKUP_NEW, names::BACKUP);
            super::disk::replace(disk, directory, mark, b"a backup of kvs: see kvs restore\n")?;
            disk.sync_dir(directory).map_err(io("sync"))?;
        }
        let (report, late) = (BackupReport::default(), Vec::new());
        Ok(Destination { shelf, directory, report, late, _lock: lock })
    }

    fn disk(&self) -> &dyn Disk {
        &*self.shelf.disk
    }

    fn path_of(&self, segment: &Segment) -> PathBuf {
        self.directory.join(names::segment(segment.id))
    }

    /// Takes a sealed segment over, if it is not there yet.
    fn take(&mut self, segment: &Segment) -> Result<()> {
        if self.has(segment) {
            self.report.kept += 1;
            return Ok(());
        }
        let new = self.new_file()?;
        match self.disk().link(&segment.path, &new) {
            Ok(()) => {
                self.name(&new, segment, segment.end())?;
                self.report.linked += 1;
                Ok(())
            }
            Err(_) if kvs_bug!("backup_forgets_retired") => Ok(()),
            // Another file system, one that has no second names, or the name is gone by now.
            Err(_) => self.copy(segment, segment.end()),
        }
    }

    /// Whether the file of that name is that segment, as a whole.
    fn has(&self, segment: &Segment) -> bool {
        let (path, end) = (self.path_of(segment), segment.end());
        let file = self.disk().open(&path, Access::Read);
        let len = file.and_then(|file| file.len());
        if kvs_bug!("backup_keeps_by_name") {
            return len.is_ok();
        }
        // An earlier backup may have got further than the disk under the store; after a loss of
        // power that one went on otherwise, but not with the same seqs.
        let is_last = |seq| {
            seq == segment.max_seq.load(Ordering::Relaxed) || kvs_bug!("backup_keeps_by_length")
        };
        // What cannot be read is taken anew.
        len.is_ok_and(|len| len == end) && self.check(&path, segment, end).is_ok_and(is_last)
    }

    /// Copies a segment up to `end`, if that is not there yet.
    fn take_beginning(&mut self, segment: &Segment, end: u64) -> Result<()> {
        // What cannot be read is taken anew.
        if self.has_beginning(segment, end).unwrap_or(false) {
            self.report.kept += 1;
            return Ok(());
        }
        self.copy(segment, end)
    }

    /// Whether the file of that name is that segment up to `end`. More may come behind it: an
    /// earlier backup that is of a later state needs it, until the manifest is replaced. But nobody
    /// may take it for part of this one; after a loss of power the store may have gone on without.
    fn has_beginning(&self, segment: &Segment, end: u64) -> Result<bool> {
        let path = self.path_of(segment);
        let io = |error| KvsError::io("read", &path, error);
        let file = self.disk().open(&path, Access::Read).map_err(io)?;
        let len = file.len().map_err(io)?;
        if len < end || len > end && kvs_bug!("backup_shortens") {
            return Ok(false);
        }
        self.check(&path, segment, end)?;
        let mut rest = Scan::new(&*file, &path, segment.salt, len).starting_at(end);
        while let Some(found) = rest.next()? {
            if found.record.seq().is_some_and(|seq| seq <= self.report.seq) {
                return Ok(false);
            }
        }
        Ok(rest.offset() == len && is_same(&*file, &*segment.file, end).map_err(io)?)
    }

    /// Reads a file that is to be that segment up to `end`, and finds it whole. Answers with the
    /// highest seq in it.
    fn check(&self, path: &Path, segment: &Segment, end: u64) -> Result<u64> {
        let file = self.disk().open(path, Access::Read);
        let file = file.map_err(|error| KvsError::io("open", path, error))?;
        let stated = stated(&*file, path)?.map_err(|reason| segment.corrupt(0, reason))?;
        let wanted = (self.shelf.store_id, segment.id, segment.salt);
        if (stated.store_id, stated.id, stated.salt) != wanted {
            return Err(segment.corrupt(0, "the header is of another segment"));
        }
        let mut scan = Scan::new(&*file, path, segment.salt, end);
        let mut max_seq = 0;
        while let Some(found) = scan.next()? {
            max_seq = found.record.seq().unwrap_or_default().max(max_seq);
        }
        match scan.offset() == end {
            true => Ok(max_seq),
            false => Err(segment.corrupt(scan.offset(), scan.reason())),
        }
    }

    /// Copies a segment up to `end`, durable when this returns but for its name.
    fn copy(&mut self, segment: &Segment, end: u64) -> Result<()> {
        let new = self.new_file()?;
        let io = |action| {
            let path = new.clone();
            move |error| KvsError::io(action, &path, error)
        };
        let file = self.disk().open(&new, Access::Create).map_err(io("create"))?;
        copy(&*segment.file, 0..end, &*file, 0).map_err(io("write"))?;
        if !kvs_bug!("backup_without_sync") {
            file.sync_all().map_err(io("sync"))?;
        }
        self.name(&new, segment, end)?;
        self.report.copied += 1;
        self.report.copied_bytes += end;
        Ok(())
    }

    /// The path of a file that has no name yet, free.
    fn new_file(&self) -> Result<PathBuf> {
        let path = self.directory.join(names::BACKUP_NEW);
        match self.disk().remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KvsError::io("remove", &path, error))
            }
            _ => Ok(path),
        }
    }

    /// Gives a new file the name of its segment, if it is whole: an earlier backup may have the
    /// beginning of that segment under it. If that one has something else there, which the store
    /// lost with the power since, it gets the name when all files are there.
    fn name(&mut self, new: &Path, segment: &Segment, end: u64) -> Result<()> {
        if let Err(error) = self.check(new, segment, end) {
            // It would hold disk space that the store gives back.
            let _ = self.disk().remove(new);
            return Err(error);
        }
        let path = self.path_of(segment);
        if !self.contradicts(&path, new) {
            return self.rename(new, &path);
        }
        let late = self.directory.join(names::late_segment(segment.id));
        self.rename(new, &late)?;
        self.late.push((late, path));
        Ok(())
    }

    /// Whether a file is there that is not the beginning of this one.
    fn contradicts(&self, path: &Path, new: &Path) -> bool {
        let open = |path| self.disk().open(path, Access::Read);
        // What cannot be read is of use to nobody.
        let Ok(there) = open(path) else { return false };
        let is_beginning = open(new).and_then(|new| {
            let len = there.len()?;
            Ok(len <= new.len()? && is_same(&*there, &*new, len)?)
        });
        !is_beginning.unwrap_or(true)
    }

    /// Gives the files their names that wait for them.
    fn name_late(&mut self) -> Result<()> {
        std::mem::take(&mut self.late).iter().try_for_each(|(late, path)| self.rename(late, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk().rename(from, to).map_err(|error| KvsError::io("rename", to, error))
    }

    /// Removes the segments of an earlier backup that are not in this one, and what one that died
    /// has left.
    fn remove_others(&self, manifest: &Manifest) -> Result<()> {
        let list = self.disk().list(self.directory);
        let list = list.map_err(|error| KvsError::io("list", self.directory, error))?;
        let is_named = |id| manifest.segments.iter().any(|named: &Named| named.id() == id);
        for name in list {
            let is_left = match names::parse(&name) {
                Name::Segment(id) => !is_named(id),
                Name::New => true,
                Name::Hint(_) | Name::Other => false,
            };
            if is_left {
                // What stays does no harm: nothing names it.
                let _ = self.disk().remove(&self.directory.join(&name));
            }
        }
        Ok(())
    }
}
