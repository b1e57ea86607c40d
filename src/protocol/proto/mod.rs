//! The project's own protocol: Protocol Buffers in frames. `docs/PROTOCOL.md` says how they go
//! together, and `proto/kvs.proto` what is in them.

#[rustfmt::skip]
#[allow(missing_docs, clippy::all, reason = "generated; the comments are those of the contract")]
pub mod messages;

pub(crate) mod code;
pub(crate) mod elements;
pub(crate) mod parts;
pub(crate) mod reply;
pub(crate) mod request;

/// The version of the protocol that this crate speaks.
pub(crate) const VERSION: u32 = 1;
