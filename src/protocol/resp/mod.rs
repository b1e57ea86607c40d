//! The Redis protocol, RESP2 and RESP3: requests, commands and replies as Redis 7 has them.
//!
//! ```text
//! bytes -> Parser -> arguments -> resolve -> Spec -> Spec::parse -> Command
//! bytes <- RespReplies <- whoever executes it
//! ```
//!
//! What differs from Redis is in `docs/REDIS.md`.

pub mod number;
pub mod error;
pub mod inline;
pub mod parser;
pub mod replies;

pub use error::ReplyError;
pub use parser::{Parser, ProtocolError, RequestLimits};
pub use replies::{RespReplies, RespVersion};
