//! The machine under a directory: its file system, its limits, and who has the directory's lock.
//!
//! It only looks. What cannot be found out, or not on this platform, is none.

use std::fs::File;
use std::fs::TryLockError;
use std::io::{self, Read};
use std::path::Path;

use super::notice::Notice;

/// The kind of a file system, as far as it matters to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// On a disk of this machine, by a name that people know.
    Local(&'static str),
    /// On another machine: syncs and locks may promise less than they say.
    Network(&'static str),
    /// In memory: gone with the machine.
    Memory(&'static str),
    /// The layers of a container: gone with the container.
    Overlay,
    /// In a process: as good as that process.
    Fuse,
    /// One that is not known here, by its number.
    Other(u32),
}

/// What the machine gives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Machine {
    pub(crate) file_system: Option<FileSystem>,
    /// What this user may still write there, in bytes.
    pub(crate) free_bytes: Option<u64>,
    /// How many files a process may have open.
    pub(crate) descriptors: Option<u64>,
    /// How many mappings a process may have.
    pub(crate) mappings: Option<u64>,
}

impl Machine {
    /// What this machine gives to a process that works in a directory.
    pub(crate) fn under(directory: &Path) -> Machine {
        let (file_system, free_bytes) = file_system(directory).unzip();
        let file_system = file_system.map(kind);
        Machine { file_system, free_bytes, descriptors: descriptors(), mappings: mappings() }
    }
}

/// Who has the lock of a directory.
pub(crate) enum Holder {
    /// Nobody. Nobody can take it while this lives; none: there is no lock yet, or no way to see.
    Nobody {
        /// Holds the lock, shared with others who look.
        _guard: Option<File>,
    },
    /// A process; its id, as it has noted it.
    Process(Option<u32>),
}

/// Looks who has the lock, and leaves the file as it is.
pub(crate) fn holder_of(lock: &Path) -> io::Result<Holder> {
    let mut file = match File::open(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Holder::Nobody { _guard: None });
        }
        opened => opened?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Holder::Nobody { _guard: Some(file) }),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            let mut notice = Vec::new();
            let read = file.by_ref().take(64).read_to_end(&mut notice);
            Ok(Holder::Process(read.ok().and_then(|_| Notice::decode(&notice).pid)))
        }
    }
}

/// By the numbers of `statfs(2)`.
fn kind(number: u32) -> FileSystem {
    match number {
        0xef53 => FileSystem::Local("ext"),
        0x5846_5342 => FileSystem::Local("XFS"),
        0x9123_683e => FileSystem::Local("Btrfs"),
        0xf2f5_2010 => FileSystem::Local("F2FS"),
        0x2fc1_2fc1 => FileSystem::Local("ZFS"),
        0xca45_1a4e => FileSystem::Local("bcachefs"),
        0x6969 => FileSystem::Network("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => FileSystem::Network("SMB"),
        0x0102_1997 => FileSystem::Network("9P"),
        0x00c3_6400 => FileSystem::Network("Ceph"),
        0x0102_1994 => FileSystem::Memory("tmpfs"),
        0x8584_58f6 => FileSystem::Memory("ramfs"),
        0x794c_7630 => FileSystem::Overlay,
        0x6573_5546 => FileSystem::Fuse,
        other => FileSystem::Other(other),
    }
}

/// The number of a directory's file system, and its free bytes.
#[cfg(target_os = "linux")]
fn file_system(directory: &Path) -> Option<(u32, u64)> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(directory.as_os_str().as_bytes()).ok()?;
    // SAFETY: it consists of numbers, for which zeros are values.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and the struct is there to be filled in.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } != 0 {
        return None;
    }
    let number = u32::try_from(found.f_type & 0xffff_ffff).ok()?;
    let block_bytes = u64::try_from(found.f_bsize).ok()?;
    Some((number, found.f_bavail.saturating_mul(block_bytes)))
}

#[cfg(not(target_os = "linux"))]
fn file_system(_directory: &Path) -> Option<(u32, u64)> {
    None
}

fn descriptors() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is there to be filled in.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (failed == 0).then_some(limit.rlim_cur)
}

/// Only Linux has this file.
fn mappings() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Holder, Machine, holder_of};

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_limits() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::under(dir.path());
        assert!(machine.file_system.is_some() && machine.free_bytes.is_some(), "{machine:?}");
        assert!(machine.descriptors.unwrap() > 2 && machine.mappings.unwrap() > 2, "{machine:?}");
        let nowhere = Machine::under(&dir.path().join("none"));
        assert!(nowhere.file_system.is_none() && nowhere.free_bytes.is_none(), "{nowhere:?}");
    }

    #[test]
    fn who_holds_a_lock_is_seen_and_the_lock_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        assert!(matches!(holder_of(&path).unwrap(), Holder::Nobody { _guard: None }));
        assert!(!path.exists());
        let store = crate::Store::open(dir.path()).unwrap();
        let own = std::process::id();
        let Holder::Process(Some(id)) = holder_of(&path).unwrap() else { panic!("not seen") };
        assert_eq!(id, own);
        store.close().unwrap();
        std::fs::write(&path, "1\n").unwrap();
        let first = holder_of(&path).unwrap();
        let second = holder_of(&path).unwrap();
        assert!([first, second].iter().all(|it| matches!(it, Holder::Nobody { _guard: Some(_) })));
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n");
    }
}
