//! Clients that have not given the password.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::{AuthRequest, Code};

use super::client::{Client, End};
use super::process::{PATIENCE, anonymous_bytes, size, wait_until};
use super::server::Server;
use super::wire::{Wire, as_error, get, ping, request, set};

/// What all of them together may make the server hold: a megabyte each at most, and a little.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

fn start() -> Server {
    Server::start_with(&[], &[("KVS_PASSWORD", "secret")])
}

#[test]
fn requests_that_are_too_large_for_a_stranger_end_the_connection() {
    let server = start();
    let count = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    let length = "-ERR Protocol error: unauthenticated bulk length\r\n";
    let cases: [(&[u8], &str); 7] = [
        (b"*11\r\n", count),
        (b"*1000000\r\n", count),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", length),
        (b"*1\r\n$536870912\r\n", length),
        (b"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (&[b'a'; 70_000], "-ERR Protocol error: too big inline request\r\n"),
    ];
    for (sent, reply) in cases {
        let mut client = Client::connect(&server);
        let (told, end) = client.tell(sent);
        assert_eq!((&*String::from_utf8_lossy(&told), end), (reply, End::Closed));
    }
    // What is not too large is only refused.
    let mut client = Client::connect(&server);
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let long = [b"*2\r\n$4\r\nAUTH\r\n$16384\r\n", &[b'x'; 16384][..], b"\r\n"].concat();
    client.expect(&long, wrong);
    let many = format!("*10\r\n$3\r\nDEL\r\n{}", "$1\r\nk\r\n".repeat(9));
    client.expect(many.as_bytes(), "-NOAUTH Authentication required.\r\n");
    client.expect(b"AUTH secret\r\nSET k v\r\n", "+OK\r\n+OK\r\n");
}

#[test]
fn frames_that_are_too_large_for_a_stranger_end_the_connection() {
    let server = start();
    for length in [16_385_u32, 1 << 24, u32::MAX >> 8] {
        let mut wire = Wire::greet(server.addr);
        wire.send(&length.to_be_bytes());
        let error = wire.last_error();
        assert_eq!((error.code(), error.limit), (Code::RequestTooLarge, Some(16_384)));
    }
    let mut wire = Wire::greet(server.addr);
    assert_eq!(wire.error(2, set("k", vec![0; 16_000])).code(), Code::AuthRequired);
    assert_eq!(wire.error(3, get("k")).code(), Code::AuthRequired);
    let password = AuthRequest { password: vec![b'x'; 16_000].into() };
    assert_eq!(wire.error(4, Asked::Auth(password)).code(), Code::WrongPassword);
}

/// Sends as much as is taken until the connection is cut.
fn flood(mut stream: &TcpStream, bytes: &[u8]) {
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let error = loop {
        if let Err(error) = stream.write_all(bytes) {
            break error;
        }
    };
    let is_cut = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    assert!(is_cut, "not read, and not put out either: {error}");
}

/// Their replies are not read: the connection is closed when a megabyte of them waits.
#[test]
fn a_stranger_who_asks_and_does_not_read_is_put_out() {
    let server = start();
    let mut known = Client::connect(&server);
    known.expect(b"AUTH secret\r\n", "+OK\r\n");
    let before = anonymous_bytes(server.pid());
    let asked = [
        b"GET k\r\n".repeat(10_000),
        b"AUTH x\r\n".repeat(10_000),
        b"NOSUCH with some arguments\r\n".repeat(1000),
    ];
    for _ in 0..size(2, 50) {
        for bytes in &asked {
            flood(&Client::connect(&server).stream, bytes);
            known.ping();
        }
        let wire = Wire::greet(server.addr);
        let frames: Vec<u8> = (2..5000).flat_map(|id| request(id, ping())).collect();
        flood(&wire.stream, &frames);
        known.ping();
    }
    let grown = anonymous_bytes(server.pid()).saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes");
    wait_until("they are gone", || known.info("connected_clients") == "1");
    // Whoever reads may go on asking.
    let mut wire = Wire::greet(server.addr);
    for id in 2..1000 {
        assert_eq!(as_error(wire.ask(id, get("k"))).code(), Code::AuthRequired);
    }
}
