//! The commands of the project's own protocol on keys and values, as steps.

use bytes::Bytes;

use crate::batch::{Batch, Expected};
use crate::error::KvsError;
use crate::options::{Durability, Expiry};
use crate::protocol::frame::to_u64;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    AppendResponse, CompareAndSwapResponse, Error, ExpireResponse, IncrementResponse,
};
use crate::protocol::proto::reply::{self, PLACE};
use crate::protocol::proto::request::{Action, CompareAndSwap, KeyCommand, Operation};
use crate::server::step::{Needs, Replies, Step};
use crate::store::{Versioned, Written, parse_integer};

/// A command with what its response needs.
pub(crate) struct ProtoStep {
    /// That of the request.
    pub(crate) id: u64,
    pub(crate) command: KeyCommand,
    /// The largest frame that can be answered with.
    pub(crate) frame_bytes_max: usize,
    /// The longest value that the server takes.
    pub(crate) value_bytes_max: usize,
}

/// Frames, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct ProtoReplies(pub(crate) Vec<u8>);

impl Replies for ProtoReplies {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Step for ProtoStep {
    type Replies = ProtoReplies;

    fn reads(&self, keys: &mut Vec<Bytes>) {
        match &self.command.action {
            Action::Get { key, .. }
            | Action::Set { key, expiry: Expiry::Keep, .. }
            | Action::CompareAndSwap(CompareAndSwap { key, .. })
            | Action::Increment { key, .. }
            | Action::Append { key, .. }
            | Action::Expire { key, .. } => keys.push(key.clone()),
            Action::GetMany { keys: all, .. } => keys.extend_from_slice(all),
            Action::Batch { operations, .. } => keys.extend(kept(operations).cloned()),
            Action::Set { .. } | Action::Remove { .. } => {}
        }
    }

    fn writes(&self, keys: &mut Vec<Bytes>) {
        match &self.command.action {
            Action::Get { .. } | Action::GetMany { .. } => {}
            Action::Set { key, .. }
            | Action::Remove { key, .. }
            | Action::CompareAndSwap(CompareAndSwap { key, .. })
            | Action::Increment { key, .. }
            | Action::Append { key, .. }
            | Action::Expire { key, .. } => keys.push(key.clone()),
            Action::Batch { operations, .. } => {
                keys.extend(operations.iter().map(|operation| key_of(operation).clone()));
            }
        }
    }

    fn needs(&self) -> Needs {
        match &self.command.action {
            Action::GetMany { without_values: false, .. } => {
                Needs::Answer { bytes_max: self.frame_bytes_max }
            }
            Action::Get { without_value: true, .. }
            | Action::GetMany { without_values: true, .. }
            | Action::Set { .. }
            | Action::Batch { .. } => Needs::Versions,
            _ => Needs::Values,
        }
    }

    fn decide(
        &self,
        read: &[Option<Versioned>],
        now_ms: u64,
        batch: &mut Batch,
        replies: &mut ProtoReplies,
    ) {
        let current = read.first().and_then(Option::as_ref);
        let answer = match &self.command.action {
            Action::Get { without_value, .. } => {
                let limit = self.frame_bytes_max;
                return reply::put_get(&mut replies.0, limit, self.id, current, *without_value);
            }
            Action::GetMany { without_values, .. } => {
                let limit = self.frame_bytes_max;
                return reply::put_get_many(&mut replies.0, limit, self.id, read, *without_values);
            }
            Action::Set { key, value, expiry, condition } => {
                require(key, condition.as_ref(), batch);
                set(key, value, *expiry, current, now_ms, batch).map(|()| Kind::Write(PLACE))
            }
            Action::Remove { key, condition } => {
                require(key, condition.as_ref(), batch);
                batch.remove(key);
                Ok(Kind::Write(PLACE))
            }
            Action::Batch { requirements, operations } => {
                requirements.iter().for_each(|(key, it)| require(key, Some(it), batch));
                put_all(operations, read, now_ms, batch).map(|()| Kind::Write(PLACE))
            }
            Action::CompareAndSwap(it) => {
                if !is_as_expected(&it.expected, current) {
                    let (limit, without) = (self.frame_bytes_max, it.without_current_value);
                    let out = &mut replies.0;
                    return reply::put_not_swapped(out, limit, self.id, current, without);
                }
                let put = match &it.value {
                    Some(value) => set(&it.key, value, it.expiry, current, now_ms, batch),
                    None => {
                        batch.remove(&it.key);
                        Ok(())
                    }
                };
                let swap = CompareAndSwapResponse { current: None, written: Some(PLACE) };
                put.map(|()| Kind::CompareAndSwap(swap))
            }
            Action::Increment { key, by } => increment(key, *by, current, batch),
            Action::Append { key, value } => {
                append(key, value, self.value_bytes_max, current, batch)
            }
            Action::Expire { key, expiry } => {
                expire(key, *expiry, current, now_ms, batch).map(Kind::Expire)
            }
        };
        match answer {
            Ok(kind) => reply::put(&mut replies.0, self.frame_bytes_max, self.id, kind),
            Err(error) => {
                // What was put into it before the error was found.
                batch.clear();
                self.fail(&error, replies);
            }
        }
    }

    fn complete(&self, written: Written, reply: &mut [u8]) {
        reply::complete(reply, written);
    }

    fn fail(&self, error: &KvsError, replies: &mut ProtoReplies) {
        let may_write = !matches!(self.command.action, Action::Get { .. } | Action::GetMany { .. });
        reply::put_error(&mut replies.0, self.id, Error::of(error, may_write));
    }

    fn durability(&self) -> Option<Durability> {
        self.command.durability
    }
}

fn key_of(operation: &Operation) -> &Bytes {
    match operation {
        Operation::Set { key, .. } | Operation::Remove { key } => key,
    }
}

/// The keys whose expiry stays.
fn kept(operations: &[Operation]) -> impl Iterator<Item = &Bytes> {
    operations.iter().filter_map(|operation| match operation {
        Operation::Set { key, expiry: Expiry::Keep, .. } => Some(key),
        _ => None,
    })
}

fn require(key: &Bytes, expected: Option<&Expected>, batch: &mut Batch) {
    if let Some(expected) = expected {
        batch.require(key, expected.clone());
    }
}

fn set(
    key: &Bytes,
    value: &Bytes,
    expiry: Expiry,
    current: Option<&Versioned>,
    now_ms: u64,
    batch: &mut Batch,
) -> Result<(), KvsError> {
    match expires_at_ms(expiry, current, now_ms)? {
        Some(at_ms) => batch.set_until(key, value, at_ms),
        None => batch.set(key, value),
    };
    Ok(())
}

/// When a key is to expire; none: never. What is not in the future is an error here already: an
/// engine that refuses it cannot tell it from an expiry that has passed meanwhile.
fn expires_at_ms(
    expiry: Expiry,
    current: Option<&Versioned>,
    now_ms: u64,
) -> Result<Option<u64>, KvsError> {
    let at_ms = match expiry {
        Expiry::Never => return Ok(None),
        // It may have expired since it was read: then there is no expiry to keep.
        Expiry::Keep => {
            let kept = current.and_then(|current| current.expires_at_ms);
            return Ok(kept.filter(|at_ms| *at_ms > now_ms));
        }
        Expiry::AfterMs(ms) => now_ms.saturating_add(ms),
        Expiry::AtMs(at_ms) => at_ms,
    };
    match at_ms > now_ms {
        true => Ok(Some(at_ms)),
        false => Err(KvsError::InvalidExpiry { expires_at_ms: at_ms, now_ms }),
    }
}

fn put_all(
    operations: &[Operation],
    read: &[Option<Versioned>],
    now_ms: u64,
    batch: &mut Batch,
) -> Result<(), KvsError> {
    let mut read = read.iter();
    for operation in operations {
        match operation {
            Operation::Set { key, value, expiry } => {
                let current = match expiry {
                    Expiry::Keep => read.next().and_then(Option::as_ref),
                    _ => None,
                };
                set(key, value, *expiry, current, now_ms, batch)?;
            }
            Operation::Remove { key } => drop(batch.remove(key)),
        }
    }
    Ok(())
}

fn is_as_expected(expected: &Expected, current: Option<&Versioned>) -> bool {
    match expected {
        Expected::Absent => current.is_none(),
        Expected::Present => current.is_some(),
        Expected::Version(version) => current.is_some_and(|current| current.seq == *version),
        Expected::Value(value) => current.is_some_and(|current| *current.value == **value),
    }
}

fn increment(
    key: &Bytes,
    by: i64,
    current: Option<&Versioned>,
    batch: &mut Batch,
) -> Result<Kind, KvsError> {
    let number = match current {
        None => 0,
        Some(current) => parse_integer(&current.value)
            .ok_or_else(|| KvsError::NotAnInteger { key: key.to_vec() })?,
    };
    let overflow = || KvsError::IntegerOverflow { key: key.to_vec(), by };
    let sum = number.checked_add(by).ok_or_else(overflow)?;
    put_kept(key, sum.to_string().as_bytes(), current, batch);
    Ok(Kind::Increment(IncrementResponse { sum, written: Some(PLACE) }))
}

fn append(
    key: &Bytes,
    value: &Bytes,
    value_bytes_max: usize,
    current: Option<&Versioned>,
    batch: &mut Batch,
) -> Result<Kind, KvsError> {
    let old = current.map(|current| &*current.value).unwrap_or_default();
    let len = old.len().saturating_add(value.len());
    // Before it is put together: it may be far too long.
    if len > value_bytes_max {
        return Err(KvsError::ValueTooLarge { bytes: len, limit: value_bytes_max });
    }
    put_kept(key, &[old, value].concat(), current, batch);
    Ok(Kind::Append(AppendResponse { value_bytes: to_u64(len), written: Some(PLACE) }))
}

fn expire(
    key: &Bytes,
    expiry: Expiry,
    current: Option<&Versioned>,
    now_ms: u64,
    batch: &mut Batch,
) -> Result<ExpireResponse, KvsError> {
    let at_ms = expires_at_ms(expiry, current, now_ms)?;
    let Some(current) = current else {
        return Ok(ExpireResponse { existed: false, written: None });
    };
    match at_ms {
        // A key that does not expire stays as it is.
        None if current.expires_at_ms.is_none() => {
            return Ok(ExpireResponse { existed: true, written: None });
        }
        None => batch.set(key, &current.value),
        Some(at_ms) => batch.set_until(key, &current.value, at_ms),
    };
    Ok(ExpireResponse { existed: true, written: Some(PLACE) })
}

/// Sets a key, whose expiry stays.
fn put_kept(key: &Bytes, value: &[u8], current: Option<&Versioned>, batch: &mut Batch) {
    match current.and_then(|current| current.expires_at_ms) {
        Some(at_ms) => batch.set_until(key, value, at_ms),
        None => batch.set(key, value),
    };
}

#[cfg(test)]
#[path = "proto_steps_tests.rs"]
mod tests;
