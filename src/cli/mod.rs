//! What the command lines share: reading and writing records, progress, failures. It is no part of
//! the library's interface.

pub mod failure;
pub mod progress;
pub mod format;
pub mod jsonl;
pub mod tsv;
pub mod changes;
pub mod zstd;
pub mod records;
pub mod input;
pub mod output;
