//! The Redis commands on keys and values, decided: what each reads, and what it makes of that.

use bytes::Bytes;

use super::failure_log;
use super::step::{Needs, Step};
use crate::batch::Batch;
use crate::error::KvsError;
use crate::protocol::resp::string_step::SetAnswer;
use crate::protocol::resp::{ReplyError, RespReplies, StringStep};
use crate::store::Versioned;

mod failure;
mod strings;
mod numbers;
mod keys;
mod expiry;

pub(crate) use failure::reply_error;

use expiry::{decide_expire, decide_getex, decide_persist, decide_ttl};
use keys::{
    decide_copy, decide_del, decide_exists, decide_memory_usage, decide_object, decide_rename,
    decide_type,
};
use numbers::{decide_incr, decide_incr_by_float};
use strings::{
    decide_append, decide_getdel, decide_getrange, decide_mset, decide_msetnx, decide_set,
    decide_setrange,
};

/// What was read, in the order of the keys that were asked for.
type Read<'a> = &'a [Option<Versioned>];

/// What a step is decided on, and where its writes and its reply go.
struct Decision<'a> {
    read: Read<'a>,
    now_ms: u64,
    batch: &'a mut Batch,
    replies: &'a mut RespReplies,
}

impl<'a> Decision<'a> {
    /// What the first key has.
    fn current(&self) -> Option<&'a Versioned> {
        self.read.first().and_then(Option::as_ref)
    }

    /// The value of the first key.
    fn value(&self) -> Option<&'a [u8]> {
        self.current().map(|found| &found.value[..])
    }

    /// Writes a key; one that has expired by then is removed.
    fn put(&mut self, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) {
        match expires_at_ms {
            None => self.batch.set(key, value),
            Some(at_ms) if at_ms > self.now_ms => self.batch.set_until(key, value, at_ms),
            Some(_) => self.batch.remove(key),
        };
    }
}

impl Step for StringStep {
    type Replies = RespReplies;

    fn reads(&self, keys: &mut Vec<Bytes>) {
        match self {
            StringStep::Set(set) if !set.reads() => {}
            StringStep::MSet(_) => {}
            StringStep::Rename { from, only_if_absent: false, .. }
            | StringStep::Copy { from, replace: true, .. } => keys.push(from.clone()),
            StringStep::Rename { from, to, .. } | StringStep::Copy { from, to, .. } => {
                keys.extend([from.clone(), to.clone()]);
            }
            StringStep::MSetNx(pairs) => keys.extend(pairs.iter().step_by(2).cloned()),
            StringStep::MGet(all) | StringStep::Del(all) | StringStep::Exists(all) => {
                keys.extend_from_slice(all);
            }
            StringStep::Set(set) => keys.push(set.key.clone()),
            StringStep::GetEx(getex) => keys.push(getex.key.clone()),
            StringStep::Expire(expire) => keys.push(expire.key.clone()),
            StringStep::Get(key)
            | StringStep::GetDel(key)
            | StringStep::Strlen(key)
            | StringStep::Type(key)
            | StringStep::MemoryUsage(key)
            | StringStep::Persist(key)
            | StringStep::GetRange { key, .. }
            | StringStep::Append { key, .. }
            | StringStep::SetRange { key, .. }
            | StringStep::Incr { key, .. }
            | StringStep::IncrByFloat { key, .. }
            | StringStep::Object { key, .. }
            | StringStep::Ttl { key, .. } => keys.push(key.clone()),
        }
    }

    fn writes(&self, keys: &mut Vec<Bytes>) {
        match self {
            StringStep::Get(_)
            | StringStep::Strlen(_)
            | StringStep::Type(_)
            | StringStep::MemoryUsage(_)
            | StringStep::GetRange { .. }
            | StringStep::MGet(_)
            | StringStep::Exists(_)
            | StringStep::Object { .. }
            | StringStep::Ttl { .. } => {}
            StringStep::Rename { from, to, .. } => keys.extend([from.clone(), to.clone()]),
            StringStep::Copy { to, .. } => keys.push(to.clone()),
            StringStep::MSet(pairs) | StringStep::MSetNx(pairs) => {
                keys.extend(pairs.iter().step_by(2).cloned());
            }
            StringStep::Del(all) => keys.extend_from_slice(all),
            StringStep::Set(set) => keys.push(set.key.clone()),
            StringStep::GetEx(getex) if !getex.writes() => {}
            StringStep::GetEx(getex) => keys.push(getex.key.clone()),
            StringStep::Expire(expire) => keys.push(expire.key.clone()),
            StringStep::GetDel(key)
            | StringStep::Persist(key)
            | StringStep::Append { key, .. }
            | StringStep::SetRange { key, .. }
            | StringStep::Incr { key, .. }
            | StringStep::IncrByFloat { key, .. } => keys.push(key.clone()),
        }
    }

    fn needs(&self) -> Needs {
        match self {
            StringStep::MGet(_) => Needs::Answer { bytes_max: usize::MAX },
            StringStep::Del(_)
            | StringStep::Exists(_)
            | StringStep::MSetNx(_)
            | StringStep::Type(_)
            | StringStep::Ttl { .. } => Needs::Versions,
            StringStep::Set(set) if set.answer != SetAnswer::Old => Needs::Versions,
            _ => Needs::Values,
        }
    }

    fn made_bytes(&self, read: &[Option<Versioned>]) -> usize {
        let old = read.first().and_then(Option::as_ref).map_or(0, |found| found.value.len());
        match self {
            StringStep::Append { value, .. } => old.saturating_add(value.len()),
            StringStep::SetRange { offset, value, .. } if !value.is_empty() => {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                start.saturating_add(value.len()).max(old)
            }
            _ => 0,
        }
    }

    fn decide(
        &self,
        read: &[Option<Versioned>],
        now_ms: u64,
        batch: &mut Batch,
        replies: &mut RespReplies,
    ) {
        let decision = Decision { read, now_ms, batch, replies: &mut *replies };
        let decided = match self {
            StringStep::Get(_) => {
                decision.replies.bulk_or_null(decision.value());
                Ok(())
            }
            StringStep::Set(set) => decide_set(set, decision),
            StringStep::MGet(_) => {
                decision.replies.array(read.len());
                for found in read {
                    let value = found.as_ref().map(|found| &found.value[..]);
                    decision.replies.bulk_or_null(value);
                }
                Ok(())
            }
            StringStep::Strlen(_) => {
                decision.replies.count(decision.value().map_or(0, <[u8]>::len));
                Ok(())
            }
            StringStep::GetDel(key) => decide_getdel(key, decision),
            StringStep::GetEx(getex) => decide_getex(getex, decision),
            StringStep::GetRange { start, end, .. } => decide_getrange(*start, *end, decision),
            StringStep::MSet(pairs) => decide_mset(pairs, decision),
            StringStep::MSetNx(pairs) => decide_msetnx(pairs, decision),
            StringStep::Append { key, value } => decide_append(key, value, decision),
            StringStep::SetRange { key, offset, value } => {
                decide_setrange(key, *offset, value, decision)
            }
            StringStep::Incr { key, by } => decide_incr(key, *by, decision),
            StringStep::IncrByFloat { key, by } => decide_incr_by_float(key, by, decision),
            StringStep::Del(keys) => decide_del(keys, decision),
            StringStep::Exists(_) => decide_exists(decision),
            StringStep::Type(_) => decide_type(decision),
            StringStep::Rename { from, to, only_if_absent } => {
                decide_rename(from, to, *only_if_absent, decision)
            }
            StringStep::Copy { to, replace, .. } => decide_copy(to, *replace, decision),
            StringStep::Object { aspect, .. } => decide_object(*aspect, decision),
            StringStep::MemoryUsage(key) => decide_memory_usage(key, decision),
            StringStep::Expire(expire) => decide_expire(expire, decision),
            StringStep::Ttl { is_absolute, in_ms, .. } => {
                decide_ttl(*is_absolute, *in_ms, decision)
            }
            StringStep::Persist(key) => decide_persist(key, decision),
        };
        if let Err(error) = decided {
            replies.error(&error);
        }
    }

    fn fail(&self, error: &KvsError, replies: &mut RespReplies) {
        failure_log::note(error, |keys| {
            self.reads(keys);
            self.writes(keys);
        });
        replies.error(&reply_error(error));
    }
}

/// What a step decides: it wrote and replied, or this is its reply.
type Decided = Result<(), ReplyError>;

#[cfg(test)]
mod tests;
