//! The engines: each through the checks that all must pass, and what is particular to one.
#![cfg(feature = "server")]

#[cfg(test)]
mod memory;
#[cfg(feature = "sled")]
#[cfg(test)]
mod migrate;
#[cfg(feature = "sled")]
#[cfg(test)]
mod sled;
#[cfg(test)]
mod store;
