//! Several clients at the same keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::server::Server;

/// A client that reads reply by reply.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &Server) -> Client {
        let stream = server.connect();
        // What never comes is to fail, and not to hang.
        stream.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, requests: &str) {
        self.0.get_mut().write_all(requests.as_bytes()).unwrap();
    }

    /// The next reply, in RESP2 without line ends; parts of an array are parted by blanks.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let len = || line[1..].parse::<i64>().unwrap();
        match line.chars().next() {
            Some('$') if len() >= 0 => {
                let mut value = vec![0; usize::try_from(len()).unwrap() + 2];
                self.0.read_exact(&mut value).unwrap();
                String::from_utf8_lossy(&value[..value.len() - 2]).into_owned()
            }
            Some('*') if len() >= 0 => {
                (0..len()).map(|_| self.reply()).collect::<Vec<_>>().join(" ")
            }
            _ => line.to_owned(),
        }
    }

    /// The last of the replies to these requests, each of them a line.
    fn ask(&mut self, requests: &str) -> String {
        self.send(requests);
        requests.lines().map(|_| self.reply()).last().unwrap()
    }
}

#[test]
fn a_watched_key_is_watched_to_the_end_of_a_transaction() {
    const EACH: u32 = 200;
    let server = Server::start(&[]);
    let add = |between: &str| {
        let mut client = Client::of(&server);
        let mut added = 0;
        while added < EACH {
            let number = client.ask("WATCH k\r\nGET k\r\n").parse().unwrap_or(0) + 1;
            let reply = client.ask(&format!("MULTI\r\n{between}SET k {number}\r\nEXEC\r\n"));
            assert!(reply == "*-1" || reply.ends_with("+OK"), "{reply}");
            added += u32::from(reply != "*-1");
        }
    };
    let between = ["PING\r\n", "CLIENT ID\r\nTIME\r\n", "DBSIZE\r\n"];
    thread::scope(|scope| between.map(|between| scope.spawn(move || add(between)).thread().id()));
    assert_eq!(Client::of(&server).ask("GET k\r\n"), (3 * EACH).to_string());
}

#[test]
fn what_asks_no_engine_parts_no_transaction() {
    let server = Server::start(&[]);
    let (mut one, mut other) = (Client::of(&server), Client::of(&server));
    let reply = one.ask(
        "MULTI\r\nPING\r\nSET a 1\r\nECHO x\r\nSETEX a b c\r\nGET a\r\nKEYS *\r\nPING\r\n\
         INCR a\r\nPING y\r\nEXEC\r\n",
    );
    let error = "-ERR value is not an integer or out of range";
    assert_eq!(reply, format!("+PONG +OK x {error} 1 a +PONG :2 y"));
    // It is found out before anything is executed, also where the first part asks for nothing.
    one.ask("WATCH a\r\nMULTI\r\nPING\r\nDBSIZE\r\nSET b 1\r\n");
    assert_eq!(other.ask("SET a 5\r\n"), "+OK");
    assert_eq!(one.ask("EXEC\r\n"), "*-1");
    assert_eq!(one.ask("EXISTS b\r\n"), ":0");
    // What it writes itself is no change.
    let reply = one.ask("WATCH a b\r\nMULTI\r\nSET a 6\r\nDBSIZE\r\nINCR a\r\nEXEC\r\n");
    assert_eq!(reply, "+OK :1 :7");
}

/// Its reply would be that of a moment at which the write before it had not been.
#[test]
fn what_changes_nothing_is_decided_behind_the_writes_before_it() {
    let server = Server::start(&[]);
    let (mut one, mut other) = (Client::of(&server), Client::of(&server));
    for round in 0..3000 {
        one.ask("SET lock y\r\nDEL flag\r\n");
        one.send("SET flag 1\r\nSETNX lock x\r\n");
        other.send("DEL lock\r\n");
        let removed = other.reply();
        let flag = other.ask("GET flag\r\n");
        one.reply();
        let is_set = one.reply();
        assert!(
            is_set == ":1" || removed == ":0" || flag == "1",
            "{round}: the lock was removed before the flag was set, and yet not free behind it"
        );
    }
}

#[test]
fn what_expires_before_it_is_written_is_removed() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server);
    for _ in 0..2 {
        let reply = client.ask("MULTI\r\nSET a 1 PX 1\r\nSETRANGE b 40000000 x\r\nEXEC\r\n");
        assert_eq!(reply, "+OK :40000001");
        assert_eq!(client.ask("EXISTS a\r\n"), ":0");
    }
}

/// What takes long is not begun again for ever because others are faster.
#[test]
fn a_slow_write_has_its_turn() {
    let server = Server::start(&[]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::of(&server);
                while !is_over.load(Ordering::Relaxed) {
                    client.ask("INCR n\r\nINCR n\r\nINCR n\r\n");
                }
            });
        }
        let mut client = Client::of(&server);
        let slow = thread::scope(|slow| {
            let asked = slow.spawn(|| {
                let in_one =
                    client.ask("MULTI\r\nINCR n\r\nSETRANGE r 20000000 x\r\nINCR n\r\nEXEC\r\n");
                (in_one, client.ask("SETRANGE n 9000000 x\r\nDEL n\r\n"))
            });
            asked.join()
        });
        is_over.store(true, Ordering::Relaxed);
        let (in_one, last) = slow.unwrap();
        assert!(in_one.contains(":20000001"), "{in_one}");
        assert!(last == ":0" || last == ":1", "{last}");
    });
}

#[test]
fn a_transaction_writes_each_key_once() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server);
    let appends = "APPEND a 0123456789\r\n".repeat(5000);
    let reply = client.ask(&format!("MULTI\r\n{appends}EXEC\r\n"));
    assert!(reply.ends_with(":50000"));
    assert_eq!(client.ask("STRLEN a\r\n"), ":50000");
}

#[test]
fn watched_keys_count_as_what_is_queued() {
    let server = Server::start(&["--multi-bytes-max", "10240"]);
    let mut client = Client::of(&server);
    let watch = |from: u32| (from..from + 60).map(|key| format!(" {key}")).collect::<String>();
    for _ in 0..10 {
        assert_eq!(client.ask(&format!("WATCH{}\r\n", watch(0))), "+OK");
    }
    assert_eq!(client.ask(&format!("WATCH{}\r\n", watch(60))), "+OK");
    let too_large = "-ERR the transaction is too large (multi_bytes_max)";
    assert_eq!(client.ask(&format!("WATCH{}\r\n", watch(120))), too_large);
    assert_eq!(client.ask("MULTI\r\nSET a 1\r\nEXEC\r\n"), "+OK");
    assert_eq!(client.ask(&format!("WATCH{}\r\n", watch(120))), "+OK");
}
