//! The commands on transactions.

use bytes::Bytes;

use crate::protocol::resp::arguments::Arguments;
use crate::protocol::resp::command::Command;
use crate::protocol::resp::error::ReplyError;

type Parsed = Result<Command, ReplyError>;

pub(crate) fn multi(_: Arguments) -> Parsed {
    Ok(Command::Multi)
}

pub(crate) fn exec(_: Arguments) -> Parsed {
    Ok(Command::Exec)
}

pub(crate) fn discard(_: Arguments) -> Parsed {
    Ok(Command::Discard)
}

pub(crate) fn watch(arguments: Arguments) -> Parsed {
    // Copies, as they are kept for long, and would keep all that came with them.
    let keys = arguments.all();
    Ok(Command::Watch(keys.iter().map(|key| Bytes::copy_from_slice(key)).collect()))
}

pub(crate) fn unwatch(_: Arguments) -> Parsed {
    Ok(Command::Unwatch)
}
