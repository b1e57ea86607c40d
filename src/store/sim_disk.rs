//! `SimDisk`, a disk in memory for tests: deterministic, with crashes, faults and a limit.
//!
//! It can record the calls that change something. A handle is cheap to clone; all clones are the
//! same disk. [`SimDisk::fork`] makes another one.
#![expect(clippy::expect_used, reason = "a test double: a broken rule is to end the test")]

pub mod crash;
pub mod fault;
pub mod state;
pub mod trace;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::crash::CrashPlan;
use self::fault::{CallKind, Failure, Fault, Faults, ReadFault};
use self::state::{Call, NodeId, ROOT, State};
use self::trace::Trace;
use super::disk::{Access, Disk, DiskFile, DiskLock};
use super::map::Map;

/// Files cannot be longer, so that a damaged length cannot ask for all memory.
const FILE_BYTES_MAX: usize = 1 << 30;

/// A simulated disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    state: State,
    faults: Faults,
    locks: BTreeSet<NodeId>,
    capacity: Option<usize>,
    recording: Option<Trace>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::of(State::new())
    }

    /// A disk in this state.
    pub fn of(state: State) -> SimDisk {
        let shared = Shared {
            state,
            faults: Faults::default(),
            locks: BTreeSet::new(),
            capacity: None,
            recording: None,
        };
        SimDisk { shared: Arc::new(Mutex::new(shared)) }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk in the same state, pending changes included; without faults, locks, limit and
    /// recording.
    pub fn fork(&self) -> SimDisk {
        SimDisk::of(self.shared().state.at_rest())
    }

    /// The disk after a crash now.
    pub fn crash(&self, plan: &CrashPlan) -> SimDisk {
        SimDisk::of(plan.apply(&self.shared().state))
    }

    /// The number of changes that are pending.
    pub fn pending(&self) -> usize {
        self.shared().state.at_rest().pending().len()
    }

    /// Equal for two disks between which no test can tell.
    pub fn fingerprint(&self) -> u64 {
        self.shared().state.fingerprint()
    }

    /// Starts a recording.
    pub fn record(&self) {
        let mut shared = self.shared();
        shared.recording = Some(Trace::new(shared.state.at_rest()));
    }

    /// The number of calls that were recorded: the place in the recording to note for anything
    /// that happens now.
    pub fn position(&self) -> usize {
        self.shared().recording.as_ref().map_or(0, Trace::len)
    }

    /// Ends the recording.
    pub fn take_trace(&self) -> Trace {
        self.shared().recording.take().expect("a recording was started")
    }

    /// Makes a call fail.
    pub fn set_fault(&self, fault: Fault) {
        self.shared().faults.set(fault);
    }

    /// Makes bytes of a file bad for reading, whatever its name becomes.
    pub fn set_read_fault(&self, path: &Path, offset: usize, fault: ReadFault) {
        let mut shared = self.shared();
        let file = shared.state.resolve(path).expect("the file exists");
        shared.faults.set_bad_bytes(file, offset, fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared().faults.clear();
    }

    /// The number of calls of a kind so far; `None`: of all that change something.
    pub fn calls(&self, kind: Option<CallKind>) -> u64 {
        self.shared().faults.count(kind)
    }

    /// Limits the bytes that all files together may hold.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.shared().capacity = bytes;
    }

    /// The bytes that all files together hold.
    pub fn used(&self) -> usize {
        self.shared().state.used()
    }

    /// The number of files that are open.
    pub fn open_files(&self) -> usize {
        self.shared().state.open.values().sum()
    }

    /// All files with their bytes, in the order of their paths.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let shared = self.shared();
        let mut found = Vec::new();
        let mut left = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = left.pop() {
            if let Some(file) = shared.state.files.get(&node) {
                found.push((path, file.current.bytes().to_vec()));
            } else if let Some(directory) = shared.state.directories.get(&node) {
                left.extend(directory.current.iter().map(|(name, n)| (path.join(&**name), *n)));
            }
        }
        found.sort();
        found
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let shared = self.shared();
        let file = shared.state.files.get(&shared.state.resolve(path)?)?;
        Some(file.current.bytes().to_vec())
    }

    /// Gives a file these bytes, durable with its name. The directory must exist.
    pub fn set_bytes(&self, path: &Path, bytes: Vec<u8>) {
        let mut shared = self.shared();
        let (directory, name) = shared.parent(path).expect("the directory exists");
        shared.state.place(directory, &name, bytes);
    }

    fn file(&self, node: NodeId, writable: bool) -> SimFile {
        *self.shared().state.open.entry(node).or_default() += 1;
        SimFile { disk: self.clone(), node, writable }
    }
}

impl Shared {
    /// Counts a call and lets it fail if it is to. True: it is to be short.
    fn admit(&mut self, kind: CallKind) -> io::Result<bool> {
        match self.faults.next(kind) {
            None => Ok(false),
            Some(Failure::Short) => Ok(true),
            Some(failure) => Err(failure.error()),
        }
    }

    fn perform(&mut self, call: Call) -> NodeId {
        let node = self.state.apply(&call);
        if let Some(recording) = &mut self.recording {
            recording.push(call);
        }
        node
    }

    fn parent(&self, path: &Path) -> io::Result<(NodeId, Arc<str>)> {
        let parent = path.parent().and_then(|parent| self.state.resolve(parent));
        let name = path.file_name().and_then(|name| name.to_str());
        match (parent, name) {
            (Some(parent), Some(name)) if self.state.directories.contains_key(&parent) => {
                Ok((parent, Arc::from(name)))
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file_at(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.state.resolve(path).ok_or(io::ErrorKind::NotFound)?;
        if self.state.directories.contains_key(&node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(node)
    }

    fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        let (directory, name) = self.parent(path)?;
        if self.state.resolve(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.admit(CallKind::Create)?;
        if self.room() == 0 {
            return Err(Failure::Enospc.error());
        }
        Ok(self.perform(Call::Create { directory, name }))
    }

    fn room(&self) -> usize {
        self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.state.used()))
    }

    /// The end to which a file can grow that is to hold everything up to `end`.
    fn reachable_end(&self, file: NodeId, end: usize) -> usize {
        let allocated = self.state.files.get(&file).map_or(0, |file| file.allocated);
        end.min(allocated.saturating_add(self.room()))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut shared = self.shared();
        let node = if access == Access::Create {
            shared.create(path)?
        } else {
            shared.admit(CallKind::Open)?;
            shared.file_at(path)?
        };
        drop(shared);
        Ok(Arc::new(self.file(node, access != Access::Read)))
    }

    /// In an order that says nothing: that of the names from their ends.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut shared = self.shared();
        shared.admit(CallKind::List)?;
        let node = shared.state.resolve(directory).ok_or(io::ErrorKind::NotFound)?;
        let directory = shared.state.directories.get(&node).ok_or(io::ErrorKind::NotADirectory)?;
        let mut names: Vec<String> = directory.current.keys().map(|name| (**name).into()).collect();
        names.sort_by_cached_key(|name| name.chars().rev().collect::<String>());
        Ok(names)
    }

    /// Makes the directories above it too if they are missing.
    fn create_dir(&self, directory: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = directory.ancestors().collect();
        above.reverse();
        for path in above {
            let mut shared = self.shared();
            match shared.state.resolve(path) {
                Some(node) if shared.state.directories.contains_key(&node) => {}
                Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let (directory, name) = shared.parent(path)?;
                    shared.admit(CallKind::CreateDir)?;
                    shared.perform(Call::CreateDir { directory, name });
                }
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        shared.file_at(from)?;
        let ((directory, from), (other, to)) = (shared.parent(from)?, shared.parent(to)?);
        if directory != other {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        shared.admit(CallKind::Rename)?;
        shared.perform(Call::Rename { directory, from, to });
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        let file = shared.file_at(from)?;
        if shared.state.resolve(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (directory, name) = shared.parent(to)?;
        shared.admit(CallKind::Link)?;
        shared.perform(Call::Link { directory, name, file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        shared.file_at(path)?;
        let (directory, name) = shared.parent(path)?;
        shared.admit(CallKind::Remove)?;
        shared.perform(Call::Remove { directory, name });
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        let directory = shared.state.resolve(directory).ok_or(io::ErrorKind::NotFound)?;
        shared.admit(CallKind::SyncDir)?;
        shared.perform(Call::SyncDir { directory });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut shared = self.shared();
        let node = match shared.state.resolve(path) {
            Some(_) => {
                shared.admit(CallKind::Open)?;
                shared.file_at(path)?
            }
            None => shared.create(path)?,
        };
        if !shared.locks.insert(node) {
            return Ok(None);
        }
        drop(shared);
        Ok(Some(Box::new(SimLock { file: self.file(node, true) })))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let mut shared = self.shared();
        let Some(node) = shared.state.resolve(path) else { return Ok(false) };
        shared.admit(CallKind::Open)?;
        Ok(shared.locks.contains(&node))
    }
}

struct SimFile {
    disk: SimDisk,
    node: NodeId,
    writable: bool,
}

impl SimFile {
    fn writable(&self) -> io::Result<MutexGuard<'_, Shared>> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        Ok(self.disk.shared())
    }

    fn sync(&self) -> io::Result<()> {
        let mut shared = self.disk.shared();
        match shared.faults.next(CallKind::Sync) {
            None | Some(Failure::Short) => {
                shared.perform(Call::Sync { file: self.node });
                Ok(())
            }
            Some(failure) => {
                if matches!(failure, Failure::Eio | Failure::Enospc) {
                    shared.perform(Call::SyncFailed { file: self.node });
                }
                Err(failure.error())
            }
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut shared = self.disk.shared();
        if let Some(count) = shared.state.open.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                shared.state.open.remove(&self.node);
            }
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut shared = self.disk.shared();
        let short = shared.admit(CallKind::Read)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let file = shared.state.files.get(&self.node).expect("open files exist");
        let there = file.current.bytes().get(offset..).unwrap_or_default();
        let most = buffer.len().min(there.len());
        let count = if short { most.div_ceil(2) } else { most };
        let (buffer, there) = (buffer.get_mut(..count), there.get(..count));
        let (Some(buffer), Some(there)) = (buffer, there) else {
            return Ok(0);
        };
        buffer.copy_from_slice(there);
        shared.faults.spoil(self.node, offset, buffer)?;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut shared = self.writable()?;
        let short = shared.admit(CallKind::Write)?;
        let offset = checked(offset)?;
        let count = if short { bytes.len().div_ceil(2) } else { bytes.len() };
        let end = shared.reachable_end(self.node, offset + count);
        let Some(bytes) = bytes.get(..end.saturating_sub(offset)).filter(|b| !b.is_empty()) else {
            return if bytes.is_empty() { Ok(0) } else { Err(Failure::Enospc.error()) };
        };
        shared.perform(Call::Write { file: self.node, offset, bytes: Arc::from(bytes) });
        Ok(bytes.len())
    }

    fn len(&self) -> io::Result<u64> {
        let shared = self.disk.shared();
        let file = shared.state.files.get(&self.node).expect("open files exist");
        Ok(file.current.bytes().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // What ftruncate answers for a file that is open for reading.
        let mut shared = self.writable().map_err(|_| io::ErrorKind::InvalidInput)?;
        shared.admit(CallKind::SetLen)?;
        let len = checked(len)?;
        shared.perform(Call::SetLen { file: self.node, len });
        Ok(())
    }

    /// Where space runs out, the part that could be had stays, as it does on real file systems.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut shared = self.writable()?;
        shared.admit(CallKind::Allocate)?;
        let wanted = checked(offset.saturating_add(len))?;
        let end = shared.reachable_end(self.node, wanted);
        shared.perform(Call::Allocate { file: self.node, end });
        if end < wanted { Err(Failure::Enospc.error()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn map(&self, _len: usize, _guarded: bool) -> io::Result<Option<Map>> {
        Ok(None)
    }
}

/// A length or offset that a file can have.
fn checked(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= FILE_BYTES_MAX)
        .ok_or(io::ErrorKind::FileTooLarge.into())
}

struct SimLock {
    file: SimFile,
}

impl DiskLock for SimLock {
    /// Not recorded: it means nothing without the lock, which no crash leaves.
    fn write(&self, contents: &[u8]) -> io::Result<()> {
        let mut shared = self.file.writable()?;
        shared.admit(CallKind::Write)?;
        if shared.reachable_end(self.file.node, contents.len()) < contents.len() {
            return Err(Failure::Enospc.error());
        }
        shared.state.set_durably(self.file.node, contents.to_vec());
        Ok(())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.file.disk.shared().locks.remove(&self.file.node);
    }
}
