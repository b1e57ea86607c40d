//! Scans and watches: credit, cancelling, and going on after a connection broke.

use kvs::client::{ClientError, ErrorCode, ScanOptions};
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    Bound, Change, Found, Record, ScanPage, ScanRequest, StreamEnd, WatchPage, WatchStarted, bound,
};

use super::fake::{Fake, Peer, error, key_of, quick, script, value};

fn page(keys: &[&str]) -> Kind {
    let records = keys.iter().map(|key| Record {
        key: key.to_string().into(),
        found: Some(Found { value: format!("of {key}").into(), version: 1, expires_at_ms: None }),
    });
    Kind::ScanPage(ScanPage { records: records.collect() })
}

async fn scan_request(peer: &mut Peer) -> (u64, ScanRequest) {
    loop {
        match peer.request().await {
            (id, Asked::Scan(scan)) => return (id, scan),
            // Of a stream that is gone; a server ignores that.
            (_, Asked::Grant(_) | Asked::Cancel(_)) => {}
            other => panic!("no scan: {other:?}"),
        }
    }
}

fn excluded(key: &'static str) -> Option<Bound> {
    Some(Bound { kind: Some(bound::Kind::Excluded(key.into())) })
}

#[tokio::test]
async fn a_scan_goes_on_behind_the_last_key_when_its_connection_breaks() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        assert_eq!((scan.from, &scan.prefix[..], scan.records_max), (None, &b"k"[..], 5));
        peer.respond(id, page(&["k1", "k2"])).await;
        // That page was taken.
        assert!(matches!(peer.request().await, (_, Asked::Grant(grant)) if grant.pages == 1));
        drop(peer);
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        assert_eq!((scan.from, &scan.prefix[..], scan.records_max), (excluded("k2"), &b"k"[..], 3));
        peer.respond(id, page(&["k3"])).await;
        peer.respond(id, error(ErrorCode::SnapshotEnded)).await;
        // The moment that it showed is gone: a later one.
        let (id, scan) = scan_request(&mut peer).await;
        assert_eq!((scan.from, scan.records_max), (excluded("k3"), 2));
        peer.respond(id, Kind::StreamEnd(StreamEnd::default())).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let mut scan = client.scan(ScanOptions::new().prefix("k").limit(5));
    let mut keys = Vec::new();
    while let Some((key, found)) = scan.next().await.unwrap() {
        assert_eq!(&*found.value, [b"of ", &key[..]].concat());
        keys.push(String::from_utf8(key).unwrap());
    }
    assert_eq!(keys, ["k1", "k2", "k3"]);
    script.await.unwrap();
}

#[tokio::test]
async fn a_scan_goes_on_when_its_server_shuts_down() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, _) = scan_request(&mut peer).await;
        peer.respond(id, page(&["k1"])).await;
        peer.respond(id, error(ErrorCode::ShuttingDown)).await;
        let (id, scan) = scan_request(&mut peer).await;
        assert_eq!(scan.from, excluded("k1"));
        peer.respond(id, error(ErrorCode::ShuttingDown)).await;
        drop(peer);
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        assert_eq!(scan.from, excluded("k1"));
        peer.respond(id, page(&["k2"])).await;
        peer.respond(id, Kind::StreamEnd(StreamEnd::default())).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let mut scan = client.scan(ScanOptions::new());
    let mut keys = Vec::new();
    while let Some((key, _)) = scan.next().await.unwrap() {
        keys.push(key);
    }
    assert_eq!(keys, [b"k1", b"k2"]);
    script.await.unwrap();
}

#[tokio::test]
async fn a_scan_of_a_server_that_only_shuts_down_says_so() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        while let Some((id, asked)) = peer.request_or_end().await {
            if matches!(asked, Asked::Scan(_)) {
                peer.respond(id, error(ErrorCode::ShuttingDown)).await;
            }
        }
    });
    let client = quick().timeout_ms(2000).connect(addr).await.unwrap();
    let failed = client.scan(ScanOptions::new()).next().await.unwrap_err();
    assert_eq!(failed.code(), ErrorCode::ShuttingDown, "{failed}");
    drop(client);
    script.await.unwrap();
}

#[tokio::test]
async fn backwards_it_goes_on_before_the_last_key() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        assert!(scan.reverse);
        peer.respond(id, page(&["k2", "k1"])).await;
        peer.request().await;
        drop(peer);
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        assert_eq!((scan.from, scan.to), (None, excluded("k1")));
        peer.respond(id, Kind::StreamEnd(StreamEnd::default())).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let mut scan = client.scan(ScanOptions::new().reverse());
    let mut count = 0;
    while scan.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 2);
    script.await.unwrap();
}

#[tokio::test]
async fn pages_are_granted_as_they_are_taken_and_a_dropped_scan_is_cancelled() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        for number in 0..scan.pages {
            peer.respond(id, page(&[&format!("{number}")])).await;
        }
        // One is taken, the others are not asked for.
        assert!(matches!(peer.request().await, (of, Asked::Grant(grant))
            if of == id && grant.pages == 1));
        assert!(peer.is_quiet().await);
        peer.respond(id, page(&["more"])).await;
        peer
    });
    let client = quick().connect(addr).await.unwrap();
    let mut scan = client.scan(ScanOptions::new());
    assert_eq!(scan.next().await.unwrap().unwrap().0, b"0");
    let mut peer = script.await.unwrap();
    drop(scan);
    let (id, asked) = peer.request().await;
    assert!(matches!(asked, Asked::Cancel(_)), "{asked:?}");
    // Pages that were on their way, and the end, disturb nobody.
    peer.respond(id, Kind::StreamEnd(StreamEnd { cancelled: true })).await;
    let (found, ()) = tokio::join!(client.get("key"), async {
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    found.unwrap();
}

#[tokio::test]
async fn more_pages_than_were_granted_break_the_connection() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, scan) = scan_request(&mut peer).await;
        let pages: Vec<u8> = (0..scan.pages * 10)
            .flat_map(|number| super::fake::encoded(id, page(&[&format!("{number}")])))
            .collect();
        peer.send(&pages).await;
        while peer.request_or_end().await.is_some() {}
        let mut peer = fake.greet().await;
        let (id, _) = scan_request(&mut peer).await;
        peer.respond(id, error(ErrorCode::InvalidRange)).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let mut scan = client.scan(ScanOptions::new());
    let end = loop {
        match scan.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(end.unwrap_err().code(), ErrorCode::InvalidRange);
    script.await.unwrap();
}

fn changes(seqs: &[u64]) -> Kind {
    let changes = seqs.iter().map(|seq| Change { seq: *seq, ..Change::default() });
    Kind::WatchPage(WatchPage { changes: changes.collect() })
}

async fn begin_watch(peer: &mut Peer, expected: Option<u64>, after: Option<u64>) -> u64 {
    let (id, asked) = peer.request().await;
    assert!(matches!(&asked, Asked::Watch(watch) if watch.after == expected), "{asked:?}");
    peer.respond(id, Kind::WatchStarted(WatchStarted { after })).await;
    id
}

#[tokio::test]
async fn a_watch_goes_on_in_the_middle_of_a_batch_when_its_connection_breaks() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        begin_watch(&mut peer, None, Some(5)).await;
        drop(peer);
        let mut peer = fake.greet().await;
        let id = begin_watch(&mut peer, Some(5), Some(5)).await;
        peer.respond(id, changes(&[6, 7, 7])).await;
        peer.request().await;
        drop(peer);
        let mut peer = fake.greet().await;
        let id = begin_watch(&mut peer, Some(6), Some(6)).await;
        peer.respond(id, changes(&[7, 7, 7, 9])).await;
        peer.request().await;
        peer.respond(id, error(ErrorCode::HistoryGone)).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let mut watch = client.watch(None, "").await.unwrap();
    let mut seqs = Vec::new();
    let end = loop {
        match watch.next().await {
            Ok(change) => seqs.push(change.seq),
            Err(error) => break error,
        }
    };
    assert_eq!((seqs, end.code()), (vec![6, 7, 7, 7, 9], ErrorCode::HistoryGone));
    script.await.unwrap();
}

#[tokio::test]
async fn a_watch_that_cannot_tell_what_it_missed_says_so() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        begin_watch(&mut peer, None, None).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let mut watch = client.watch(None, "").await.unwrap();
    script.await.unwrap();
    let lost = watch.next().await.unwrap_err();
    assert!(matches!(lost, ClientError::WatchLost { .. }), "{lost}");
}
