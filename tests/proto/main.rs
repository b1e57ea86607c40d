//! The project's own protocol as clients meet it: a server of its own, and bytes on a connection.
#![cfg(feature = "server")]

#[cfg(test)]
#[path = "../support/server.rs"]
mod server;
#[cfg(test)]
mod wire;

#[cfg(test)]
mod death;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod session;
#[cfg(test)]
mod streams;
