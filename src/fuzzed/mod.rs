//! Targets for fuzzers: functions that take any bytes and panic if a promise is broken.
//!
//! The tests here run them on the committed corpus and on mutations of it; `fuzz/` has a program
//! for each, for libFuzzer.

mod input;
mod requests;
mod frames;
mod globs;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod tests;

pub use crate::store::fuzzed::{files, operations};
pub use frames::frames;
pub use globs::globs;
pub use requests::requests;

pub(crate) use input::Input;
