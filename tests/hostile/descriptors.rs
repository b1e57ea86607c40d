//! A server that has no descriptors left.

use std::io::{ErrorKind, Read};
use std::process::Command;

use super::client::Client;
use super::process::wait_until;
use super::server::{Server, command};

const DESCRIPTORS: usize = 64;

/// A server that may have so many descriptors.
fn start(args: &[&str]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let inner = command(&dir, "127.0.0.1:0", args);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"")]);
    shell.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Server::of(shell, dir)
}

/// Whether it has had to leave somebody waiting.
fn has_none_left(server: &Server) -> bool {
    server.said().iter().any(|line| line.contains("cannot accept a connection: Too many open"))
}

/// Whether an answer has come, which is taken.
fn is_answered(client: &Client) -> bool {
    let mut reply = [0; 7];
    match (&client.stream).read(&mut reply) {
        Ok(count) => {
            assert_eq!(reply[..count], *b"+PONG\r\n");
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn those_that_wait_come_in_when_others_go() {
    let server = start(&[]);
    let mut waiting: Vec<Client> = (0..120).map(|_| Client::connect(&server)).collect();
    for client in &mut waiting {
        client.send(b"PING\r\n");
        client.stream.set_nonblocking(true).unwrap();
    }
    wait_until("no descriptor is left", || has_none_left(&server));
    let mut rounds = 0;
    while !waiting.is_empty() {
        let mut served = Vec::new();
        wait_until("some are served", || {
            let (answered, rest): (Vec<Client>, Vec<Client>) =
                std::mem::take(&mut waiting).into_iter().partition(is_answered);
            waiting = rest;
            served.extend(answered);
            served.len() >= 20 || waiting.is_empty()
        });
        assert!(served.len() <= DESCRIPTORS);
        // Those that are in are served while the others wait.
        for client in &mut served {
            client.stream.set_nonblocking(false).unwrap();
            client.ping();
        }
        rounds += 1;
    }
    assert!(rounds >= 3, "{rounds}");
    let mut client = Client::connect(&server);
    client.ping();
}

#[test]
fn writes_go_on_when_there_are_descriptors_again() {
    let server = start(&["--segment-bytes", "1048576"]);
    let mut good = Client::connect(&server);
    good.set_long("k", 100_000);
    let others: Vec<Client> = (0..DESCRIPTORS).map(|_| Client::connect(&server)).collect();
    wait_until("no descriptor is left", || has_none_left(&server));
    let mut acknowledged = 0;
    for number in 0..50 {
        good.send(&super::client::long_set(&format!("k{number}"), 100_000));
        acknowledged += usize::from(is_set(&mut good));
    }
    // Reads need none.
    good.expect(b"STRLEN k\r\nPING\r\n", ":100000\r\n+PONG\r\n");
    drop(others);
    wait_until("it writes again", || {
        good.send(&super::client::long_set("k", 100_000));
        is_set(&mut good)
    });
    for number in 0..50 {
        good.set_long(&format!("again{number}"), 100_000);
    }
    let keys = good.info("db0");
    assert!(keys.starts_with(&format!("keys={},", acknowledged + 51)), "{keys}");
}

/// Whether a `SET` was acknowledged; it may have been refused because there are no descriptors.
fn is_set(client: &mut Client) -> bool {
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        reply.extend(byte);
    }
    let reply = String::from_utf8(reply).unwrap();
    let refused = "-ERR the operating system refused to create a file; see the log of the server";
    assert!(reply == "+OK\r\n" || reply.trim_end() == refused, "{reply}");
    reply == "+OK\r\n"
}
