//! The clients: the Redis protocol, the project's own one byte by byte, and `KvsClient`.

use std::collections::HashMap;
use std::io;

use kvs::client::{BlockingKvsClient, ClientError, ErrorCode, Swap};
use kvs::protocol::proto::messages::condition::Kind as Wanted;
use kvs::protocol::proto::messages::operation::Kind as Part;
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    Absent, BatchRequest, CompareAndSwapRequest, Condition, Found, GetManyRequest, GetRequest,
    IncrementRequest, Operation, Precondition, RemoveOperation, RemoveRequest, SetOperation,
    SetRequest,
};
use kvs::{Batch, Expected, Versioned};

use super::frames::Frames;
use super::history::{Action, KEYS, Outcome};
use super::random::Random;
use super::redis::{Redis, Reply};

/// What is asked of an object with these keys: one step, or some that are to be one.
pub struct Question<'a> {
    pub keys: &'a [String; KEYS],
    pub steps: &'a [(usize, Action)],
}

pub enum Answer {
    /// An outcome for each step.
    Told(Vec<Outcome>),
    /// It may have been done.
    Unknown,
    /// It was not done, or only read.
    NotDone,
}

pub enum Client {
    Redis(Redis, Random),
    Frames(Frames, Versions),
    Kvs(BlockingKvsClient, Versions),
}

impl Client {
    /// Asks, and waits for the answer.
    pub fn ask(&mut self, question: &Question) -> Answer {
        let answer = match self {
            Client::Redis(redis, random) => ask_redis(redis, random, question),
            Client::Frames(frames, versions) => ask_frames(frames, versions, question),
            Client::Kvs(client, versions) => return ask_client(client, versions, question),
        };
        answer.map_or(Answer::Unknown, Answer::Told)
    }

    pub fn is_own_protocol(&self) -> bool {
        !matches!(self, Client::Redis(..))
    }

    /// Whether it connects again by itself.
    pub fn outlives_the_server(&self) -> bool {
        matches!(self, Client::Kvs(..))
    }
}

fn number(bytes: &[u8]) -> i64 {
    let text = std::str::from_utf8(bytes).unwrap();
    text.parse().unwrap_or_else(|_| panic!("not a value of this test: {text:?}"))
}

fn ask_redis(
    redis: &mut Redis,
    random: &mut Random,
    question: &Question,
) -> io::Result<Vec<Outcome>> {
    let key = |step: &(usize, Action)| question.keys[step.0].as_str();
    match question.steps {
        [(at, Action::Swap(expected, new))] => {
            return Ok(vec![swap_redis(redis, &question.keys[*at], *expected, *new)?]);
        }
        [first @ (_, Action::Get), second @ (_, Action::Get)] if random.one_in(2) => {
            let Reply::Array(replies) = redis.ask(&["MGET", key(first), key(second)])? else {
                panic!("no array")
            };
            return Ok(replies.iter().map(|reply| Outcome::Value(held(reply))).collect());
        }
        _ => (),
    }
    let is_transaction = question.steps.len() > 1;
    if is_transaction {
        redis.add(&["MULTI"]);
    }
    for step in question.steps {
        let variant = random.one_in(2);
        let key = key(step);
        match step.1 {
            Action::Get => redis.add(&["GET", key]),
            Action::Set(value) if variant => redis.add(&["SET", key, &value.to_string(), "GET"]),
            Action::Set(value) => redis.add(&["SET", key, &value.to_string()]),
            Action::Remove if variant => redis.add(&["GETDEL", key]),
            Action::Remove => redis.add(&["DEL", key]),
            Action::Add(by) => redis.add(&["INCRBY", key, &by.to_string()]),
            Action::Swap(..) | Action::Require(_) => panic!("not over the Redis protocol"),
        }
    }
    if !is_transaction {
        redis.flush()?;
        return Ok(vec![redis_outcome(question.steps[0].1, &redis.reply()?)]);
    }
    redis.add(&["EXEC"]);
    redis.flush()?;
    for _ in 0..=question.steps.len() {
        let reply = redis.reply()?;
        assert!(matches!(reply, Reply::Simple(_)), "{reply:?}");
    }
    let Reply::Array(replies) = redis.reply()? else { panic!("no array") };
    assert_eq!(replies.len(), question.steps.len());
    let outcomes = question.steps.iter().zip(&replies);
    Ok(outcomes.map(|((_, action), reply)| redis_outcome(*action, reply)).collect())
}

fn held(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Null => None,
        Reply::Bulk(bytes) => Some(number(bytes)),
        other => panic!("no value: {other:?}"),
    }
}

fn redis_outcome(action: Action, reply: &Reply) -> Outcome {
    match (action, reply) {
        (Action::Set(_), Reply::Simple(_)) => Outcome::Untold,
        (Action::Remove, Reply::Integer(removed)) => Outcome::Existed(*removed == 1),
        (Action::Add(_), Reply::Integer(sum)) => Outcome::Sum(*sum),
        (_, reply) => Outcome::Value(held(reply)),
    }
}

/// With `NX`, or with `WATCH`: a look, and a transaction if nothing has changed since.
fn swap_redis(
    redis: &mut Redis,
    key: &str,
    expected: Option<i64>,
    new: Option<i64>,
) -> io::Result<Outcome> {
    if let (None, Some(new)) = (expected, new) {
        return Ok(match redis.ask(&["SET", key, &new.to_string(), "NX"])? {
            Reply::Null => Outcome::Refused(None),
            _ => Outcome::Met,
        });
    }
    redis.ask(&["WATCH", key])?;
    let found = held(&redis.ask(&["GET", key])?);
    if found != expected {
        redis.ask(&["UNWATCH"])?;
        return Ok(Outcome::Refused(Some(found)));
    }
    redis.add(&["MULTI"]);
    match new {
        Some(new) => redis.add(&["SET", key, &new.to_string()]),
        None => redis.add(&["DEL", key]),
    }
    redis.add(&["EXEC"]);
    redis.flush()?;
    redis.reply()?;
    redis.reply()?;
    Ok(match redis.reply()? {
        Reply::Null => Outcome::Refused(None),
        Reply::Array(_) => Outcome::Met,
        other => panic!("no end of a transaction: {other:?}"),
    })
}

/// The version of the value of a key that a client has seen last.
#[derive(Default)]
pub struct Versions(HashMap<String, (i64, u64)>);

impl Versions {
    fn saw(&mut self, key: &str, value: i64, version: u64) {
        self.0.insert(key.to_owned(), (value, version));
    }

    /// What to expect of a key for it to have this value: by its version where that is known.
    fn expected(&self, key: &str, value: Option<i64>) -> Expected {
        match (value, self.0.get(key)) {
            (None, _) => Expected::Absent,
            (Some(value), Some((seen, version))) if value == *seen => Expected::Version(*version),
            (Some(value), _) => Expected::value(value.to_string()),
        }
    }
}

fn condition(expected: Expected) -> Condition {
    let kind = match expected {
        Expected::Absent => Wanted::Absent(Absent::default()),
        Expected::Version(version) => Wanted::Version(version),
        Expected::Value(value) => Wanted::Value(value.into()),
        other => panic!("nobody expects that: {other:?}"),
    };
    Condition { kind: Some(kind) }
}

fn request(versions: &Versions, name: &str, action: Action) -> Asked {
    let key = name.as_bytes().to_vec().into();
    let bytes = |value: i64| value.to_string().into_bytes().into();
    match action {
        Action::Get => Asked::Get(GetRequest { key, without_value: false }),
        Action::Set(value) => {
            Asked::Set(SetRequest { key, value: bytes(value), ..SetRequest::default() })
        }
        Action::Remove => Asked::Remove(RemoveRequest { key, ..RemoveRequest::default() }),
        Action::Swap(expected, new) => Asked::CompareAndSwap(CompareAndSwapRequest {
            key,
            expected: Some(condition(versions.expected(name, expected))),
            value: new.map(bytes),
            ..CompareAndSwapRequest::default()
        }),
        Action::Add(by) => {
            Asked::Increment(IncrementRequest { key, by, ..IncrementRequest::default() })
        }
        Action::Require(_) => panic!("not alone"),
    }
}

fn batch_request(question: &Question) -> Asked {
    let mut batch = BatchRequest::default();
    for (at, action) in question.steps {
        let key = question.keys[*at].clone().into_bytes().into();
        let kind = match action {
            Action::Require(expected) => {
                let condition = Some(condition(Versions::default().expected("", *expected)));
                batch.preconditions.push(Precondition { key, condition });
                continue;
            }
            Action::Set(value) => {
                let value = value.to_string().into_bytes().into();
                Part::Set(SetOperation { key, value, expiry: None })
            }
            Action::Remove => Part::Remove(RemoveOperation { key }),
            other => panic!("not in a batch: {other:?}"),
        };
        batch.operations.push(Operation { kind: Some(kind) });
    }
    Asked::Batch(batch)
}

fn ask_frames(
    frames: &mut Frames,
    versions: &mut Versions,
    question: &Question,
) -> io::Result<Vec<Outcome>> {
    let value = |found: &Found| number(&found.value);
    if let [(at, action)] = question.steps {
        let key = &question.keys[*at];
        let outcome = match frames.ask(request(versions, key, *action))? {
            Kind::Get(get) => {
                get.found.iter().for_each(|found| versions.saw(key, value(found), found.version));
                Outcome::Value(get.found.as_ref().map(value))
            }
            Kind::Write(written) => {
                if let Action::Set(value) = action {
                    versions.saw(key, *value, written.seq);
                }
                Outcome::Existed(written.existed)
            }
            Kind::CompareAndSwap(swap) if swap.written.is_some() => Outcome::Met,
            Kind::CompareAndSwap(swap) => Outcome::Refused(Some(swap.current.as_ref().map(value))),
            Kind::Increment(increment) => Outcome::Sum(increment.sum),
            other => panic!("to {action:?}: {other:?}"),
        };
        return Ok(vec![outcome]);
    }
    if question.steps.iter().all(|(_, action)| *action == Action::Get) {
        let keys = question.steps.iter().map(|(at, _)| question.keys[*at].clone().into_bytes());
        let keys = keys.map(Into::into).collect();
        let Kind::GetMany(many) =
            frames.ask(Asked::GetMany(GetManyRequest { keys, without_values: false }))?
        else {
            panic!("no values")
        };
        let values = many.answers.iter().map(|get| get.found.as_ref().map(value));
        return Ok(values.map(Outcome::Value).collect());
    }
    match frames.ask(batch_request(question))? {
        Kind::Write(_) => Ok(batch_outcomes(question, Outcome::Met)),
        Kind::Error(error) if error.code() == ErrorCode::PreconditionFailed => {
            Ok(batch_outcomes(question, Outcome::Refused(None)))
        }
        other => panic!("to a batch: {other:?}"),
    }
}

fn batch_outcomes(question: &Question, required: Outcome) -> Vec<Outcome> {
    let outcome = |(_, action): &(usize, Action)| match action {
        Action::Require(_) => required,
        _ => Outcome::Untold,
    };
    question.steps.iter().map(outcome).collect()
}

fn ask_client(client: &BlockingKvsClient, versions: &mut Versions, question: &Question) -> Answer {
    let asked = if let [(at, action)] = question.steps {
        ask_client_one(client, versions, &question.keys[*at], *action).map(|outcome| vec![outcome])
    } else if question.steps.iter().all(|(_, action)| *action == Action::Get) {
        let keys: Vec<&String> = question.steps.iter().map(|(at, _)| &question.keys[*at]).collect();
        let value = |found: &Option<Versioned>| {
            Outcome::Value(found.as_ref().map(|found| number(&found.value)))
        };
        client.get_many(&keys).map(|found| found.iter().map(value).collect())
    } else {
        let mut batch = Batch::new();
        for (at, action) in question.steps {
            let key = &question.keys[*at];
            match action {
                Action::Require(expected) => {
                    batch.require(key, versions.expected(key, *expected));
                }
                Action::Set(value) => {
                    batch.set(key, value.to_string());
                }
                Action::Remove => {
                    batch.remove(key);
                }
                other => panic!("not in a batch: {other:?}"),
            }
        }
        match client.write(&batch) {
            Ok(_) => Ok(batch_outcomes(question, Outcome::Met)),
            Err(error) if error.code() == ErrorCode::PreconditionFailed => {
                Ok(batch_outcomes(question, Outcome::Refused(None)))
            }
            Err(error) => Err(error),
        }
    };
    match asked {
        Ok(outcomes) => Answer::Told(outcomes),
        Err(error) if error.is_outcome_unknown() => Answer::Unknown,
        Err(ClientError::Lost { .. } | ClientError::Connect { .. }) => Answer::NotDone,
        Err(error) => panic!("{error}"),
    }
}

fn ask_client_one(
    client: &BlockingKvsClient,
    versions: &mut Versions,
    key: &String,
    action: Action,
) -> Result<Outcome, ClientError> {
    Ok(match action {
        Action::Get => {
            let found = client.get_versioned(key)?.map(|found| (number(&found.value), found.seq));
            found.iter().for_each(|(value, version)| versions.saw(key, *value, *version));
            Outcome::Value(found.map(|(value, _)| value))
        }
        Action::Set(value) => {
            let written = client.set(key, value.to_string())?;
            versions.saw(key, value, written.seq);
            Outcome::Existed(written.existed)
        }
        Action::Remove => Outcome::Existed(client.remove(key)?.existed),
        Action::Swap(expected, new) => {
            let new = new.map(|value| value.to_string());
            match client.compare_and_swap(key, versions.expected(key, expected), new)? {
                Swap::Done(_) => Outcome::Met,
                Swap::Refused(found) => {
                    Outcome::Refused(Some(found.map(|found| number(&found.value))))
                }
            }
        }
        Action::Add(by) => Outcome::Sum(client.increment(key, by)?),
        Action::Require(_) => panic!("not alone"),
    })
}
