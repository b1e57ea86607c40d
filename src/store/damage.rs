//! Damage, and how those who report it read on behind it. What the disk cannot read is damage as
//! well: it counts as zeros.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::disk::DiskFile;
use super::manifest::{Named, State};
use super::map::Map;
use super::names::{self, Name};
use super::scan::{Scan, beyond};
use super::segment::Segment;
use super::sync::lock;
use crate::error::{KvsError, Result};

/// What is given up at once where the disk cannot read: a page, of which the kernel has all or
/// nothing.
const PAGE_BYTES: u64 = 4096;

/// A place where bytes are not what they should be.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # kvs::Store::open(dir.path())?.close()?;
/// for damage in kvs::verify(dir.path(), &mut |_| ())?.damage {
///     println!("{} at {}: {}", damage.path.display(), damage.offset, damage.reason);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The id of the segment, where the file is one or belongs to one.
    pub segment: Option<u64>,
    /// Where the damage begins, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

/// Turns an error that is about damage into a line of the report.
pub(crate) fn note(damage: &mut Vec<Damage>, error: KvsError) -> Result<()> {
    match error {
        KvsError::Corrupt { path, segment, offset, reason } => {
            damage.push(Damage { path, segment, offset, reason: reason.to_owned() });
        }
        KvsError::SegmentMissing { path, segment } => {
            let reason = "the manifest names it, but it is missing".to_owned();
            damage.push(Damage { path, segment: Some(segment), offset: 0, reason });
        }
        KvsError::Io { action, path, source }
            if action == "read" || source.raw_os_error() == Some(libc::EIO) =>
        {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let segment = match names::parse(name) {
                Name::Segment(id) | Name::Hint(id) => Some(id.0),
                Name::New | Name::Other => None,
            };
            damage.push(Damage { path, segment, offset: 0, reason: source.to_string() });
        }
        other => return Err(other),
    }
    Ok(())
}

/// A segment that may be damaged, up to where its records can lie.
pub(crate) struct Suspect {
    pub(crate) segment: Segment,
    named: Named,
    /// Whether nothing at its end can be left of a crash.
    pub(crate) is_whole: bool,
    /// The file of the segment.
    gapped: Arc<Gapped>,
}

impl Suspect {
    /// `is_whole`: a later segment proves that this one was sealed.
    pub(crate) fn new(mut segment: Segment, named: Named, is_whole: bool) -> Result<Suspect> {
        let file_len = segment.file.len();
        let file_len = file_len.map_err(|error| KvsError::io("read", &segment.path, error))?;
        segment.set_end(match named.state {
            State::Sealed { len } => len.min(file_len),
            State::Open { .. } => file_len,
        });
        let file = Arc::clone(&segment.file);
        let gapped = Arc::new(Gapped { file, gaps: Mutex::new(Vec::new()) });
        segment.file = Arc::<Gapped>::clone(&gapped);
        Ok(Suspect { segment, named, is_whole, gapped })
    }

    pub(crate) fn scan(&self) -> Scan<'_> {
        let segment = &self.segment;
        Scan::new(&*segment.file, &segment.path, segment.salt, segment.end())
    }

    /// Where a scan has ended. None: it should end there. Else the damage is noted, and the scan
    /// goes on behind it if this is true.
    pub(crate) fn pass_damage(
        &self,
        scan: &mut Scan<'_>,
        damage: &mut Vec<Damage>,
    ) -> Result<Option<bool>> {
        let start = scan.offset();
        if self.ends_as_it_should(scan)? {
            return Ok(None);
        }
        let reason = scan.reason();
        let found_more = scan.skip_damage()?;
        damage.push(self.damage(start..scan.offset(), reason));
        Ok(Some(found_more))
    }

    /// Whether that is the end of the records, or a tail that was never acknowledged as durable.
    fn ends_as_it_should(&self, scan: &Scan<'_>) -> Result<bool> {
        let (segment, offset) = (&self.segment, scan.offset());
        Ok(match self.named.state {
            State::Sealed { len } => scan.sealed() && offset == len,
            State::Open { .. } if scan.sealed() => true,
            State::Open { .. } if self.is_whole => false,
            State::Open { durable_upto } => {
                let (limit, salt) = (segment.end(), segment.salt);
                let rest = beyond(&*segment.file, &segment.path, salt, offset, limit)?;
                // What cannot be read may hold a mark.
                offset >= durable_upto.max(rest.durable_upto)
                    && self.gapped.tell(&(offset..limit)).is_none()
            }
        })
    }

    /// Damage in a range of the file: what the disk says, or else this reason.
    pub(crate) fn damage(&self, range: Range<u64>, reason: &str) -> Damage {
        let told = self.gapped.tell(&range);
        Damage {
            path: self.segment.path.clone(),
            segment: Some(self.segment.id.0),
            offset: range.start,
            reason: told.map_or_else(|| reason.to_owned(), |gap| gap.reason),
        }
    }

    /// What could not be read and is part of no other damage: it held zeros, so that the records
    /// over it are right, or it lies behind a seal.
    pub(crate) fn untold(&self) -> Vec<Damage> {
        let mut untold = lock(&self.gapped.gaps).clone();
        untold.retain(|gap| !gap.told);
        untold.into_iter().map(|gap| self.damage(gap.range, &gap.reason)).collect()
    }
}

/// A file to be read: what the disk cannot read is zeros in it, and known as a gap.
struct Gapped {
    file: Arc<dyn DiskFile>,
    gaps: Mutex<Vec<Gap>>,
}

/// Pages that cannot be read.
#[derive(Clone)]
struct Gap {
    range: Range<u64>,
    /// What the disk said.
    reason: String,
    /// Whether it is part of a damage that was noted.
    told: bool,
}

impl Gapped {
    /// The first gap in a range. All that are in it count as told.
    fn tell(&self, range: &Range<u64>) -> Option<Gap> {
        let mut gaps = lock(&self.gaps);
        let within = |gap: &&mut Gap| gap.range.start < range.end && range.start < gap.range.end;
        let told = gaps.iter_mut().filter(within).map(|gap| {
            gap.told = true;
            gap.clone()
        });
        told.reduce(|first, _| first)
    }

    fn is_gap(&self, offset: u64) -> bool {
        lock(&self.gaps).iter().any(|gap| gap.range.contains(&offset))
    }

    fn add(&self, range: Range<u64>, reason: String) {
        let mut gaps = lock(&self.gaps);
        match gaps.last_mut() {
            Some(last) if last.range.end == range.start && !last.told => last.range.end = range.end,
            _ => gaps.push(Gap { range, reason, told: false }),
        }
    }
}

impl DiskFile for Gapped {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = offset / PAGE_BYTES * PAGE_BYTES;
        let page = page..page.saturating_add(PAGE_BYTES);
        let within = |len: u64| usize::try_from(len.min(page.end - offset)).unwrap_or_default();
        if !self.is_gap(offset) {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {}
                read => return read,
            }
            // What it cannot read may lie behind this page.
            let len = within(buffer.len() as u64);
            match self.file.read_at(buffer.get_mut(..len).unwrap_or_default(), offset) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.add(page.clone(), error.to_string());
                }
                read => return read,
            }
        }
        let left = self.file.len()?.saturating_sub(offset).min(buffer.len() as u64);
        let len = within(left);
        buffer.get_mut(..len).unwrap_or_default().fill(0);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn map(&self, _len: usize, _guarded: bool) -> io::Result<Option<Map>> {
        Ok(None)
    }
}
