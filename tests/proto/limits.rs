//! What is too large, and what is too much at once.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    AppendRequest, Code, GetManyRequest, GetManyResponse, GetResponse, RemoveRequest,
};

use super::server::Server;
use super::wire::{PATIENCE, Wire, get, ping, request, set, value_of};

#[test]
fn an_announced_length_over_the_limit_ends_the_connection_at_once() {
    let limits = ["--key-bytes-max", "100", "--value-bytes-max", "98000"];
    let server = Server::start(&[&limits[..], &["--frame-bytes-max", "100000"]].concat());
    for length in [100_001, 1_u32 << 31, u32::MAX] {
        let mut wire = Wire::greet(server.addr);
        wire.send(&length.to_be_bytes());
        let error = wire.last_error();
        assert_eq!((error.code(), error.limit), (Code::RequestTooLarge, Some(100_000)));
    }
    // What was sent behind it does not take the error back.
    for _ in 0..5 {
        let mut wire = Wire::greet(server.addr);
        let sent = [&3_000_000_u32.to_be_bytes()[..], &vec![7; 3_000_000]].concat();
        wire.send(&sent);
        assert_eq!(wire.last_error().code(), Code::RequestTooLarge);
    }
    // Before hello, the limit is lower.
    let mut wire = Wire::connect(server.addr);
    wire.send(&20_000_u32.to_be_bytes());
    assert_eq!(wire.last_error().code(), Code::RequestTooLarge);
    let mut wire = Wire::greet(server.addr);
    assert!(matches!(wire.ask(2, set("key", vec![0; 98_000])), Kind::Write(_)));
}

#[test]
fn keys_and_values_over_the_limit_are_refused_and_nothing_else() {
    let server = Server::start(&["--key-bytes-max", "4", "--value-bytes-max", "8"]);
    let mut wire = Wire::greet(server.addr);
    assert!(matches!(wire.ask(2, set("1234", "12345678")), Kind::Write(_)));
    let error = wire.error(3, set("12345", ""));
    assert_eq!((error.code(), error.limit), (Code::KeyTooLarge, Some(4)));
    let error = wire.error(4, set("1", "123456789"));
    assert_eq!((error.code(), error.limit), (Code::ValueTooLarge, Some(8)));
    let append = AppendRequest { key: "1234".into(), value: "9".into(), durability: 0 };
    let error = wire.error(5, Asked::Append(append));
    assert_eq!((error.code(), error.limit), (Code::ValueTooLarge, Some(8)));
    let keys = vec!["1".into(), "12345".into()];
    let many = Asked::GetMany(GetManyRequest { keys, without_values: false });
    assert_eq!(wire.error(6, many).code(), Code::KeyTooLarge);
    let remove = RemoveRequest { key: "12345".into(), ..RemoveRequest::default() };
    assert_eq!(wire.error(7, Asked::Remove(remove)).code(), Code::KeyTooLarge);
    assert_eq!(value_of(wire.ask(8, get("1234"))).unwrap(), b"12345678");
}

#[test]
fn an_answer_that_is_too_large_for_the_client_is_an_error() {
    let server = Server::start(&[]);
    let (mut wire, _) = Wire::greet_with(server.addr, 4096);
    assert!(matches!(wire.ask(2, set("key", vec![0; 5000])), Kind::Write(_)));
    let error = wire.error(3, get("key"));
    assert_eq!((error.code(), error.limit), (Code::ResponseTooLarge, Some(4096)));
    assert!(matches!(wire.ask(4, ping()), Kind::Ping(_)));
}

#[test]
fn a_client_that_reads_late_gets_everything_and_the_server_holds_little() {
    let limits = ["--value-bytes-max", "50000", "--output-high-water-bytes", "100000"];
    let most = ["--output-bytes-per-connection-max", "20000000"];
    let server = Server::start(&[&limits[..], &most].concat());
    let mut wire = Wire::greet(server.addr);
    wire.send(&request(2, set("key", vec![7; 50_000])));
    assert!(matches!(wire.response(), (2, Kind::Write(_))));
    // 50 MB of answers, and pings between them, which do not come before their turn.
    let sent: Vec<u8> = (3..1003)
        .flat_map(|id| request(id, if id % 10 == 0 { ping() } else { get("key") }))
        .collect();
    wire.send(&sent);
    for expected in 3..1003 {
        let (id, kind) = wire.response();
        assert_eq!(id, expected);
        assert_eq!(matches!(kind, Kind::Ping(_)), id % 10 == 0);
    }
}

/// Sends most of a request on two connections, and the rest on the one that is not closed. None:
/// that one is, too.
fn left_of_two(server: &Server, sent: &[u8]) -> Option<Wire> {
    let mut wires = [Wire::greet(server.addr), Wire::greet(server.addr)];
    let (begin, rest) = sent.split_at(1_200_000);
    for wire in &mut wires {
        // One of them is closed, perhaps before it has sent all.
        let _ = wire.stream.write_all(begin);
        wire.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    }
    let is_open = |wire: &Wire| match wire.stream.peek(&mut [0]) {
        Ok(0) => false,
        Ok(_) => panic!("there is no answer yet"),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    };
    let begun = Instant::now();
    let closed = loop {
        if let Some(closed) = wires.iter().position(|wire| !is_open(wire)) {
            break closed;
        }
        assert!(begun.elapsed() < PATIENCE, "neither is closed");
    };
    let [one, other] = wires;
    let mut left = if closed == 0 { other } else { one };
    left.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let is_answered = left.stream.write_all(rest).is_ok()
        && left.stream.peek(&mut [0]).is_ok_and(|there| there > 0);
    is_answered.then_some(left)
}

#[test]
fn all_requests_that_are_not_whole_have_one_limit() {
    let limits = ["--value-bytes-max", "1400000", "--key-bytes-max", "100"];
    let frames = ["--frame-bytes-max", "1500000", "--command-bytes-max", "1500000"];
    let server = Server::start(&[&limits[..], &frames, &["--input-bytes-max", "2000000"]].concat());
    let sent = request(2, set("key", vec![7; 1_400_000]));
    // Where both meet the limit at once, both are closed.
    let mut attempts = 0..20;
    let mut left = attempts.find_map(|_| left_of_two(&server, &sent)).unwrap();
    assert!(matches!(left.response(), (2, Kind::Write(_))));
    // There is room again.
    let mut wire = Wire::greet(server.addr);
    wire.send(&sent);
    assert!(matches!(wire.response(), (2, Kind::Write(_))));
}

#[test]
fn too_many_elements_are_refused_and_nothing_else() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    let error = wire.error(2, get_many("", 100_001, true));
    assert_eq!((error.code(), error.limit), (Code::InvalidRequest, Some(100_000)));
    assert!(matches!(wire.ask(3, get_many("", 100_000, true)), Kind::GetMany(_)));
}

fn get_many(key: &str, count: usize, without_values: bool) -> Asked {
    let keys = vec![key.as_bytes().to_vec().into(); count];
    Asked::GetMany(GetManyRequest { keys, without_values })
}

#[test]
fn what_cannot_be_answered_is_not_read_either() {
    const MIB: usize = 1 << 20;
    for engine in ["kvs", "memory", "sled"] {
        let server = Server::start(&["--engine", engine]);
        let mut wire = Wire::greet(server.addr);
        assert!(matches!(wire.ask(2, set("key", vec![7; MIB])), Kind::Write(_)));
        let before = server.peak_bytes();
        // Four hundred times a MiB, where an answer has 64 of them at most.
        let error = wire.error(3, get_many("key", 400, false));
        assert_eq!((error.code(), error.limit), (Code::ResponseTooLarge, Some(64 << 20)));
        match wire.ask(4, get_many("key", 400, true)) {
            Kind::GetMany(GetManyResponse { answers }) => {
                assert_eq!(answers.len(), 400);
                let is_there = |it: &GetResponse| {
                    it.found.as_ref().is_some_and(|it| it.value.is_empty() && it.version > 0)
                };
                assert!(answers.iter().all(is_there));
            }
            other => panic!("{other:?}"),
        }
        let more = (server.peak_bytes() - before) / MIB as u64;
        assert!(more < 160, "{engine}: {more} MiB for nothing");
        assert_eq!(value_of(wire.ask(5, get("key"))).unwrap().len(), MIB);
    }
}
