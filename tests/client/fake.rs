//! A server made of a script: for each connection, what it reads and what it does then.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use kvs::client::{ClientOptions, ErrorCode};
use kvs::protocol::frame;
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    Error, Found, GetResponse, HelloResponse, Limits, Request, Response, WriteResponse,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The side of the server of one connection.
pub struct Peer {
    pub stream: TcpStream,
    read: BytesMut,
}

/// A server on a port of its own.
pub struct Fake {
    listener: TcpListener,
    pub addr: SocketAddr,
}

impl Fake {
    pub async fn bind() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        Fake { listener, addr }
    }

    /// The next connection, before a word.
    pub async fn accept(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        Peer { stream, read: BytesMut::new() }
    }

    /// The next connection, greeted.
    pub async fn greet(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.greet(Limits::default()).await;
        peer
    }
}

/// Options with which tests do not wait for long.
pub fn quick() -> ClientOptions {
    ClientOptions::new().reconnect_delay_ms(1, 10).timeout_ms(20_000)
}

/// Runs a script beside the test; its panics are the test's when it is waited for.
pub fn script<F>(script: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(script)
}

impl Peer {
    pub async fn greet(&mut self, limits: Limits) {
        let (id, asked) = self.request().await;
        assert!(matches!(asked, Asked::Hello(_)), "{asked:?}");
        let hello = HelloResponse {
            version: 1,
            software: "fake".to_owned(),
            engine: "memory".to_owned(),
            limits: Some(limits),
            ..HelloResponse::default()
        };
        self.respond(id, Kind::Hello(hello)).await;
    }

    /// The next request; none: the client closed the connection.
    pub async fn request_or_end(&mut self) -> Option<(u64, Asked)> {
        loop {
            if let Some(frame) = frame::take(&mut self.read, 64 << 20).unwrap() {
                let request = Request::decode(frame).unwrap();
                return Some((request.id, request.kind.unwrap()));
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
            if read.expect("no request came").ok()? == 0 {
                return None;
            }
        }
    }

    pub async fn request(&mut self) -> (u64, Asked) {
        self.request_or_end().await.expect("the client closed the connection")
    }

    /// Whether nothing comes for a moment.
    pub async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.request()).await.is_err()
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn respond(&mut self, id: u64, kind: Kind) {
        self.send(&encoded(id, kind)).await;
    }
}

/// The frame of a response.
pub fn encoded(id: u64, kind: Kind) -> Vec<u8> {
    let response = Response { id, kind: Some(kind) };
    let mut out = Vec::new();
    frame::put(&mut out, 64 << 20, |out| response.encode_raw(out)).unwrap();
    out
}

pub fn value(text: &str) -> Kind {
    let found = Found { value: text.to_owned().into(), version: 1, expires_at_ms: None };
    Kind::Get(GetResponse { found: Some(found) })
}

pub fn written(seq: u64) -> Kind {
    Kind::Write(WriteResponse { seq, existed: false })
}

pub fn error(code: ErrorCode) -> Kind {
    Kind::Error(Error { code: code.into(), text: format!("{code:?}"), ..Error::default() })
}

/// The key of a get.
#[track_caller]
pub fn key_of(asked: &Asked) -> String {
    match asked {
        Asked::Get(get) => String::from_utf8(get.key.to_vec()).unwrap(),
        other => panic!("no get: {other:?}"),
    }
}
