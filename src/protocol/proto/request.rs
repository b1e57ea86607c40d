//! Requests: a message, decoded, with every field checked and in the engine's own types.

use std::ops::Bound;

use bytes::Bytes;
use prost::Message;

use crate::batch::Expected;
use crate::options::{Durability, Expiry};

use super::elements;
use super::messages::request::Kind;
use super::messages::{self, Code, Error, HelloRequest, bound, operation};
use super::parts::{self, BadField};

/// A request that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) command: Command,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Hello(HelloRequest),
    Auth {
        password: Bytes,
    },
    Ping {
        payload: Bytes,
    },
    Keys(KeyCommand),
    Scan(ScanCommand),
    Watch(WatchCommand),
    /// So many pages more, for the stream with this id.
    Grant {
        pages: u32,
    },
    /// The end of the stream with this id.
    Cancel,
    Stats,
    Sync,
}

/// A command on keys and values, which a step decides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyCommand {
    pub(crate) action: Action,
    pub(crate) durability: Option<Durability>,
}

/// What becomes of keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Get {
        key: Bytes,
        without_value: bool,
    },
    GetMany {
        keys: Vec<Bytes>,
        without_values: bool,
    },
    Set {
        key: Bytes,
        value: Bytes,
        expiry: Expiry,
        condition: Option<Expected>,
    },
    Remove {
        key: Bytes,
        condition: Option<Expected>,
    },
    Batch {
        requirements: Vec<(Bytes, Expected)>,
        operations: Vec<Operation>,
    },
    CompareAndSwap(CompareAndSwap),
    Increment {
        key: Bytes,
        by: i64,
    },
    Append {
        key: Bytes,
        value: Bytes,
    },
    /// Never `Keep`.
    Expire {
        key: Bytes,
        expiry: Expiry,
    },
}

/// Sets a key, or with no value removes it, if it is as expected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CompareAndSwap {
    pub(crate) key: Bytes,
    pub(crate) expected: Expected,
    pub(crate) value: Option<Bytes>,
    pub(crate) expiry: Expiry,
    pub(crate) without_current_value: bool,
}

/// One of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Set { key: Bytes, value: Bytes, expiry: Expiry },
    Remove { key: Bytes },
}

/// A range to read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScanCommand {
    pub(crate) from: Bound<Vec<u8>>,
    pub(crate) to: Bound<Vec<u8>>,
    pub(crate) reverse: bool,
    pub(crate) without_values: bool,
    /// None: all.
    pub(crate) records_max: Option<u64>,
    pub(crate) paging: Paging,
}

/// A feed of changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WatchCommand {
    pub(crate) after: Option<u64>,
    pub(crate) prefix: Bytes,
    pub(crate) paging: Paging,
}

/// How a stream is cut into pages. 0 for a size: as the server likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paging {
    pub(crate) records: u32,
    pub(crate) bytes: u32,
    /// The pages that may come before the first grant.
    pub(crate) credit: u32,
}

/// A request that is answered with an error and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// 0: it cannot be told which, so the connection has to end.
    pub(crate) id: u64,
    pub(crate) error: Error,
}

impl Refusal {
    /// One that ends the connection.
    pub(crate) fn of_connection(code: Code, text: impl Into<String>) -> Refusal {
        Refusal { id: 0, error: Error::new(code, text) }
    }
}

impl Request {
    /// Decodes a message. Keys and values are parts of it, not copies.
    ///
    /// # Errors
    /// [`Refusal`], the answer to send.
    pub(crate) fn decode(frame: Bytes) -> Result<Request, Refusal> {
        elements::check(&frame)?;
        let message = messages::Request::decode(frame).map_err(|error| {
            Refusal::of_connection(Code::InvalidRequest, format!("no request: {error}"))
        })?;
        let id = message.id;
        if id == 0 {
            let text = "the id of a request is 0 or missing";
            return Err(Refusal::of_connection(Code::InvalidRequest, text));
        }
        let Some(kind) = message.kind else {
            let error = Error::new(Code::UnknownRequest, "a request of no known kind");
            return Err(Refusal { id, error });
        };
        let command = command(kind).map_err(|BadField(text)| Refusal {
            id,
            error: Error::new(Code::InvalidRequest, text),
        })?;
        Ok(Request { id, command })
    }
}

fn command(kind: Kind) -> Result<Command, BadField> {
    let (action, durability) = match kind {
        Kind::Hello(hello) => return Ok(Command::Hello(hello)),
        Kind::Auth(auth) => return Ok(Command::Auth { password: auth.password }),
        Kind::Ping(ping) => return Ok(Command::Ping { payload: ping.payload }),
        Kind::Scan(it) => return scan(it).map(Command::Scan),
        Kind::Watch(it) => return Ok(Command::Watch(watch(it))),
        Kind::Grant(grant) => return Ok(Command::Grant { pages: grant.pages }),
        Kind::Cancel(_) => return Ok(Command::Cancel),
        Kind::Stats(_) => return Ok(Command::Stats),
        Kind::Sync(_) => return Ok(Command::Sync),
        Kind::Get(it) => (Action::Get { key: it.key, without_value: it.without_value }, 0),
        Kind::GetMany(it) => {
            (Action::GetMany { keys: it.keys, without_values: it.without_values }, 0)
        }
        Kind::Set(it) => {
            let (expiry, condition) = (parts::expiry(it.expiry)?, condition(it.condition)?);
            (Action::Set { key: it.key, value: it.value, expiry, condition }, it.durability)
        }
        Kind::Remove(it) => {
            let condition = condition(it.condition)?;
            (Action::Remove { key: it.key, condition }, it.durability)
        }
        Kind::Batch(it) => {
            let requirements = it.preconditions.into_iter().map(precondition);
            let requirements = requirements.collect::<Result<_, _>>()?;
            let operations = it.operations.into_iter().map(operation);
            let operations = operations.collect::<Result<_, _>>()?;
            (Action::Batch { requirements, operations }, it.durability)
        }
        Kind::CompareAndSwap(it) => {
            let durability = it.durability;
            (Action::CompareAndSwap(compare_and_swap(it)?), durability)
        }
        Kind::Increment(it) => (Action::Increment { key: it.key, by: it.by }, it.durability),
        Kind::Append(it) => (Action::Append { key: it.key, value: it.value }, it.durability),
        Kind::Expire(it) => match (it.expiry.is_some(), parts::expiry(it.expiry)?) {
            (false, _) | (_, Expiry::Keep) => {
                return Err(BadField("an expiry that is neither at, after nor never"));
            }
            (true, expiry) => (Action::Expire { key: it.key, expiry }, it.durability),
        },
    };
    Ok(Command::Keys(KeyCommand { action, durability: parts::durability(durability)? }))
}

fn condition(message: Option<messages::Condition>) -> Result<Option<Expected>, BadField> {
    message.map(parts::expected).transpose()
}

fn precondition(message: messages::Precondition) -> Result<(Bytes, Expected), BadField> {
    let expected = condition(message.condition)?.ok_or(BadField("a precondition without one"))?;
    Ok((message.key, expected))
}

fn operation(message: messages::Operation) -> Result<Operation, BadField> {
    match message.kind {
        Some(operation::Kind::Set(it)) => {
            let expiry = parts::expiry(it.expiry)?;
            Ok(Operation::Set { key: it.key, value: it.value, expiry })
        }
        Some(operation::Kind::Remove(it)) => Ok(Operation::Remove { key: it.key }),
        None => Err(BadField("an operation of no known kind")),
    }
}

fn compare_and_swap(it: messages::CompareAndSwapRequest) -> Result<CompareAndSwap, BadField> {
    let expected = condition(it.expected)?.ok_or(BadField("nothing that is expected"))?;
    let expiry = parts::expiry(it.expiry)?;
    let without_current_value = it.without_current_value;
    Ok(CompareAndSwap { key: it.key, expected, value: it.value, expiry, without_current_value })
}

fn scan(it: messages::ScanRequest) -> Result<ScanCommand, BadField> {
    let (from, to) = within(&it.prefix, bound(it.from)?, bound(it.to)?);
    Ok(ScanCommand {
        from,
        to,
        reverse: it.reverse,
        without_values: it.without_values,
        records_max: (it.records_max > 0).then_some(it.records_max),
        paging: Paging { records: it.page_records, bytes: it.page_bytes, credit: it.pages },
    })
}

fn bound(message: Option<messages::Bound>) -> Result<Bound<Vec<u8>>, BadField> {
    match message.map(|message| message.kind) {
        None => Ok(Bound::Unbounded),
        Some(Some(bound::Kind::Included(key))) => Ok(Bound::Included(key.into())),
        Some(Some(bound::Kind::Excluded(key))) => Ok(Bound::Excluded(key.into())),
        Some(None) => Err(BadField("a bound of no known kind")),
    }
}

/// The part of a range that has a prefix. Where they have nothing in common, it is empty but no
/// error: from a key to the same one, excluded.
fn within(
    prefix: &[u8],
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    if prefix.is_empty() {
        return (from, to);
    }
    let end = after_prefix(prefix);
    let is_over = |key: &[u8]| end.as_deref().is_some_and(|end| key >= end);
    let nothing = || (Bound::Included(prefix.to_vec()), Bound::Excluded(prefix.to_vec()));
    let from = match from {
        Bound::Included(key) | Bound::Excluded(key) if is_over(&key) => return nothing(),
        Bound::Included(key) if key.as_slice() > prefix => Bound::Included(key),
        Bound::Excluded(key) if key.as_slice() >= prefix => Bound::Excluded(key),
        _ => Bound::Included(prefix.to_vec()),
    };
    let to = match to {
        Bound::Included(key) | Bound::Excluded(key) if key.as_slice() < prefix => return nothing(),
        Bound::Excluded(key) if key.as_slice() == prefix => return nothing(),
        Bound::Included(key) if !is_over(&key) => Bound::Included(key),
        Bound::Excluded(key) if !is_over(&key) => Bound::Excluded(key),
        _ => end.map_or(Bound::Unbounded, Bound::Excluded),
    };
    (from, to)
}

/// The first key behind all that begin with a prefix; none: there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let len = prefix.iter().rposition(|byte| *byte < u8::MAX)? + 1;
    let mut end = prefix.get(..len)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Some(end)
}

fn watch(it: messages::WatchRequest) -> WatchCommand {
    let paging = Paging { records: it.page_records, bytes: it.page_bytes, credit: it.pages };
    WatchCommand { after: it.after, prefix: it.prefix, paging }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
