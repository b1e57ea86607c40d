//! The commands on the own connection.

use bytes::Bytes;

use super::keys::database;
use crate::protocol::resp::arguments::{Arguments, is};
use crate::protocol::resp::command::{Command, Credentials, Hello, Secret};
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::number::integer;
use crate::protocol::resp::replies::RespVersion;

type Parsed = Result<Command, ReplyError>;

/// How much a client says of itself, in bytes of each.
const SAID_BYTES_MAX: usize = 1024;

pub(crate) fn ping(mut arguments: Arguments) -> Parsed {
    match arguments.len() {
        0 | 1 => Ok(Command::Ping(arguments.next())),
        _ => Err(arguments.wrong_number()),
    }
}

pub(crate) fn echo(mut arguments: Arguments) -> Parsed {
    Ok(Command::Echo(arguments.take()?))
}

pub(crate) fn quit(_: Arguments) -> Parsed {
    Ok(Command::Quit)
}

pub(crate) fn reset(_: Arguments) -> Parsed {
    Ok(Command::Reset)
}

pub(crate) fn select(mut arguments: Arguments) -> Parsed {
    Ok(Command::Select(database(&mut arguments)?))
}

pub(crate) fn auth(mut arguments: Arguments) -> Parsed {
    let first = arguments.take()?;
    let (user, password) = match (arguments.next(), arguments.len()) {
        (None, _) => (None, first),
        (Some(password), 0) => (Some(first), password),
        _ => return Err(ReplyError::SYNTAX),
    };
    Ok(Command::Auth(Credentials { user, password: Secret(password) }))
}

pub(crate) fn hello(mut arguments: Arguments) -> Parsed {
    let mut hello = Hello::default();
    if let Some(version) = arguments.next() {
        let not_an_integer =
            ReplyError::new("ERR Protocol version is not an integer or out of range");
        hello.version = match integer(&version).ok_or(not_an_integer)? {
            2 => Some(RespVersion::Two),
            3 => Some(RespVersion::Three),
            _ => return Err(ReplyError::new("NOPROTO unsupported protocol version")),
        };
    }
    while let Some(option) = arguments.next() {
        if is(&option, "AUTH") && arguments.len() >= 2 {
            let (user, password) = (Some(arguments.take()?), Secret(arguments.take()?));
            hello.credentials = Some(Credentials { user, password });
        } else if is(&option, "SETNAME") && arguments.len() >= 1 {
            hello.name = Some(client_name(arguments.take()?)?);
        } else {
            return Err(ReplyError::quoting("ERR Syntax error in HELLO option '", &option, "'"));
        }
    }
    Ok(Command::Hello(Box::new(hello)))
}

/// A name that a connection may have: of printable characters without blanks. It is a copy, as it
/// is kept for long, and would keep all that came with it.
pub(super) fn client_name(name: Bytes) -> Result<Bytes, ReplyError> {
    let text = "ERR Client names cannot contain spaces, newlines or special characters.";
    match name.iter().all(u8::is_ascii_graphic) {
        true => short(&name),
        false => Err(ReplyError::new(text)),
    }
}

/// A copy of what a client says of itself, which is kept with it and in the slow log.
pub(super) fn short(said: &[u8]) -> Result<Bytes, ReplyError> {
    match said.len() <= SAID_BYTES_MAX {
        true => Ok(Bytes::copy_from_slice(said)),
        false => Err(ReplyError::new("ERR Names and versions of clients have at most 1024 bytes.")),
    }
}
