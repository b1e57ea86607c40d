//! `redis-benchmark`: that it runs, not how fast.

use std::process::Command;

use super::programs::{Ran, is_there, program, run};
use super::server::Server;

/// 20 connections that pipeline 16 commands, 2,000 of each kind.
fn benchmark(server: &Server, kinds: &str, args: &[&str]) -> Ran {
    let mut command = program("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p", &server.addr.port().to_string()]);
    command.args(["-n", "2000", "-c", "20", "-P", "16", "-t", kinds]).args(args);
    command.env("HOME", server.dir.path());
    run(&mut command, b"")
}

#[test]
fn its_usual_commands_run_without_an_error() {
    if !is_there(Command::new("redis-benchmark").arg("--version")) {
        return;
    }
    let server = Server::start(&[]);
    let out = benchmark(&server, "set,get,incr,mset,ping_inline,ping_mbulk", &["-q"]).well();
    for title in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
        let mut lines = out.split(['\r', '\n']).map(str::trim);
        let is_told = |line: &str| {
            line.strip_prefix(title).is_some_and(|rest| {
                rest.starts_with(": ") && rest.contains(" requests per second, p50=")
            })
        };
        assert!(lines.any(is_told), "{title}: {out}");
    }
    assert!(!out.to_lowercase().contains("err"), "{out}");

    let csv = benchmark(&server, "set,get", &["--csv", "-r", "1000", "-d", "100"]).well();
    let titles: Vec<&str> = csv.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(titles, ["\"test\"", "\"SET\"", "\"GET\""], "{csv}");
    let csv = benchmark(&server, "set,get", &["--csv", "--threads", "2"]).well();
    assert_eq!(csv.lines().count(), 3, "{csv}");
}
