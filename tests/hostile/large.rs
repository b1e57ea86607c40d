//! Keys and values that are longer than they may be.

use std::thread;
use std::time::Duration;

use kvs::protocol::proto::messages::Code;

use super::client::{Client, End, long_set};
use super::process::{KEEPING_LITTLE, anonymous_bytes};
use super::server::Server;
use super::wire::{Wire, get, set, value_of};

#[test]
fn what_is_longer_than_it_may_be_is_refused() {
    let limits = ["--key-bytes-max", "1000", "--value-bytes-max", "100000"];
    let server = Server::start(&[&limits[..], &["--command-bytes-max", "150000"]].concat());
    let mut good = Client::connect(&server);
    good.set_long("k", 100_000);
    good.expect(b"STRLEN k\r\n", ":100000\r\n");
    let key = "k".repeat(1001);
    let told = "-ERR the key has 1001 bytes; the limit is 1000\r\n";
    good.expect(format!("SET {key} v\r\n").as_bytes(), told);
    good.expect(format!("MSET a 1 {key} v\r\n").as_bytes(), told);
    let told = "-ERR the value has 100001 bytes; the limit is 100000\r\n";
    good.expect(b"EXISTS a\r\nAPPEND k 0\r\n", &format!(":0\r\n{told}"));
    good.expect(b"SETRANGE k 100000 x\r\nSTRLEN k\r\n", &format!("{told}:100000\r\n"));
    let mut client = Client::connect(&server);
    let (told, end) = client.tell(&long_set("k", 100_001));
    let invalid = "-ERR Protocol error: invalid bulk length\r\n";
    assert_eq!((&*String::from_utf8_lossy(&told), end), (invalid, End::Closed));
    let mut client = Client::connect(&server);
    let part = format!("$90000\r\n{}\r\n", "k".repeat(90_000));
    let (told, end) = client.tell(format!("*3\r\n$4\r\nMGET\r\n{part}{part}").as_bytes());
    let too_big = "-ERR Protocol error: too big request\r\n";
    assert_eq!((&*String::from_utf8_lossy(&told), end), (too_big, End::Closed));

    let mut wire = Wire::greet(server.addr);
    assert_eq!(wire.error(2, set(&key, "v")).code(), Code::KeyTooLarge);
    assert_eq!(wire.error(3, set("k", vec![0; 100_001])).code(), Code::ValueTooLarge);
    assert_eq!(value_of(wire.ask(4, get("k"))).unwrap().len(), 100_000);
    good.ping();
}

/// What is announced and does not come takes nothing.
#[test]
fn a_value_that_is_only_announced_takes_no_memory() {
    let server = Server::start(&[]);
    let mut good = Client::connect(&server);
    good.ping();
    let before = anonymous_bytes(server.pid());
    let mut others = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(&server);
        client.send(b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nbegun");
        client.expect(b"", "+PONG\r\n");
        let mut wire = Wire::greet(server.addr);
        wire.send(&(575_u32 << 20).to_be_bytes());
        wire.send(b"begun");
        others.push((client, wire));
    }
    good.ping();
    let grown = anonymous_bytes(server.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}

/// Short requests that make long values are not all carried out in memory at once.
#[test]
fn values_that_are_made_long_take_no_more_memory_than_a_few_of_them() {
    const REQUESTS: usize = 40;
    // Each is copied a few times on its way, and the allocator of each thread keeps some that are
    // free; all at once are at least 40 of them.
    const HELD_MAX: u64 = 24 * 20_000_000;
    let server = Server::start_with(&[], &KEEPING_LITTLE);
    let mut good = Client::connect(&server);
    good.ping();
    let before = anonymous_bytes(server.pid());
    let asked: String =
        (0..REQUESTS).map(|number| format!("SETRANGE k{number} 20000000 x\r\n")).collect();
    let mut client = Client::connect(&server);
    client.send(asked.as_bytes());
    let mut most = 0;
    // However long the disk takes for all of that: only a reply can be late.
    while !good.info("db0").starts_with(&format!("keys={REQUESTS},")) {
        most = most.max(anonymous_bytes(server.pid()));
        thread::sleep(Duration::from_millis(5));
    }
    client.expect(b"", &":20000001\r\n".repeat(REQUESTS));
    let grown = most.saturating_sub(before);
    assert!(grown <= HELD_MAX, "{grown} bytes");
}
