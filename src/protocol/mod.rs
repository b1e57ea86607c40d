//! Bytes into requests, and replies into bytes: no sockets, no runtime, no engine.

pub mod glob;
pub mod resp;
pub mod frame;
pub mod proto;
