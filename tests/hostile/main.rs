//! Clients that are too many, too slow, too greedy or no clients at all, against `kvs-server`, the
//! binary: they are bounded, and the others are served.
//!
//! The sizes are quick ones; with `KVS_PROOF_SECONDS`, as `tests/long` sets it, they are long.
#![cfg(feature = "server")]

#[cfg(test)]
mod client;
#[cfg(test)]
mod process;
#[cfg(test)]
#[path = "../support/programs.rs"]
mod programs;
#[cfg(test)]
#[path = "../support/server.rs"]
mod server;
#[cfg(test)]
#[path = "../proto/wire.rs"]
#[allow(dead_code, reason = "only some of it is needed here")]
mod wire;

#[cfg(test)]
mod connections;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod large;
#[cfg(test)]
mod service;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod unread;
