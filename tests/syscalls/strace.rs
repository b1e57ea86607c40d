//! strace: which system calls a command makes, and faults at one of them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::proof::Checked;
use super::scene::{Ended, Scene};

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

/// Why there can be no tracing here, if there cannot.
pub fn missing() -> Option<String> {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("strace: {error}")),
    }
}

/// How often a command makes calls of a kind.
#[derive(Clone, Copy, Default)]
pub struct Count {
    /// The most of one thread, as strace counts by thread.
    pub most: u64,
    /// While it is loaded: before it looks at its directory.
    pub loading: u64,
}

pub fn count(scene: &Scene) -> Checked<BTreeMap<&'static str, Count>> {
    let dir = scene.stage();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let path = trace.path().to_str().unwrap().to_owned();
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let traced = format!("trace={}", names.join(","));
    let words = ["strace", "-f", "-qq", "-o", &path, "-e", &traced].map(str::to_owned);
    let ended = scene.run(dir.path(), &words);
    if !matches!(ended, Ended::Done) {
        return Err(format!("{} under strace: {ended:?}", scene.name));
    }
    let place = dir.path().to_str().unwrap();
    let mut of_threads: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    let mut counts: BTreeMap<&'static str, Count> = BTreeMap::new();
    let mut is_loading = true;
    let text = fs::read_to_string(&path).unwrap();
    for line in text.lines() {
        is_loading &= !line.contains(place);
        let mut words = line.split_whitespace();
        let thread = words.next().unwrap_or_default();
        let call = words.next().and_then(|word| word.split_once('(')).map(|(name, _)| name);
        if let Some(kind) = KINDS.iter().find(|kind| Some(kind.name) == call) {
            let number = of_threads.entry((thread, kind.name)).or_default();
            *number += 1;
            let count = counts.entry(kind.name).or_default();
            count.most = count.most.max(*number);
            count.loading += u64::from(is_loading);
        }
    }
    Ok(counts)
}

/// The words before a command that give the n-th call of a kind this fault: `signal=SIGKILL` or
/// `error=EIO`.
pub fn injecting(kind: &str, fault: &str, number: u64) -> Vec<String> {
    let inject = format!("inject={kind}:{fault}:when={number}");
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e"];
    let mut words = words.map(str::to_owned).to_vec();
    words.extend([format!("trace={kind}"), "-e".to_owned(), inject]);
    words
}
