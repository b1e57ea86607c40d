//! Hello, the password, pipelines, and what is not the protocol.

use std::io::{Read, Write};

use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    AuthRequest, Code, HelloRequest, IncrementRequest, PingRequest, StatsRequest, SyncRequest,
};

use super::server::Server;
use super::wire::{Wire, as_error, get, hello, ping, request, set, value_of};

fn increment(key: &str) -> Asked {
    let key = key.as_bytes().to_vec().into();
    Asked::Increment(IncrementRequest { key, by: 1, durability: 0 })
}

#[test]
fn hello_tells_what_the_server_is_and_takes() {
    let limits = ["--key-bytes-max", "10", "--value-bytes-max", "1000"];
    let server = Server::start(&[&limits[..], &["--frame-bytes-max", "5000"]].concat());
    let (mut wire, hello_response) = Wire::greet_with(server.addr, 0);
    assert_eq!((hello_response.version, hello_response.auth_required), (1, false));
    assert_eq!(hello_response.engine, "kvs");
    let can = hello_response.capabilities.unwrap();
    assert!(can.durable && can.snapshots && can.watch && !can.ordered);
    let limits = hello_response.limits.unwrap();
    assert_eq!((limits.frame_bytes_max, limits.key_bytes_max), (5000, 10));
    assert!(limits.streams_max > 0 && limits.requests_in_flight_max > 0);
    let again = wire.error(2, Asked::Hello(hello()));
    assert_eq!(again.code(), Code::HelloExpected);
    assert!(matches!(wire.ask(3, ping()), Kind::Ping(_)));
}

#[test]
fn without_hello_or_a_common_version_nothing_is_served() {
    let server = Server::start(&[]);
    let mut wire = Wire::connect(server.addr);
    wire.send(&request(1, ping()));
    assert_eq!(wire.last_error().code(), Code::HelloExpected);
    let mut wire = Wire::connect(server.addr);
    let later = HelloRequest { version_min: 2, version_max: 9, ..hello() };
    assert_eq!(wire.error(1, Asked::Hello(later)).code(), Code::UnsupportedProtocol);
    assert!(matches!(wire.ask(2, Asked::Hello(hello())), Kind::Hello(_)));
}

#[test]
fn a_pipeline_takes_effect_in_its_order() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    let mut sent = Vec::new();
    let mut id = 1;
    let mut push = |kind| {
        id += 1;
        sent.extend(request(id, kind));
    };
    for round in 0..1000 {
        push(set("key", round.to_string()));
        push(get("key"));
        push(increment("count"));
        if round % 10 == 0 {
            push(ping());
        }
        if round % 100 == 0 {
            push(Asked::Stats(StatsRequest {}));
            push(Asked::Sync(SyncRequest {}));
        }
    }
    wire.send(&sent);
    let (mut expected_id, mut sum, mut seq) = (1, 0, 0);
    let mut round = 0;
    while sum < 1000 {
        let (id, kind) = wire.response();
        expected_id += 1;
        assert_eq!(id, expected_id);
        match kind {
            Kind::Write(written) => {
                assert!(written.seq > seq);
                seq = written.seq;
            }
            Kind::Get(get) => {
                assert_eq!(get.found.unwrap().value, round.to_string());
                round += 1;
            }
            Kind::Increment(increment) => {
                sum += 1;
                assert_eq!(increment.sum, sum);
            }
            Kind::Ping(_) | Kind::Stats(_) | Kind::Sync(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_one_request() {
    let server = Server::start(&[]);
    let mut wire = Wire::connect(server.addr);
    let mut sent = request(1, Asked::Hello(hello()));
    sent.extend(request(2, set("key", "value")));
    sent.extend(request(3, get("key")));
    for byte in sent {
        wire.send(&[byte]);
    }
    assert!(matches!(wire.response(), (1, Kind::Hello(_))));
    assert!(matches!(wire.response(), (2, Kind::Write(_))));
    assert_eq!(value_of(wire.response().1).unwrap(), b"value");
}

#[test]
fn what_was_sent_before_the_end_is_answered() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    let sent: Vec<u8> = (2..502).flat_map(|id| request(id, increment("count"))).collect();
    wire.send(&sent);
    // Half of a request is none.
    wire.send(&request(502, increment("count"))[..7]);
    wire.end();
    let ids: Vec<u64> = wire.rest().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, (2..502).collect::<Vec<_>>());
    let mut wire = Wire::greet(server.addr);
    assert_eq!(value_of(wire.ask(2, get("count"))).unwrap(), b"500");
}

#[test]
fn garbage_is_told_behind_what_came_before_it() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    let mut sent = request(2, set("key", "value"));
    sent.extend(b"\0\0\0\x05\xff\xff\xff\xff\xff");
    wire.send(&sent);
    assert!(matches!(wire.response(), (2, Kind::Write(_))));
    assert_eq!(wire.last_error().code(), Code::InvalidRequest);
    // A request without an id, and one of no known kind.
    let mut wire = Wire::greet(server.addr);
    wire.send(&request(0, ping()));
    assert_eq!(wire.last_error().code(), Code::InvalidRequest);
    let mut wire = Wire::greet(server.addr);
    wire.send(b"\0\0\0\x02\x08\x07");
    let (id, kind) = wire.response();
    assert_eq!((id, as_error(kind).code()), (7, Code::UnknownRequest));
    assert!(matches!(wire.ask(8, ping()), Kind::Ping(_)));
}

#[test]
fn the_password_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "hush\n").unwrap();
    let server = Server::start(&["--password-file", file.to_str().unwrap()]);
    let auth = |password: &'static str| Asked::Auth(AuthRequest { password: password.into() });
    let (mut wire, hello) = Wire::greet_with(server.addr, 0);
    assert!(hello.auth_required);
    for asked in [ping(), get("key"), set("key", "value"), Asked::Stats(StatsRequest {})] {
        assert_eq!(wire.error(2, asked).code(), Code::AuthRequired);
    }
    for wrong in ["", "hus", "hush\n", "HUSH"] {
        assert_eq!(wire.error(3, auth(wrong)).code(), Code::WrongPassword);
    }
    assert!(matches!(wire.ask(4, auth("hush")), Kind::Auth(_)));
    assert_eq!(value_of(wire.ask(5, get("key"))), None);
    // All at once, with a request that is too large for one who has not logged in.
    let mut wire = Wire::connect(server.addr);
    let mut sent = request(1, Asked::Hello(super::wire::hello()));
    sent.extend(request(2, auth("hush")));
    sent.extend(request(3, set("key", vec![7; 100_000])));
    wire.send(&sent);
    let kinds: Vec<Kind> = (0..3).map(|_| wire.response().1).collect();
    assert!(matches!(kinds[..], [Kind::Hello(_), Kind::Auth(_), Kind::Write(_)]));
    let (mut wire, _) = Wire::greet_with(server.addr, 0);
    wire.send(&request(2, set("key", vec![7; 100_000]))[..100]);
    assert_eq!(wire.last_error().code(), Code::RequestTooLarge);
}

#[test]
fn whoever_does_not_log_in_has_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "hush\n").unwrap();
    let file = file.to_str().unwrap();
    let server = Server::start(&["--password-file", file, "--handshake-timeout-ms", "2000"]);
    let mut greeted = Wire::greet(server.addr);
    // What is sent meanwhile gains no time.
    let mut wire = Wire::connect(server.addr);
    wire.send(&request(1, Asked::Hello(hello()))[..5]);
    assert_eq!(greeted.rest(), []);
    assert_eq!(wire.rest(), []);
}

#[test]
fn a_client_that_takes_no_frame_of_use_is_refused() {
    let server = Server::start(&[]);
    let mut wire = Wire::connect(server.addr);
    for frame_bytes_max in [1, 5, 4095] {
        let error = wire.error(1, Asked::Hello(HelloRequest { frame_bytes_max, ..hello() }));
        assert_eq!((error.code(), error.limit), (Code::InvalidRequest, Some(4096)));
    }
    let hello = HelloRequest { frame_bytes_max: 4096, ..hello() };
    assert!(matches!(wire.ask(1, Asked::Hello(hello)), Kind::Hello(_)));
}

#[test]
fn a_client_too_many_is_told_in_its_protocol() {
    let server = Server::start(&["--connections-max", "1"]);
    let mut wire = Wire::greet(server.addr);
    for _ in 0..3 {
        let mut other = Wire::connect(server.addr);
        other.send(&request(1, Asked::Hello(hello())));
        assert_eq!(other.last_error().code(), Code::TooManyConnections);
        for said in [&b"PING\r\n"[..], b""] {
            let mut other = server.connect();
            other.write_all(said).unwrap();
            let mut told = String::new();
            other.read_to_string(&mut told).unwrap();
            assert_eq!(told, "-ERR max number of clients reached\r\n");
        }
    }
    assert!(matches!(wire.ask(2, ping()), Kind::Ping(_)));
}

#[test]
fn without_a_password_any_is_right() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    let auth = Asked::Auth(AuthRequest { password: "any".into() });
    assert!(matches!(wire.ask(2, auth), Kind::Auth(_)));
    let echo = Asked::Ping(PingRequest { payload: "echo".into() });
    assert!(matches!(wire.ask(3, echo), Kind::Ping(ping) if ping.payload == "echo"));
}
