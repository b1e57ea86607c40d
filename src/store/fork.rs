//! Tells a forked child from the process that opened the store.
//!
//! A child shares the files but not the index: a write from it would destroy the log. One page is
//! marked to come out as zeros in a child, so the question costs one load.

use std::sync::OnceLock;

/// Whether this process was forked from one that had called this before.
#[inline]
pub(crate) fn is_child() -> bool {
    static MARK: OnceLock<Mark> = OnceLock::new();
    MARK.get_or_init(Mark::new).is_wiped()
}

/// The address of a word that is 1, and 0 in a child.
struct Mark(usize);

impl Mark {
    #[cfg(target_os = "linux")]
    fn new() -> Mark {
        // SAFETY: a new anonymous page, kept for the life of the process; madvise and the write
        // stay within it.
        unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
            if page == libc::MAP_FAILED || libc::madvise(page, 4096, libc::MADV_WIPEONFORK) != 0 {
                return Mark(0);
            }
            page.cast::<u64>().write_volatile(1);
            Mark(page.expose_provenance())
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> Mark {
        Mark(0)
    }

    #[inline]
    fn is_wiped(&self) -> bool {
        if self.0 == 0 {
            return false;
        }
        // SAFETY: the page is never unmapped.
        unsafe { std::ptr::with_exposed_provenance::<u64>(self.0).read_volatile() == 0 }
    }
}
