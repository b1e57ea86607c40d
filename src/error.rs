//! The one error type: a variant for each decision a caller can take, with the facts as data.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, KvsError>;

/// Everything that can go wrong.
///
/// Errors are cheap to clone: a failed group commit hands the same one to each of its writers.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::{KvsError, Options};
/// let missing = Options::new().must_exist(true).open(dir.path().join("none"));
/// assert!(matches!(missing, Err(KvsError::NotAStore { .. })));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KvsError {
    /// The operating system refused a call on a file or directory.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "open", "read", "write", "sync".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
    /// The file system has no room left. Nothing of this write is in the store; reads, removes
    /// and compaction go on.
    #[error("no space left on the disk that holds {}", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// Another process has this directory open.
    #[error("{} is in use by {}", path.display(), owner(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that has it, where it can be told.
        pid: Option<u32>,
    },
    /// Bytes that were durable are damaged. Nothing was repaired and nothing was skipped. A read
    /// that hands out borrowed bytes also answers this when they went bad while they were used;
    /// what was made of them is thrown away, and the next read asks the file.
    #[error("{} is damaged at offset {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// The id of the segment, where the file is one.
        segment: Option<u64>,
        /// Where the damaged bytes begin, in bytes from the start of the file.
        offset: u64,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The manifest names a segment whose file is gone.
    #[error("segment {segment} is missing: the manifest names {}", path.display())]
    SegmentMissing {
        /// The file that should be there.
        path: PathBuf,
        /// The id of the segment.
        segment: u64,
    },
    /// The directory holds segments, but no manifest that says which of them are alive.
    #[error("{} holds segments but no manifest; `kvs salvage` can recover its records",
        path.display())]
    ManifestMissing {
        /// The directory.
        path: PathBuf,
    },
    /// There is no store here, and one was required.
    #[error("there is no store in {}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// The file was written by a newer version of this library.
    #[error("{} has format version {found}; this version of kvs reads up to {supported}",
        path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The version that it states.
        found: u32,
        /// The newest version that this library reads.
        supported: u32,
    },
    /// The directory belongs to another engine.
    #[error("{} belongs to the engine {found:?}, not to {wanted:?}", path.display())]
    WrongEngine {
        /// The directory.
        path: PathBuf,
        /// The engine named in the file `ENGINE`.
        found: String,
        /// The engine that was asked for.
        wanted: &'static str,
    },
    /// This process has the directory open with other options.
    #[error("{} is already open in this process with another {option}", path.display())]
    OptionsDiffer {
        /// The directory.
        path: PathBuf,
        /// The first option that differs.
        option: &'static str,
    },
    /// The owner of a directory was faster, again and again, than this process that only reads it:
    /// files came and went while they were read. Trying again may help, when less is compacted; the
    /// owner itself is not concerned.
    #[error(
        "{} changed each of the {tries} times that it was read: try again, or ask the process that \
         has it open",
        path.display()
    )]
    Unsettled {
        /// The directory.
        path: PathBuf,
        /// How often it was read.
        tries: usize,
    },
    /// An option has a value that makes no sense.
    #[error("option {option} is {value}, but must be {expected}")]
    InvalidOption {
        /// The name of the option.
        option: &'static str,
        /// The value that was given.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The key is over the limit, [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX).
    #[error("the key has {bytes} bytes; the limit is {limit}")]
    KeyTooLarge {
        /// The length of the key in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is over the limit, [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX).
    #[error("the value has {bytes} bytes; the limit is {limit}")]
    ValueTooLarge {
        /// The length of the value in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The batch is over the limit, [`BATCH_BYTES_MAX`](crate::BATCH_BYTES_MAX).
    #[error("the batch has {bytes} bytes; the limit is {limit}")]
    BatchTooLarge {
        /// What the batch takes at most, in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The store has run out of something that no free disk space can give.
    #[error("the store is full: no {what} is left")]
    StoreFull {
        /// What ran out.
        what: &'static str,
    },
    /// An earlier write to the disk failed in a way that leaves its effect unknown, so nothing
    /// more is acknowledged. Reads go on. Opening the directory again heals it: that closes the
    /// handles that there are.
    #[error("the store takes no more writes until it is opened again: {cause}")]
    Poisoned {
        /// The first failure.
        cause: Arc<KvsError>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// This process was forked from the one that opened the store, and may not write to it.
    #[error("this process was forked from the one that opened the store and may not write to it")]
    Forked,
    /// The key that was to be removed does not exist.
    #[error("Key not found")]
    KeyNotFound,
    /// A write depended on a key that was not as expected. Nothing was written.
    #[error(
        "the key {:?} is not as requirement {requirement} of the batch expects",
        String::from_utf8_lossy(key)
    )]
    PreconditionFailed {
        /// The number of the requirement, in the order in which they were added, from 0.
        requirement: usize,
        /// The key that it is about.
        key: Vec<u8>,
    },
    /// A write was to follow another one, which was refused for what it requires or for an expiry
    /// that cannot be. Nothing was written.
    #[error("the write before this one was refused")]
    Skipped,
    /// A key cannot expire then: not in the past, and not later than
    /// [`EXPIRES_AT_MS_MAX`](crate::EXPIRES_AT_MS_MAX).
    #[error(
        "a key cannot expire at {expires_at_ms} ms: the time is {now_ms} ms, the limit {} ms",
        crate::EXPIRES_AT_MS_MAX
    )]
    InvalidExpiry {
        /// When it was to expire, in milliseconds since 1970-01-01 UTC.
        expires_at_ms: u64,
        /// The time of the store, in the same unit.
        now_ms: u64,
    },
    /// A snapshot pinned more than [`Options::snapshot_bytes`](crate::Options::snapshot_bytes), or
    /// the store was cleared: what the snapshot saw is gone.
    #[error("the snapshot of seq {seq} has ended: it was kept for too long")]
    SnapshotEnded {
        /// The seq of the snapshot.
        seq: u64,
    },
    /// The directory holds something, and was to be empty, or for a backup to hold an earlier one
    /// of the same store.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds a backup, which is not to be written to.
    #[error("{} holds a backup; `kvs restore` makes a store of it", path.display())]
    IsABackup {
        /// The directory.
        path: PathBuf,
    },
    /// What was asked for lies before what is kept of the past: compaction has dropped it.
    #[error("the state at seq {seq} is gone: what is kept begins at seq {floor}")]
    HistoryGone {
        /// The seq that was asked for.
        seq: u64,
        /// The lowest seq that can be answered.
        floor: u64,
    },
    /// The start of a range is after its end.
    #[error(
        "the range starts at {:?}, after its end {:?}",
        String::from_utf8_lossy(from),
        String::from_utf8_lossy(to)
    )]
    InvalidRange {
        /// Its start.
        from: Vec<u8>,
        /// Its end.
        to: Vec<u8>,
    },
    /// A value that was to be counted up is not a decimal integer of 64 bits. It is as it was.
    #[error("the value of key {:?} is not an integer", String::from_utf8_lossy(key))]
    NotAnInteger {
        /// The key.
        key: Vec<u8>,
    },
    /// A number would leave the range of 64 bits. The value is as it was.
    #[error(
        "adding {by} to the value of key {:?} leaves the range of 64-bit integers",
        String::from_utf8_lossy(key)
    )]
    IntegerOverflow {
        /// The key.
        key: Vec<u8>,
        /// What was to be added.
        by: i64,
    },
    /// A value that was to be read as a string is not UTF-8.
    #[error("the value of key {key:?} is not UTF-8")]
    NotUtf8 {
        /// The key.
        key: String,
    },
    /// A walk through all keys was to go on at a cursor that is not known, or no longer.
    #[error("the cursor {cursor} is not known")]
    InvalidCursor {
        /// The cursor.
        cursor: u64,
    },
    /// The engine cannot do that. `docs/ENGINES.md` has a table.
    #[error("the engine {engine:?} cannot {capability}")]
    Unsupported {
        /// The name of the engine.
        engine: &'static str,
        /// What was asked for, as a verb.
        capability: &'static str,
    },
    /// An engine of another library failed.
    #[error("the engine {engine:?} failed: {source}")]
    Engine {
        /// The name of the engine.
        engine: &'static str,
        /// What that library answered.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A job that was to run on a thread pool ended before it had an answer: it panicked, or the
    /// pool was dropped.
    #[error("a job ended without an answer")]
    JobLost,
    /// Memory for a buffer could not be had.
    #[error("no memory for a buffer of {bytes} bytes")]
    OutOfMemory {
        /// The size of the buffer in bytes.
        bytes: usize,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl KvsError {
    /// Whether what is chained to a write that answered this is skipped: what the write was decided
    /// on no longer holds.
    pub(crate) fn ends_chain(&self) -> bool {
        matches!(
            self,
            KvsError::PreconditionFailed { .. }
                | KvsError::Skipped
                | KvsError::InvalidExpiry { .. }
        )
    }

    /// Wraps what the operating system answered, telling a full disk apart from the rest.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> KvsError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                KvsError::DiskFull { path: path.to_owned() }
            }
            _ => KvsError::Io { action, path: path.to_owned(), source: Arc::new(source) },
        }
    }
}
