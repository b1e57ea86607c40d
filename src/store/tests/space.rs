//! The bound on disk space, of a store with threads.

use std::sync::atomic::Ordering;
use std::thread;

use crate::options::{Durability, Options};
use crate::store::sync::lock;

const SEGMENT_BYTES: u64 = 64 << 10;

/// As long as compaction makes no room, though it could: what is overwritten many times the bound.
#[test]
fn sets_wait_at_the_bound_until_compaction_has_made_room() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(SEGMENT_BYTES).durability(Durability::Os);
    let store = options.open(dir.path()).unwrap();
    let set = |number: u64| {
        store.set(format!("{:04}", number % 500), [0; 400]).unwrap();
    };
    (0..500).for_each(set);
    let bound = store.stats().live_bytes * 3 / 2 + 2 * SEGMENT_BYTES;
    let core = store.core();
    let compaction = lock(&core.compaction);
    thread::scope(|scope| {
        let writer = scope.spawn(|| (0..20_000).for_each(set));
        while !core.space.is_over.load(Ordering::Acquire) {
            thread::yield_now();
        }
        for _ in 0..10_000 {
            let bytes = store.stats().segment_file_bytes;
            // The file grows by a quarter of a segment.
            assert!(bytes <= bound + SEGMENT_BYTES / 4, "{bytes} bytes, more than {bound}");
            assert!(!writer.is_finished());
        }
        drop(compaction);
    });
    assert!(store.stats().compactions > 0);
}
