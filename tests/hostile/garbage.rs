//! Bytes that are no request: told clearly or closed, and a good connection notices nothing.

use std::net::Shutdown;

use super::client::{Client, End};
use super::process::{anonymous_bytes, size};
use super::server::Server;
use super::wire::{Wire, ping};

/// What the server may grow while it refuses.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
const COUNT: &str = "-ERR Protocol error: invalid multibulk length\r\n";
const LENGTH: &str = "-ERR Protocol error: invalid bulk length\r\n";

#[test]
fn lengths_that_make_no_sense_are_refused() {
    let server = Server::start(&[]);
    let mut good = Client::connect(&server);
    good.ping();
    let before = anonymous_bytes(server.pid());
    let counts = ["9223372036854775808", "9223372036854775807", "18446744073709551616"];
    let counts = counts.into_iter().chain(["2147483648", "2147483647", "1048577", "x", "+1", "1 "]);
    for count in counts {
        let mut client = Client::connect(&server);
        let told = client.tell(format!("*{count}\r\n").as_bytes());
        assert_eq!(told, (COUNT.into(), End::Closed), "*{count}");
        good.ping();
    }
    let lengths = ["9223372036854775808", "9223372036854775807", "18446744073709551616", "-1"];
    for length in lengths.into_iter().chain(["-2", "536870913", "", "x", "0x1"]) {
        let mut client = Client::connect(&server);
        let told = client.tell(format!("*2\r\n$3\r\nGET\r\n${length}\r\n").as_bytes());
        assert_eq!(told, (LENGTH.into(), End::Closed), "${length}");
        good.ping();
    }
    // As in Redis, a list of fewer than no arguments is skipped.
    let mut client = Client::connect(&server);
    client.expect(b"*-2\r\n*0\r\n*-9223372036854775808\r\nPING\r\n", "+PONG\r\n");
    for length in [u32::MAX >> 8, (603_979_776 + 1) >> 8] {
        // Its first byte says which protocol it is.
        let mut wire = Wire::greet(server.addr);
        wire.send(&(length << 8 | 0xff).to_be_bytes());
        wire.last_error();
        good.ping();
    }
    let grown = anonymous_bytes(server.pid()).saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes");
}

#[test]
fn other_protocols_are_told_or_closed() {
    let server = Server::start(&["--request-timeout-ms", "2000"]);
    let mut good = Client::connect(&server);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let cases: [(&[u8], &str); 11] = [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
        (b"POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nSET a 1\r\n", ""),
        (b"SET a 1\r\nPOST / HTTP/1.0\r\n", "+OK\r\n"),
        (b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", ""),
        // No line ever ends: it has the time of a request.
        (&[&hello[..], &[b'r'; 400]].concat(), ""),
        (b"\xff\xff\xff\xff", ""),
        (&[b'x'; 70_000], "-ERR Protocol error: too big inline request\r\n"),
        (
            &[&b"*"[..], &[b'1'; 70_000]].concat(),
            "-ERR Protocol error: too big mbulk count string\r\n",
        ),
        (
            &[&b"*1\r\n$"[..], &[b'1'; 70_000]].concat(),
            "-ERR Protocol error: too big bulk count string\r\n",
        ),
        (b"SET a 'x\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"*1\r\n:4\r\nPING\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
    ];
    for (sent, reply) in cases {
        let mut client = Client::connect(&server);
        let (told, end) = client.tell(sent);
        let told = String::from_utf8_lossy(&told).into_owned();
        let sent = sent[..sent.len().min(40)].escape_ascii();
        assert_eq!(end, End::Closed, "{sent}");
        // What was answered before a request of HTTP may not be sent any more.
        assert!(told == reply || told.is_empty() && reply == "+OK\r\n", "{sent}: {told}");
        good.ping();
    }
    good.expect(b"GET a\r\n", "$1\r\n1\r\n");
}

/// A generator that needs nothing: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Bytes that begin like a request, or do not.
    fn bytes(&mut self) -> Vec<u8> {
        let beginnings: [&[u8]; 8] = [
            b"",
            b"*3\r\n$3\r\nSET\r\n",
            b"*2\r\n",
            b"\0\0\0\x20",
            b"\0",
            b"$",
            b"*1\r\n$9\r\n",
            b"MULTI\r\n*1\r\n$4\r\nEXEC\r\n",
        ];
        let mut bytes = beginnings[self.below(beginnings.len())].to_vec();
        let printable = self.below(2) == 0;
        for _ in 0..self.below(2000) {
            let byte = self.next().to_le_bytes()[3];
            bytes.push(if printable {
                b"*$\r\n0123 aA\"'-:"[usize::from(byte) % 15]
            } else {
                byte
            });
        }
        bytes
    }
}

#[test]
fn random_bytes_end_nothing_but_their_connection() {
    let seed = match std::env::var("KVS_SEED") {
        Ok(seed) => seed.parse().expect("KVS_SEED is a number"),
        Err(_) => getrandom::u64().unwrap(),
    };
    // Shown if it fails.
    println!("repeat with KVS_SEED={seed}");
    let mut random = Random(seed | 1);
    let mut server = Server::start(&[]);
    let mut good = Client::connect(&server);
    good.ping();
    let before = anonymous_bytes(server.pid());
    for _ in 0..size(1000, 100_000) {
        let bytes = random.bytes();
        let mut client = Client::connect(&server);
        // It is a whole connection: half a request at its end is none.
        let _ = std::io::Write::write_all(&mut client.stream, &bytes);
        let _ = client.stream.shutdown(Shutdown::Write);
        let (_, end) = client.rest();
        assert_eq!(end, End::Closed, "{}", bytes.escape_ascii());
        good.ping();
    }
    let mut wire = Wire::greet(server.addr);
    wire.ask(2, ping());
    let grown = anonymous_bytes(server.pid()).saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes");
    server.terminate();
    drop((good, wire));
    assert!(server.wait().success());
}

#[test]
fn half_requests_and_a_close_leave_nothing_behind() {
    let server = Server::start(&[]);
    let mut good = Client::connect(&server);
    good.set_long("k", 1000);
    let before = anonymous_bytes(server.pid());
    for number in 0..size(1000, 20_000) {
        let mut client = Client::connect(&server);
        let half: &[u8] = match number % 4 {
            0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nhalf",
            1 => b"MULTI\r\nSET k half\r\n",
            2 => b"\0\0\x10\0half",
            _ => b"SET k hal",
        };
        client.send(half);
        if number % 2 == 0 {
            client.stream.shutdown(Shutdown::Write).unwrap();
            client.expect_end();
        }
    }
    good.expect(b"STRLEN k\r\n", ":1000\r\n");
    super::process::wait_until("they are gone", || good.info("connected_clients") == "1");
    let grown = anonymous_bytes(server.pid()).saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes");
}
