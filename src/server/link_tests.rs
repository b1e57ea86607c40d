//! A link whose peer and whose server are this test.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::config::Config;
use super::super::metrics::Metrics;
use super::super::peer::{Entered, Order};
use super::super::serve::Started;
use super::super::shutdown::Shutdown;
use super::super::slow_log::SlowLog;
use super::super::test_engine::TestEngine;
use super::super::tls::{Tls, tests as tls};
use super::{Awaited, CloseReason, Link, Shared, Transport, Turn};

/// The client, the link to it, and its place among the connections.
async fn linked(config: Config) -> (TcpStream, Link, Entered) {
    let (client, stream, shared, entered) = connected(config).await;
    let link = Link::new(Transport::Plain(stream), shared, Arc::clone(&entered.peer));
    (client, link, entered)
}

/// Both ends of a connection.
async fn connected(config: Config) -> (TcpStream, TcpStream, Arc<Shared>, Entered) {
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
    (client, stream, shared, entered)
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

/// TLS takes what the socket does not, and that is no excuse to forget it.
#[tokio::test]
async fn a_slow_reader_gets_all_of_a_reply_over_tls() {
    const LONG: usize = 1 << 20;
    let (client, stream, shared, entered) = connected(Config::default()).await;
    // So that the socket is soon full.
    socket2::SockRef::from(&stream).set_send_buffer_size(16 << 10).unwrap();
    socket2::SockRef::from(&client).set_recv_buffer_size(16 << 10).unwrap();
    let server = Tls::load(&tls::data("server.pem"), &tls::data("server.key")).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tls::connector();
    let (stream, client) =
        tokio::join!(server.acceptor().accept(stream), connector.connect(name, client));
    let transport = Transport::Tls(Box::new(stream.unwrap()));
    let mut link = Link::new(transport, shared, Arc::clone(&entered.peer));
    let mut client = client.unwrap();
    // Such that the last part is held back at different places.
    for bytes in [LONG, LONG - 20_000, LONG - 40_000] {
        let mut replies = vec![7; bytes];
        let read = async {
            let (mut part, mut read) = (vec![0; 1 << 10], 0);
            while read < bytes {
                read += client.read(&mut part).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (sent, ()) = tokio::join!(link.send(&mut replies, 0), read);
        sent.unwrap();
        assert!(!link.needs_flush, "it was told to send all");
    }
    // The answer to the last request, and the end behind it.
    let mut replies = vec![7; LONG];
    let send_and_end = async move {
        link.send(&mut replies, 0).await.unwrap();
        link.end(true).await;
    };
    let mut found = Vec::new();
    let (read, ()) = tokio::join!(client.read_to_end(&mut found), send_and_end);
    assert_eq!((read.unwrap(), found.len()), (LONG, LONG));
    drop(entered);
}
