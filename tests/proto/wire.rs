//! A connection on which a test says every byte itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use kvs::protocol::frame;
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    Error, GetRequest, HelloRequest, HelloResponse, PingRequest, Request, Response, SetRequest,
};
use prost::Message;

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Wire {
    pub stream: TcpStream,
    read: BytesMut,
}

impl Wire {
    pub fn connect(addr: SocketAddr) -> Wire {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { stream, read: BytesMut::new() }
    }

    /// A connection that has said hello.
    pub fn greet(addr: SocketAddr) -> Wire {
        Wire::greet_with(addr, 0).0
    }

    /// The same with a limit for frames, and what the server says.
    pub fn greet_with(addr: SocketAddr, frame_bytes_max: u64) -> (Wire, HelloResponse) {
        let mut wire = Wire::connect(addr);
        let hello = HelloRequest { frame_bytes_max, ..hello() };
        match wire.ask(1, Asked::Hello(hello)) {
            Kind::Hello(hello) => (wire, hello),
            other => panic!("no hello: {other:?}"),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request and takes its response, which is the next one.
    #[track_caller]
    pub fn ask(&mut self, id: u64, kind: Asked) -> Kind {
        self.send(&request(id, kind));
        let (answered, kind) = self.response();
        assert_eq!(answered, id, "{kind:?}");
        kind
    }

    #[track_caller]
    pub fn error(&mut self, id: u64, kind: Asked) -> Error {
        as_error(self.ask(id, kind))
    }

    #[track_caller]
    pub fn response(&mut self) -> (u64, Kind) {
        self.next().expect("the server has closed the connection")
    }

    /// The next response; none: the server has closed the connection.
    pub fn next(&mut self) -> Option<(u64, Kind)> {
        loop {
            if let Some(frame) = frame::take(&mut self.read, frame::FRAME_BYTES_LIMIT).unwrap() {
                let response = Response::decode(frame).unwrap();
                return Some((response.id, response.kind.unwrap()));
            }
            let mut bytes = [0; 1 << 14];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.read.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<(u64, Kind)> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The one error about the connection that is left, and its end.
    #[track_caller]
    pub fn last_error(&mut self) -> Error {
        let mut rest = self.rest();
        assert_eq!(rest.len(), 1, "{rest:?}");
        let (id, kind) = rest.remove(0);
        assert_eq!(id, 0);
        as_error(kind)
    }

    pub fn end(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

#[track_caller]
pub fn as_error(kind: Kind) -> Error {
    match kind {
        Kind::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

pub fn request(id: u64, kind: Asked) -> Vec<u8> {
    let message = Request { id, kind: Some(kind) };
    let mut out = Vec::new();
    frame::put(&mut out, frame::FRAME_BYTES_LIMIT, |out| message.encode_raw(out)).unwrap();
    out
}

pub fn hello() -> HelloRequest {
    HelloRequest { version_min: 1, version_max: 1, ..HelloRequest::default() }
}

pub fn get(key: &str) -> Asked {
    Asked::Get(GetRequest { key: key.as_bytes().to_vec().into(), without_value: false })
}

pub fn set(key: &str, value: impl Into<Vec<u8>>) -> Asked {
    let (key, value) = (key.as_bytes().to_vec().into(), value.into().into());
    Asked::Set(SetRequest { key, value, ..SetRequest::default() })
}

pub fn ping() -> Asked {
    Asked::Ping(PingRequest::default())
}

/// The value in the answer to a get.
#[track_caller]
pub fn value_of(kind: Kind) -> Option<Vec<u8>> {
    match kind {
        Kind::Get(get) => get.found.map(|found| found.value.to_vec()),
        other => panic!("no answer to a get: {other:?}"),
    }
}
