//! Where a value came from.

use std::fmt;
use std::path::PathBuf;

use super::options::OptionSpec;

/// Where the value of an option came from.
///
/// ```
/// let source = kvs::server::config::Source::Flag("--addr".to_owned());
/// assert_eq!(source.to_string(), "flag --addr");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// A line of the configuration file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Variable(name) => write!(f, "variable {name}"),
            Source::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value as it was typed: not yet looked at.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) option: &'static OptionSpec,
    pub(super) text: String,
    pub(super) source: Source,
}
