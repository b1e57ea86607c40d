//! As many connections as there may be, and more.

use super::client::Client;
use super::process::{anonymous_bytes, raise_descriptors, wait_until};
use super::server::{Server, skip};

const CONNECTIONS: usize = 10_000;
/// For everything but these connections, in other tests too.
const OTHER_DESCRIPTORS: usize = 1500;
/// What a connection takes that has had its requests answered.
const CONNECTION_BYTES_MAX: u64 = 16 << 10;
/// Of so few, each would have much of what is taken once.
const FEW: usize = 2000;
const REFUSED: &str = "-ERR max number of clients reached\r\n";

#[test]
fn ten_thousand_are_served_and_those_above_are_told() {
    let most = raise_descriptors().saturating_sub(OTHER_DESCRIPTORS).clamp(100, CONNECTIONS);
    if most < CONNECTIONS {
        skip(&format!("10,000 connections: this process may have {most} only"));
    }
    let server = Server::start(&["--connections-max", &most.to_string()]);
    let mut good = Client::connect(&server);
    good.ping();
    let before = anonymous_bytes(server.pid());
    let mut others: Vec<Client> = (1..most).map(|_| Client::connect(&server)).collect();
    others.iter_mut().for_each(|other| other.send(b"PING\r\n"));
    others.iter_mut().for_each(|other| other.expect(b"", "+PONG\r\n"));
    let taken = anonymous_bytes(server.pid()).saturating_sub(before) / u64::try_from(most).unwrap();
    assert!(most <= FEW || taken <= CONNECTION_BYTES_MAX, "a connection takes {taken} bytes");

    for _ in 0..50 {
        assert_eq!(Client::connect(&server).expect_end(), REFUSED);
    }
    // Whoever has sent something is refused all the same.
    let mut refused = Client::connect(&server);
    let (told, _) = refused.tell(b"PING\r\n");
    assert!(told.is_empty() || told == REFUSED.as_bytes(), "{told:?}");
    for number in 0..100 {
        good.expect(format!("SET k{number} v\r\n").as_bytes(), "+OK\r\n");
    }

    others.truncate(1);
    wait_until("the others are gone", || good.info("connected_clients") == "2");
    let mut again: Vec<Client> = (0..100).map(|_| Client::connect(&server)).collect();
    again.iter_mut().for_each(Client::ping);
    others[0].ping();
}
