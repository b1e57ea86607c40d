//! The command line `kvs`, and `kvs-server`, are killed, and given errors, at their system calls,
//! with the fault injection of strace.
//!
//! After a kill the directory opens, is sound, and holds what some of the command's batches left;
//! the command can be run again. After an error it has either done everything, or said what went
//! wrong and ended with something other than 0; then the same holds. `scene` are the commands and
//! their directories, `commands` what is done to them, `served` the server and its client, `strace`
//! counts and injects, `sweep` goes through the calls.
#![cfg(all(feature = "cli", feature = "server", target_os = "linux"))]

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
mod commands;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod served;
#[cfg(test)]
mod strace;
#[cfg(test)]
mod sweep;
