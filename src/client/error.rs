//! `ClientError`: what can go wrong between a client and its server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::protocol::proto::messages;

/// The code of an error that the server answered with.
pub use crate::protocol::proto::messages::Code as ErrorCode;

/// The result of a call of a client.
pub type Result<T> = std::result::Result<T, ClientError>;

/// Why a call of a client failed.
///
/// What matters for a write is [`ClientError::is_outcome_unknown`]: only then may it have had its
/// effect.
///
/// ```
/// use kvs::client::{ClientError, ErrorCode};
/// let error = ClientError::Timeout { after_ms: 1000, outcome_unknown: false };
/// assert!(!error.is_outcome_unknown());
/// assert_eq!(error.code(), ErrorCode::Unspecified);
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no connection to the server, and none could be made.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// The address.
        addr: String,
        /// What the operating system, or TLS, answered.
        source: Arc<io::Error>,
    },
    /// What is at the address does not speak this protocol.
    #[error("{addr} does not answer like a KVS server: {reason}")]
    NotKvs {
        /// The address.
        addr: String,
        /// What it did.
        reason: String,
    },
    /// The certificates of a CA cannot be used.
    #[error("cannot use the CA file {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No name for which a certificate can be.
    #[error("{name:?} is no name of a server")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The connection broke before the answer came.
    #[error("lost the connection to {addr}: {reason}{}", unknown(*outcome_unknown))]
    Lost {
        /// The address.
        addr: String,
        /// How it broke.
        reason: String,
        /// Whether the request was to write, and may have reached the server.
        outcome_unknown: bool,
    },
    /// No answer came in time.
    #[error("no answer after {after_ms} ms{}", unknown(*outcome_unknown))]
    Timeout {
        /// How long was waited, in milliseconds.
        after_ms: u64,
        /// Whether the request was to write, and may have reached the server.
        outcome_unknown: bool,
    },
    /// The server answered with an error.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The request is larger than the server takes. It was not sent.
    #[error("the request has {bytes} bytes; the limit of the server is {limit}")]
    TooLarge {
        /// The length of its frame in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The changes between the start of a watch and the loss of its connection may have been
    /// missed: the server did not say where it began, and no change had come.
    #[error("lost the connection to {addr} before the first change came: some may be missing")]
    WatchLost {
        /// The address.
        addr: String,
    },
    /// The runtime on which the client was made has ended.
    #[error("the runtime of the client has ended")]
    Closed,
    /// The runtime of a blocking client could not be made.
    #[error("cannot make a runtime: {source}")]
    Runtime {
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
}

/// An error that the server answered with.
///
/// ```no_run
/// # fn main() -> Result<(), kvs::client::ClientError> {
/// use kvs::client::{BlockingKvsClient, ClientError, ErrorCode};
/// let client = BlockingKvsClient::connect("127.0.0.1:4000")?;
/// client.set("name", "Ada")?;
/// match client.increment("name", 1) {
///     Err(ClientError::Server(error)) => assert_eq!(error.code, ErrorCode::NotAnInteger),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}{}", unknown(*outcome_unknown))]
#[non_exhaustive]
pub struct ServerError {
    /// What kind of error.
    pub code: ErrorCode,
    /// A sentence.
    pub text: String,
    /// The key that it is about, where it is about one.
    pub key: Vec<u8>,
    /// The index of the precondition of a batch that did not hold, from 0.
    pub requirement: Option<u32>,
    /// The limit that was passed, in bytes or as the code says.
    pub limit: Option<u64>,
    /// Whether the request was to write, and may have done so.
    pub outcome_unknown: bool,
}

impl ClientError {
    /// Whether the request was to write, and it is not known whether it did.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            ClientError::Lost { outcome_unknown, .. }
            | ClientError::Timeout { outcome_unknown, .. } => *outcome_unknown,
            ClientError::Server(error) => error.outcome_unknown,
            _ => false,
        }
    }

    /// The code of the server's error; `Unspecified` if it is none of the server's.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            ClientError::Server(error) => error.code,
            _ => ErrorCode::Unspecified,
        }
    }
}

impl From<messages::Error> for ServerError {
    fn from(error: messages::Error) -> ServerError {
        let code = match error.code() {
            // One of a later version.
            ErrorCode::Unspecified => ErrorCode::Internal,
            code => code,
        };
        ServerError {
            code,
            text: error.text,
            key: error.key.into(),
            requirement: error.requirement,
            limit: error.limit,
            outcome_unknown: error.outcome_unknown,
        }
    }
}

fn unknown(outcome_unknown: bool) -> &'static str {
    if outcome_unknown { "; it is not known whether the write was done" } else { "" }
}
