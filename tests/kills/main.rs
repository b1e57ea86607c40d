//! Processes that are killed (SIGKILL) at random moments lose nothing that they have acknowledged,
//! keep batches whole, and bring nothing back that was removed.
//!
//! What is written follows from a seed, and what must be left is computed here: the writers that
//! are killed only say how far they have come. `embedded` kills processes that have a store open,
//! `served` kills `kvs-server`. Both look at the directory itself after each kill (`examine`), and
//! the next process goes on in it.

#[cfg(test)]
#[path = "../../src/store/tests/proof.rs"]
mod proof;
#[cfg(test)]
#[path = "../support/random.rs"]
mod random;

#[cfg(test)]
mod script;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod examine;
#[cfg(test)]
mod child;
#[cfg(test)]
mod embedded;

#[cfg(feature = "server")]
#[cfg(test)]
#[path = "../support/frames.rs"]
mod frames;
#[cfg(feature = "server")]
#[cfg(test)]
#[path = "../support/redis.rs"]
mod redis;
#[cfg(feature = "server")]
#[cfg(test)]
#[path = "../support/server.rs"]
mod server;
#[cfg(feature = "server")]
#[cfg(test)]
mod served;
