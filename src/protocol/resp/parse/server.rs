//! The commands on the server.

use crate::protocol::resp::arguments::{Arguments, is};
use crate::protocol::resp::command::{Command, ConfigCommand, Shutdown, SlowLogCommand};
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::help;
use crate::protocol::resp::number::integer;
use crate::protocol::resp::string_step::StringStep;

type Parsed = Result<Command, ReplyError>;

/// How many entries are shown if nobody says how many.
const SLOWLOG_COUNT: i64 = 10;

pub(crate) fn time(_: Arguments) -> Parsed {
    Ok(Command::Time)
}

pub(crate) fn info(arguments: Arguments) -> Parsed {
    Ok(Command::Info(arguments.all()))
}

pub(crate) fn dbsize(_: Arguments) -> Parsed {
    Ok(Command::DbSize)
}

pub(crate) fn flushdb(mut arguments: Arguments) -> Parsed {
    match (arguments.next(), arguments.len()) {
        (None, _) => Ok(Command::Flush),
        (Some(how), 0) if is(&how, "SYNC") || is(&how, "ASYNC") => Ok(Command::Flush),
        _ => Err(ReplyError::SYNTAX),
    }
}

pub(crate) fn flushall(arguments: Arguments) -> Parsed {
    flushdb(arguments)
}

pub(crate) fn save(_: Arguments) -> Parsed {
    Ok(Command::Save)
}

pub(crate) fn bgsave(mut arguments: Arguments) -> Parsed {
    match (arguments.next(), arguments.len()) {
        (None, _) => Ok(Command::BgSave),
        (Some(how), 0) if is(&how, "SCHEDULE") => Ok(Command::BgSave),
        _ => Err(ReplyError::SYNTAX),
    }
}

pub(crate) fn lastsave(_: Arguments) -> Parsed {
    Ok(Command::LastSave)
}

pub(crate) fn bgrewriteaof(_: Arguments) -> Parsed {
    Ok(Command::BgRewriteAof)
}

pub(crate) fn shutdown(mut arguments: Arguments) -> Parsed {
    let (mut save, mut no_save, mut now, mut force, mut abort) =
        (false, false, false, false, false);
    while let Some(option) = arguments.next() {
        let options = [
            ("SAVE", &mut save),
            ("NOSAVE", &mut no_save),
            ("NOW", &mut now),
            ("FORCE", &mut force),
            ("ABORT", &mut abort),
        ];
        let known = options.into_iter().find(|(name, _)| is(&option, name));
        *known.ok_or(ReplyError::SYNTAX)?.1 = true;
    }
    if (save && no_save) || (abort && (save || no_save || now || force)) {
        return Err(ReplyError::SYNTAX);
    }
    let save = (save || no_save).then_some(save);
    let begin = Shutdown::Begin { save, force };
    Ok(Command::Shutdown(if abort { Shutdown::Abort } else { begin }))
}

pub(crate) fn config_get(arguments: Arguments) -> Parsed {
    Ok(Command::Config(ConfigCommand::Get(arguments.all())))
}

pub(crate) fn config_set(arguments: Arguments) -> Parsed {
    match arguments.len() % 2 {
        0 => Ok(Command::Config(ConfigCommand::Set(arguments.all()))),
        _ => Err(ReplyError::SYNTAX),
    }
}

pub(crate) fn config_resetstat(_: Arguments) -> Parsed {
    Ok(Command::Config(ConfigCommand::ResetStat))
}

pub(crate) fn config_help(_: Arguments) -> Parsed {
    Ok(Command::Help(help::CONFIG))
}

pub(crate) fn memory_usage(mut arguments: Arguments) -> Parsed {
    let key = arguments.take()?;
    while let Some(option) = arguments.next() {
        if !is(&option, "SAMPLES") {
            return Err(ReplyError::SYNTAX);
        }
        if arguments.take_integer()? < 0 {
            return Err(ReplyError::SYNTAX);
        }
    }
    Ok(Command::Step(StringStep::MemoryUsage(key)))
}

pub(crate) fn memory_doctor(_: Arguments) -> Parsed {
    Ok(Command::MemoryDoctor)
}

pub(crate) fn memory_help(_: Arguments) -> Parsed {
    Ok(Command::Help(help::MEMORY))
}

pub(crate) fn slowlog_get(mut arguments: Arguments) -> Parsed {
    let count = match (arguments.next(), arguments.len()) {
        (None, _) => SLOWLOG_COUNT,
        (Some(count), 0) => {
            let text = "ERR count should be greater than or equal to -1";
            integer(&count).filter(|count| *count >= -1).ok_or(ReplyError::new(text))?
        }
        _ => {
            let text = "ERR unknown subcommand or wrong number of arguments for 'GET'. \
                        Try SLOWLOG HELP.";
            return Err(ReplyError::new(text));
        }
    };
    Ok(Command::SlowLog(SlowLogCommand::Get { count: u64::try_from(count).ok() }))
}

pub(crate) fn slowlog_len(_: Arguments) -> Parsed {
    Ok(Command::SlowLog(SlowLogCommand::Len))
}

pub(crate) fn slowlog_reset(_: Arguments) -> Parsed {
    Ok(Command::SlowLog(SlowLogCommand::Reset))
}

pub(crate) fn slowlog_help(_: Arguments) -> Parsed {
    Ok(Command::Help(help::SLOWLOG))
}
