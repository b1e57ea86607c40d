//! The Redis protocol, RESP2 and RESP3: requests, commands and replies as Redis 7 has them.
//!
//! ```text
//! bytes -> Parser -> arguments -> table::resolve -> Spec::parse -> Command
//! bytes <- RespReplies <- whoever executes it
//! ```
//!
//! What differs from Redis is in `docs/REDIS.md`.

pub mod number;
pub mod decimal;
pub mod error;
pub mod replies;
pub mod inline;
pub mod parser;
pub mod string_step;
pub mod command;
pub mod help;
pub mod table;
pub mod introspection;
mod arguments;
mod parse;

pub use command::Command;
pub use error::ReplyError;
pub use parser::{Parser, ProtocolError, RequestLimits};
pub use replies::{RespReplies, RespVersion};
pub use string_step::StringStep;

use bytes::Bytes;

/// The command that a request is. Where it matters what is wrong with it, as in transactions and
/// before a login, [`table::resolve`] and [`table::Spec::parse`] do this in two steps.
///
/// # Errors
/// What Redis says of it.
///
/// ```
/// use bytes::Bytes;
/// use kvs::protocol::resp::{Command, StringStep, parse};
/// let request = ["GET", "key"].map(|word| Bytes::from(word)).to_vec();
/// assert_eq!(parse(request), Ok(Command::Step(StringStep::Get(Bytes::from("key")))));
/// ```
pub fn parse(request: Vec<Bytes>) -> Result<Command, ReplyError> {
    table::resolve(&request)?.parse(request)
}
