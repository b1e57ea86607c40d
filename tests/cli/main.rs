//! The `kvs` command line, run as a user runs it: real processes on temporary directories.
#![cfg(feature = "cli")]

#[cfg(test)]
mod place;

#[cfg(test)]
mod backup;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod beside;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod export;
#[cfg(test)]
mod import;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod watch;
