//! What the operating system says: memory, disk use, the machine itself.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::engine::Res;

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    /// The kind of file system that the stores lie on.
    pub file_system: String,
    /// Load average of the last minute when the run began.
    pub load_before: String,
}

impl Machine {
    pub fn look(dir: &Path) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_default();
        let kib: u64 = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Machine {
            cpu,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            file_system: file_system(dir, &read("/proc/mounts")),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or("").into(),
        }
    }
}

/// The value of `name : value` in a file of /proc.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn file_system(dir: &Path, mounts: &str) -> String {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.into());
    let mut best = (0, "unknown");
    for mount in mounts.lines() {
        let mut words = mount.split(' ').skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if dir.starts_with(at) && at.len() >= best.0 {
            best = (at.len(), kind);
        }
    }
    best.1.to_string()
}

/// The anonymous memory of this process in bytes.
pub fn anonymous_bytes() -> Res<u64> {
    anonymous_bytes_of(std::process::id())
}

/// The anonymous memory of a process in bytes.
pub fn anonymous_bytes_of(process: u32) -> Res<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = field(&status, "RssAnon").ok_or("no RssAnon in the status of a process")?;
    let kib: u64 = value.split_whitespace().next().ok_or("an empty RssAnon")?.parse()?;
    Ok(kib * 1024)
}

#[derive(Clone, Copy, Default)]
pub struct DiskUse {
    /// Blocks that the file system has given to all files.
    pub allocated: u64,
    /// Lengths of the files named `*.seg`.
    pub segments: u64,
}

/// The disk use below `dir`. Files may vanish while this looks.
pub fn disk_use(dir: &Path) -> DiskUse {
    let mut sum = DiskUse::default();
    let Ok(entries) = fs::read_dir(dir) else {
        return sum;
    };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let below = disk_use(&entry.path());
            sum.allocated += below.allocated;
            sum.segments += below.segments;
            continue;
        }
        sum.allocated += meta.blocks() * 512;
        if entry.path().extension().is_some_and(|extension| extension == "seg") {
            sum.segments += meta.len();
        }
    }
    sum
}

/// The bytes that are free for us on the file system of `dir`.
pub fn free_bytes(dir: &Path) -> Res<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: an all-zero statvfs is a valid value of plain integers.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero byte and `stat` is ours.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(stat.f_bavail as u64 * stat.f_frsize as u64)
}

/// Writes out what earlier work left in the page cache, so that the next does not pay for it.
pub fn settle() {
    // SAFETY: sync has no arguments and no failure.
    unsafe { libc::sync() };
}

/// The first line that a command prints, if it can be run.
pub fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or("").to_string())
}
