//! The server as its clients see it: a process of its own, and bytes on a connection.
#![cfg(feature = "server")]

#[cfg(test)]
mod process;
#[cfg(test)]
mod wire;

#[cfg(test)]
mod death;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod proto;
#[cfg(test)]
mod streams;
