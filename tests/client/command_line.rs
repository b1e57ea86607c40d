//! `kvs-client` without a server: what it refuses, and how it says so.

use tokio::net::TcpSocket;

use super::running::{Ran, client};

fn run(args: &[&str]) -> Ran {
    Ran::from(client().args(args).output().unwrap())
}

#[test]
fn the_version_is_told() {
    let version = format!("kvs-client {}\n", env!("CARGO_PKG_VERSION"));
    run(&["-V"]).printed(&version);
}

#[test]
fn without_a_command_and_a_terminal_it_says_how_it_is_used() {
    let ran = run(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("Usage: kvs-client"), "{}", ran.stderr);
}

#[test]
fn what_makes_no_sense_ends_with_2() {
    let lines: [&[&str]; 12] = [
        &["get"],
        &["get", "key", "extra"],
        &["set", "key"],
        &["rm"],
        &["unknown", "subcommand"],
        &["get", "key", "--unknown-flag"],
        &["get", "key", "--addr", "invalid-addr"],
        &["set", "key", "value", "--addr", "127.0.0.1"],
        &["cas", "key", "new"],
        &["cas", "key", "--absent"],
        &["expire", "key"],
        &["get", "key", "--password", "hush"],
    ];
    for line in lines {
        let ran = run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line:?}");
        assert!(ran.stderr.starts_with("error: "), "{line:?}: {}", ran.stderr);
    }
}

#[test]
fn nobody_at_the_address_is_said_in_one_sentence() {
    // Bound, so that nobody else gets it, and not listened on.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    let said = format!("kvs-client: cannot connect to {addr}: Connection refused (os error 111)\n");
    for line in [&["get", "key"][..], &["set", "key", "value"], &["bench"], &["ping"]] {
        run(&[&["--addr", &addr], line].concat()).complained(&said);
    }
}

#[test]
fn a_password_that_cannot_be_read_is_said() {
    let ran = run(&["get", "key", "--password-file", "none"]);
    ran.complained("kvs-client: cannot read none: No such file or directory (os error 2)\n");
    let empty = client().args(["get", "key"]).env("KVS_PASSWORD", "\n").output().unwrap();
    Ran::from(empty).complained("kvs-client: the password in KVS_PASSWORD is empty\n");
}

#[test]
fn completions_need_no_server() {
    assert!(run(&["completions", "bash"]).succeeded().contains("kvs-client"));
}
