//! Kills under load: what was acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::client::Client;
use super::process::size;
use super::server::Server;

const WRITERS: usize = 8;
/// Pairs of requests that wait for their replies.
const IN_FLIGHT: u64 = 16;

/// What a writer knows: what it has sent, and what of that was acknowledged.
#[derive(Default)]
struct Known {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// Sets a key for each number and counts them in another until the server is gone.
fn write(stream: TcpStream, writer: usize, known: &Known) {
    let mut replies = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let number = known.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let pair = format!("SET {writer}:{number} {number}\r\nINCR {writer}\r\n");
        if replies.get_mut().write_all(pair.as_bytes()).is_err() {
            return;
        }
        while number - known.acknowledged.load(Ordering::Relaxed) >= IN_FLIGHT {
            for expected in ["+OK\r\n", ":"] {
                line.clear();
                match replies.read_line(&mut line) {
                    Ok(_) if line.ends_with('\n') => assert!(line.starts_with(expected), "{line}"),
                    // The end, or half of a reply.
                    _ => return,
                }
            }
            known.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Has all writers write until each has had so many acknowledged, and kills the server.
fn load_and_kill(server: &mut Server, known: &[Known], least: u64) {
    let before: Vec<u64> = known.iter().map(|it| it.acknowledged.load(Ordering::Relaxed)).collect();
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for (writer, known) in known.iter().enumerate() {
            let stream = Client::connect(server).stream;
            writers.push(scope.spawn(move || write(stream, writer, known)));
        }
        let has_ended = || writers.iter().any(|writer| writer.is_finished());
        let lacks =
            |(it, before): (&Known, &u64)| it.acknowledged.load(Ordering::Relaxed) < before + least;
        while known.iter().zip(&before).any(lacks) && !has_ended() {
            thread::yield_now();
        }
        let is_early = has_ended();
        // Also then: the others write until it is gone.
        server.kill();
        assert!(!is_early, "a writer has ended before the server");
    });
}

/// Reads everything that was acknowledged, and what was counted.
fn check(server: &Server, known: &[Known]) {
    let mut client = Client::connect(server);
    for (writer, known) in known.iter().enumerate() {
        let acknowledged = known.acknowledged.load(Ordering::Relaxed);
        let numbers: Vec<u64> = (1..=acknowledged).collect();
        for numbers in numbers.chunks(500) {
            let asked: String = numbers.iter().map(|it| format!("GET {writer}:{it}\r\n")).collect();
            let replies: String = numbers
                .iter()
                .map(ToString::to_string)
                .map(|it| format!("${}\r\n{it}\r\n", it.len()))
                .collect();
            client.expect(asked.as_bytes(), &replies);
        }
        let counted = count(&mut client, writer);
        let sent = known.sent.load(Ordering::Relaxed);
        assert!((acknowledged..=sent).contains(&counted), "{acknowledged} {counted} {sent}");
        // From here on the numbers go on with what is there.
        known.acknowledged.store(counted, Ordering::Relaxed);
        known.sent.store(counted, Ordering::Relaxed);
    }
}

fn count(client: &mut Client, writer: usize) -> u64 {
    client.send(format!("GET {writer}\r\n").as_bytes());
    let mut replies = BufReader::new(client.stream.try_clone().unwrap());
    let (mut length, mut value) = (String::new(), String::new());
    replies.read_line(&mut length).unwrap();
    replies.read_line(&mut value).unwrap();
    value.trim().parse().unwrap()
}

fn survives(durability: &str, least: u64) {
    let args = ["--durability", durability];
    let mut server = Server::start(&args);
    let known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    for _ in 0..size(3, 100) {
        load_and_kill(&mut server, &known, least);
        server.start_again(&args);
        check(&server, &known);
    }
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_once_the_system_had_it() {
    survives("os", 500);
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_between_syncs() {
    survives("interval", 500);
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_after_a_sync() {
    survives("always", 50);
}
