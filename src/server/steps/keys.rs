//! Keys: whether they are there, and giving their values other keys.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Decided, Decision};
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::number::integer;
use crate::protocol::resp::string_step::Aspect;

/// The longest value that Redis keeps in one piece with its object.
const EMBEDDED_BYTES_MAX: usize = 44;
/// The numbers that Redis keeps once for all keys, and how often it says that they are used.
const SHARED_NUMBERS: std::ops::Range<i64> = 0..10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;
/// What a key takes beside itself and its value: the head of its record, and its place in the
/// index.
const KEY_BYTES: usize = 48;

pub(super) fn decide_del(keys: &[Bytes], decision: Decision<'_>) -> Decided {
    let (mut removed, mut count) = (HashSet::new(), 0);
    for (key, found) in keys.iter().zip(decision.read) {
        // A single key, as usual, needs no set.
        if found.is_some() && (keys.len() == 1 || removed.insert(key)) {
            decision.batch.remove(key);
            count += 1;
        }
    }
    decision.replies.count(count);
    Ok(())
}

pub(super) fn decide_exists(decision: Decision<'_>) -> Decided {
    decision.replies.count(decision.read.iter().flatten().count());
    Ok(())
}

pub(super) fn decide_type(decision: Decision<'_>) -> Decided {
    let kind = if decision.current().is_some() { "string" } else { "none" };
    decision.replies.simple(kind);
    Ok(())
}

pub(super) fn decide_rename(
    from: &[u8],
    to: &[u8],
    only_if_absent: bool,
    mut decision: Decision<'_>,
) -> Decided {
    let found = decision.current().ok_or(ReplyError::NO_SUCH_KEY)?;
    let is_taken = decision.read.get(1).is_some_and(Option::is_some);
    if from != to && !(only_if_absent && is_taken) {
        decision.put(to, &found.value, found.expires_at_ms);
        decision.batch.remove(from);
    }
    match only_if_absent {
        true => decision.replies.flag(!is_taken),
        false => decision.replies.ok(),
    }
    Ok(())
}

pub(super) fn decide_copy(to: &[u8], replace: bool, mut decision: Decision<'_>) -> Decided {
    let is_taken = decision.read.get(1).is_some_and(Option::is_some);
    let found = decision.current().filter(|_| replace || !is_taken);
    if let Some(found) = found {
        decision.put(to, &found.value, found.expires_at_ms);
    }
    decision.replies.flag(found.is_some());
    Ok(())
}

pub(super) fn decide_object(aspect: Aspect, decision: Decision<'_>) -> Decided {
    let Some(found) = decision.current() else {
        decision.replies.null();
        return Ok(());
    };
    let number = integer(&found.value);
    match aspect {
        Aspect::Encoding => decision.replies.bulk(match number {
            Some(_) => b"int",
            None if found.value.len() <= EMBEDDED_BYTES_MAX => b"embstr",
            None => b"raw",
        }),
        Aspect::References => decision.replies.integer(match number {
            Some(number) if SHARED_NUMBERS.contains(&number) => SHARED_REFERENCES,
            _ => 1,
        }),
        Aspect::IdleTime => decision.replies.integer(0),
        Aspect::Frequency => {
            let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                Please note that when switching between policies at runtime LRU and LFU data will \
                take some time to adjust.";
            return Err(ReplyError::new(text));
        }
    }
    Ok(())
}

pub(super) fn decide_memory_usage(key: &[u8], decision: Decision<'_>) -> Decided {
    match decision.current() {
        Some(found) => decision.replies.count(key.len() + found.value.len() + KEY_BYTES),
        None => decision.replies.null(),
    }
    Ok(())
}
