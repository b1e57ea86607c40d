//! Steps against a store, executed one by one.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::{Kind, ProtoReplies, ProtoStep};
use crate::batch::{Batch, Expected};
use crate::error::KvsError;
use crate::options::{Expiry, VALUE_BYTES_MAX, WriteOptions};
use crate::protocol::frame;
use crate::protocol::proto::messages::request::Kind as Asked;
use crate::protocol::proto::messages::{
    AppendRequest, BatchRequest, Code, CompareAndSwapRequest, ExpireRequest, GetManyRequest,
    GetRequest, IncrementRequest, Operation, Precondition, RemoveOperation, RemoveRequest, Request,
    Response, SetOperation, SetRequest, operation,
};
use crate::protocol::proto::request::{self, Command};
use crate::server::step::Step;
use crate::store::{Store, Written};

/// Executes a request: reads, decides, writes, completes.
fn execute(store: &Store, asked: Asked) -> Kind {
    let message = Request { id: 9, kind: Some(asked) };
    let decoded = request::Request::decode(message.encode_to_vec().into()).unwrap();
    let Command::Keys(command) = decoded.command else { panic!("no command on keys") };
    let step =
        ProtoStep { id: 9, command, frame_bytes_max: 1000, value_bytes_max: VALUE_BYTES_MAX };
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    step.reads(&mut reads);
    step.writes(&mut writes);
    let read: Vec<_> = reads.iter().map(|key| store.get_versioned(key).unwrap()).collect();
    let (mut batch, mut replies) = (Batch::new(), ProtoReplies::default());
    step.decide(&read, store.now_ms(), &mut batch, &mut replies);
    assert!(batch.iter().all(|operation| writes.iter().any(|key| key == operation.key())));
    if !batch.is_empty() || !batch.requirements().is_empty() {
        let options = step.durability().map_or_else(WriteOptions::new, |durability| {
            WriteOptions::new().durability(durability)
        });
        match store.write_opt(&batch, options) {
            Ok(written) => step.complete(written, &mut replies.0),
            Err(error) => {
                replies.0.clear();
                step.fail(&error, &mut replies);
            }
        }
    }
    let frame = frame::take(&mut BytesMut::from(&replies.0[..]), 2000).unwrap().unwrap();
    let response = Response::decode(frame).unwrap();
    assert_eq!(response.id, 9);
    response.kind.unwrap()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn set(key: &'static str, value: &'static str) -> SetRequest {
    SetRequest { key: bytes(key), value: bytes(value), ..SetRequest::default() }
}

#[track_caller]
fn written(kind: Kind) -> Written {
    match kind {
        Kind::Write(written) => written.into(),
        other => panic!("no write: {other:?}"),
    }
}

#[track_caller]
fn code(kind: Kind) -> Code {
    match kind {
        Kind::Error(error) => error.code(),
        other => panic!("no error: {other:?}"),
    }
}

/// Value, version and expiry.
#[track_caller]
fn get(store: &Store, key: &'static str) -> Option<(Bytes, u64, Option<u64>)> {
    match execute(store, Asked::Get(GetRequest { key: bytes(key), without_value: false })) {
        Kind::Get(get) => get.found.map(|it| (it.value, it.version, it.expires_at_ms)),
        other => panic!("no get: {other:?}"),
    }
}

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn what_is_set_is_there_with_the_version_that_the_write_told() {
    let (_dir, store) = open();
    assert_eq!(get(&store, "k"), None);
    let first = written(execute(&store, Asked::Set(set("k", "1"))));
    let second = written(execute(&store, Asked::Set(set("k", "2"))));
    assert!(!first.existed && second.existed && first.seq < second.seq);
    assert_eq!(get(&store, "k"), Some((bytes("2"), second.seq, None)));
    let many = GetManyRequest { keys: vec![bytes("x"), bytes("k")], without_values: true };
    let Kind::GetMany(many) = execute(&store, Asked::GetMany(many)) else { panic!() };
    assert_eq!(many.answers[0].found, None);
    assert_eq!(many.answers[1].found.as_ref().unwrap().version, second.seq);
    let remove = |key| Asked::Remove(RemoveRequest { key: bytes(key), ..Default::default() });
    assert!(written(execute(&store, remove("k"))).existed);
    assert!(!written(execute(&store, remove("k"))).existed);
}

#[test]
fn conditions_hold_or_nothing_is_written() {
    let (_dir, store) = open();
    let with = |expected: Expected, value| {
        Asked::Set(SetRequest { condition: Some(expected.into()), ..set("k", value) })
    };
    assert_eq!(code(execute(&store, with(Expected::Present, "no"))), Code::PreconditionFailed);
    let first = written(execute(&store, with(Expected::Absent, "1")));
    assert_eq!(code(execute(&store, with(Expected::Absent, "no"))), Code::PreconditionFailed);
    written(execute(&store, with(Expected::Version(first.seq), "2")));
    assert_eq!(
        code(execute(&store, with(Expected::Version(first.seq), "no"))),
        Code::PreconditionFailed
    );
    let condition = Some(Expected::value("1").into());
    let remove = RemoveRequest { key: bytes("k"), condition, ..Default::default() };
    assert_eq!(code(execute(&store, Asked::Remove(remove))), Code::PreconditionFailed);
    assert_eq!(get(&store, "k").unwrap().0, "2");
}

#[test]
fn a_swap_that_fails_says_what_is_there() {
    let (_dir, store) = open();
    let swap = |expected: Expected, value: Option<&'static str>| {
        let asked = CompareAndSwapRequest {
            key: bytes("k"),
            expected: Some(expected.into()),
            value: value.map(bytes),
            ..Default::default()
        };
        match execute(&store, Asked::CompareAndSwap(asked)) {
            Kind::CompareAndSwap(swap) => swap,
            other => panic!("no swap: {other:?}"),
        }
    };
    let failed = swap(Expected::value("1"), Some("2"));
    assert_eq!((failed.current, failed.written), (None, None));
    let first = swap(Expected::Absent, Some("1")).written.unwrap();
    let failed = swap(Expected::Absent, Some("2"));
    assert_eq!(failed.written, None);
    let current = failed.current.unwrap();
    assert_eq!((current.value, current.version), (bytes("1"), first.seq));
    assert!(swap(Expected::value("1"), None).written.unwrap().existed);
    assert_eq!(get(&store, "k"), None);
}

#[test]
fn expiries_are_set_kept_and_taken_away() {
    let (_dir, store) = open();
    let at_ms = store.now_ms() + 100_000;
    let with = |expiry: Expiry, value| {
        Asked::Set(SetRequest { expiry: Some(expiry.into()), ..set("k", value) })
    };
    let expiry = |store: &Store| get(store, "k").unwrap().2;
    written(execute(&store, with(Expiry::AtMs(at_ms), "1")));
    written(execute(&store, with(Expiry::Keep, "2")));
    let increment = IncrementRequest { key: bytes("k"), by: 40, ..Default::default() };
    let Kind::Increment(sum) = execute(&store, Asked::Increment(increment)) else { panic!() };
    assert_eq!((sum.sum, expiry(&store)), (42, Some(at_ms)));
    let append = AppendRequest { key: bytes("k"), value: bytes("!"), ..Default::default() };
    let Kind::Append(append) = execute(&store, Asked::Append(append)) else { panic!() };
    assert_eq!((append.value_bytes, expiry(&store)), (3, Some(at_ms)));
    let expire = |key, expiry: Expiry| {
        let asked = ExpireRequest { key: bytes(key), expiry: Some(expiry.into()), durability: 0 };
        match execute(&store, Asked::Expire(asked)) {
            Kind::Expire(expire) => (expire.existed, expire.written.is_some()),
            other => panic!("no expire: {other:?}"),
        }
    };
    assert_eq!(expire("k", Expiry::Never), (true, true));
    assert_eq!(expire("k", Expiry::Never), (true, false));
    assert_eq!(expire("none", Expiry::AfterMs(5)), (false, false));
    assert_eq!(expire("k", Expiry::AfterMs(100_000)), (true, true));
    assert!(expiry(&store).unwrap() >= at_ms);
    assert_eq!(code(execute(&store, with(Expiry::AtMs(1), "no"))), Code::InvalidExpiry);
    written(execute(&store, Asked::Set(set("k", "3"))));
    assert_eq!(expiry(&store), None);
}

#[test]
fn a_batch_is_all_or_nothing_and_names_what_did_not_hold() {
    let (_dir, store) = open();
    let at_ms = store.now_ms() + 100_000;
    store.set_with("kept", "1", crate::SetOptions::new().expire_at_ms(at_ms)).unwrap();
    let put = |key, expiry: Expiry| Operation {
        kind: Some(operation::Kind::Set(SetOperation {
            key: bytes(key),
            value: bytes("2"),
            expiry: Some(expiry.into()),
        })),
    };
    let remove =
        Operation { kind: Some(operation::Kind::Remove(RemoveOperation { key: bytes("gone") })) };
    let require = |key, expected: Expected| Precondition {
        key: bytes(key),
        condition: Some(expected.into()),
    };
    let mut batch = BatchRequest {
        preconditions: vec![require("kept", Expected::value("1"))],
        operations: vec![put("new", Expiry::Never), put("kept", Expiry::Keep), remove],
        durability: 2,
    };
    let done = written(execute(&store, Asked::Batch(batch.clone())));
    assert_eq!(get(&store, "kept"), Some((bytes("2"), done.seq, Some(at_ms))));
    assert_eq!(get(&store, "new"), Some((bytes("2"), done.seq, None)));
    batch.preconditions = vec![require("new", Expected::Present), require("x", Expected::Present)];
    batch.operations = vec![put("never", Expiry::Never)];
    let Kind::Error(error) = execute(&store, Asked::Batch(batch)) else { panic!("no error") };
    assert_eq!(
        (error.code(), error.requirement, error.key),
        (Code::PreconditionFailed, Some(1), bytes("x"))
    );
    assert_eq!(get(&store, "never"), None);
}

#[test]
fn numbers_that_are_none_stay_as_they_are() {
    let (_dir, store) = open();
    store.set("k", "one").unwrap();
    let add = |by| Asked::Increment(IncrementRequest { key: bytes("k"), by, durability: 0 });
    assert_eq!(code(execute(&store, add(1))), Code::NotAnInteger);
    store.set("k", i64::MAX.to_string()).unwrap();
    assert_eq!(code(execute(&store, add(1))), Code::IntegerOverflow);
    let Kind::Increment(sum) = execute(&store, add(-1)) else { panic!("no sum") };
    assert_eq!(sum.sum, i64::MAX - 1);
}

#[test]
fn only_a_write_may_have_an_outcome_that_is_unknown() {
    let fail = |asked| {
        let message = Request { id: 9, kind: Some(asked) };
        let decoded = request::Request::decode(message.encode_to_vec().into()).unwrap();
        let Command::Keys(command) = decoded.command else { panic!("no command on keys") };
        let mut replies = ProtoReplies::default();
        ProtoStep { id: 9, command, frame_bytes_max: 10, value_bytes_max: 10 }
            .fail(&KvsError::JobLost, &mut replies);
        let frame = frame::take(&mut BytesMut::from(&replies.0[..]), 2000).unwrap().unwrap();
        match Response::decode(frame).unwrap().kind {
            Some(Kind::Error(error)) => error.outcome_unknown,
            other => panic!("no error: {other:?}"),
        }
    };
    assert!(fail(Asked::Set(set("k", "v"))));
    assert!(!fail(Asked::Get(GetRequest::default())));
}
