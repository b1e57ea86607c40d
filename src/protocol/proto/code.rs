//! What errors are on the wire.

use bytes::Bytes;

use crate::error::KvsError;
use crate::protocol::frame::to_u64;

use super::messages::{Code, Error};

impl Error {
    /// An error with nothing but a sentence.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Error {
        Error { code: code.into(), text: text.into(), ..Error::default() }
    }

    /// What the engine answered to a request that may write or may not.
    pub(crate) fn of(error: &KvsError, may_write: bool) -> Error {
        let mut message = Error::new(code_of(error), error.to_string());
        message.outcome_unknown = may_write && is_outcome_unknown(error);
        match error {
            KvsError::KeyTooLarge { limit, .. }
            | KvsError::ValueTooLarge { limit, .. }
            | KvsError::BatchTooLarge { limit, .. }
            | KvsError::AnswerTooLarge { limit } => message.limit = Some(to_u64(*limit)),
            KvsError::PreconditionFailed { requirement, key } => {
                message.requirement = u32::try_from(*requirement).ok();
                message.key = told(key);
            }
            KvsError::NotAnInteger { key } | KvsError::IntegerOverflow { key, .. } => {
                message.key = told(key);
            }
            KvsError::HistoryGone { floor, .. } => message.limit = Some(*floor),
            KvsError::InvalidExpiry { now_ms, .. } => message.limit = Some(*now_ms),
            _ => {}
        }
        message
    }
}

/// The longest key that is told, in bytes: errors are to fit every frame.
const KEY_BYTES_TOLD: usize = 1024;

/// The key that an error is about; empty if it is long.
fn told(key: &[u8]) -> Bytes {
    if key.len() > KEY_BYTES_TOLD { Bytes::new() } else { Bytes::copy_from_slice(key) }
}

fn code_of(error: &KvsError) -> Code {
    match error {
        KvsError::KeyTooLarge { .. } => Code::KeyTooLarge,
        KvsError::ValueTooLarge { .. } => Code::ValueTooLarge,
        KvsError::BatchTooLarge { .. } => Code::BatchTooLarge,
        KvsError::AnswerTooLarge { .. } => Code::ResponseTooLarge,
        KvsError::PreconditionFailed { .. } => Code::PreconditionFailed,
        KvsError::NotAnInteger { .. } => Code::NotAnInteger,
        KvsError::IntegerOverflow { .. } => Code::IntegerOverflow,
        KvsError::InvalidExpiry { .. } => Code::InvalidExpiry,
        KvsError::InvalidRange { .. } => Code::InvalidRange,
        KvsError::HistoryGone { .. } => Code::HistoryGone,
        KvsError::SnapshotEnded { .. } => Code::SnapshotEnded,
        KvsError::Unsupported { .. } => Code::Unsupported,
        KvsError::DiskFull { .. } => Code::DiskFull,
        KvsError::StoreFull { .. } => Code::StoreFull,
        KvsError::Corrupt { .. } | KvsError::SegmentMissing { .. } => Code::Corrupt,
        KvsError::Poisoned { .. } => Code::Poisoned,
        KvsError::OutOfMemory { .. } => Code::OutOfMemory,
        KvsError::Closed => Code::ShuttingDown,
        _ => Code::Internal,
    }
}

/// Whether a write that failed with this may have had its effect all the same.
fn is_outcome_unknown(error: &KvsError) -> bool {
    match error {
        KvsError::Io { .. }
        | KvsError::Poisoned { .. }
        | KvsError::Engine { .. }
        | KvsError::JobLost => true,
        // Refused before anything was written, or taken back.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Code, Error, KvsError};
    use crate::protocol::frame::FRAME_BYTES_MIN;

    #[test]
    fn an_error_carries_what_the_caller_needs() {
        let failed = KvsError::PreconditionFailed { requirement: 3, key: b"k".to_vec() };
        let message = Error::of(&failed, true);
        assert_eq!(message.code(), Code::PreconditionFailed);
        assert_eq!((&message.key[..], message.requirement), (&b"k"[..], Some(3)));
        assert!(!message.outcome_unknown);
        assert!(Error::of(&KvsError::JobLost, true).outcome_unknown);
        assert!(!Error::of(&KvsError::JobLost, false).outcome_unknown);
        let too_large = Error::of(&KvsError::KeyTooLarge { bytes: 9, limit: 8 }, true);
        assert_eq!(too_large.limit, Some(8));
    }

    #[test]
    fn an_error_is_short_however_long_its_key_is() {
        let (key, by) = (vec![7; 1 << 20], i64::MIN);
        for error in [
            KvsError::PreconditionFailed { requirement: 3, key: key.clone() },
            KvsError::IntegerOverflow { key: key.clone(), by },
            KvsError::InvalidRange { from: key.clone(), to: key.clone() },
            KvsError::NotAnInteger { key },
        ] {
            let message = Error::of(&error, true);
            assert!(message.encoded_len() < FRAME_BYTES_MIN / 2, "{}", message.text.len());
            assert!(message.text.contains("(1048576 bytes)"), "{}", message.text);
        }
    }

    #[test]
    fn a_code_that_is_not_known_is_none_of_ours() {
        let message = Error { code: 9999, ..Error::default() };
        assert_eq!(message.code(), Code::Unspecified);
    }
}
