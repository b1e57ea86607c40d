//! `kvs-server`, as Redis clients meet it: the binary, over loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::server::Server;

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
    let server = Server::start(&[]);
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
    let server = Server::start(&[]);
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
    let server = Server::start(&["--output-high-water-bytes", "65536"]);
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

/// What is asked for has more bytes than may wait for a client.
#[test]
fn an_answer_over_the_limit_of_a_connection_is_an_error_and_is_not_read() {
    let limits = ["--value-bytes-max", "1100000", "--output-high-water-bytes", "1000000"];
    let most = ["--output-bytes-per-connection-max", "4000000"];
    for engine in ["kvs", "memory", "sled"] {
        let server = Server::start(&[&limits[..], &most, &["--engine", engine]].concat());
        let mut stream = server.connect();
        let value = "v".repeat(1 << 20);
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n{value}\r\n");
        expect(&mut stream, &set, "+OK\r\n");
        let before = server.peak_bytes();
        let keys = " k".repeat(400);
        let error = "-ERR the answer has more than 4000000 bytes\r\n";
        expect(&mut stream, &format!("MGET{keys}\r\n"), error);
        expect(&mut stream, &format!("EXISTS{keys}\r\n"), ":400\r\n");
        let reads = format!("EXISTS{keys}\r\nMGET{keys}\r\n");
        expect(
            &mut stream,
            &format!("WATCH{keys}\r\nMULTI\r\nSET a 1\r\n{reads}EXEC\r\n"),
            &format!("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n{error}"),
        );
        // Each would fit, and all of them do not.
        let gets = "GET k\r\n".repeat(4);
        let queued = "+QUEUED\r\n".repeat(4);
        expect(
            &mut stream,
            &format!("MULTI\r\n{gets}EXEC\r\nGET a\r\n"),
            &format!("+OK\r\n{queued}{error}$-1\r\n"),
        );
        let three = format!("*3\r\n{}", format!("$1048576\r\n{value}\r\n").repeat(3));
        expect(&mut stream, "MGET k k k\r\n", &three);
        let more = (server.peak_bytes() - before) >> 20;
        assert!(more < 60, "{engine}: {more} MiB for nothing");
    }
}

#[test]
fn keys_and_values_keep_to_the_limits_that_are_set() {
    let limits = ["--key-bytes-max", "10", "--value-bytes-max", "16"];
    let server = Server::start(&limits);
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
    let mut server = Server::start(&[]);
    let mut stream = server.connect();
    let sets: String = (0..1000).map(|number| format!("SET k{number} v\r\n")).collect();
    expect(&mut stream, &sets, &"+OK\r\n".repeat(1000));
    server.start_again(&[]);
    let mut stream = server.connect();
    expect(&mut stream, "DBSIZE\r\nGET k999\r\n", ":1000\r\n$1\r\nv\r\n");
}

#[test]
fn a_server_that_is_told_to_end_answers_what_has_come() {
    let mut server = Server::start(&["--durability", "always"]);
    let mut stream = server.connect();
    expect(&mut stream, "SET a 1\r\n", "+OK\r\n");
    server.terminate();
    assert_eq!(read_all(&mut stream), "");
    assert!(server.wait().success());
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_no_other() {
    let server = Server::start(&[]);
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
    let server = Server::start_with(&[], &[("KVS_PASSWORD", "secret")]);
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

/// Matching it would take the time of 10^10 steps.
#[test]
fn a_pattern_that_takes_too_long_is_an_error() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let key = "a".repeat(200_000);
    expect(&mut stream, &format!("*3\r\n$3\r\nSET\r\n$200000\r\n{key}\r\n$1\r\nv\r\n"), "+OK\r\n");
    let pattern = format!("*{}b", "a".repeat(99_998));
    let error = "-ERR the pattern takes too long on a long key\r\n";
    expect(&mut stream, &format!("*2\r\n$4\r\nKEYS\r\n$100000\r\n{pattern}\r\n"), error);
    let scan = format!("*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nMATCH\r\n$100000\r\n{pattern}\r\n");
    expect(&mut stream, &scan, error);
    expect(&mut stream, "KEYS b*\r\n", "*0\r\n");
}

/// Only a second signal ends a server that waits for somebody.
#[test]
fn a_second_shutdown_hurries_nobody() {
    let mut server = Server::start(&["--value-bytes-max", "16000000"]);
    let (mut slow, mut one, mut other) = (server.connect(), server.connect(), server.connect());
    let value = "v".repeat(16_000_000);
    expect(
        &mut slow,
        &format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16000000\r\n{value}\r\n"),
        "+OK\r\n",
    );
    expect(&mut other, "PING\r\n", "+PONG\r\n");
    slow.write_all(b"GET k\r\n").unwrap();
    let mut head = [0; 11];
    slow.read_exact(&mut head).unwrap();
    // Both requests are there before the first is answered.
    one.write_all(b"SHUTDOWN\r\n").unwrap();
    other.write_all(b"SHUTDOWN\r\n").unwrap();
    assert_eq!(read_all(&mut one) + &read_all(&mut other), "");
    assert_eq!(read_all(&mut slow).len(), 16_000_000 + 2);
    assert!(server.wait().success());
}

#[test]
fn a_client_that_ends_itself_does_nothing_more() {
    let server = Server::start(&[]);
    for kill in ["CLIENT KILL TYPE normal SKIPME no", "CLIENT KILL ID 2 SKIPME no"] {
        let mut stream = server.connect();
        stream.write_all(format!("{kill}\r\nSET after 1\r\n").as_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), ":1\r\n", "to {kill}");
    }
    let mut stream = server.connect();
    let own = stream.local_addr().unwrap();
    stream.write_all(format!("CLIENT KILL {own}\r\nSET after 1\r\n").as_bytes()).unwrap();
    assert_eq!(read_all(&mut stream), "+OK\r\n");
    let mut stream = server.connect();
    let own = stream.local_addr().unwrap();
    let transaction = format!("MULTI\r\nCLIENT KILL {own}\r\nPING\r\nEXEC\r\n");
    stream.write_all(format!("{transaction}SET after 1\r\n").as_bytes()).unwrap();
    let replies = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n";
    assert_eq!(read_all(&mut stream), replies);
    expect(&mut server.connect(), "EXISTS after\r\n", ":0\r\n");
}

#[test]
fn what_a_client_says_of_itself_has_a_limit() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let refused = "-ERR Names and versions of clients have at most 1024 bytes.\r\n";
    for command in ["CLIENT SETNAME", "CLIENT SETINFO LIB-NAME", "CLIENT SETINFO LIB-VER"] {
        expect(&mut stream, &format!("{command} {}\r\n", "x".repeat(1024)), "+OK\r\n");
        expect(&mut stream, &format!("{command} {}\r\n", "x".repeat(1025)), refused);
    }
    expect(&mut stream, &format!("HELLO 2 SETNAME {}\r\n", "x".repeat(1025)), refused);
}

#[test]
fn a_client_chooses_which_replies_it_gets() {
    let server = Server::start(&[]);
    let (skip, on) = ("CLIENT REPLY SKIP\r\n", "CLIENT REPLY ON\r\n");
    let off = "CLIENT REPLY OFF\r\n";
    let cases = [
        (format!("{skip}ECHO A\r\nECHO B\r\n"), "$1\r\nB\r\n"),
        (format!("{skip}{skip}ECHO A\r\nECHO B\r\n"), "$1\r\nB\r\n"),
        (format!("{skip}{on}ECHO B\r\n"), "+OK\r\n$1\r\nB\r\n"),
        (format!("{off}ECHO A\r\n{skip}ECHO B\r\n{on}ECHO C\r\n"), "+OK\r\n$1\r\nC\r\n"),
        (format!("{skip}{off}{on}ECHO C\r\n"), "+OK\r\n$1\r\nC\r\n"),
    ];
    for (requests, replies) in cases {
        let mut stream = server.connect();
        stream.write_all(format!("{requests}QUIT\r\n").as_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), format!("{replies}+OK\r\n"), "to {requests:?}");
    }
}

#[test]
fn memory_is_not_said_to_be_durable() {
    for (engine, appendonly) in [("memory", "no"), ("kvs", "yes")] {
        let server = Server::start(&["--engine", engine]);
        let mut stream = server.connect();
        let local = match appendonly {
            "yes" => "*2\r\n:1\r\n:0\r\n",
            _ => "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n",
        };
        expect(&mut stream, "WAITAOF 1 0 0\r\n", local);
        expect(&mut stream, "WAITAOF 0 0 0\r\n", "*2\r\n:0\r\n:0\r\n");
        let parameter =
            format!("*2\r\n$10\r\nappendonly\r\n${}\r\n{appendonly}\r\n", appendonly.len());
        expect(&mut stream, "CONFIG GET appendonly\r\n", &parameter);
        stream.write_all(b"INFO persistence\r\nQUIT\r\n").unwrap();
        let enabled = format!("aof_enabled:{}\r\n", u8::from(appendonly == "yes"));
        assert!(read_all(&mut stream).contains(&enabled), "{engine}");
    }
}

#[test]
fn errors_of_steps_are_counted() {
    let server = Server::start(&["--value-bytes-max", "16"]);
    let mut stream = server.connect();
    let error = "-ERR value is not an integer or out of range\r\n";
    let too_large = "-ERR the value has 17 bytes; the limit is 16\r\n";
    expect(
        &mut stream,
        "SET s -ERR\r\nGET s\r\nINCR s\r\nINCR n\r\nAPPEND s 0123456789012\r\nWAITAOF 1 -1 0\r\n",
        &format!(
            "+OK\r\n$4\r\n-ERR\r\n{error}:1\r\n{too_large}-ERR value is out of range, must be \
             positive\r\n"
        ),
    );
    stream.write_all(b"INFO commandstats\r\nQUIT\r\n").unwrap();
    let stats = read_all(&mut stream);
    let failed = |name: &str| {
        let prefix = format!("cmdstat_{name}:");
        let line = stats.lines().find(|line| line.starts_with(&prefix));
        line.and_then(|line| line.rsplit('=').next()).map(str::to_owned)
    };
    for (name, count) in [("get", "0"), ("set", "0"), ("incr", "1"), ("append", "1")] {
        assert_eq!(failed(name).as_deref(), Some(count), "{name}: {stats}");
    }
}

#[test]
fn what_a_stranger_may_send_can_be_raised() {
    let more = ["--unauthenticated-arguments-max", "20"];
    let server = Server::start_with(&more, &[("KVS_PASSWORD", "secret")]);
    let mut stream = server.connect();
    let request = format!("*11\r\n{}", "$3\r\nGET\r\n".repeat(11));
    expect(&mut stream, &request, "-ERR wrong number of arguments for 'get' command\r\n");
}

#[test]
fn a_parameter_is_set_once() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let error = "-ERR CONFIG SET failed (possibly related to argument 'save') - duplicate \
                 parameter\r\n";
    expect(&mut stream, "CONFIG SET save \"\" save \"\"\r\n", error);
    expect(&mut stream, "CONFIG SET save \"\"\r\nECHO a\0b\r\n", "+OK\r\n$1\r\na\r\n");
}
