//! What clients are told when reading or writing failed.
//!
//! Paths and the words of the operating system are for the log of the server, not for clients.

use crate::error::KvsError;
use crate::protocol::resp::ReplyError;

/// The reply for an error of an engine. Where no write can be made durable, its code is `MISCONF`,
/// as in Redis when its disk is full or fails: clients know it and try again later.
pub(crate) fn reply_error(error: &KvsError) -> ReplyError {
    match error {
        KvsError::DiskFull { .. } => ReplyError::new(
            "MISCONF Errors writing to the log: no space left on the disk. \
             Reads and removes go on.",
        ),
        KvsError::Poisoned { .. } => ReplyError::new(
            "MISCONF Errors writing to the log: an earlier write failed, so no more are taken \
             until the server is started again. Reads go on.",
        ),
        KvsError::StoreFull { .. } => {
            ReplyError::new("MISCONF Errors writing to the log: the store is full.")
        }
        KvsError::Corrupt { .. } | KvsError::SegmentMissing { .. } => {
            ReplyError::new("ERR the data is damaged; see the log of the server")
        }
        KvsError::Io { action, .. } => ReplyError::from_text(format!(
            "ERR the operating system refused to {action} a file; see the log of the server"
        )),
        KvsError::Engine { engine, .. } => ReplyError::from_text(format!(
            "ERR the engine '{engine}' failed; see the log of the server"
        )),
        KvsError::Closed => ReplyError::new("ERR the server is shutting down"),
        KvsError::InvalidExpiry { .. } => ReplyError::new("ERR invalid expire time"),
        KvsError::InvalidCursor { .. } => ReplyError::new("ERR invalid cursor"),
        KvsError::KeyTooLarge { .. }
        | KvsError::ValueTooLarge { .. }
        | KvsError::BatchTooLarge { .. }
        | KvsError::AnswerTooLarge { .. }
        | KvsError::Unsupported { .. }
        | KvsError::JobLost
        | KvsError::OutOfMemory { .. } => ReplyError::from_text(format!("ERR {error}")),
        _ => ReplyError::new("ERR the server failed; see its log"),
    }
}
