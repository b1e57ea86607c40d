//! Clients that ask for much and read nothing.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::{Code, GetManyRequest};

use super::client::Client;
use super::process::{
    KEEPING_LITTLE, PATIENCE, anonymous_bytes, raise_descriptors, size, wait_until,
};
use super::server::Server;
use super::wire::{Wire, get, ping, request};

const VALUE_BYTES: usize = 100_000;
/// What the replies of one connection, and of all, may take.
const CONNECTION_BYTES_MAX: usize = 16 << 20;
const ALL_BYTES_MAX: usize = 64 << 20;
/// What else may be taken: what is being read and copied, what connections hold that are being
/// closed, and what the allocator of each thread keeps. Without a bound it would be gigabytes.
const OTHER_BYTES_MAX: usize = 128 << 20;
/// Of that, for each connection.
const EACH_BYTES_MAX: usize = 64 << 10;
/// How long a good client is served beside them, at least.
const TIME: Duration = Duration::from_secs(2);

fn start() -> Server {
    let limits = [
        "--output-high-water-bytes",
        "262144",
        "--output-bytes-per-connection-max",
        &CONNECTION_BYTES_MAX.to_string(),
        "--output-bytes-max",
        &ALL_BYTES_MAX.to_string(),
        "--value-bytes-max",
        "1048576",
    ];
    Server::start_with(&limits, &KEEPING_LITTLE)
}

/// Has connections send the same again and again without reading, which are not read from at some
/// point, or put out; and a good client be served meanwhile. Short replies of many connections may
/// not come so far.
fn flood(server: &Server, greedy: Vec<Client>, bytes: &[u8]) {
    let is_much = greedy.len() == 1 || bytes.windows(4).any(|it| it == b"long");
    let mut good = Client::connect(server);
    good.set_long("long", VALUE_BYTES);
    let before = anonymous_bytes(server.pid());
    let replies = ALL_BYTES_MAX.min(greedy.len() * CONNECTION_BYTES_MAX);
    let bound = u64::try_from(replies + greedy.len() * EACH_BYTES_MAX + OTHER_BYTES_MAX).unwrap();
    let mut greedy: Vec<(Client, usize)> = greedy.into_iter().map(|it| (it, 0)).collect();
    greedy.iter().for_each(|(it, _)| it.stream.set_nonblocking(true).unwrap());
    let (mut most, mut is_held) = (0, false);
    let begun = Instant::now();
    while begun.elapsed() < TIME || is_much && !is_held {
        assert!(begun.elapsed() < PATIENCE, "all that they send is read");
        greedy.retain_mut(|(client, taken)| {
            // On from where the last one was cut.
            match client.stream.write(&bytes[*taken % bytes.len()..]) {
                Ok(count) => *taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => is_held = true,
                Err(_) => {
                    is_held = true;
                    return false;
                }
            }
            true
        });
        good.ping();
        good.expect(b"STRLEN long\r\n", &format!(":{VALUE_BYTES}\r\n"));
        most = most.max(anonymous_bytes(server.pid()));
    }
    let grown = most.saturating_sub(before);
    assert!(grown <= bound, "{grown} bytes, at most {bound}");
    drop(greedy);
    wait_until("they are gone", || good.info("connected_clients") == "1");
}

/// So many connections of the Redis protocol.
fn clients(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::connect(server)).collect()
}

/// So many connections of the project's own.
fn wires(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client { stream: Wire::greet(server.addr).stream }).collect()
}

/// Requests of the project's own protocol.
fn requests(asked: impl Fn() -> Asked) -> Vec<u8> {
    (2..1000).flat_map(|id| request(id, asked())).collect()
}

#[test]
fn one_that_pipelines_and_does_not_read_is_bounded() {
    let server = start();
    flood(&server, clients(&server, 1), &b"GET long\r\n".repeat(1000));
    flood(&server, clients(&server, 1), &b"PING\r\n".repeat(1000));
    flood(&server, wires(&server, 1), &requests(|| get("long")));
}

#[test]
fn many_that_pipeline_and_do_not_read_leave_room_for_others() {
    raise_descriptors();
    let server = start();
    let count = size(200, 1000);
    flood(&server, clients(&server, count), &b"GET long\r\n".repeat(1000));
    flood(&server, clients(&server, count), &b"PING\r\n".repeat(1000));
    flood(&server, wires(&server, count), &requests(|| get("long")));
    flood(&server, wires(&server, count), &requests(ping));
}

/// Whoever reads late gets everything, also where a connection may hold little.
#[test]
fn who_reads_is_not_put_out_however_little_a_connection_may_hold() {
    let limits = ["--output-high-water-bytes", "262144", "--value-bytes-max", "1048576"];
    let most = ["--output-bytes-per-connection-max", "2097152"];
    let server = Server::start(&[&limits[..], &most].concat());
    let mut client = Client::connect(&server);
    client.set_long("long", VALUE_BYTES);
    client.send(&b"GET long\r\n".repeat(200));
    let value = format!("${VALUE_BYTES}\r\n{}\r\n", "v".repeat(VALUE_BYTES));
    client.expect(b"", &value.repeat(200));
}

/// What the replies of all connections may take together is kept to, too.
#[test]
fn who_asks_for_more_than_all_may_have_is_put_out() {
    let all = ["--output-bytes-max", "4194304", "--output-bytes-per-connection-max", "2097152"];
    let high_water = ["--output-high-water-bytes", "1048576", "--value-bytes-max", "1048576"];
    let server = Server::start(&[&all[..], &high_water].concat());
    let mut good = Client::connect(&server);
    good.set_long("long", VALUE_BYTES);
    let mut greedy: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    greedy.iter_mut().for_each(|client| client.send(&b"GET long\r\n".repeat(300)));
    wait_until("some are put out", || {
        let left: usize = good.info("connected_clients").parse().unwrap();
        left < 15
    });
    good.ping();
}

/// The most memory that the server takes while something is done.
fn most_bytes(server: &Server, work: impl FnOnce() + Send) -> u64 {
    thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut most = 0;
        while !working.is_finished() {
            most = most.max(anonymous_bytes(server.pid()));
            thread::sleep(Duration::from_millis(1));
        }
        working.join().unwrap();
        most
    })
}

/// One request whose reply is larger than a connection may hold: it must not be made first.
#[test]
fn one_reply_is_no_larger_than_a_connection_may_hold() {
    const VALUES: usize = 2000;
    let server = start();
    Client::connect(&server).set_long("long", VALUE_BYTES);
    let before = anonymous_bytes(server.pid());
    let is_bounded = |what: &str, work: &mut (dyn FnMut() + Send)| {
        let grown = most_bytes(&server, work).saturating_sub(before);
        assert!(grown <= 64 << 20, "{what}: {grown} bytes");
    };
    let keys = b" long".repeat(VALUES);
    let gets = b"GET long\r\n".repeat(VALUES);
    is_bounded("MGET", &mut || {
        Client::connect(&server).tell(&[b"MGET", &keys[..], b"\r\nQUIT\r\n"].concat());
    });
    is_bounded("EXEC", &mut || {
        Client::connect(&server).tell(&[b"MULTI\r\n", &gets[..], b"EXEC\r\nQUIT\r\n"].concat());
    });
    is_bounded("GetMany", &mut || {
        let keys = vec!["long".into(); VALUES];
        let many = Asked::GetMany(GetManyRequest { keys, without_values: false });
        let error = Wire::greet(server.addr).error(2, many);
        assert_eq!(error.code(), Code::ResponseTooLarge);
    });
}
