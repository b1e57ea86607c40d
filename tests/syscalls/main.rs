//! The command line `kvs` is killed, and given errors, at its system calls, with the fault
//! injection of strace.
//!
//! After a kill the directory opens, is sound, and holds what some of the command's batches left;
//! the command can be run again. After an error it has either done everything, or said what went
//! wrong and ended with something other than 0; then the same holds. `scene` are the commands and
//! their directories, `strace` counts and injects, `sweep` goes through the calls.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[cfg(test)]
#[path = "../../src/store/tests/proof.rs"]
mod proof;
#[cfg(test)]
#[path = "../support/random.rs"]
mod random;

#[cfg(test)]
mod scene;
#[cfg(test)]
mod strace;
#[cfg(test)]
mod sweep;
