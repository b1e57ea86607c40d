//! Clients that are silent, or slow.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::process::PATIENCE;
use super::server::Server;
use super::wire::{Wire, ping, request, set};

const PASSWORD: (&str, &str) = ("KVS_PASSWORD", "secret");

/// Sends a byte every 20 ms until the server closes; whether it does so within a time.
fn is_closed_while_bytes_trickle(client: &mut Client, byte: u8, within: Duration) -> bool {
    client.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < within {
        if client.stream.write_all(&[byte]).is_err() {
            return true;
        }
        match client.stream.read(&mut [0; 100]) {
            Ok(0) => return true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Ok(_) | Err(_) => {}
        }
    }
    false
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Server::start(&["--idle-timeout-ms", "1000"]);
    assert_eq!(Client::connect(&server).expect_end(), "");
    let mut wire = Wire::greet(server.addr);
    assert!(wire.rest().is_empty());
    let mut wire = Wire::connect(server.addr);
    assert!(wire.rest().is_empty());
}

#[test]
fn who_does_not_log_in_in_time_is_put_out() {
    let server = Server::start_with(&["--handshake-timeout-ms", "2000"], &[PASSWORD]);
    let mut late = Client::connect(&server);
    let mut known = Client::connect(&server);
    known.expect(b"AUTH secret\r\n", "+OK\r\n");
    assert_eq!(late.expect_end(), "");
    // What it sends does not help it, whole or in pieces. They run at the same time.
    let mut wire = Wire::greet(server.addr);
    thread::scope(|scope| {
        for (first, byte) in [(&b""[..], b'\n'), (b"", b'x'), (b"\0", 0)] {
            let mut slow = Client::connect(&server);
            scope.spawn(move || {
                slow.send(first);
                assert!(is_closed_while_bytes_trickle(&mut slow, byte, PATIENCE));
            });
        }
    });
    assert!(wire.rest().is_empty());
    // Whoever is in may take his time.
    known.ping();
}

#[test]
fn half_a_request_is_waited_for_and_then_no_more() {
    let server = Server::start(&["--request-timeout-ms", "200"]);
    let mut idle = Client::connect(&server);
    let mut idle_wire = Wire::greet(server.addr);
    for half in [&b"*2\r\n$3\r\nGET\r\n$1"[..], b"PIN", b"*1\r\n$536870912\r\nxyz", b"*1048576\r\n"]
    {
        let mut client = Client::connect(&server);
        client.send(b"PING\r\n");
        client.send(half);
        assert_eq!(client.expect_end(), "+PONG\r\n", "{}", half.escape_ascii());
    }
    let whole = request(2, set("key", "value"));
    for length in [1, 3, 4, 5, whole.len() - 1] {
        let mut wire = Wire::greet(server.addr);
        wire.send(&whole[..length]);
        assert!(wire.rest().is_empty(), "{length} bytes");
    }
    // Whoever has begun none may take his time.
    idle.ping();
    idle_wire.ask(2, ping());
}

/// A request has its time as a whole, not each of its bytes.
#[test]
fn a_request_that_trickles_in_has_its_time_as_a_whole() {
    let server = Server::start(&["--request-timeout-ms", "1000"]);
    let mut slow = Client::connect(&server);
    slow.send(b"*2\r\n$3\r\nGET\r\n$1000000\r\n");
    assert!(is_closed_while_bytes_trickle(&mut slow, b'x', PATIENCE));
    let mut wire = Wire::greet(server.addr);
    wire.send(b"\0\x10\0\0");
    let mut slow = Client { stream: wire.stream.try_clone().unwrap() };
    assert!(is_closed_while_bytes_trickle(&mut slow, b'x', PATIENCE));
}

/// Replies that are not read have the time of a request to go on their way.
#[test]
fn replies_that_are_not_read_are_waited_for_and_then_no_more() {
    let server = Server::start(&["--request-timeout-ms", "3000", "--value-bytes-max", "1048576"]);
    let mut good = Client::connect(&server);
    good.set_long("long", 1 << 20);
    let mut greedy = Client::connect(&server);
    greedy.send(&b"GET long\r\n".repeat(200));
    super::process::wait_until("it is put out", || good.info("connected_clients") == "1");
}
