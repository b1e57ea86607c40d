//! The client and its command line: against a server that misbehaves on purpose, and against the
//! real one.
#![cfg(feature = "server")]

#[cfg(test)]
mod fake;
#[cfg(test)]
mod running;
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
mod blocking;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod connecting;
#[cfg(test)]
mod streams;

#[cfg(test)]
mod command_line;
#[cfg(test)]
mod end_to_end;
#[cfg(test)]
mod python;
#[cfg(test)]
mod prompt;
