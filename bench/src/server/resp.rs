//! A connection that speaks the Redis protocol: the load before the measurements, and questions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::VALUE_BYTES;
use crate::engine::Res;

/// How long a server has to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sets that are on their way at the same time.
const BATCH: u64 = 1000;
const OK: &[u8] = b"+OK\r\n";

/// The key of a number, as redis-benchmark has it: 16 bytes.
pub fn key(number: u64) -> String {
    format!("key:{number:012}")
}

pub struct Connection {
    socket: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(addr: SocketAddr) -> Res<Connection> {
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { socket: BufReader::new(socket) })
    }

    /// The reply to a command: a line, or a string of bytes.
    pub fn ask(&mut self, words: &[&str]) -> Res<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.socket.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.socket.read_line(&mut line)?;
        let line = line.trim_end();
        match (line.get(..1), line.get(1..)) {
            (Some("+" | ":"), Some(text)) => Ok(text.to_string()),
            (Some("$"), Some(len)) => {
                let mut text = vec![0; len.parse::<usize>()? + 2];
                self.socket.read_exact(&mut text)?;
                Ok(String::from_utf8(text)?)
            }
            _ => Err(format!("{} is answered with {line:?}", words.join(" ")).into()),
        }
    }

    /// Sets the keys with the numbers below `keys`, and makes sure that they are there.
    pub fn load(&mut self, keys: u64) -> Res<()> {
        let mut replies = vec![0; OK.len() * BATCH as usize];
        for first in (0..keys).step_by(BATCH as usize) {
            let count = BATCH.min(keys - first);
            let mut requests = Vec::with_capacity(BATCH as usize * 160);
            for number in first..first + count {
                let key = key(number);
                write!(requests, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n", key.len())?;
                write!(requests, "${VALUE_BYTES}\r\n{:x<VALUE_BYTES$}\r\n", "")?;
            }
            self.socket.get_mut().write_all(&requests)?;
            let replies = &mut replies[..OK.len() * count as usize];
            self.socket.read_exact(replies)?;
            if let Some(other) = replies.chunks(OK.len()).find(|reply| *reply != OK) {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(format!("a SET is answered with {other:?}").into());
            }
        }
        match self.ask(&["DBSIZE"])?.parse::<u64>()? {
            there if there == keys => Ok(()),
            there => Err(format!("{keys} keys were set, and {there} are there").into()),
        }
    }

    /// Whether the server rewrites its log, or is about to.
    pub fn is_rewriting(&mut self) -> Res<bool> {
        let info = self.ask(&["INFO", "persistence"])?;
        let says = |line| info.lines().any(|it| it == line);
        Ok(says("aof_rewrite_in_progress:1") || says("aof_rewrite_scheduled:1"))
    }
}
