//! File systems that are made and mounted for a test.

use std::fs::{self, File};
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::{TempDir, tempdir};

/// How much room there is on a small disk.
pub const DISK_BYTES: u64 = 8 << 20;
/// No XFS is smaller.
const XFS_BYTES: u64 = 300 << 20;

/// Held by each test that mounts: a program that another test starts keeps a mount busy.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a program; its words if it fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a test says when it cannot run here. What it prints is shown only if it fails; this is not
/// printed by it.
pub fn or_skip<T>(test: &str, made: Result<T, String>) -> Option<T> {
    made.map_err(|why| {
        stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
    })
    .ok()
}

/// A file system on a disk.
#[derive(Debug, Clone, Copy)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    /// Makes one in a file of no more bytes than it needs. They are holes until they are written.
    pub fn make(self, image: &Path) -> Result<(), String> {
        let (bytes, program, arguments) = match self {
            FileSystem::Ext4 => (DISK_BYTES, "mkfs.ext4", &["-q", "-F", "-b", "4096"][..]),
            FileSystem::Xfs => (XFS_BYTES, "mkfs.xfs", &["-q", "-f"][..]),
        };
        File::create(image).and_then(|file| file.set_len(bytes)).unwrap();
        run(program, &[arguments, &[text(image)]].concat()).map(|_| ())
    }
}

/// A mounted file system, taken away with the value.
pub struct Mount {
    pub place: PathBuf,
    _dir: TempDir,
}

impl Mount {
    /// Mounts with these arguments, which are made from a directory for an image.
    pub fn new(
        arguments: impl FnOnce(&Path) -> Result<Vec<String>, String>,
    ) -> Result<Mount, String> {
        let dir = tempdir().unwrap();
        let place = dir.path().join("mount");
        fs::create_dir(&place).unwrap();
        let mut arguments = arguments(dir.path())?;
        arguments.push(text(&place).to_owned());
        run("mount", &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Mount { place, _dir: dir })
    }

    pub fn tmpfs(bytes: u64) -> Result<Mount, String> {
        let size = format!("size={bytes}");
        Mount::new(|_| Ok(["-t", "tmpfs", "-o", &size, "tmpfs"].map(str::to_owned).to_vec()))
    }

    pub fn image(image: &Path) -> Result<Mount, String> {
        Mount::new(|_| Ok(["-o", "loop", text(image)].map(str::to_owned).to_vec()))
    }

    /// One that has about as much room as a small disk.
    pub fn small(file_system: FileSystem) -> Result<Mount, String> {
        let mount = Mount::new(|dir| {
            let image = dir.join("image");
            file_system.make(&image)?;
            Ok(["-o", "loop", text(&image)].map(str::to_owned).to_vec())
        })?;
        let room = mount.free_bytes();
        if room > DISK_BYTES {
            let filler = File::create(mount.place.join("filler")).unwrap();
            fallocate(&filler, FallocateFlags::empty(), 0, room - DISK_BYTES)
                .map_err(|error| format!("fill all but {DISK_BYTES} bytes: {error}"))?;
        }
        Ok(mount)
    }

    fn free_bytes(&self) -> u64 {
        let facts = statvfs(&self.place).unwrap();
        facts.f_bavail * facts.f_frsize
    }

    /// Unmounts, and waits until that is done.
    pub fn unmount(self) -> Result<(), String> {
        run("umount", &[text(&self.place)]).map(|_| ())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It may be unmounted already.
        let _ = run("umount", &["--lazy", text(&self.place)]);
    }
}
