//! Scans and watches: pages, credit, and what goes on beside them.

use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    CancelRequest, Code, GrantRequest, ScanRequest, StreamEnd, WatchRequest,
};

use super::server::Server;
use super::wire::{Wire, as_error, get, ping, request, set, value_of};

const WHOLE: Kind = Kind::StreamEnd(StreamEnd { cancelled: false });
const CANCELLED: Kind = Kind::StreamEnd(StreamEnd { cancelled: true });

fn scan(page_records: u32, pages: u32) -> Asked {
    Asked::Scan(ScanRequest { page_records, pages, ..ScanRequest::default() })
}

fn watch(after: Option<u64>, pages: u32) -> Asked {
    Asked::Watch(WatchRequest { after, pages, ..WatchRequest::default() })
}

fn grant(pages: u32) -> Asked {
    Asked::Grant(GrantRequest { pages })
}

fn cancel() -> Asked {
    Asked::Cancel(CancelRequest {})
}

/// A connection to a server with keys from 0000 on, each with a value of so many bytes.
fn filled(server: &Server, keys: u64, value_bytes: usize) -> Wire {
    let mut wire = Wire::greet(server.addr);
    for key in 0..keys {
        let asked = set(&format!("{key:04}"), vec![b'x'; value_bytes]);
        assert!(matches!(wire.ask(key + 2, asked), Kind::Write(_)));
    }
    wire
}

/// The keys of a page of a scan.
#[track_caller]
fn keys_of(kind: Kind) -> Vec<String> {
    match kind {
        Kind::ScanPage(page) => {
            page.records.iter().map(|it| String::from_utf8(it.key.to_vec()).unwrap()).collect()
        }
        other => panic!("no page of a scan: {other:?}"),
    }
}

/// The seqs and keys of a page of a watch.
#[track_caller]
fn changes_of(kind: Kind) -> Vec<(u64, String)> {
    let Kind::WatchPage(page) = kind else { panic!("no page of a watch: {kind:?}") };
    let key = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    page.changes.iter().map(|it| (it.seq, key(&it.key))).collect()
}

/// Takes what is about one stream until a ping is answered: what had been sent for it till then.
fn until_ping(wire: &mut Wire, id: u64) -> Vec<Kind> {
    wire.send(&request(id, ping()));
    let mut before = Vec::new();
    loop {
        match wire.response() {
            (answered, Kind::Ping(_)) if answered == id => return before,
            (_, kind) => before.push(kind),
        }
    }
}

#[test]
fn a_scan_waits_for_credit_while_other_requests_go_on() {
    let server = Server::start(&[]);
    let mut wire = filled(&server, 100, 10);
    wire.send(&request(1000, scan(10, 1)));
    let mut seen = keys_of(wire.response().1);
    assert_eq!(seen.len(), 10);
    for page in 0..9_u64 {
        // No page comes that was not granted.
        for id in 2000..2020 {
            assert_eq!(value_of(wire.ask(id, get("0007"))).unwrap(), b"xxxxxxxxxx");
        }
        assert!(matches!(wire.ask(2020 + page, set("after", "1")), Kind::Write(_)));
        wire.send(&request(1000, grant(1)));
        seen.extend(keys_of(wire.response().1));
    }
    // The end takes no credit, and what was written meanwhile is not seen.
    assert_eq!(wire.response(), (1000, WHOLE));
    assert_eq!(seen, (0..100).map(|key| format!("{key:04}")).collect::<Vec<_>>());
    assert!(until_ping(&mut wire, 3).is_empty());
}

#[test]
fn a_scan_sees_what_was_sent_before_it() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    for round in 0..50_u64 {
        let key = format!("{round:04}");
        let sent = [request(2, set(&key, "v")), request(3, scan(0, 9)), request(4, set("z", "v"))];
        wire.send(&sent.concat());
        let mut keys = Vec::new();
        let mut is_over = false;
        let mut answered = 0;
        while !is_over || answered < 2 {
            match wire.response() {
                (3, Kind::StreamEnd(_)) => is_over = true,
                (3, page) => keys.extend(keys_of(page)),
                (2 | 4, Kind::Write(_)) => answered += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(keys.contains(&key));
        assert_eq!(keys.iter().any(|key| key == "z"), round > 0, "the moment of the request");
    }
}

#[test]
fn an_empty_scan_and_one_that_cannot_be() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    assert_eq!(wire.ask(2, scan(0, 1)), WHOLE);
    // Without credit it does not even begin.
    wire.send(&request(2, scan(0, 0)));
    assert!(until_ping(&mut wire, 3).is_empty());
    wire.send(&request(2, grant(1)));
    assert_eq!(wire.response(), (2, WHOLE));
    let bound = |key: &'static str| {
        let kind = kvs::protocol::proto::messages::bound::Kind::Included(key.into());
        Some(kvs::protocol::proto::messages::Bound { kind: Some(kind) })
    };
    let backwards = ScanRequest { from: bound("b"), to: bound("a"), ..ScanRequest::default() };
    assert_eq!(wire.error(2, Asked::Scan(backwards)).code(), Code::InvalidRange);
    assert!(matches!(wire.ask(2, ping()), Kind::Ping(_)));
}

#[test]
fn a_page_fits_the_frame_of_the_client_or_the_scan_fails() {
    let server = Server::start(&[]);
    filled(&server, 20, 3000);
    let (mut wire, _) = Wire::greet_with(server.addr, 4096);
    wire.send(&request(5, scan(0, 1000)));
    for key in 0..20 {
        assert_eq!(keys_of(wire.response().1), [format!("{key:04}")]);
    }
    assert_eq!(wire.response(), (5, WHOLE));
    assert!(matches!(wire.ask(6, set("0010", vec![0; 5000])), Kind::Write(_)));
    wire.send(&request(7, scan(0, 1000)));
    for key in 0..10 {
        assert_eq!(keys_of(wire.response().1), [format!("{key:04}")]);
    }
    let (id, kind) = wire.response();
    assert_eq!((id, as_error(kind).code()), (7, Code::ResponseTooLarge));
    assert!(until_ping(&mut wire, 8).is_empty());
}

#[test]
fn a_cancelled_scan_ends_and_its_id_is_free() {
    let server = Server::start(&[]);
    let mut wire = filled(&server, 200, 10);
    // Again and again, so that pages of the earlier ones are under way.
    for _ in 0..50 {
        let sent = [request(5, scan(1, 100)), request(5, cancel()), request(5, scan(200, 1))];
        wire.send(&sent.concat());
        let mut kind = wire.response().1;
        while kind != CANCELLED {
            keys_of(kind);
            kind = wire.response().1;
        }
        assert_eq!(keys_of(wire.response().1).len(), 200);
        assert_eq!(wire.response(), (5, WHOLE));
    }
    // What has ended needs neither.
    wire.send(&[request(5, cancel()), request(5, grant(1))].concat());
    assert!(until_ping(&mut wire, 6).is_empty());
}

#[test]
fn there_are_only_so_many_streams() {
    let server = Server::start(&[]);
    let (_, hello) = Wire::greet_with(server.addr, 0);
    let most = u64::from(hello.limits.unwrap().streams_max);
    let mut wire = filled(&server, 10, 10);
    for id in 0..most {
        wire.send(&request(100 + id, scan(1, 0)));
    }
    let error = wire.error(99, scan(1, 0));
    assert_eq!((error.code(), error.limit), (Code::TooManyStreams, Some(most)));
    assert_eq!(wire.ask(100, cancel()), CANCELLED);
    let same_id = wire.error(101, scan(1, 0));
    assert_eq!(same_id.code(), Code::InvalidRequest);
    wire.send(&request(99, scan(1, 1)));
    assert_eq!(keys_of(wire.response().1), ["0000"]);
}

#[test]
fn scans_that_sort_all_keys_are_limited() {
    let server = Server::start(&["--sorted-scans-max", "1"]);
    let mut wire = filled(&server, 10, 10);
    let others = &mut Wire::greet(server.addr);
    // What is not granted anything takes no place.
    others.send(&request(1, scan(1, 0)));
    assert!(until_ping(others, 2).is_empty());
    wire.send(&request(100, scan(5, 1)));
    assert_eq!(keys_of(wire.response().1).len(), 5);
    let error = others.error(3, scan(0, 1));
    assert_eq!((error.code(), error.limit), (Code::Busy, Some(1)));
    wire.send(&request(100, grant(1)));
    assert_eq!(keys_of(wire.response().1).len(), 5);
    assert_eq!(wire.response(), (100, WHOLE));
    others.send(&request(1, grant(10)));
    for key in 0..10 {
        assert_eq!(keys_of(others.response().1), [format!("{key:04}")]);
    }
    assert_eq!(others.response(), (1, WHOLE));
}

#[test]
fn a_scan_that_waits_for_credit_gives_its_place_to_others() {
    let limits = ["--sorted-scans-max", "1", "--request-timeout-ms", "200"];
    let server = Server::start(&limits);
    let mut wire = filled(&server, 10, 10);
    wire.send(&request(100, scan(5, 1)));
    assert_eq!(keys_of(wire.response().1).len(), 5);
    // It is told when it is over.
    let (id, kind) = wire.response();
    assert_eq!((id, as_error(kind).code()), (100, Code::Busy));
    wire.send(&request(101, scan(0, 1)));
    assert_eq!(keys_of(wire.response().1).len(), 10);
    assert_eq!(wire.response(), (101, WHOLE));
}

#[test]
fn streams_without_credit_hold_nothing() {
    const MIB: u64 = 1 << 20;
    for engine in [&["--index", "ordered"][..], &["--engine", "memory"], &["--engine", "sled"]] {
        let server = Server::start(engine);
        let mut wire = filled(&server, 8, 1 << 20);
        let before = server.peak_bytes();
        for id in 0..64 {
            let page_bytes = 4 << 20;
            let scan = ScanRequest { page_bytes, ..ScanRequest::default() };
            wire.send(&request(100 + id, Asked::Scan(scan)));
        }
        // They have been asked for, and have had time for a page each.
        assert!(until_ping(&mut wire, 2).is_empty());
        wire.send(&request(100, grant(1)));
        assert_eq!(keys_of(wire.response().1).len(), 3);
        let more = (server.peak_bytes() - before) / MIB;
        assert!(more < 100, "{engine:?}: {more} MiB");
    }
}

#[test]
fn a_watch_goes_on_from_a_seq_and_takes_credit() {
    let server = Server::start(&[]);
    let mut wire = filled(&server, 5, 10);
    let Kind::Write(written) = wire.ask(50, set("now", "1")) else { panic!("no write") };
    let other = &mut Wire::greet(server.addr);
    let started = wire.ask(60, watch(Some(written.seq - 3), 1));
    assert!(matches!(started, Kind::WatchStarted(it) if it.after == Some(written.seq - 3)));
    let mut seen = changes_of(wire.response().1);
    assert!(matches!(other.ask(2, set("later", "1")), Kind::Write(_)));
    while seen.len() < 4 {
        // Without credit, nothing comes.
        assert!(until_ping(&mut wire, 61).is_empty());
        wire.send(&request(60, grant(1)));
        seen.extend(changes_of(wire.response().1));
    }
    let keys: Vec<&str> = seen.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(keys, ["0003", "0004", "now", "later"]);
    assert!(seen.is_sorted_by(|one, next| one.0 < next.0));
    assert_eq!(wire.ask(60, cancel()), CANCELLED);
}

#[test]
fn a_watch_that_waits_holds_nobody_up() {
    let server = Server::start(&[]);
    let mut wire = Wire::greet(server.addr);
    let started = wire.ask(2, watch(None, 100));
    let Kind::WatchStarted(started) = started else { panic!("{started:?}") };
    let after = started.after.expect("this engine can tell");
    assert!(until_ping(&mut wire, 3).is_empty());
    let Kind::Write(written) = Wire::greet(server.addr).ask(2, set("key", "v")) else {
        panic!("no write")
    };
    assert!(written.seq > after);
    assert_eq!(changes_of(wire.response().1), [(written.seq, "key".to_owned())]);
    // Its own writes are changes, too.
    wire.send(&request(4, set("own", "v")));
    let mut kinds = [wire.response(), wire.response()];
    kinds.sort_by_key(|(id, _)| *id);
    assert!(matches!(&kinds, [(2, Kind::WatchPage(_)), (4, Kind::Write(_))]), "{kinds:?}");
}

#[test]
fn an_engine_without_watches_says_so() {
    let server = Server::start(&["--engine", "sled"]);
    let mut wire = Wire::greet(server.addr);
    assert_eq!(wire.error(2, watch(None, 1)).code(), Code::Unsupported);
    assert!(matches!(wire.ask(3, set("key", "v")), Kind::Write(_)));
    wire.send(&request(4, scan(1, 1)));
    assert_eq!(keys_of(wire.response().1), ["key"]);
    assert_eq!(wire.response(), (4, WHOLE));
}
