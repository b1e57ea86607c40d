//! `Failure`: everything that ends a command early, each with the sentence that says so.

use std::io;
use std::path::{Path, PathBuf};

use crate::KvsError;

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] KvsError),
    /// The server said no, or there was none.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    /// A password is not in its file, or is none.
    #[cfg(feature = "server")]
    #[error("the password in {place} {reason}")]
    Password { place: String, reason: &'static str },
    /// The operating system refused a call on a file, or on standard input or output.
    #[error("cannot {action} {name}: {source}")]
    Io { action: &'static str, name: String, source: io::Error },
    /// Whoever read standard output went away. Never said: they have seen enough.
    #[error("nobody reads standard output any more")]
    OutputClosed,
    /// A line of the input cannot be imported.
    #[error("{name}:{line}: {reason}")]
    Line { name: String, line: u64, reason: BadLine },
    /// A compressed file stops before its end.
    #[error("{name} is cut short: its compressed data ends at offset {offset}")]
    CutShort { name: String, offset: u64 },
    /// A compressed file is damaged.
    #[error("{name} is damaged at or before offset {offset}: {source}")]
    BadCompression { name: String, offset: u64, source: io::Error },
    /// Neither the name nor an option says how records are written in a file.
    #[error("the name {name} does not tell its format; add --format tsv or --format jsonl")]
    UnknownFormat { name: String },
    /// Export cannot write this compression.
    #[error("cannot write {name}: zstd files can be imported only; export to .gz instead")]
    CannotCompress { name: String },
    /// TSV has no way to write this record.
    #[error(
        "the record with the key {key} cannot be written as TSV: its {what}; use --format \
             jsonl"
    )]
    NotTsv { key: String, what: &'static str },
    /// What was to be printed as JSON cannot be.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Verify found damage.
    #[error("{name} has {places} damaged {}", if *places == 1 { "place" } else { "places" })]
    Damaged { name: String, places: usize },
    /// A prompt cannot be shown.
    #[error("cannot read from the terminal: {reason}")]
    Terminal { reason: String },
    /// Doctor found problems.
    #[error("{name} has {problems} {}", if *problems == 1 { "problem" } else { "problems" })]
    Unwell { name: String, problems: usize },
}

/// Why a line of the input cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// TSV needs one between key and value.
    #[error("the line has no tab")]
    NoTab,
    /// A line longer than any record.
    #[error("the line is longer than {limit} bytes")]
    TooLong { limit: u64 },
    /// The key or the value is over its limit.
    #[error(transparent)]
    Limit(KvsError),
    /// The line is not the JSON that an import takes.
    #[error("{reason}, at column {column}")]
    Json { reason: String, column: usize },
    /// A line of a batch is no command for one.
    #[error("{reason}")]
    Command { reason: String },
    /// An object that does not have exactly one of two fields.
    #[error("the object must have either {field:?} or \"{field}_base64\"")]
    Field { field: &'static str },
    /// A field that should be base64 is not.
    #[error("\"{field}_base64\" is not base64: {source}")]
    Base64 { field: &'static str, source: base64::DecodeError },
}

impl Failure {
    /// Wraps what the operating system answered about a file.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Failure {
        Failure::Io { action, name: path.display().to_string(), source }
    }

    /// 2 where the command line made no sense; 141 where nobody reads our output, which is what
    /// a shell says of a program that SIGPIPE has ended; else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::UnknownFormat { .. } | Failure::CannotCompress { .. } => 2,
            Failure::OutputClosed => 141,
            _ => 1,
        }
    }
}

/// The name of a file as it stands in messages.
pub fn name_of(path: &Path) -> String {
    path.display().to_string()
}

/// A key as it stands in messages: quoted, escaped, and cut if it is long.
pub fn show_key(key: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let text = String::from_utf8_lossy(key);
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{rest}")
}

/// The directory of a path, "." where it names none.
pub fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
