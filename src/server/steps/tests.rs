//! The steps, against what Redis replied to the same commands.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::batch::{Batch, Operation};
use crate::protocol::glob;
use crate::protocol::resp::inline::words;
use crate::protocol::resp::{
    Command, ReplyError, RespReplies, RespVersion, StringStep, parse, table,
};
use crate::server::step::Step;
use crate::store::{Value, Versioned};

const COMMANDS: &str = include_str!("../../../tests/redis/commands.txt");
const SERVER_COMMANDS: &str = include_str!("../../../tests/redis/server.txt");
const REPLIES: &str = include_str!("../../../tests/redis/replies.txt");
/// The first day of 2026.
const NOW_MS: u64 = 1_767_225_600_000;

/// A map from keys to values that executes steps, and a clock that stands.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    map: BTreeMap<Bytes, (Vec<u8>, Option<u64>)>,
}

impl Model {
    fn versioned(&self, key: &Bytes) -> Option<Versioned> {
        let (value, expires_at_ms) = self.map.get(key)?;
        Some(Versioned { value: Value::from(value.clone()), seq: 1, expires_at_ms: *expires_at_ms })
    }

    fn step(&mut self, step: &StringStep, replies: &mut RespReplies) {
        let (mut reads, mut writes, mut batch) = (Vec::new(), Vec::new(), Batch::new());
        step.reads(&mut reads);
        step.writes(&mut writes);
        let read: Vec<_> = reads.iter().map(|key| self.versioned(key)).collect();
        step.decide(&read, NOW_MS, &mut batch, replies);
        for operation in batch.iter() {
            assert!(writes.iter().any(|key| key == operation.key()), "{step:?}");
            let key = Bytes::copy_from_slice(operation.key());
            match operation {
                Operation::Set { value, expires_at_ms, .. } => {
                    assert!(expires_at_ms.is_none_or(|at_ms| at_ms > NOW_MS));
                    self.map.insert(key, (value.to_vec(), expires_at_ms));
                }
                Operation::Remove { .. } => drop(self.map.remove(&key)),
            }
        }
    }

    /// The reply, if a step or an error is all that it takes.
    fn reply(&mut self, request: Vec<Bytes>) -> Option<Vec<u8>> {
        let mut replies = RespReplies::new(RespVersion::Two);
        match parse(request) {
            Err(error) => replies.error(&error),
            Ok(Command::Step(step)) => self.step(&step, &mut replies),
            Ok(Command::Help(lines)) => replies.lines(lines),
            Ok(Command::Introspect(introspection)) => introspection.answer(&mut replies),
            Ok(Command::Keys(pattern)) => {
                let keys = self.map.keys().filter(|key| glob::matches(&pattern, key));
                replies.array(keys.clone().count());
                keys.for_each(|key| replies.bulk(key));
            }
            Ok(Command::DbSize) => replies.count(self.map.len()),
            Ok(Command::Flush) => {
                self.map.clear();
                replies.ok();
            }
            Ok(_) => return None,
        }
        Some(replies.as_bytes().to_vec())
    }
}

fn requests_of(text: &str) -> impl Iterator<Item = (&str, Vec<Bytes>)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| (line, words(line.as_bytes()).expect("its quotes are balanced")))
}

#[test]
fn replies_are_those_of_redis() {
    let mut model = Model::default();
    let mut differing = Vec::new();
    let requests: Vec<_> = requests_of(COMMANDS).chain(requests_of(SERVER_COMMANDS)).collect();
    let replies: Vec<&str> = REPLIES.lines().collect();
    assert_eq!(requests.len(), replies.len(), "see `replies_of_redis_are_recorded`");
    let mut compared = 0;
    // Transactions need more than steps.
    let without_transactions = SERVER_COMMANDS.split("# Transactions").next().unwrap();
    let len = requests_of(COMMANDS).count() + requests_of(without_transactions).count();
    for ((line, request), expected) in requests.into_iter().zip(replies).take(len) {
        let Some(found) = model.reply(request) else {
            continue;
        };
        compared += 1;
        let found = found.escape_ascii().to_string();
        if found != expected {
            differing.push(format!("{line}\n  here  {found}\n  Redis {expected}"));
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(compared >= 800, "{compared}");
}

/// Has a Redis server say what it replies, and writes that down: `KVS_REDIS_SOCKET` is its socket.
/// It is emptied.
#[test]
#[ignore = "needs a Redis server"]
fn replies_of_redis_are_recorded() {
    let path = std::env::var_os("KVS_REDIS_SOCKET").expect("KVS_REDIS_SOCKET is set");
    let mut stream = BufReader::new(UnixStream::connect(path).unwrap());
    let mut recorded = String::new();
    for (_, request) in requests_of(COMMANDS).chain(requests_of(SERVER_COMMANDS)) {
        let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
        for word in request {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(&word);
            bytes.extend_from_slice(b"\r\n");
        }
        stream.get_mut().write_all(&bytes).unwrap();
        let mut reply = Vec::new();
        read_reply(&mut stream, &mut reply);
        recorded.push_str(&format!("{}\n", reply.escape_ascii()));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/replies.txt");
    std::fs::write(path, recorded).unwrap();
}

/// Reads a reply of RESP2 as it is.
fn read_reply(stream: &mut BufReader<UnixStream>, reply: &mut Vec<u8>) {
    let start = reply.len();
    stream.read_until(b'\n', reply).unwrap();
    let line = std::str::from_utf8(&reply[start..]).unwrap().trim_end();
    let len: i64 = line[1..].parse().unwrap_or(0);
    match line.as_bytes()[0] {
        b'$' if len >= 0 => {
            let mut bytes = vec![0; usize::try_from(len).unwrap() + 2];
            stream.read_exact(&mut bytes).unwrap();
            reply.extend_from_slice(&bytes);
        }
        b'*' => (0..len).for_each(|_| read_reply(stream, reply)),
        _ => {}
    }
}

fn reply(model: &mut Model, line: &str) -> String {
    let request = words(line.as_bytes()).unwrap();
    let reply = model.reply(request).unwrap_or_else(|| panic!("{line}"));
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn what_redis_7_0_lacks() {
    let mut model = Model::default();
    let cases = [
        ("CLIENT SETINFO FOO x", "-ERR Unrecognized option 'FOO'\r\n"),
        (
            "CLIENT SETINFO LIB-VER 'a b'",
            "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n",
        ),
        ("CLIENT NO-TOUCH x", "-ERR syntax error\r\n"),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1\r\n"),
        ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive\r\n"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative\r\n"),
        ("WAITAOF 1 0", "-ERR wrong number of arguments for 'waitaof' command\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
    ];
    for (line, expected) in cases {
        assert_eq!(reply(&mut model, line), expected, "{line}");
    }
}

#[test]
fn passwords_are_not_shown() {
    for line in ["AUTH hush", "AUTH me hush", "HELLO 3 AUTH me hush"] {
        let command = parse(words(line.as_bytes()).unwrap());
        assert!(command.is_ok() && !format!("{command:?}").contains("hush"), "{line}");
    }
}

#[test]
fn a_blind_set_reads_nothing() {
    let reads = |line: &str| {
        let Ok(Command::Step(step)) = parse(words(line.as_bytes()).unwrap()) else {
            panic!("{line}");
        };
        let mut keys = Vec::new();
        step.reads(&mut keys);
        keys.len()
    };
    for line in ["SET a 1", "SET a 1 EX 1", "SETEX a 1 1", "MSET a 1 b 2"] {
        assert_eq!(reads(line), 0, "{line}");
    }
    for line in ["SET a 1 NX", "SET a 1 GET", "SET a 1 KEEPTTL", "SETNX a 1", "GETSET a 1", "GET a"]
    {
        assert_eq!(reads(line), 1, "{line}");
    }
}

fn line() -> impl Strategy<Value = String> {
    let key = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let number = || prop_oneof![-3_i64..40, any::<i64>()];
    prop_oneof![
        (key(), number()).prop_map(|(key, value)| format!("SET {key} {value}")),
        (key(), number()).prop_map(|(key, value)| format!("SET {key} {value} KEEPTTL GET")),
        (key(), number()).prop_map(|(key, ms)| format!("PEXPIRE {key} {ms}")),
        (key(), number()).prop_map(|(key, by)| format!("INCRBY {key} {by}")),
        (key(), number()).prop_map(|(key, by)| format!("DECRBY {key} {by}")),
        (key(), 0..20).prop_map(|(key, offset)| format!("SETRANGE {key} {offset} xyz")),
        (key(), number(), number()).prop_map(|(key, a, b)| format!("GETRANGE {key} {a} {b}")),
        (key(), key()).prop_map(|(from, to)| format!("RENAME {from} {to}")),
        (key(), key()).prop_map(|(from, to)| format!("COPY {from} {to} REPLACE")),
        (key(), key()).prop_map(|(a, b)| format!("DEL {a} {b}")),
        (key(), key()).prop_map(|(a, b)| format!("MSETNX {a} 1 {b} 2")),
        key().prop_map(|key| format!("APPEND {key} 12")),
        key().prop_map(|key| format!("GETDEL {key}")),
        key().prop_map(|key| format!("PERSIST {key}")),
    ]
}

proptest! {
    /// Whatever commands come, each has one reply, and one that is an error has changed nothing.
    #[test]
    fn an_error_changes_nothing(lines in vec(line(), 0..40)) {
        let mut model = Model::default();
        for line in lines {
            let before = model.clone();
            let found = reply(&mut model, &line);
            prop_assert!(!found.is_empty() && found.ends_with("\r\n"), "{}", line);
            if found.starts_with('-') {
                prop_assert_eq!(&model, &before, "{}", line);
            }
        }
    }

    #[test]
    fn no_request_makes_it_panic(
        request in vec(vec(any::<u8>(), 0..8), 0..5),
        number in 0_usize..200,
    ) {
        let names: Vec<&str> = table::commands().map(|spec| spec.name()).collect();
        let name = names[number % names.len()];
        let mut request: Vec<Bytes> = request.into_iter().map(Bytes::from).collect();
        request.insert(0, Bytes::from(name));
        let replied: Option<Vec<u8>> = Model::default().reply(request);
        prop_assert!(replied.is_none_or(|reply| reply.ends_with(b"\r\n")));
    }
}

#[test]
fn failures_say_nothing_of_paths() {
    use crate::error::KvsError;
    let path = std::path::PathBuf::from("/secret/place");
    let full = KvsError::DiskFull { path: path.clone() };
    let damaged = KvsError::Corrupt { path, segment: None, offset: 0, reason: "checksum" };
    let poisoned = KvsError::Poisoned { cause: std::sync::Arc::new(full.clone()) };
    let text = |error: &KvsError| super::reply_error(error).to_string();
    for error in [&full, &poisoned] {
        assert!(text(error).starts_with("MISCONF "), "{}", text(error));
    }
    for error in [&full, &damaged, &poisoned, &KvsError::Closed] {
        assert!(!text(error).contains("secret"), "{}", text(error));
    }
    let unsupported = KvsError::Unsupported { engine: "memory", capability: "compact" };
    assert_eq!(text(&unsupported), "ERR the engine \\\"memory\\\" cannot compact");
    assert_ne!(super::reply_error(&full), ReplyError::SYNTAX);
}
