//! strace: which system calls a process makes, and faults at one of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use super::proof::Checked;

/// A kind of system call, and the errors with which it is answered.
pub struct Kind {
    pub name: &'static str,
    pub errors: &'static [&'static str],
}

const fn kind(name: &'static str, errors: &'static [&'static str]) -> Kind {
    Kind { name, errors }
}

/// All that have to do with files, memory or threads.
pub const KINDS: [Kind; 21] = [
    kind("openat", &["EIO", "ENOSPC", "EMFILE", "EINTR"]),
    kind("pwrite64", &["EIO", "ENOSPC", "EINTR"]),
    kind("write", &["EIO", "ENOSPC", "EINTR"]),
    kind("fdatasync", &["EIO", "ENOSPC", "EINTR"]),
    kind("fsync", &["EIO", "ENOSPC", "EINTR"]),
    kind("ftruncate", &["EIO", "ENOSPC", "EINTR"]),
    kind("fallocate", &["EIO", "ENOSPC", "EINTR", "EOPNOTSUPP"]),
    kind("rename", &["EIO", "ENOSPC"]),
    kind("unlink", &["EIO"]),
    kind("linkat", &["EIO", "ENOSPC"]),
    kind("mkdir", &["EIO", "ENOSPC"]),
    kind("mmap", &["ENOMEM"]),
    kind("munmap", &[]),
    // With EIO the standard library panics, where it is a directory that is closed.
    kind("close", &["EINTR"]),
    kind("flock", &["EIO", "EINTR"]),
    kind("read", &["EIO", "EINTR"]),
    kind("pread64", &["EIO", "EINTR"]),
    kind("statx", &["EIO"]),
    kind("getdents64", &["EIO"]),
    kind("fcntl", &["EIO"]),
    kind("clone3", &["EAGAIN"]),
];

/// Those of a server with its clients.
pub const NETWORK_KINDS: [Kind; 5] = [
    kind("accept4", &["EMFILE", "ECONNABORTED"]),
    kind("recvfrom", &["ECONNRESET"]),
    kind("sendto", &["EPIPE"]),
    kind("epoll_ctl", &[]),
    kind("epoll_wait", &[]),
];

/// Why there can be no tracing here, if there cannot.
pub fn missing() -> Option<String> {
    let tried = Command::new("strace").args(["-D", "-qq", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("strace: {error}")),
    }
}

/// How often a process makes calls of a kind.
#[derive(Clone, Copy, Default)]
pub struct Count {
    /// The most of one thread, as strace counts by thread.
    pub most: u64,
    /// While it is loaded: before it looks at its directory.
    pub loading: u64,
}

/// Counts the calls of a process that is started, once, behind the words that it is given.
pub fn count(
    kinds: &[&Kind],
    place: &Path,
    run: impl FnOnce(&[String]) -> Checked<()>,
) -> Checked<BTreeMap<&'static str, Count>> {
    let trace = NamedTempFile::new().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let traced = format!("trace={}", names.join(","));
    let path = trace.path().to_str().unwrap();
    run(&["strace", "-D", "-f", "-qq", "-o", path, "-e", &traced].map(str::to_owned))?;
    Ok(tally(kinds, place, &fs::read_to_string(path).unwrap()))
}

fn tally(kinds: &[&Kind], place: &Path, trace: &str) -> BTreeMap<&'static str, Count> {
    let place = place.to_str().unwrap();
    let mut of_threads: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    let mut counts: BTreeMap<&'static str, Count> = BTreeMap::new();
    let mut is_loading = true;
    for line in trace.lines() {
        is_loading &= !line.contains(place);
        let mut words = line.split_whitespace();
        let thread = words.next().unwrap_or_default();
        let call = words.next().and_then(|word| word.split_once('(')).map(|(name, _)| name);
        if let Some(kind) = kinds.iter().find(|kind| Some(kind.name) == call) {
            let number = of_threads.entry((thread, kind.name)).or_default();
            *number += 1;
            let count = counts.entry(kind.name).or_default();
            count.most = count.most.max(*number);
            count.loading += u64::from(is_loading);
        }
    }
    counts
}

/// A fault that the n-th call of a kind is to get: `signal=SIGKILL` or `error=EIO`.
pub struct Injection {
    /// The words before a command. The process that is started is the command, and strace one
    /// beside it.
    pub words: Vec<String>,
    trace: NamedTempFile,
}

impl Injection {
    pub fn new(kind: &str, fault: &str, number: u64) -> Injection {
        let trace = NamedTempFile::new().unwrap();
        let path = trace.path().to_str().unwrap();
        let inject = format!("inject={kind}:{fault}:when={number}");
        let words = ["strace", "-D", "-f", "-qq", "-o", path, "-e", "signal=none", "-e"];
        let mut words = words.map(str::to_owned).to_vec();
        words.extend([format!("trace={kind}"), "-e".to_owned(), inject]);
        Injection { words, trace }
    }

    /// Whether an error was given. The call may be in another thread this time, or not come.
    pub fn has_come(&self) -> bool {
        fs::read_to_string(self.trace.path()).unwrap().contains("(INJECTED)")
    }
}
