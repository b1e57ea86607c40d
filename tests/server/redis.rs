//! `kvs-server`, as Redis clients meet it: the binary, over loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts it on a free port.
    pub fn start(dir: &Path, arguments: &[&str], password: Option<&str>) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-server"));
        command.args(["--addr", "127.0.0.1:0", "--dir"]).arg(dir).args(arguments);
        command.env_remove("KVS_PASSWORD").stderr(Stdio::piped()).stdin(Stdio::null());
        if let Some(password) = password {
            command.env("KVS_PASSWORD", password);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let addr = loop {
            let line = lines.next().expect("the server ended").unwrap();
            if let Some((_, addr)) = line.split_once("listening on ") {
                break addr.trim().parse().unwrap();
            }
        };
        // What it says from here on is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, addr }
    }

    /// A new connection.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends bytes and expects exactly these as the answer.
#[track_caller]
fn expect(stream: &mut TcpStream, request: &str, reply: &str) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut found = vec![0; reply.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(String::from_utf8_lossy(&found), reply, "to {request:?}");
}

/// All that comes until the server closes.
fn read_all(stream: &mut TcpStream) -> String {
    let mut found = Vec::new();
    // A connection that is closed with unread input may be reset; what came before counts.
    let _ = stream.read_to_end(&mut found);
    String::from_utf8_lossy(&found).into_owned()
}

#[test]
fn a_pipeline_is_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[], None);
    let mut stream = server.connect();
    expect(
        &mut stream,
        "SET a 1\r\nGET a\r\nINCR a\r\nGET none\r\nNOSUCH x\r\nGET a\r\n",
        "+OK\r\n$1\r\n1\r\n:2\r\n$-1\r\n\
         -ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n$1\r\n2\r\n",
    );
    // One byte at a time.
    for byte in "*2\r\n$3\r\nGET\r\n$1\r\na\r".bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    expect(&mut stream, "\n", "$1\r\n2\r\n");
    let sets: String = (0..5000).map(|number| format!("SET k{number} v{number}\r\n")).collect();
    expect(&mut stream, &sets, &"+OK\r\n".repeat(5000));
    let gets: String = (0..5000).map(|number| format!("GET k{number}\r\n")).collect();
    let values: String = (0..5000)
        .map(|number| format!("v{number}"))
        .map(|value| format!("${}\r\n{value}\r\n", value.len()))
        .collect();
    expect(&mut stream, &gets, &values);
    let counts: String = (1..=500).map(|count| format!(":{count}\r\n")).collect();
    expect(&mut stream, &"INCR n\r\n".repeat(500), &counts);
}

#[test]
fn a_transaction_is_one_and_fails_if_a_watched_key_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[], None);
    let (mut one, mut other) = (server.connect(), server.connect());
    expect(
        &mut one,
        "MULTI\r\nSET a 1\r\nINCR a\r\nGET a\r\nINCR b c\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n\
         -ERR wrong number of arguments for 'incr' command\r\n\
         -EXECABORT Transaction discarded because of previous errors.\r\n",
    );
    expect(
        &mut one,
        "MULTI\r\nSET a 1\r\nINCR a\r\nGET a\r\nSET s x\r\nINCR s\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n\
         *5\r\n+OK\r\n:2\r\n$1\r\n2\r\n+OK\r\n-ERR value is not an integer or out of range\r\n",
    );
    expect(&mut one, "WATCH a\r\nMULTI\r\nSET a 9\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n");
    expect(&mut other, "SET a 7\r\n", "+OK\r\n");
    expect(&mut one, "EXEC\r\nGET a\r\n", "*-1\r\n$1\r\n7\r\n");
}

/// Many long values are asked for before any is read, with something else behind them.
#[test]
fn more_than_fits_is_answered_piece_by_piece() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--output-high-water-bytes", "65536"], None);
    let mut stream = server.connect();
    let value = "v".repeat(200_000);
    expect(
        &mut stream,
        &format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$200000\r\n{value}\r\n"),
        "+OK\r\n",
    );
    let asked = format!("{}PING\r\n{0}QUIT\r\n", "GET k\r\n".repeat(150));
    let values = format!("$200000\r\n{value}\r\n").repeat(150);
    expect(&mut stream, &asked, &format!("{values}+PONG\r\n{values}+OK\r\n"));
}

#[test]
fn keys_and_values_keep_to_the_limits_that_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ["--key-bytes-max", "10", "--value-bytes-max", "16"];
    let server = Server::start(dir.path(), &limits, None);
    let mut stream = server.connect();
    expect(&mut stream, "SET k 0123456789\r\nAPPEND k 012345\r\n", "+OK\r\n:16\r\n");
    let too_large = "-ERR the value has 17 bytes; the limit is 16\r\n";
    expect(&mut stream, "APPEND k 0\r\nSTRLEN k\r\n", &format!("{too_large}:16\r\n"));
    expect(
        &mut stream,
        "SET 01234567890 v\r\nEXISTS 01234567890\r\n",
        "-ERR the key has 11 bytes; the limit is 10\r\n:0\r\n",
    );
    expect(
        &mut stream,
        "MULTI\r\nSET a 1\r\nAPPEND k 0\r\nEXEC\r\nEXISTS a\r\n",
        &format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n{too_large}:0\r\n"),
    );
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[], None);
    let mut stream = server.connect();
    let sets: String = (0..1000).map(|number| format!("SET k{number} v\r\n")).collect();
    expect(&mut stream, &sets, &"+OK\r\n".repeat(1000));
    server.signal("-KILL");
    drop(server);
    let server = Server::start(dir.path(), &[], None);
    let mut stream = server.connect();
    expect(&mut stream, "DBSIZE\r\nGET k999\r\n", ":1000\r\n$1\r\nv\r\n");
}

#[test]
fn a_server_that_is_told_to_end_answers_what_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &["--durability", "always"], None);
    let mut stream = server.connect();
    expect(&mut stream, "SET a 1\r\n", "+OK\r\n");
    server.signal("-TERM");
    assert_eq!(read_all(&mut stream), "");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[], None);
    let mut good = server.connect();
    expect(&mut good, "PING\r\n", "+PONG\r\n");
    let cases = [
        ("*abc\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*9223372036854775807\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        ("POST / HTTP/1.1\r\n\r\n", ""),
        ("QUIT\r\nSET a 1\r\n", "+OK\r\n"),
    ];
    for (request, reply) in cases {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), reply, "to {request:?}");
    }
    // A frame of the other protocol that is no request.
    let mut stream = server.connect();
    stream.write_all(b"\0\0\0\x01\xff").unwrap();
    assert!(!read_all(&mut stream).is_empty(), "an error is told");
    let half = server.connect();
    (&half).write_all(b"*3\r\n$3\r\nSET\r\n$1\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    expect(&mut good, "PING\r\nGET a\r\n", "+PONG\r\n$-1\r\n");
}

#[test]
fn a_password_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[], Some("secret"));
    let mut stream = server.connect();
    expect(&mut stream, "GET a\r\n", "-NOAUTH Authentication required.\r\n");
    expect(
        &mut stream,
        "AUTH wrong\r\n",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    );
    expect(&mut stream, "AUTH secret\r\nSET a 1\r\n", "+OK\r\n+OK\r\n");
    let mut stream = server.connect();
    let request = format!("*11\r\n{}", "$1\r\na\r\n".repeat(11));
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(read_all(&mut stream), "-ERR Protocol error: unauthenticated multibulk length\r\n");
}
