//! Values, as numbers.

use super::{Decided, Decision};
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::decimal::Addend;
use crate::protocol::resp::number::{integer, integer_bytes};

pub(super) fn decide_incr(key: &[u8], by: i64, mut decision: Decision<'_>) -> Decided {
    let found = decision.current();
    let before = match found {
        Some(found) => integer(&found.value).ok_or(ReplyError::NOT_AN_INTEGER)?,
        None => 0,
    };
    let text = "ERR increment or decrement would overflow";
    let sum = before.checked_add(by).ok_or(ReplyError::new(text))?;
    decision.put(key, &integer_bytes(sum), found.and_then(|found| found.expires_at_ms));
    decision.replies.integer(sum);
    Ok(())
}

pub(super) fn decide_incr_by_float(key: &[u8], by: &Addend, mut decision: Decision<'_>) -> Decided {
    let found = decision.current();
    let before = found.map_or(&b"0"[..], |found| &found.value[..]);
    let before = Addend::parse(before).ok_or(ReplyError::NOT_A_FLOAT)?;
    let text = "ERR increment would produce NaN or Infinity";
    let sum = before.sum(by).ok_or(ReplyError::new(text))?;
    decision.put(key, &sum, found.and_then(|found| found.expires_at_ms));
    decision.replies.bulk(&sum);
    Ok(())
}
