//! `kvs-server`, the binary, over loopback.
#![cfg(feature = "server")]

#[cfg(test)]
#[path = "../support/server.rs"]
mod server;

#[cfg(test)]
mod concurrent;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod live;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod recorded;
