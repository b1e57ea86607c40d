//! The notice in the lock file: which process owns the directory, and how far others may read.
//!
//! ```text
//! notice := process id in decimal, line feed, zeros up to 24 bytes
//!           | life u64le | segment id u64le | end u64le | crc u32le
//! ```
//! It is written in place, with one write, and never synced: it counts only while its process has
//! the lock, and a crash takes the lock away. The next one to have the lock takes it back first,
//! but a moment later; so it names the life of the store whose notice it is, a random number, by
//! which who has seen it without an owner knows it again. Who reads it may meet half of a write;
//! the checksum then fails, and while there is an owner it is to be read again.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Weak};

use super::disk::{Access, Disk, DiskLock, read_full_at};
use super::names::{self, SegmentId};
use super::sync::lock;
use crate::error::{KvsError, Result};

/// The bytes of the process id, with its line feed and zeros behind.
const PID_BYTES: usize = 24;
/// What the checksum covers: everything before it.
const COVERED_BYTES: usize = PID_BYTES + 24;
const NOTICE_BYTES: usize = COVERED_BYTES + 4;

/// A place in the log: everything before it is readable for other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Readable {
    /// The segment in which the log grows. Those before it in the log are readable as a whole.
    pub(crate) segment: SegmentId,
    /// Where its readable records end, in bytes.
    pub(crate) end: u64,
}

/// What the lock file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Notice {
    /// The process that has the directory open, or had.
    pub(crate) pid: Option<u32>,
    /// Which life of the store says so: from an open to a close, or to the end of the process.
    pub(crate) life: u64,
    /// None: it has not said yet how far others may read.
    pub(crate) readable: Option<Readable>,
    /// Whether it is there and its checksum is wrong: half of it was written when it was read.
    pub(crate) is_torn: bool,
}

/// Takes the lock of a directory, and takes back what its last owner said.
pub(crate) fn lock_directory(disk: &dyn Disk, directory: &Path) -> Result<Box<dyn DiskLock>> {
    let lock = lock_silently(disk, directory)?;
    match Notice::saying_nothing().post(&*lock) {
        // Written in place: mostly, only a lock file that never held a notice has no room for one.
        Err(error)
            if error.kind() != io::ErrorKind::StorageFull
                || Notice::read(disk, directory)?.readable.is_some() =>
        {
            Err(KvsError::io("write", &directory.join(names::LOCK), error))
        }
        _ => Ok(lock),
    }
}

/// Takes the lock of a directory. While a process dies, its lock may outlive it for a moment, and a
/// reader that looks whether somebody has the lock has it for a moment too.
pub(crate) fn lock_silently(disk: &dyn Disk, directory: &Path) -> Result<Box<dyn DiskLock>> {
    let path = directory.join(names::LOCK);
    for _ in 0..50 {
        let lock = disk.lock(&path).map_err(|error| KvsError::io("lock", &path, error))?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = Notice::read(disk, directory).ok().and_then(|notice| notice.pid);
    Err(KvsError::Locked { path: directory.to_owned(), pid })
}

impl Notice {
    fn saying_nothing() -> Notice {
        Notice { pid: Some(std::process::id()), ..Notice::default() }
    }

    /// Reads the notice of a directory, whatever it is worth.
    pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Notice> {
        let path = directory.join(names::LOCK);
        let file = match disk.open(&path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Notice::default()),
            opened => opened.map_err(|error| KvsError::io("open", &path, error))?,
        };
        let mut bytes = [0; NOTICE_BYTES];
        let read = read_full_at(&*file, &mut bytes, 0);
        let read = read.map_err(|error| KvsError::io("read", &path, error))?;
        Ok(Notice::decode(bytes.get(..read).unwrap_or_default()))
    }

    /// Writes the notice into the lock file.
    pub(crate) fn post(&self, lock: &dyn DiskLock) -> io::Result<()> {
        lock.write(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("{}\n", self.pid.unwrap_or_default()).into_bytes();
        bytes.resize(PID_BYTES, 0);
        let (segment, end) = self.readable.map_or((0, 0), |it| (it.segment.0, it.end));
        bytes.extend_from_slice(&self.life.to_le_bytes());
        bytes.extend_from_slice(&segment.to_le_bytes());
        bytes.extend_from_slice(&end.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What the bytes of a lock file say.
    pub(crate) fn decode(bytes: &[u8]) -> Notice {
        // Up to version 0.1 there was nothing but the process id.
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let pid = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
        let said = said(bytes);
        let is_torn = said.is_none() && bytes.len() >= NOTICE_BYTES;
        let (life, readable) = said.unwrap_or_default();
        Notice { pid, life, readable, is_torn }
    }
}

/// Which life says how far others may read; none if it cannot be read.
fn said(bytes: &[u8]) -> Option<(u64, Option<Readable>)> {
    let word = |from: usize| {
        let word = bytes.get(from..from + 8).and_then(|word| word.try_into().ok());
        word.map(u64::from_le_bytes)
    };
    let (covered, crc) = bytes.split_at_checked(COVERED_BYTES)?;
    if crc != crc32c::crc32c(covered).to_le_bytes() {
        return None;
    }
    let (life, segment, end) = (word(PID_BYTES)?, word(PID_BYTES + 8)?, word(PID_BYTES + 16)?);
    // No segment has the id 0.
    Some((life, (segment != 0).then_some(Readable { segment: SegmentId(segment), end })))
}

/// Where the owner of a directory posts its notices.
pub(crate) struct Board {
    /// Gone when the directory is closed: then there is nothing to post any more.
    lock: Weak<dyn DiskLock>,
    life: u64,
    posted: Mutex<Option<Readable>>,
    /// Whether more is readable than the notice says.
    is_behind: AtomicBool,
}

impl Board {
    /// A board of a life of the store; `life` is a random number.
    pub(crate) fn new(lock: Weak<dyn DiskLock>, life: u64) -> Board {
        Board { lock, life, posted: Mutex::new(None), is_behind: AtomicBool::new(false) }
    }

    /// Whether there is something to post.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Notes that there is something to post. True: nobody had noted it yet.
    #[inline]
    pub(crate) fn fall_behind(&self) -> bool {
        !self.is_behind() && !self.is_behind.swap(true, Ordering::Relaxed)
    }

    /// To be called before the place is looked up that is to be posted: what comes later is noted
    /// anew.
    pub(crate) fn catch_up(&self) {
        self.is_behind.store(false, Ordering::Relaxed);
    }

    /// Says that others may read up to this place. It never goes back.
    pub(crate) fn post(&self, readable: Readable) -> io::Result<()> {
        let mut posted = lock(&self.posted);
        let Some(lock) = self.lock.upgrade().filter(|_| *posted < Some(readable)) else {
            return Ok(());
        };
        let said = Some(readable);
        let notice = Notice { life: self.life, readable: said, ..Notice::saying_nothing() };
        notice.post(&*lock)?;
        *posted = said;
        Ok(())
    }

    /// Takes back what was said, at the end of a life in which all is durable: for a moment, the
    /// next one to have the lock would seem to say it. Without it, only those who look in that very
    /// moment see less than they might.
    pub(crate) fn clear(&self) {
        let _posted = lock(&self.posted);
        if let Some(lock) = self.lock.upgrade() {
            let _ = Notice::saying_nothing().post(&*lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NOTICE_BYTES, Notice, Readable, SegmentId};

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        let some = Some(Readable { segment: SegmentId(7), end: 4096 });
        for readable in [None, some] {
            let notice =
                Notice { pid: Some(u32::MAX), life: u64::MAX - 1, readable, is_torn: false };
            let bytes = notice.encode();
            assert_eq!(bytes.len(), NOTICE_BYTES);
            assert_eq!(Notice::decode(&bytes), notice);
        }
    }

    #[test]
    fn half_a_notice_says_nothing_of_how_far_to_read() {
        let notice = |end| {
            let readable = Some(Readable { segment: SegmentId(1), end });
            Notice { pid: Some(123), life: 7, readable, is_torn: false }.encode()
        };
        let (old, new) = (notice(1000), notice(2000));
        for cut in 0..NOTICE_BYTES {
            let half = [&new[..cut], &old[cut..]].concat();
            let notice = Notice::decode(&half);
            let found = notice.readable.map(|readable| readable.end);
            assert_eq!(notice.is_torn, found.is_none(), "cut at {cut}");
            assert!(found.is_none() || half == old || half == new, "cut at {cut}: {found:?}");
            assert_eq!(Notice::decode(&new[..cut]).readable, None);
        }
        assert_eq!(Notice::decode(b"123\n"), Notice { pid: Some(123), ..Notice::default() });
        let torn = Notice { is_torn: true, ..Notice::default() };
        assert_eq!(Notice::decode(&[0; NOTICE_BYTES]), torn);
    }
}
