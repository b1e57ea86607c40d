//! Arguments into commands: a function for each command of the table.

use super::arguments::Arguments;
use super::command::Command;
use super::error::ReplyError;

pub(super) mod client;
pub(super) mod connection;
mod expiry;
pub(super) mod introspect;
pub(super) mod keys;
pub(super) mod server;
pub(super) mod strings;
pub(super) mod transactions;

/// Of commands that are only the first part of a name: without the second part they have too few
/// arguments, so this is never reached.
pub(super) fn container(arguments: Arguments) -> Result<Command, ReplyError> {
    Err(arguments.wrong_number())
}
