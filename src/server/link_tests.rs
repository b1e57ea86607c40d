//! A link whose peer and whose server are this test.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::super::config::Config;
use super::super::metrics::Metrics;
use super::super::peer::{Entered, Order};
use super::super::serve::Started;
use super::super::shutdown::Shutdown;
use super::super::slow_log::SlowLog;
use super::super::test_engine::TestEngine;
use super::{Awaited, CloseReason, Link, Shared, Transport, Turn};

/// The client, the link to it, and its place among the connections.
async fn linked(config: Config) -> (TcpStream, Link, Entered) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = TcpStream::connect(addr).await.unwrap();
    let (stream, from) = listener.accept().await.unwrap();
    let shared = Arc::new(Shared::new(&Started {
        listener,
        config: Arc::new(config),
        engine: Arc::new(TestEngine::default()),
        tls: None,
        password: None,
        metrics: Arc::new(Metrics::new(&[])),
        slow_log: Arc::new(SlowLog::new(0, 0)),
        shutdown: Shutdown::new(),
    }));
    let entered = shared.peers.enter(from, addr);
    let link = Link::new(Transport::Plain(stream), shared, Arc::clone(&entered.peer));
    (client, link, entered)
}

/// Waits until the link waits, and gives the deadline that it has set.
async fn deadline_of(link: &mut Link, awaited: Awaited) -> u64 {
    let peer = Arc::clone(&link.peer);
    let mut replies = Vec::new();
    let mut reading = std::pin::pin!(link.read(&mut replies, awaited));
    std::future::poll_fn(|context| {
        assert!(reading.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    peer.deadline_ms.load(Ordering::Relaxed)
}

async fn read(link: &mut Link, awaited: Awaited) -> Turn {
    link.read(&mut Vec::new(), awaited).await.unwrap()
}

#[tokio::test]
async fn a_client_is_late_only_while_it_is_waited_for() {
    let config = Config { idle_timeout_ms: 1000, request_timeout_ms: 2000, ..Config::default() };
    let (mut client, mut link, entered) = linked(config).await;
    let deadline = |entered: &Entered| entered.peer.deadline_ms.load(Ordering::Relaxed);
    for (awaited, time_ms) in [(Awaited::Request, 1000), (Awaited::Rest, 2000)] {
        assert_eq!(deadline_of(&mut link, awaited).await, link.shared.coarse_ms() + time_ms);
        client.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut link, awaited).await, Turn::Read);
        assert_eq!(deadline(&entered), 0, "the server is at work");
        link.taken();
    }
    // The time for a handshake goes on.
    entered.peer.wait_until(7000, CloseReason::Handshake);
    client.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut link, Awaited::Login).await, Turn::Read);
    assert_eq!(deadline(&entered), 7000);
    link.shared.peers.end_late(8000);
    assert_eq!(entered.peer.order(), Order::End(CloseReason::Handshake));
}

#[tokio::test]
async fn a_request_gains_no_time_by_coming_slowly() {
    let config = Config { request_timeout_ms: 2000, ..Config::default() };
    let (mut client, mut link, _entered) = linked(config).await;
    let first = deadline_of(&mut link, Awaited::Rest).await;
    let before = link.shared.coarse_ms();
    while link.shared.coarse_ms() == before {
        link.shared.tick();
    }
    client.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut link, Awaited::Rest).await, Turn::Read);
    assert_eq!(deadline_of(&mut link, Awaited::Rest).await, first);
    link.taken();
    assert!(deadline_of(&mut link, Awaited::Rest).await > first, "another request");
}

#[tokio::test]
async fn the_memory_of_a_long_request_is_given_back() {
    const LONG: usize = 1 << 20;
    let config = Config { input_bytes_max: LONG + (1 << 10), ..Config::default() };
    let (mut client, mut link, _entered) = linked(config).await;
    for _ in 0..3 {
        let (sent, ()) = tokio::join!(client.write_all(&[7; LONG]), async {
            while link.input.len() < LONG {
                assert_eq!(read(&mut link, Awaited::Rest).await, Turn::Read);
            }
        });
        sent.unwrap();
        let request = link.input.split_to(LONG - 100);
        drop(request);
        client.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut link, Awaited::Rest).await, Turn::Read);
        assert_eq!(link.input.len(), 101, "what has come of the next one");
        assert!(link.input.capacity() < 64 << 10, "{}", link.input.capacity());
        link.input.clear();
    }
    // A little more than there is room for, and a read to count it.
    let (sent, broken) = tokio::join!(client.write_all(&[7; LONG + (2 << 10)]), async {
        loop {
            match link.read(&mut Vec::new(), Awaited::Rest).await {
                Ok(_) => {}
                Err(broken) => break broken,
            }
        }
    });
    sent.unwrap();
    assert!(matches!(broken, super::Broken::Closed(CloseReason::Input)), "{broken:?}");
}
