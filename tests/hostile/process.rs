//! What a process takes, and what this one may.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Has the allocator of a server keep little of what is free, however many processors there are.
pub const KEEPING_LITTLE: [(&str, &str); 2] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// The memory of a process that no file stands behind, in bytes.
pub fn anonymous_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kib << 10
}

/// Lets this process, and those that it starts, have as many descriptors as it may let them have;
/// how many these are.
pub fn raise_descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap())
}

/// A size: the first one, or with a time budget the second.
pub fn size(quick: usize, long: usize) -> usize {
    match std::env::var_os("KVS_PROOF_SECONDS") {
        None => quick,
        Some(_) => long,
    }
}

/// Waits until something holds of which nobody tells.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
