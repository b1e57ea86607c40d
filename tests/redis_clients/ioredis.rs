//! ioredis, which most programs in JavaScript use.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use super::programs::{is_there, program};
use super::server::Server;

/// Where `.ci/run` installs it.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/node/node_modules");

fn node(command: &mut Command) -> &mut Command {
    match std::env::var_os("NODE_PATH") {
        Some(_) => command,
        None => command.env("NODE_PATH", MODULES),
    }
}

#[test]
fn ioredis_works_and_waits_for_a_server_that_is_started_again() {
    if !is_there(node(&mut Command::new("node")).args(["-e", "require('ioredis')"])) {
        return;
    }
    let mut server = Server::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis_clients/ioredis.js");
    let mut command = program("node");
    node(&mut command).arg(script).arg(server.addr.port().to_string());
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It says when the server is to go, and when it is to come back.
    let mut said = Vec::new();
    for line in lines {
        let line = line.unwrap();
        match line.as_str() {
            "kill" => {
                server.kill();
                writeln!(stdin, "killed").unwrap();
            }
            "start" => server.restart(&[]),
            _ => said.push(line),
        }
    }
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert!(child.wait().unwrap().success(), "{said:?} {complaints}");
    assert_eq!(said, ["8 checks"], "{complaints}");
}
