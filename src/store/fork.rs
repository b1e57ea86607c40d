//! Tells a forked child from the process that opened the store.
//!
//! A child shares the files but not the index: a write from it would destroy the log. One page is
//! marked with the id of the process and comes out as zeros in a child, so the question costs one
//! load. A child may open stores of its own: it puts its own mark there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The process that opened a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner(u64);

impl Owner {
    /// This process.
    pub(crate) fn new() -> Owner {
        let mark = Mark::get();
        if mark.read() == 0 {
            mark.write(u64::from(std::process::id()));
        }
        Owner(mark.read())
    }

    /// Whether this is another process, forked from that one.
    #[inline]
    pub(crate) fn is_gone(self) -> bool {
        Mark::get().read() != self.0
    }
}

/// The address of a word that is zero in a child.
struct Mark(usize);

impl Mark {
    #[inline]
    fn get() -> &'static Mark {
        static MARK: OnceLock<Mark> = OnceLock::new();
        MARK.get_or_init(Mark::new)
    }

    #[cfg(target_os = "linux")]
    fn new() -> Mark {
        // SAFETY: a new anonymous page, kept for the life of the process; madvise stays within it.
        unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
            if page == libc::MAP_FAILED || libc::madvise(page, 4096, libc::MADV_WIPEONFORK) != 0 {
                return Mark(0);
            }
            Mark(page.expose_provenance())
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> Mark {
        Mark(0)
    }

    #[inline]
    fn read(&self) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        // SAFETY: the page is never unmapped, and the word is written by atomic stores only.
        unsafe { (*std::ptr::with_exposed_provenance::<AtomicU64>(self.0)).load(Ordering::Relaxed) }
    }

    fn write(&self, id: u64) {
        if self.0 != 0 {
            // SAFETY: as in `read`.
            let word = unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(self.0) };
            word.store(id, Ordering::Relaxed);
        }
    }
}
