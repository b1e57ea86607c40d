//! Clients of Redis that others made, against `kvs-server`, the binary.
#![cfg(feature = "server")]

#[cfg(test)]
#[path = "../support/programs.rs"]
mod programs;
#[cfg(test)]
#[path = "../support/server.rs"]
mod server;
#[cfg(test)]
#[path = "../support/terminal.rs"]
mod terminal;

#[cfg(test)]
mod ioredis;
#[cfg(test)]
mod redis_benchmark;
#[cfg(test)]
mod redis_cli;
#[cfg(test)]
mod redis_cli_tools;
#[cfg(test)]
mod redis_py;
#[cfg(test)]
mod redis_rs;
#[cfg(test)]
mod redis_rs_async;
