//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::source::Source;

/// What is wrong with a configuration, and where.
///
/// ```
/// use kvs::server::config::Loaded;
/// let error = Loaded::new(["kvs-server".into(), "--addr=here".into()], []).unwrap_err();
/// assert!(error.to_string().starts_with("flag --addr: addr is \"here\", but must be "));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line is not understood, or asks for help or the version.
    #[error("{0}")]
    CommandLine(Arc<clap::Error>),
    /// A value makes no sense.
    #[error("{from}: {option} is {value:?}, but must be {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// Its value, as it was typed.
        value: String,
        /// What it must be.
        expected: String,
        /// Where it came from.
        from: Source,
    },
    /// An option does not go together with another.
    #[error("{from}: {option} {reason}")]
    Conflict {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
        /// Where its value came from.
        from: Source,
    },
    /// The configuration file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
    /// The configuration file is no TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// The configuration file has a key that is no option.
    #[error("{}:{line}: {key:?} is not an option", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A variable of the environment is not UTF-8.
    #[error("variable {name}: the value is not UTF-8")]
    NotUtf8 {
        /// The variable.
        name: String,
    },
}
