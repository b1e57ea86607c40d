//! Read-only mappings of files, and the guard that turns a SIGBUS under one into bad bytes.
//!
//! An I/O error, or a file that was cut behind our back, reaches a mapped read as a SIGBUS. The
//! guard's handler puts a page of zeros under the fault and counts it; the checksum of the record
//! then fails, and the reader asks the file itself. Faults outside our mappings go to whatever
//! handler was there before.
//!
//! Bytes of a mapping may be replaced by zeros at any moment; a reader that must not see that
//! compares `Map::moment` before and after.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, Once, OnceLock};

use super::sync::lock;

/// A read-only, shared mapping of the start of a file. It may reach beyond the end of the file;
/// those bytes must not be touched before the file has grown over them.
pub struct Map {
    start: usize,
    len: usize,
    file: Arc<File>,
    /// The place in the guard's table.
    guard: Option<usize>,
    /// How many renewals have begun, and how many have ended.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// What had been replaced in a mapping at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Pages of zeros put in the place of pages of the file.
    faults: u64,
    /// Renewals, in which pages of the file are put back: begun and ended.
    begun: u64,
    ended: u64,
}

impl Moment {
    /// Whether every page that became zeros since the moment `earlier` is zeros still: then bytes
    /// that are right now were right all the time.
    pub(crate) fn has_kept_faults_since(self, earlier: Moment) -> bool {
        earlier.begun == earlier.ended && self.begun == earlier.begun
    }
}

impl Map {
    /// Maps the first `len` bytes of `file`.
    pub(crate) fn new(file: Arc<File>, len: usize, guarded: bool) -> io::Result<Map> {
        // SAFETY: a new mapping at an address that the kernel chooses aliases nothing.
        let start = unsafe {
            let flags = libc::MAP_SHARED;
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, flags, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = start.expose_provenance();
        let guard = guarded.then(|| guard::watch(start, len));
        Ok(Map { start, len, file, guard, begun: AtomicU64::new(0), ended: AtomicU64::new(0) })
    }

    /// The bytes from `offset` to `end`, which must lie within the file.
    #[inline]
    pub(crate) fn get(&self, offset: usize, end: usize) -> Option<&[u8]> {
        if offset > end || end > self.len {
            return None;
        }
        let start = std::ptr::with_exposed_provenance::<u8>(self.start + offset);
        // SAFETY: the range lies within the mapping, which lives as long as `self`; below the
        // published end of a segment nothing is written any more.
        Some(unsafe { std::slice::from_raw_parts(start, end - offset) })
    }

    /// What was replaced by now. A reader whose bytes were zeros of the guard at any time between
    /// two moments finds them to differ.
    #[inline]
    pub(crate) fn moment(&self) -> Moment {
        // What was read before is read before the counts are. An acquiring load alone would keep
        // only what comes after it in its place.
        fence(Ordering::Acquire);
        let faults = self.guard.map_or(0, guard::faults);
        let [ended, begun] = [&self.ended, &self.begun].map(|count| count.load(Ordering::Acquire));
        let moment = Moment { faults, begun, ended };
        // And what is read after it stays after it.
        fence(Ordering::Acquire);
        moment
    }

    /// Maps the file anew at the same place, so that pages that the guard replaced are asked for
    /// again.
    pub(crate) fn renew(&self) -> io::Result<()> {
        // Counted first, as faults are: who sees a page of the file again finds it counted.
        self.begun.fetch_add(1, Ordering::SeqCst);
        // SAFETY: MAP_FIXED replaces exactly our own mapping, atomically, by one of the same
        // file, length and protection.
        let start = unsafe {
            let at = std::ptr::with_exposed_provenance_mut(self.start);
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            libc::mmap(at, self.len, libc::PROT_READ, flags, self.file.as_raw_fd(), 0)
        };
        let renewed = match start {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(()),
        };
        self.ended.fetch_add(1, Ordering::SeqCst);
        renewed
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if let Some(guard) = self.guard {
            guard::forget(guard);
        }
        // SAFETY: the mapping is ours, and no slice of it outlives `self`.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(self.start), self.len) };
    }
}

/// Asks the processor to fetch what lies at an address; any address will do.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

impl Map {
    /// The address of an offset, to be prefetched.
    #[inline]
    pub(crate) fn address(&self, offset: usize) -> *const u8 {
        std::ptr::without_provenance(self.start.wrapping_add(offset))
    }
}

mod guard {
    use super::{AtomicU64, AtomicUsize, Mutex, Once, OnceLock, Ordering, lock};

    /// The ranges to watch. A table of fixed size, because a signal handler can take no lock and
    /// follow no pointer that may be freed. One place for each segment number, and some.
    static RANGES: [Range; 1 << 17] = [const { Range::new() }; 1 << 17];
    /// Places that are free again, and the first that was never used.
    static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));
    static USED: AtomicUsize = AtomicUsize::new(0);
    static PAGE: AtomicUsize = AtomicUsize::new(4096);
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

    struct Range {
        start: AtomicUsize,
        end: AtomicUsize,
        /// Only ever grows, whoever has the place.
        faults: AtomicU64,
    }

    impl Range {
        const fn new() -> Range {
            let faults = AtomicU64::new(0);
            Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0), faults }
        }

        fn contains(&self, address: usize) -> bool {
            let end = self.end.load(Ordering::Acquire);
            address < end && address >= self.start.load(Ordering::Acquire)
        }
    }

    /// How many faults were mended in the range at a place of the table.
    #[inline]
    pub(super) fn faults(place: usize) -> u64 {
        RANGES.get(place).map_or(0, |range| range.faults.load(Ordering::Acquire))
    }

    /// Watches a range of addresses, and gives its place in the table.
    pub(super) fn watch(start: usize, len: usize) -> usize {
        install();
        let mut free = lock(&FREE);
        let place = free.0.pop().unwrap_or_else(|| {
            free.1 += 1;
            free.1 - 1
        });
        if let Some(range) = RANGES.get(place) {
            range.start.store(start, Ordering::Release);
            range.end.store(start + len, Ordering::Release);
            USED.fetch_max(place + 1, Ordering::SeqCst);
        }
        place
    }

    pub(super) fn forget(place: usize) {
        if let Some(range) = RANGES.get(place) {
            range.end.store(0, Ordering::Release);
            lock(&FREE).0.push(place);
        }
    }

    fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: sysconf and sigaction get valid arguments; the handler does only what a
            // signal handler may.
            unsafe {
                let page = libc::sysconf(libc::_SC_PAGESIZE);
                PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::SeqCst);
                let mut action: libc::sigaction = std::mem::zeroed();
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    on_sigbus;
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
                let mut previous: libc::sigaction = std::mem::zeroed();
                libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous);
                // Kept before ours is installed: the handler may run at once.
                let _ = PREVIOUS.set(previous);
                libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
            }
        });
    }

    extern "C" fn on_sigbus(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel hands a valid siginfo to an SA_SIGINFO handler.
        let address = unsafe { (*info).si_addr() } as usize;
        let used = USED.load(Ordering::SeqCst);
        let ours = RANGES.iter().take(used).find(|range| range.contains(address));
        if !ours.is_some_and(|range| put_zeros_under(address, range)) {
            pass_on(signal, info, context);
        }
    }

    fn put_zeros_under(address: usize, range: &Range) -> bool {
        // Counted before there is anything to see: another thread may read the zeros at once.
        range.faults.fetch_add(1, Ordering::SeqCst);
        let page = PAGE.load(Ordering::Relaxed);
        // SAFETY: the page lies within a mapping of ours; replacing it is what the guard is for.
        let placed = unsafe {
            let at = std::ptr::with_exposed_provenance_mut(address & !(page - 1));
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(at, page, libc::PROT_READ, flags, -1, 0)
        };
        placed != libc::MAP_FAILED
    }

    /// Does with a fault that is not ours what would have been done without us.
    fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let Some(previous) = PREVIOUS.get() else {
            return;
        };
        let handler = previous.sa_sigaction;
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            // SAFETY: back to the default; the fault comes again and ends the process.
            unsafe {
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
        } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: it was installed as a handler of this type.
            unsafe { std::mem::transmute::<usize, Handler>(handler)(signal, info, context) }
        } else {
            // SAFETY: it was installed as a handler of this type.
            unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::Map;

    const PAGE: usize = 4096;

    /// A file of ones, and its mapping.
    fn filled(pages: usize) -> (Arc<File>, Map) {
        let file = Arc::new(tempfile::tempfile().unwrap());
        fill(&file, pages);
        let map = Map::new(Arc::clone(&file), pages * PAGE, true).unwrap();
        (file, map)
    }

    fn fill(file: &File, pages: usize) {
        file.write_all_at(&vec![1; pages * PAGE], 0).unwrap();
    }

    fn first_of(map: &Map, page: usize) -> u8 {
        let byte = map.get(page * PAGE, page * PAGE + 1).unwrap();
        // SAFETY: it lies within the mapping.
        unsafe { std::ptr::read_volatile(byte.as_ptr()) }
    }

    #[test]
    fn a_fault_is_counted_for_its_mapping_alone_and_renewal_brings_the_file_back() {
        let (file, map) = filled(2);
        let (_other_file, other) = filled(2);
        let (before, before_of_other) = (map.moment(), other.moment());
        file.set_len(PAGE as u64).unwrap();
        assert_eq!((first_of(&map, 0), map.moment()), (1, before));
        assert_eq!(first_of(&map, 1), 0);
        assert_ne!(map.moment(), before);
        assert!(map.moment().has_kept_faults_since(before));
        assert_eq!(other.moment(), before_of_other);

        fill(&file, 2);
        assert_eq!(first_of(&map, 1), 0, "the zeros stay until the mapping is renewed");
        map.renew().unwrap();
        assert_eq!(first_of(&map, 1), 1);
        assert!(!map.moment().has_kept_faults_since(before));
    }

    #[test]
    fn who_reads_a_zero_finds_its_fault_counted() {
        const PAGES: usize = 64;
        for _ in 0..300 {
            let (file, map) = filled(PAGES);
            file.set_len(0).unwrap();
            let before = map.moment().faults;
            let step = Barrier::new(2);
            let read = || {
                (0..PAGES).all(|page| {
                    step.wait();
                    let is_zero = first_of(&map, page) == 0;
                    let faults = map.moment().faults - before;
                    step.wait();
                    // Each page before this one has had a fault at least.
                    !is_zero || faults > page as u64
                })
            };
            let all_counted = thread::scope(|scope| {
                let readers = [scope.spawn(read), scope.spawn(read)];
                readers.map(|reader| reader.join().unwrap())
            });
            assert_eq!(all_counted, [true, true]);
        }
    }
}
