//! The limit on open files.

use std::process::Command;

use super::server::{self, Server};

/// A server that is started with these limits on open files.
fn start(soft: u32, hard: u32) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let server = server::command(&dir, "127.0.0.1:0", &["--connections-max", "600"]);
    let mut command = Command::new("sh");
    let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(limits).arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Server::of(command, dir)
}

/// The limit that holds for it.
fn limit(server: &Server) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().to_owned()
}

#[test]
fn the_limit_is_raised_for_the_connections_or_warned_of() {
    let warns = |server: &Server| server.said().iter().any(|line| line.contains("ulimit -n"));
    let server = start(100, 1000);
    assert_eq!(limit(&server), "1000");
    assert!(!warns(&server));
    let server = start(100, 500);
    assert_eq!(limit(&server), "500");
    assert!(warns(&server), "{:?}", server.said());
}
