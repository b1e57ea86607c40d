//! A connection of the project's own protocol that may break off at any time.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use kvs::protocol::frame;
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{HelloRequest, Request, Response};
use prost::Message;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Frames {
    stream: TcpStream,
    read: BytesMut,
    out: Vec<u8>,
    /// Ids of the last request and of the last response.
    asked: u64,
    answered: u64,
}

impl Frames {
    /// A connection that has said hello.
    pub fn connect(addr: SocketAddr) -> io::Result<Frames> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let (read, out) = (BytesMut::new(), Vec::new());
        let mut frames = Frames { stream, read, out, asked: 0, answered: 0 };
        let hello = HelloRequest { version_min: 1, version_max: 1, ..HelloRequest::default() };
        match frames.ask(Asked::Hello(hello))? {
            Kind::Hello(_) => Ok(frames),
            other => panic!("no hello: {other:?}"),
        }
    }

    /// Puts a request behind those that will be sent.
    pub fn add(&mut self, kind: Asked) {
        self.asked += 1;
        let message = Request { id: self.asked, kind: Some(kind) };
        let limit = frame::FRAME_BYTES_LIMIT;
        frame::put(&mut self.out, limit, |out| message.encode_raw(out)).unwrap();
    }

    /// Sends what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        sent
    }

    /// Sends a request and takes its response, which is the next one.
    pub fn ask(&mut self, kind: Asked) -> io::Result<Kind> {
        self.add(kind);
        self.flush()?;
        self.response()
    }

    /// The response to the oldest request that has none.
    pub fn response(&mut self) -> io::Result<Kind> {
        loop {
            if let Some(frame) = frame::take(&mut self.read, frame::FRAME_BYTES_LIMIT).unwrap() {
                let response = Response::decode(frame).unwrap();
                self.answered += 1;
                assert_eq!(response.id, self.answered, "{response:?}");
                return Ok(response.kind.unwrap());
            }
            let mut bytes = [0; 1 << 14];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.read.extend_from_slice(&bytes[..read]),
                Err(error) => {
                    let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(!late, "no answer in {PATIENCE:?}");
                    return Err(error);
                }
            }
        }
    }
}
