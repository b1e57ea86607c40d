//! The real disk and the real clock: `Disk` and `Clock` on the operating system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::disk::{Access, Disk, DiskFile, DiskLock};
use super::map::Map;

/// The file systems of this machine.
pub(crate) struct RealDisk;

/// The clocks of this machine.
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn wall_ms(&self) -> u64 {
        clock_us(libc::CLOCK_REALTIME) / 1000
    }

    fn steady_ms(&self) -> u64 {
        clock_us(STEADY) / 1000
    }

    fn steady_us(&self) -> u64 {
        clock_us(STEADY)
    }
}

// Of the two that nobody sets, the one that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: libc::clockid_t = libc::CLOCK_BOOTTIME;
#[cfg(not(target_os = "linux"))]
const STEADY: libc::clockid_t = libc::CLOCK_MONOTONIC;

fn clock_us(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it fills in the struct that it is given.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Before 1970 counts as 1970.
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|n| u64::try_from(n).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

struct RealFile {
    file: Arc<File>,
}

struct RealLock {
    file: File,
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::Create => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile { file: Arc::new(above_stderr(options.open(path)?)?) }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        // Each name is durable before anything is put below it.
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir(parent)?;
        }
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            made => made?,
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = above_stderr(options.open(path)?)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock { file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => above_stderr(opened?)?,
        };
        // Shared, and given back at once: who wants to own the directory meanwhile tries again.
        match file.try_lock_shared() {
            Ok(()) => file.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Keeps data files off the descriptors of stdin, stdout and stderr: where those were closed, a
/// stray print would land in the data.
fn above_stderr(file: File) -> io::Result<File> {
    if file.as_raw_fd() > 2 {
        return Ok(file);
    }
    // SAFETY: the descriptor is open, and the new one belongs to nobody else.
    unsafe {
        let raised = libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
        if raised < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(raised))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        match reserve(&self.file, offset, len) {
            // A file system that cannot reserve still gives the length.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let end = offset.saturating_add(len);
                if self.len()? < end { self.set_len(end) } else { Ok(()) }
            }
            result => result,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn map(&self, len: usize, guarded: bool) -> io::Result<Option<Map>> {
        Map::new(Arc::clone(&self.file), len, guarded).map(Some)
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let offset = libc::off_t::try_from(offset).map_err(too_large)?;
    let len = libc::off_t::try_from(len).map_err(too_large)?;
    loop {
        // SAFETY: the descriptor is open; the call takes integers only.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, len) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

impl DiskLock for RealLock {
    fn write(&self, contents: &[u8]) -> io::Result<()> {
        self.file.write_all_at(contents, 0)
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // A child between fork and exec keeps the descriptor: unlocked here, the lock is free.
        let _ = self.file.unlock();
    }
}
