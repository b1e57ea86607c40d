//! The server is linearizable, also over kills: what clients of both protocols are told can be
//! put in one order in which each call happens between its request and its answer, and a call
//! without an answer at some time, whole, or never.
//!
//! `history` is what was called and answered, `checker` decides whether there is such an order,
//! `reduce` makes a history that has none shorter, `client` are the clients, `load` is the test.
#![cfg(feature = "server")]

#[cfg(test)]
#[path = "../support/frames.rs"]
mod frames;
#[cfg(test)]
#[path = "../../src/store/tests/proof.rs"]
mod proof;
#[cfg(test)]
#[path = "../support/random.rs"]
mod random;
#[cfg(test)]
#[path = "../support/redis.rs"]
mod redis;
#[cfg(test)]
#[path = "../support/server.rs"]
mod server;

#[cfg(test)]
mod history;
#[cfg(test)]
mod checker;
#[cfg(test)]
mod checker_tests;
#[cfg(test)]
mod reduce;
#[cfg(test)]
mod client;
#[cfg(test)]
mod load;
