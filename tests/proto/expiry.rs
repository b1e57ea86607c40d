//! Expiries that are not in the future: an error for the request, and nothing for the connection.

use kvs::Expected;
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    BatchRequest, Code, CompareAndSwapRequest, ExpireRequest, Expiry, Operation, SetOperation,
    SetRequest, expiry, operation,
};

use super::server::Server;
use super::wire::{Wire, get, ping, set, value_of};

const ENGINES: [&str; 3] = ["kvs", "memory", "sled"];

fn with(kind: expiry::When) -> Option<Expiry> {
    Some(Expiry { when: Some(kind) })
}

/// Every request that can hold an expiry.
fn requests(kind: expiry::When) -> [Asked; 4] {
    let (key, value) = (&b"key"[..], &b"new"[..]);
    let put = SetOperation { key: key.into(), value: value.into(), expiry: with(kind) };
    let other = SetOperation { key: "other".into(), ..SetOperation::default() };
    let operations = [other, put].map(|put| Operation { kind: Some(operation::Kind::Set(put)) });
    [
        Asked::Set(SetRequest {
            key: key.into(),
            value: value.into(),
            expiry: with(kind),
            condition: Some(Expected::Present.into()),
            ..SetRequest::default()
        }),
        Asked::Expire(ExpireRequest { key: key.into(), expiry: with(kind), durability: 0 }),
        Asked::Batch(BatchRequest { operations: operations.into(), ..BatchRequest::default() }),
        Asked::CompareAndSwap(CompareAndSwapRequest {
            key: key.into(),
            expected: Some(Expected::Present.into()),
            value: Some(value.into()),
            expiry: with(kind),
            ..CompareAndSwapRequest::default()
        }),
    ]
}

#[test]
fn an_expiry_that_is_not_in_the_future_is_refused_and_writes_nothing() {
    for engine in ENGINES {
        let server = Server::start(&["--engine", engine]);
        let mut wire = Wire::greet(server.addr);
        assert!(matches!(wire.ask(2, set("key", "old")), Kind::Write(_)));
        for kind in [expiry::When::AtMs(1), expiry::When::AfterMs(0)] {
            for asked in requests(kind) {
                let error = wire.error(3, asked.clone());
                assert_eq!(error.code(), Code::InvalidExpiry, "{engine}: {asked:?}");
                assert!(error.limit.is_some_and(|now_ms| now_ms > 1), "the time of the server");
            }
        }
        let absent = ExpireRequest {
            key: "absent".into(),
            expiry: with(expiry::When::AtMs(1)),
            durability: 0,
        };
        assert_eq!(wire.error(4, Asked::Expire(absent)).code(), Code::InvalidExpiry);
        assert_eq!(value_of(wire.ask(5, get("key"))).unwrap(), b"old");
        assert_eq!(value_of(wire.ask(6, get("other"))), None);
        assert!(matches!(wire.ask(7, ping()), Kind::Ping(_)));
    }
}

/// A key may be dead before its write has its turn: then either answer is right, and one comes.
#[test]
fn the_shortest_expiry_has_an_answer() {
    for engine in ENGINES {
        let server = Server::start(&["--engine", engine, "--durability", "always"]);
        let mut wire = Wire::greet(server.addr);
        for id in 2..202 {
            assert!(matches!(wire.ask(id, set("key", "old")), Kind::Write(_)));
            let [asked, ..] = requests(expiry::When::AfterMs(1));
            match wire.ask(id, asked) {
                Kind::Write(_) => {}
                Kind::Error(error) => assert_eq!(error.code(), Code::InvalidExpiry, "{engine}"),
                other => panic!("{engine}: {other:?}"),
            }
        }
    }
}
