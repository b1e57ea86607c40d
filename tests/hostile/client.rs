//! A client of the Redis protocol that waits for nothing longer than anything takes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::process::PATIENCE;
use super::server::Server;

pub struct Client {
    pub stream: TcpStream,
}

/// How a connection came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The server has closed it, with or without having read everything.
    Closed,
    /// It is open, and nothing comes.
    Silence,
}

impl Client {
    pub fn connect(server: &Server) -> Client {
        let stream = server.connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes and expects exactly these as the answer.
    #[track_caller]
    pub fn expect(&mut self, request: &[u8], reply: &str) {
        self.send(request);
        let mut found = vec![0; reply.len()];
        self.stream.read_exact(&mut found).unwrap();
        assert_eq!(String::from_utf8_lossy(&found), reply);
    }

    #[track_caller]
    pub fn ping(&mut self) {
        self.expect(b"PING\r\n", "+PONG\r\n");
    }

    /// A value of so many bytes, which is set.
    pub fn set_long(&mut self, key: &str, bytes: usize) {
        self.expect(&long_set(key, bytes), "+OK\r\n");
    }

    /// Sends bytes, which may be more than the server wants, and takes all that it says.
    pub fn tell(&mut self, bytes: &[u8]) -> (Vec<u8>, End) {
        // Where it is cut off in the middle, what was said before counts.
        let _ = self.stream.write_all(bytes);
        self.rest()
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut found = Vec::new();
        let end = match self.stream.read_to_end(&mut found) {
            Ok(_) => End::Closed,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Closed,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Silence,
                _ => panic!("{error}"),
            },
        };
        (found, end)
    }

    /// Expects that the server closes, and takes what it says until then.
    #[track_caller]
    pub fn expect_end(&mut self) -> String {
        let (found, end) = self.rest();
        assert_eq!(end, End::Closed);
        String::from_utf8_lossy(&found).into_owned()
    }

    /// A field of `INFO`; empty if it has none.
    pub fn info(&mut self, field: &str) -> String {
        self.send(b"INFO\r\n");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let bytes: usize = String::from_utf8_lossy(&head[1..]).trim().parse().unwrap();
        let mut info = vec![0; bytes + 2];
        self.stream.read_exact(&mut info).unwrap();
        let info = String::from_utf8(info).unwrap();
        let found = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }
}

/// A `SET` of a value of so many bytes.
pub fn long_set(key: &str, bytes: usize) -> Vec<u8> {
    let mut request = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${bytes}\r\n", key.len());
    request.extend(std::iter::repeat_n('v', bytes));
    request.push_str("\r\n");
    request.into_bytes()
}
