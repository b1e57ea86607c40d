//! The commands on keys.

use super::expiry::Unit;
use crate::protocol::resp::arguments::{Arguments, is};
use crate::protocol::resp::command::{Command, DATABASES, Scan};
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::help;
use crate::protocol::resp::number::integer;
use crate::protocol::resp::string_step::{Aspect, Expire, StringStep};

type Parsed = Result<Command, ReplyError>;

const SCAN_COUNT: u64 = 10;

fn step(step: StringStep) -> Parsed {
    Ok(Command::Step(step))
}

pub(crate) fn del(arguments: Arguments) -> Parsed {
    step(StringStep::Del(arguments.all()))
}

pub(crate) fn unlink(arguments: Arguments) -> Parsed {
    del(arguments)
}

pub(crate) fn exists(arguments: Arguments) -> Parsed {
    step(StringStep::Exists(arguments.all()))
}

pub(crate) fn touch(arguments: Arguments) -> Parsed {
    exists(arguments)
}

pub(crate) fn kind(mut arguments: Arguments) -> Parsed {
    step(StringStep::Type(arguments.take()?))
}

pub(crate) fn rename(mut arguments: Arguments) -> Parsed {
    let (from, to) = (arguments.take()?, arguments.take()?);
    step(StringStep::Rename { from, to, only_if_absent: false })
}

pub(crate) fn renamenx(mut arguments: Arguments) -> Parsed {
    let (from, to) = (arguments.take()?, arguments.take()?);
    step(StringStep::Rename { from, to, only_if_absent: true })
}

pub(crate) fn copy(mut arguments: Arguments) -> Parsed {
    let (from, to) = (arguments.take()?, arguments.take()?);
    let mut replace = false;
    while let Some(option) = arguments.next() {
        if is(&option, "REPLACE") {
            replace = true;
        } else if is(&option, "DB") {
            database(&mut arguments)?;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    if from == to {
        return Err(ReplyError::new("ERR source and destination objects are the same"));
    }
    step(StringStep::Copy { from, to, replace })
}

/// The number of a database, one that there is.
pub(super) fn database(arguments: &mut Arguments) -> Result<u32, ReplyError> {
    let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
    let database = i32::try_from(arguments.take_integer()?);
    let database = database.map_err(|_| ReplyError::new(text))?;
    let database = u32::try_from(database).ok().filter(|database| *database < DATABASES);
    database.ok_or(ReplyError::NO_SUCH_DATABASE)
}

pub(crate) fn randomkey(_: Arguments) -> Parsed {
    Ok(Command::RandomKey)
}

pub(crate) fn keys(mut arguments: Arguments) -> Parsed {
    Ok(Command::Keys(arguments.take()?))
}

pub(crate) fn scan(mut arguments: Arguments) -> Parsed {
    let cursor = cursor(&arguments.take()?).ok_or(ReplyError::new("ERR invalid cursor"))?;
    let mut scan = Scan { cursor, pattern: None, count: SCAN_COUNT, wants_strings: true };
    while let Some(option) = arguments.next() {
        let mut value = || arguments.take();
        if is(&option, "COUNT") {
            let count = integer(&value()?).ok_or(ReplyError::NOT_AN_INTEGER)?;
            let count = u64::try_from(count).ok().filter(|count| *count > 0);
            scan.count = count.ok_or(ReplyError::SYNTAX)?;
        } else if is(&option, "MATCH") {
            let pattern = value()?;
            scan.pattern = (pattern != "*").then_some(pattern);
        } else if is(&option, "TYPE") {
            scan.wants_strings = is(&value()?, "string");
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    Ok(Command::Scan(scan))
}

/// A cursor, which Redis reads less strictly than other numbers: also with a sign, with zeros
/// before it, or empty.
fn cursor(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if is_negative { value.wrapping_neg() } else { value })
}

pub(crate) fn expire(arguments: Arguments) -> Parsed {
    expire_at(arguments, Unit::EX)
}

pub(crate) fn pexpire(arguments: Arguments) -> Parsed {
    expire_at(arguments, Unit::PX)
}

pub(crate) fn expireat(arguments: Arguments) -> Parsed {
    expire_at(arguments, Unit::EXAT)
}

pub(crate) fn pexpireat(arguments: Arguments) -> Parsed {
    expire_at(arguments, Unit::PXAT)
}

fn expire_at(mut arguments: Arguments, unit: Unit) -> Parsed {
    let (command, key, text) = (arguments.command(), arguments.take()?, arguments.take()?);
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    while let Some(option) = arguments.next() {
        let options = [("NX", &mut nx), ("XX", &mut xx), ("GT", &mut gt), ("LT", &mut lt)];
        match options.into_iter().find(|(name, _)| is(&option, name)) {
            Some((_, given)) => *given = true,
            None => return Err(ReplyError::quoting("ERR Unsupported option ", &option, "")),
        }
    }
    if nx && (xx || gt || lt) {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(ReplyError::new(text));
    }
    if gt && lt {
        let text = "ERR GT and LT options at the same time are not compatible";
        return Err(ReplyError::new(text));
    }
    let moment = unit.moment(&text, command)?;
    let only_if_expiring = (nx || xx).then_some(xx);
    let only_if_later = (gt || lt).then_some(gt);
    step(StringStep::Expire(Expire { key, moment, only_if_expiring, only_if_later, command }))
}

pub(crate) fn ttl(arguments: Arguments) -> Parsed {
    ttl_in(arguments, Unit::EX)
}

pub(crate) fn pttl(arguments: Arguments) -> Parsed {
    ttl_in(arguments, Unit::PX)
}

pub(crate) fn expiretime(arguments: Arguments) -> Parsed {
    ttl_in(arguments, Unit::EXAT)
}

pub(crate) fn pexpiretime(arguments: Arguments) -> Parsed {
    ttl_in(arguments, Unit::PXAT)
}

fn ttl_in(mut arguments: Arguments, Unit { is_absolute, in_ms }: Unit) -> Parsed {
    step(StringStep::Ttl { key: arguments.take()?, is_absolute, in_ms })
}

pub(crate) fn persist(mut arguments: Arguments) -> Parsed {
    step(StringStep::Persist(arguments.take()?))
}

pub(crate) fn object_encoding(arguments: Arguments) -> Parsed {
    object(arguments, Aspect::Encoding)
}

pub(crate) fn object_freq(arguments: Arguments) -> Parsed {
    object(arguments, Aspect::Frequency)
}

pub(crate) fn object_idletime(arguments: Arguments) -> Parsed {
    object(arguments, Aspect::IdleTime)
}

pub(crate) fn object_refcount(arguments: Arguments) -> Parsed {
    object(arguments, Aspect::References)
}

fn object(mut arguments: Arguments, aspect: Aspect) -> Parsed {
    step(StringStep::Object { key: arguments.take()?, aspect })
}

pub(crate) fn object_help(_: Arguments) -> Parsed {
    Ok(Command::Help(help::OBJECT))
}

pub(crate) fn wait(mut arguments: Arguments) -> Parsed {
    arguments.take_integer()?;
    check_timeout(&mut arguments)?;
    Ok(Command::Wait)
}

pub(crate) fn waitaof(mut arguments: Arguments) -> Parsed {
    let local = match arguments.take_integer()? {
        0 => false,
        1 => true,
        _ => return Err(ReplyError::new("ERR value is out of range, value must between 0 and 1")),
    };
    arguments.take_from(0, "ERR value is out of range, must be positive")?;
    check_timeout(&mut arguments)?;
    Ok(Command::WaitAof { local })
}

fn check_timeout(arguments: &mut Arguments) -> Result<(), ReplyError> {
    let text = arguments.take()?;
    let timeout =
        integer(&text).ok_or(ReplyError::new("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 { Err(ReplyError::new("ERR timeout is negative")) } else { Ok(()) }
}
