//! When a key is to expire, as arguments say it.

use bytes::Bytes;

use crate::protocol::resp::arguments::is;
use crate::protocol::resp::error::ReplyError;
use crate::protocol::resp::number::integer;
use crate::protocol::resp::string_step::Moment;

const MS_PER_SECOND: i64 = 1000;

/// How a moment is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) is_absolute: bool,
    pub(super) in_ms: bool,
}

impl Unit {
    pub(super) const EX: Unit = Unit { is_absolute: false, in_ms: false };
    pub(super) const PX: Unit = Unit { is_absolute: false, in_ms: true };
    pub(super) const EXAT: Unit = Unit { is_absolute: true, in_ms: false };
    pub(super) const PXAT: Unit = Unit { is_absolute: true, in_ms: true };

    /// That of an option, if it is one.
    pub(super) fn of_option(option: &[u8]) -> Option<Unit> {
        let options =
            [("EX", Unit::EX), ("PX", Unit::PX), ("EXAT", Unit::EXAT), ("PXAT", Unit::PXAT)];
        options.into_iter().find(|(name, _)| is(option, name)).map(|(_, unit)| unit)
    }

    /// A moment; it may be past.
    pub(super) fn moment(self, text: &[u8], command: &str) -> Result<Moment, ReplyError> {
        let value = integer(text).ok_or(ReplyError::NOT_AN_INTEGER)?;
        let value = match self.in_ms {
            true => Some(value),
            false => value.checked_mul(MS_PER_SECOND),
        };
        let value = value.ok_or_else(|| ReplyError::invalid_expiry(command))?;
        Ok(if self.is_absolute { Moment::At(value) } else { Moment::After(value) })
    }

    /// A moment; what is not positive is an error.
    pub(super) fn positive(self, text: &Bytes, command: &str) -> Result<Moment, ReplyError> {
        match self.moment(text, command)? {
            Moment::After(..=0) | Moment::At(..=0) => Err(ReplyError::invalid_expiry(command)),
            moment => Ok(moment),
        }
    }
}
