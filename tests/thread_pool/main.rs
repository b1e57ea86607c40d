//! The thread pools: each by the same tests.
#![cfg(feature = "server")]

#[cfg(test)]
mod pools;
