//! Every command, against what Redis replied to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use kvs::protocol::resp::inline::words;

use super::server::Server;

const COMMANDS: &str = include_str!("../redis/commands.txt");
const SERVER_COMMANDS: &str = include_str!("../redis/server.txt");
const REPLIES: &str = include_str!("../redis/replies.txt");

/// What is meant to differ: the line before, the line, and the reply here. A `HELLO` that fails
/// changes nothing; Redis 7.0 has given the name by then.
const DIFFERENT: [(&str, &str, &str); 1] =
    [("HELLO 2 SETNAME a FOO", "CLIENT GETNAME", r"$-1\r\n")];

/// The script, line by line.
pub fn requests() -> impl Iterator<Item = &'static str> {
    let lines = COMMANDS.lines().chain(SERVER_COMMANDS.lines());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What is meant to be replied here to a line behind another, where it differs.
pub fn different(before: &str, line: &str) -> Option<&'static str> {
    let known = DIFFERENT.iter().find(|(last, it, _)| (*last, *it) == (before, line));
    known.map(|(_, _, here)| *here)
}

/// Whether a reply to a line is the other one, also where a `TTL` was asked a little later for it.
pub fn is_same(line: &str, reply: &str, other: &str) -> bool {
    let seconds = |reply: &str| reply.strip_prefix(':')?.strip_suffix(r"\r\n")?.parse::<u64>().ok();
    let is_second_later =
        || seconds(other).is_some_and(|it| it > 0 && seconds(reply) == Some(it - 1));
    reply == other || line.starts_with("TTL ") && is_second_later()
}

/// A line as clients send it.
pub fn request_of(line: &str) -> Vec<u8> {
    let request = words(line.as_bytes()).unwrap();
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for word in request {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(&word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn the_server_replies_as_redis_did() {
    let server = Server::start(&[]);
    let mut stream = BufReader::new(server.connect());
    let replies: Vec<&str> = REPLIES.lines().collect();
    assert_eq!(requests().count(), replies.len());
    let mut differing = Vec::new();
    let mut last = "";
    for (line, mut expected) in requests().zip(replies) {
        expected = different(last, line).unwrap_or(expected);
        last = line;
        stream.get_mut().write_all(&request_of(line)).unwrap();
        let mut reply = Vec::new();
        read_reply(&mut stream, &mut reply);
        let found = reply.escape_ascii().to_string();
        if !is_same(line, &found, expected) {
            differing.push(format!("{line}\n  here  {found}\n  Redis {expected}"));
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

/// Reads a reply of RESP2 as it is.
pub fn read_reply(stream: &mut BufReader<TcpStream>, reply: &mut Vec<u8>) {
    let start = reply.len();
    assert!(stream.read_until(b'\n', reply).unwrap() > 0, "the connection was closed");
    let line = String::from_utf8_lossy(&reply[start..]).trim_end().to_owned();
    let len: i64 = line[1..].parse().unwrap_or(0);
    match line.as_bytes()[0] {
        b'$' if len >= 0 => {
            let body = reply.len();
            reply.resize(body + usize::try_from(len).unwrap() + 2, 0);
            stream.read_exact(&mut reply[body..]).unwrap();
        }
        b'*' => (0..len).for_each(|_| read_reply(stream, reply)),
        _ => {}
    }
}
