//! `COMMAND`.

use crate::protocol::resp::arguments::{Arguments, is};
use crate::protocol::resp::command::Command;
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::help;
use crate::protocol::resp::introspection::{Introspection, ListFilter};

type Parsed = Result<Command, ReplyError>;

fn introspect(introspection: Introspection) -> Parsed {
    Ok(Command::Introspect(introspection))
}

pub(crate) fn all(_: Arguments) -> Parsed {
    introspect(Introspection::All)
}

pub(crate) fn count(_: Arguments) -> Parsed {
    introspect(Introspection::Count)
}

pub(crate) fn info(arguments: Arguments) -> Parsed {
    match arguments.len() {
        0 => introspect(Introspection::All),
        _ => introspect(Introspection::Info(arguments.all())),
    }
}

pub(crate) fn docs(arguments: Arguments) -> Parsed {
    introspect(Introspection::Docs(arguments.all()))
}

pub(crate) fn list(mut arguments: Arguments) -> Parsed {
    let Some(option) = arguments.next() else {
        return introspect(Introspection::List(ListFilter::All));
    };
    if arguments.len() != 2 || !is(&option, "FILTERBY") {
        return Err(ReplyError::SYNTAX);
    }
    let (by, value) = (arguments.take()?, arguments.take()?);
    introspect(Introspection::List(match () {
        () if is(&by, "MODULE") => ListFilter::Module,
        () if is(&by, "ACLCAT") => ListFilter::Category(value),
        () if is(&by, "PATTERN") => ListFilter::Pattern(value),
        () => return Err(ReplyError::SYNTAX),
    }))
}

pub(crate) fn getkeys(arguments: Arguments) -> Parsed {
    introspect(Introspection::GetKeys(arguments.all()))
}

pub(crate) fn help(_: Arguments) -> Parsed {
    Ok(Command::Help(help::COMMAND))
}
