//! Values, as bytes.

use bytes::Bytes;

use super::{Decided, Decision};
use crate::options::VALUE_BYTES_MAX;
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::string_step::{Set, SetAnswer, SetExpiry};

impl Set {
    /// Whether it must know what was there.
    pub(super) fn reads(&self) -> bool {
        self.only_if_present.is_some()
            || self.answer == SetAnswer::Old
            || self.expiry == SetExpiry::Keep
    }
}

pub(super) fn decide_set(set: &Set, mut decision: Decision<'_>) -> Decided {
    let expires_at_ms = match set.expiry {
        SetExpiry::Never => None,
        SetExpiry::Keep => decision.current().and_then(|found| found.expires_at_ms),
        SetExpiry::At(moment) => {
            let at_ms = moment.at_ms(decision.now_ms);
            let at_ms = at_ms.ok_or_else(|| ReplyError::invalid_expiry(set.command))?;
            Some(at_ms.max(0).unsigned_abs())
        }
    };
    let is_present = decision.current().is_some();
    let holds = set.only_if_present.is_none_or(|wanted| wanted == is_present);
    if holds {
        decision.put(&set.key, &set.value, expires_at_ms);
    }
    match set.answer {
        SetAnswer::Ok if holds => decision.replies.ok(),
        SetAnswer::Ok => decision.replies.null(),
        SetAnswer::Old => {
            let old = decision.value();
            decision.replies.bulk_or_null(old);
        }
        SetAnswer::Flag => decision.replies.flag(holds),
    }
    Ok(())
}

pub(super) fn decide_getdel(key: &[u8], decision: Decision<'_>) -> Decided {
    let found = decision.current();
    if found.is_some() {
        decision.batch.remove(key);
    }
    decision.replies.bulk_or_null(found.map(|found| &found.value[..]));
    Ok(())
}

pub(super) fn decide_getrange(start: i64, end: i64, decision: Decision<'_>) -> Decided {
    let value = decision.value().unwrap_or_default();
    decision.replies.bulk(range(value, start, end));
    Ok(())
}

/// The bytes from one to another, both included. An end before the beginning is the first byte,
/// as in Redis before version 8.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let place = |place: i64| match usize::try_from(place) {
        Ok(place) => place,
        Err(_) => {
            let back = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
            value.len().saturating_sub(back)
        }
    };
    let end = place(end).saturating_add(1).min(value.len());
    value.get(place(start)..end).unwrap_or_default()
}

pub(super) fn decide_mset(pairs: &[Bytes], mut decision: Decision<'_>) -> Decided {
    put_pairs(pairs, &mut decision);
    decision.replies.ok();
    Ok(())
}

pub(super) fn decide_msetnx(pairs: &[Bytes], mut decision: Decision<'_>) -> Decided {
    let holds = decision.read.iter().all(Option::is_none);
    if holds {
        put_pairs(pairs, &mut decision);
    }
    decision.replies.flag(holds);
    Ok(())
}

fn put_pairs(pairs: &[Bytes], decision: &mut Decision<'_>) {
    for (key, value) in pairs.iter().step_by(2).zip(pairs.iter().skip(1).step_by(2)) {
        decision.batch.set(key, value);
    }
}

pub(super) fn decide_append(key: &[u8], more: &[u8], mut decision: Decision<'_>) -> Decided {
    let Some(found) = decision.current() else {
        decision.batch.set(key, more);
        decision.replies.count(more.len());
        return Ok(());
    };
    if found.value.len() + more.len() > VALUE_BYTES_MAX {
        return Err(ReplyError::VALUE_TOO_LONG);
    }
    let value = [&found.value[..], more].concat();
    decision.put(key, &value, found.expires_at_ms);
    decision.replies.count(value.len());
    Ok(())
}

pub(super) fn decide_setrange(
    key: &[u8],
    offset: u64,
    part: &[u8],
    mut decision: Decision<'_>,
) -> Decided {
    let found = decision.current();
    let value = found.map_or(&[][..], |found| &found.value[..]);
    if part.is_empty() {
        decision.replies.count(value.len());
        return Ok(());
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(part.len());
    if end > VALUE_BYTES_MAX {
        return Err(ReplyError::VALUE_TOO_LONG);
    }
    let mut new = Vec::with_capacity(end.max(value.len()));
    new.extend_from_slice(value.get(..start).unwrap_or(value));
    new.resize(start, 0);
    new.extend_from_slice(part);
    new.extend_from_slice(value.get(end..).unwrap_or_default());
    decision.put(key, &new, found.and_then(|found| found.expires_at_ms));
    decision.replies.count(new.len());
    Ok(())
}
