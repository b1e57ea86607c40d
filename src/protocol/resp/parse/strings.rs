//! The commands on values.

use bytes::Bytes;

use super::expiry::Unit;
use crate::protocol::resp::arguments::{Arguments, is};
use crate::protocol::resp::command::Command;
use crate::protocol::resp::decimal::Addend;
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::string_step::{
    ExpiryChange, GetEx, Set, SetAnswer, SetExpiry, StringStep,
};

type Parsed = Result<Command, ReplyError>;

fn step(step: StringStep) -> Parsed {
    Ok(Command::Step(step))
}

pub(crate) fn get(mut arguments: Arguments) -> Parsed {
    step(StringStep::Get(arguments.take()?))
}

pub(crate) fn getdel(mut arguments: Arguments) -> Parsed {
    step(StringStep::GetDel(arguments.take()?))
}

pub(crate) fn strlen(mut arguments: Arguments) -> Parsed {
    step(StringStep::Strlen(arguments.take()?))
}

pub(crate) fn mget(arguments: Arguments) -> Parsed {
    step(StringStep::MGet(arguments.all()))
}

pub(crate) fn set(mut arguments: Arguments) -> Parsed {
    let (key, value) = (arguments.take()?, arguments.take()?);
    let command = arguments.command();
    let mut set = plain_set(key, value, command);
    let mut expiry: Option<(Unit, Bytes)> = None;
    while let Some(option) = arguments.next() {
        if is(&option, "NX") && set.only_if_present != Some(true) {
            set.only_if_present = Some(false);
        } else if is(&option, "XX") && set.only_if_present != Some(false) {
            set.only_if_present = Some(true);
        } else if is(&option, "GET") {
            set.answer = SetAnswer::Old;
        } else if is(&option, "KEEPTTL") && expiry.is_none() {
            set.expiry = SetExpiry::Keep;
        } else {
            if set.expiry == SetExpiry::Keep {
                return Err(ReplyError::SYNTAX);
            }
            expiry = Some(expiry_option(&option, expiry, &mut arguments)?);
        }
    }
    if let Some((unit, text)) = expiry {
        set.expiry = SetExpiry::At(unit.positive(&text, command)?);
    }
    step(StringStep::Set(set))
}

/// An option that says when, if it is one, and does not contradict the one before.
fn expiry_option(
    option: &[u8],
    before: Option<(Unit, Bytes)>,
    arguments: &mut Arguments,
) -> Result<(Unit, Bytes), ReplyError> {
    let unit = Unit::of_option(option).ok_or(ReplyError::SYNTAX)?;
    if before.is_some_and(|(before, _)| before != unit) {
        return Err(ReplyError::SYNTAX);
    }
    Ok((unit, arguments.take()?))
}

fn plain_set(key: Bytes, value: Bytes, command: &'static str) -> Set {
    let (expiry, answer) = (SetExpiry::Never, SetAnswer::Ok);
    Set { key, value, expiry, only_if_present: None, answer, command }
}

pub(crate) fn getset(mut arguments: Arguments) -> Parsed {
    let set = plain_set(arguments.take()?, arguments.take()?, arguments.command());
    step(StringStep::Set(Set { answer: SetAnswer::Old, ..set }))
}

pub(crate) fn setnx(mut arguments: Arguments) -> Parsed {
    let set = plain_set(arguments.take()?, arguments.take()?, arguments.command());
    let (only_if_present, answer) = (Some(false), SetAnswer::Flag);
    step(StringStep::Set(Set { only_if_present, answer, ..set }))
}

pub(crate) fn setex(arguments: Arguments) -> Parsed {
    set_in(arguments, Unit::EX)
}

pub(crate) fn psetex(arguments: Arguments) -> Parsed {
    set_in(arguments, Unit::PX)
}

fn set_in(mut arguments: Arguments, unit: Unit) -> Parsed {
    let command = arguments.command();
    let (key, text) = (arguments.take()?, arguments.take()?);
    let set = plain_set(key, arguments.take()?, command);
    let expiry = SetExpiry::At(unit.positive(&text, command)?);
    step(StringStep::Set(Set { expiry, ..set }))
}

pub(crate) fn getex(mut arguments: Arguments) -> Parsed {
    let (command, key) = (arguments.command(), arguments.take()?);
    let (mut persist, mut expiry) = (false, None);
    while let Some(option) = arguments.next() {
        if is(&option, "PERSIST") && expiry.is_none() {
            persist = true;
        } else if persist {
            return Err(ReplyError::SYNTAX);
        } else {
            expiry = Some(expiry_option(&option, expiry, &mut arguments)?);
        }
    }
    let change = match expiry {
        Some((unit, text)) => ExpiryChange::At(unit.positive(&text, command)),
        None if persist => ExpiryChange::Persist,
        None => ExpiryChange::Nothing,
    };
    step(StringStep::GetEx(GetEx { key, change }))
}

pub(crate) fn getrange(mut arguments: Arguments) -> Parsed {
    let key = arguments.take()?;
    let (start, end) = (arguments.take_integer()?, arguments.take_integer()?);
    step(StringStep::GetRange { key, start, end })
}

pub(crate) fn substr(arguments: Arguments) -> Parsed {
    getrange(arguments)
}

pub(crate) fn mset(arguments: Arguments) -> Parsed {
    step(StringStep::MSet(pairs(arguments)?))
}

pub(crate) fn msetnx(arguments: Arguments) -> Parsed {
    step(StringStep::MSetNx(pairs(arguments)?))
}

fn pairs(arguments: Arguments) -> Result<Vec<Bytes>, ReplyError> {
    match arguments.len() % 2 {
        0 => Ok(arguments.all()),
        _ => Err(arguments.wrong_number()),
    }
}

pub(crate) fn append(mut arguments: Arguments) -> Parsed {
    step(StringStep::Append { key: arguments.take()?, value: arguments.take()? })
}

pub(crate) fn setrange(mut arguments: Arguments) -> Parsed {
    let (key, offset) = (arguments.take()?, arguments.take_integer()?);
    let offset =
        u64::try_from(offset).map_err(|_| ReplyError::new("ERR offset is out of range"))?;
    step(StringStep::SetRange { key, offset, value: arguments.take()? })
}

pub(crate) fn incr(mut arguments: Arguments) -> Parsed {
    step(StringStep::Incr { key: arguments.take()?, by: 1 })
}

pub(crate) fn decr(mut arguments: Arguments) -> Parsed {
    step(StringStep::Incr { key: arguments.take()?, by: -1 })
}

pub(crate) fn incrby(mut arguments: Arguments) -> Parsed {
    step(StringStep::Incr { key: arguments.take()?, by: arguments.take_integer()? })
}

pub(crate) fn decrby(mut arguments: Arguments) -> Parsed {
    let key = arguments.take()?;
    let by = arguments.take_integer()?.checked_neg();
    let by = by.ok_or(ReplyError::new("ERR decrement would overflow"))?;
    step(StringStep::Incr { key, by })
}

pub(crate) fn incrbyfloat(mut arguments: Arguments) -> Parsed {
    let key = arguments.take()?;
    let by = Addend::parse(&arguments.take()?).ok_or(ReplyError::NOT_A_FLOAT)?;
    step(StringStep::IncrByFloat { key, by })
}
