//! A line of input as a record that a store takes.

use super::failure::BadLine;
use super::format::{Format, Record};
use super::{jsonl, tsv};
use crate::error::KvsError;
use crate::options::{EXPIRES_AT_MS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Reads a line, and refuses what is over a limit.
pub fn parse(format: Format, line: &[u8]) -> Result<Record, BadLine> {
    let record = match format {
        Format::Tsv => tsv::parse(line),
        Format::Jsonl => jsonl::parse(line),
    }?;
    let (key, value) = (record.key.len(), record.value.len());
    if let Some(expires_at_ms) = record.expires_at_ms.filter(|at| *at > EXPIRES_AT_MS_MAX) {
        return Err(BadLine::Limit(KvsError::InvalidExpiry { expires_at_ms, now_ms: 0 }));
    }
    if key > KEY_BYTES_MAX {
        let error = KvsError::KeyTooLarge { bytes: key, limit: KEY_BYTES_MAX };
        return Err(BadLine::Limit(error));
    }
    if value > VALUE_BYTES_MAX {
        let error = KvsError::ValueTooLarge { bytes: value, limit: VALUE_BYTES_MAX };
        return Err(BadLine::Limit(error));
    }
    Ok(record)
}
