//! Faults of the simulated disk: which call fails, and how. Counting is all that happens here;
//! what a failed call leaves behind is the disk's business.

use std::io;
use std::sync::Arc;

use super::state::NodeId;

/// The kinds of calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Opening a file that exists.
    Open,
    /// Reading from a file.
    Read,
    /// Listing a directory.
    List,
    /// Making a file.
    Create,
    /// Making a directory.
    CreateDir,
    /// Writing to a file.
    Write,
    /// Setting the length of a file.
    SetLen,
    /// Reserving space for a file.
    Allocate,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Renaming a file.
    Rename,
    /// Giving a file a second name.
    Link,
    /// Removing a file.
    Remove,
}

impl CallKind {
    const COUNT: usize = 13;

    fn mutates(self) -> bool {
        !matches!(self, CallKind::Open | CallKind::Read | CallKind::List)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The medium fails. A sync that fails like this loses what it was to write.
    Eio,
    /// No space. A sync that fails like this loses what it was to write.
    Enospc,
    /// Interrupted by a signal; nothing was done.
    Eintr,
    /// Too many open files; nothing was done.
    Emfile,
    /// Half of the bytes are read or written. Other calls than these succeed.
    Short,
}

impl Failure {
    /// The error that the operating system would answer with.
    pub fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Failure::Eio | Failure::Short => libc::EIO,
            Failure::Enospc => libc::ENOSPC,
            Failure::Eintr => libc::EINTR,
            Failure::Emfile => libc::EMFILE,
        })
    }
}

/// A call that is to fail.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The kind of call; `None` is any call that changes something.
    pub kind: Option<CallKind>,
    /// How many such calls go well first.
    pub after: u64,
    /// How it fails.
    pub failure: Failure,
    /// Whether all such calls after it fail too.
    pub forever: bool,
}

impl Fault {
    fn concerns(&self, kind: CallKind) -> bool {
        self.kind.map_or(kind.mutates(), |wanted| wanted == kind)
    }
}

/// What a read of bad bytes gives.
#[derive(Debug, Clone)]
pub enum ReadFault {
    /// An error, for so many bytes.
    Error(usize),
    /// One byte with this bit flipped.
    Flip(u8),
    /// Other bytes: those that stood there before (a stale block), or those of another place (a
    /// misplaced block).
    Instead(Arc<[u8]>),
}

#[derive(Debug)]
struct BadBytes {
    file: NodeId,
    offset: usize,
    fault: ReadFault,
}

/// The faults that are set, and the calls that were made.
#[derive(Debug, Default)]
pub struct Faults {
    set: Vec<(Fault, u64)>,
    bad: Vec<BadBytes>,
    counts: [u64; CallKind::COUNT],
}

impl Faults {
    /// Sets a fault; its count starts now.
    pub fn set(&mut self, fault: Fault) {
        self.set.push((fault, 0));
    }

    /// Makes bytes of a file bad for reading.
    pub fn set_bad_bytes(&mut self, file: NodeId, offset: usize, fault: ReadFault) {
        self.bad.push(BadBytes { file, offset, fault });
    }

    /// Takes all faults away.
    pub fn clear(&mut self) {
        self.set.clear();
        self.bad.clear();
    }

    /// The number of calls of this kind so far, failed ones included; `None`: all that change
    /// something.
    pub fn count(&self, kind: Option<CallKind>) -> u64 {
        let counted = Fault { kind, after: 0, failure: Failure::Eio, forever: false };
        let kinds = [
            CallKind::Open,
            CallKind::Read,
            CallKind::List,
            CallKind::Create,
            CallKind::CreateDir,
            CallKind::Write,
            CallKind::SetLen,
            CallKind::Allocate,
            CallKind::Sync,
            CallKind::SyncDir,
            CallKind::Rename,
            CallKind::Link,
            CallKind::Remove,
        ];
        let counts = kinds.iter().zip(&self.counts);
        counts.filter(|(kind, _)| counted.concerns(**kind)).map(|(_, count)| count).sum()
    }

    /// Counts a call. Answers with the way in which it is to fail.
    pub fn next(&mut self, kind: CallKind) -> Option<Failure> {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
        let mut failure = None;
        for (fault, seen) in &mut self.set {
            if fault.concerns(kind) {
                if *seen == fault.after || (fault.forever && *seen > fault.after) {
                    failure = failure.or(Some(fault.failure));
                }
                *seen += 1;
            }
        }
        failure
    }

    /// Spoils what was read from a file at an offset.
    pub fn spoil(&self, file: NodeId, offset: usize, buffer: &mut [u8]) -> io::Result<()> {
        for bad in self.bad.iter().filter(|bad| bad.file == file) {
            let len = match &bad.fault {
                ReadFault::Error(len) => *len,
                ReadFault::Flip(_) => 1,
                ReadFault::Instead(bytes) => bytes.len(),
            };
            let end = (bad.offset + len).min(offset + buffer.len());
            for position in bad.offset.max(offset)..end {
                let Some(byte) = buffer.get_mut(position - offset) else {
                    continue;
                };
                match &bad.fault {
                    ReadFault::Error(_) => return Err(Failure::Eio.error()),
                    ReadFault::Flip(bit) => *byte ^= 1 << bit,
                    ReadFault::Instead(bytes) => {
                        *byte = bytes.get(position - bad.offset).copied().unwrap_or(*byte);
                    }
                }
            }
        }
        Ok(())
    }
}
