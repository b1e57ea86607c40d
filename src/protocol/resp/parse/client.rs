//! `CLIENT`.

use bytes::Bytes;

use super::connection::{client_name, short};
use crate::protocol::resp::arguments::{Arguments, is};
use crate::protocol::resp::command::{
    ClientCommand, ClientFilter, ClientKind, Command, KillFilter, ReplyMode,
};
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::help;
use crate::protocol::resp::number::integer;

type Parsed = Result<Command, ReplyError>;

fn client(command: ClientCommand) -> Parsed {
    Ok(Command::Client(command))
}

pub(crate) fn help(_: Arguments) -> Parsed {
    Ok(Command::Help(help::CLIENT))
}

pub(crate) fn id(_: Arguments) -> Parsed {
    client(ClientCommand::Id)
}

pub(crate) fn info(_: Arguments) -> Parsed {
    client(ClientCommand::Info)
}

pub(crate) fn getname(_: Arguments) -> Parsed {
    client(ClientCommand::GetName)
}

pub(crate) fn setname(mut arguments: Arguments) -> Parsed {
    client(ClientCommand::SetName(client_name(arguments.take()?)?))
}

pub(crate) fn setinfo(mut arguments: Arguments) -> Parsed {
    let (attribute, value) = (arguments.take()?, arguments.take()?);
    let is_name = is(&attribute, "LIB-NAME");
    if !is_name && !is(&attribute, "LIB-VER") {
        return Err(ReplyError::quoting("ERR Unrecognized option '", &attribute, "'"));
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        let name = if is_name { "lib-name" } else { "lib-ver" };
        let text = format!("ERR {name} cannot contain spaces, newlines or special characters.");
        return Err(ReplyError::from_text(text));
    }
    client(ClientCommand::SetInfo { is_name, value: short(&value)? })
}

pub(crate) fn list(mut arguments: Arguments) -> Parsed {
    let filter = match (arguments.next(), arguments.len()) {
        (None, _) => ClientFilter::All,
        (Some(option), 1) if is(&option, "TYPE") => ClientFilter::Kind(kind(&arguments.take()?)?),
        (Some(option), 1..) if is(&option, "ID") => {
            let number = |id: Bytes| {
                // A number that no connection has is none of theirs.
                let id = integer(&id).ok_or(ReplyError::new("ERR Invalid client ID"))?;
                Ok(u64::try_from(id).unwrap_or(0))
            };
            ClientFilter::Ids(arguments.all().into_iter().map(number).collect::<Result<_, _>>()?)
        }
        _ => return Err(ReplyError::SYNTAX),
    };
    client(ClientCommand::List(filter))
}

fn kind(name: &[u8]) -> Result<ClientKind, ReplyError> {
    let kinds = [
        ("normal", ClientKind::Normal),
        ("slave", ClientKind::Replica),
        ("replica", ClientKind::Replica),
        ("pubsub", ClientKind::PubSub),
        ("master", ClientKind::Master),
    ];
    let kind = kinds.into_iter().find(|(known, _)| is(name, known)).map(|(_, kind)| kind);
    kind.ok_or_else(|| ReplyError::quoting("ERR Unknown client type '", name, "'"))
}

pub(crate) fn kill(mut arguments: Arguments) -> Parsed {
    let first = arguments.take()?;
    if arguments.len() == 0 {
        return client(ClientCommand::KillAddress(first));
    }
    let mut filter = KillFilter::default();
    let mut option = Some(first);
    while let Some(name) = option {
        let value = arguments.take()?;
        if is(&name, "ID") {
            let text = "ERR client-id should be greater than 0";
            let id = integer(&value).filter(|id| *id > 0).ok_or(ReplyError::new(text))?;
            filter.id = Some(id.unsigned_abs());
        } else if is(&name, "TYPE") {
            filter.kind = Some(kind(&value)?);
        } else if is(&name, "ADDR") {
            filter.address = Some(value);
        } else if is(&name, "LADDR") {
            filter.local_address = Some(value);
        } else if is(&name, "USER") {
            // Everybody is the user `default`.
            if value != "default" {
                return Err(ReplyError::quoting("ERR No such user '", &value, "'"));
            }
        } else if is(&name, "SKIPME") {
            filter.includes_self = !on_or_off(&value, "yes", "no")?;
        } else {
            return Err(ReplyError::SYNTAX);
        }
        option = arguments.next();
    }
    client(ClientCommand::Kill(Box::new(filter)))
}

pub(crate) fn reply(mut arguments: Arguments) -> Parsed {
    let mode = arguments.take()?;
    client(ClientCommand::Reply(match () {
        () if is(&mode, "ON") => ReplyMode::On,
        () if is(&mode, "OFF") => ReplyMode::Off,
        () if is(&mode, "SKIP") => ReplyMode::Skip,
        () => return Err(ReplyError::SYNTAX),
    }))
}

pub(crate) fn no_evict(mut arguments: Arguments) -> Parsed {
    client(ClientCommand::NoEvict(on_or_off(&arguments.take()?, "on", "off")?))
}

pub(crate) fn no_touch(mut arguments: Arguments) -> Parsed {
    client(ClientCommand::NoTouch(on_or_off(&arguments.take()?, "on", "off")?))
}

fn on_or_off(argument: &[u8], on: &str, off: &str) -> Result<bool, ReplyError> {
    match is(argument, on) || is(argument, off) {
        true => Ok(is(argument, on)),
        false => Err(ReplyError::SYNTAX),
    }
}
