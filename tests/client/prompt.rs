//! The prompt, on a terminal of its own.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::server::{Server, skip};

#[test]
fn commands_are_asked_for_on_a_terminal() {
    // It makes the terminal.
    if !Command::new("script").arg("--version").output().is_ok_and(|it| it.status.success()) {
        skip("there is no script(1) here");
        return;
    }
    let server = Server::start(&[]);
    let line = format!("{} --addr {}", env!("CARGO_BIN_EXE_kvs-client"), server.addr);
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("HOME", server.dir.path())
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env_remove("KVS_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, parts) = mpsc::channel();
    thread::spawn(move || {
        let mut part = [0; 1024];
        while let Ok(count @ 1..) = screen.read(&mut part) {
            let _ = sender.send(String::from_utf8_lossy(&part[..count]).into_owned());
        }
    });
    // What was shown behind what was waited for last.
    let mut shown = String::new();
    let mut wait_for = |text: &str| {
        while !shown.contains(text) {
            let part = parts.recv_timeout(Duration::from_secs(30));
            shown.push_str(&part.unwrap_or_else(|_| panic!("{text:?} is not in {shown:?}")));
        }
        shown = shown.split_once(text).unwrap().1.to_owned();
    };
    let prompt = format!("{}> ", server.addr);
    let dialogue = [
        ("set city 'the value'\r", "\n"),
        ("get city\r", "\nthe value\r\n"),
        ("incr city\r", "kvs-client: the value of key \"city\" is not an integer"),
        ("get 'city\r", "kvs-client: "),
        ("nonsense\r", "unrecognized subcommand 'nonsense'"),
        ("help\r", "Leave"),
        // The key is completed.
        ("get ci\t\r", "the value"),
    ];
    wait_for(&prompt);
    for (typed, answer) in dialogue {
        keys.write_all(typed.as_bytes()).unwrap();
        wait_for(answer);
        wait_for(&prompt);
    }
    keys.write_all(b"quit\r").unwrap();
    assert!(child.wait().unwrap().success());
    let history = std::fs::read_to_string(server.path(".kvs-client-history")).unwrap();
    assert!(history.contains("set city 'the value'\n"), "{history}");
}
