//! A connection of the Redis protocol that may break off at any time.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
}

pub struct Redis {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Redis {
    pub fn connect(addr: SocketAddr) -> io::Result<Redis> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Redis { stream: BufReader::new(stream), out: Vec::new() })
    }

    /// Puts a command behind those that will be sent.
    pub fn add<W: AsRef<[u8]>>(&mut self, words: &[W]) {
        write!(self.out, "*{}\r\n", words.len()).unwrap();
        for word in words.iter().map(AsRef::as_ref) {
            write!(self.out, "${}\r\n", word.len()).unwrap();
            self.out.extend_from_slice(word);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.get_mut().write_all(&self.out);
        self.out.clear();
        sent
    }

    /// Sends a command and takes its reply, which is the next one.
    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Reply> {
        self.add(words);
        self.flush()?;
        self.reply()
    }

    pub fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let rest = &line[1..];
        Ok(match line.as_bytes()[0] {
            b'+' => Reply::Simple(rest.to_owned()),
            b'-' => Reply::Error(rest.to_owned()),
            b':' => Reply::Integer(rest.parse().unwrap()),
            b'$' if rest == "-1" => Reply::Null,
            b'*' if rest == "-1" => Reply::Null,
            b'$' => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).map_err(in_time)?;
                assert!(bytes.ends_with(b"\r\n"), "{bytes:?}");
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            b'*' => {
                let count = rest.parse::<usize>().unwrap();
                Reply::Array((0..count).map(|_| self.reply()).collect::<io::Result<_>>()?)
            }
            _ => panic!("no reply: {line:?}"),
        })
    }

    /// A whole line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(in_time)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A server that does not answer has not died: that is a failure.
pub fn in_time(error: io::Error) -> io::Error {
    let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!late, "no answer in {PATIENCE:?}");
    error
}
