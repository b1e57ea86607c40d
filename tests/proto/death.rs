//! The end of a server: what was acknowledged is there, however it came to its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{ScanRequest, WatchRequest};

use super::server::Server;
use super::wire::{Wire, get, ping, request, set, value_of};

#[test]
fn a_pipeline_in_flight_is_answered_when_the_server_is_to_end() {
    let mut server = Server::start(&[]);
    let mut idle = Wire::greet(server.addr);
    let mut watching = Wire::greet(server.addr);
    let watch = WatchRequest { pages: 5, ..WatchRequest::default() };
    assert!(matches!(watching.ask(2, Asked::Watch(watch)), Kind::WatchStarted(_)));
    let mut wire = Wire::greet(server.addr);
    // So few bytes that all of them have come with the first.
    let sent: Vec<u8> =
        (2..2002).flat_map(|id| request(id, set(&id.to_string(), "value"))).collect();
    wire.send(&sent);
    assert!(matches!(wire.response(), (2, Kind::Write(_))));
    server.terminate();
    let answered: Vec<u64> = wire
        .rest()
        .into_iter()
        .map(|(id, kind)| {
            assert!(matches!(kind, Kind::Write(_)), "{kind:?}");
            id
        })
        .collect();
    assert_eq!(answered, (3..2002).collect::<Vec<_>>());
    assert!(idle.rest().is_empty());
    watching.rest();
    assert!(server.wait().success());
    server.start_again(&[]);
    let mut wire = Wire::greet(server.addr);
    for id in 2..2002 {
        assert_eq!(value_of(wire.ask(id, get(&id.to_string()))).unwrap(), b"value");
    }
}

/// Writes 1, 2, 3 and so on to a key until the server is gone; what was acknowledged last is in
/// `acknowledged`.
fn count(wire: &mut Wire, key: &str, acknowledged: &AtomicU64) {
    const IN_FLIGHT: u64 = 32;
    let mut sent = 0;
    loop {
        let number = sent + 1;
        // Where it is gone, the answers tell.
        let frame = request(number + 1, set(key, number.to_string()));
        if std::io::Write::write_all(&mut wire.stream, &frame).is_err() {
            return;
        }
        sent = number;
        while sent - acknowledged.load(Ordering::Relaxed) >= IN_FLIGHT {
            match wire.next() {
                Some((id, Kind::Write(_))) => acknowledged.store(id - 1, Ordering::Relaxed),
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_acknowledged() {
    const WRITERS: usize = 4;
    for round in 0..3_u64 {
        let mut server = Server::start(&["--durability", "os"]);
        let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
        let addr = server.addr;
        thread::scope(|scope| {
            let mut writers = Vec::new();
            for (writer, acknowledged) in acknowledged.iter().enumerate() {
                let mut wire = Wire::greet(addr);
                let write = move || count(&mut wire, &writer.to_string(), acknowledged);
                writers.push(scope.spawn(write));
            }
            // All of them load it before it dies.
            let least = || acknowledged.iter().map(|it| it.load(Ordering::Relaxed)).min().unwrap();
            let has_ended = || writers.iter().any(|writer| writer.is_finished());
            while least() < 500 * (round + 1) && !has_ended() {
                thread::yield_now();
            }
            let is_early = has_ended();
            // Also then: the others write until it is gone.
            server.kill();
            assert!(!is_early, "a writer has ended before the server");
        });
        server.start_again(&[]);
        let mut wire = Wire::greet(server.addr);
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let found = value_of(wire.ask(2, get(&writer.to_string()))).unwrap();
            let found: u64 = String::from_utf8(found).unwrap().parse().unwrap();
            let acknowledged = acknowledged.load(Ordering::Relaxed);
            assert!(found >= acknowledged, "{found} < {acknowledged}");
        }
    }
}

#[test]
fn streams_end_with_their_connection() {
    let mut server = Server::start(&[]);
    for round in 0..20 {
        let mut wire = Wire::greet(server.addr);
        wire.send(&request(2, set(&round.to_string(), "v")));
        wire.send(&request(3, Asked::Scan(ScanRequest { pages: 0, ..Default::default() })));
        wire.send(&request(4, Asked::Watch(WatchRequest { pages: 9, ..Default::default() })));
        assert!(matches!(wire.response(), (2, Kind::Write(_))));
    }
    let mut wire = Wire::greet(server.addr);
    assert!(matches!(wire.ask(2, ping()), Kind::Ping(_)));
    // It would wait for them.
    server.terminate();
    assert!(server.wait().success());
}
