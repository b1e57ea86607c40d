//! `redis-cli` as it is used by hand and in scripts.

use std::path::PathBuf;
use std::process::Command;

use super::programs::{Ran, is_there, program, run};
use super::server::Server;
use super::terminal::Terminal;

/// Whether it is installed.
pub fn has_redis_cli() -> bool {
    is_there(Command::new("redis-cli").arg("--version"))
}

/// Runs it with these arguments and this input.
pub fn cli(server: &Server, args: &[&str], input: &[u8]) -> Ran {
    let mut command = program("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &server.addr.port().to_string()]).args(args);
    command.env_remove("REDISCLI_AUTH").env("HOME", server.dir.path());
    run(&mut command, input)
}

pub fn tls(name: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn commands_are_executed_one_by_one() {
    if !has_redis_cli() {
        return;
    }
    let server = Server::start(&[]);
    let cases: [(&[&str], &[u8], &str); 17] = [
        (&["set", "a", "1"], b"", "OK\n"),
        (&["get", "a"], b"", "1\n"),
        (&["get", "none"], b"", "\n"),
        (&["--no-raw", "get", "none"], b"", "(nil)\n"),
        (&["--no-raw", "incr", "a"], b"", "(integer) 2\n"),
        (&["--no-raw", "mget", "a", "none"], b"", "1) \"2\"\n2) (nil)\n"),
        (&["--csv", "mget", "a", "none"], b"", "\"2\",NULL\n"),
        (&["-x", "set", "b"], b"two\nlines", "OK\n"),
        (&["--no-raw", "get", "b"], b"", "\"two\\nlines\"\n"),
        (&["-r", "3", "incr", "a"], b"", "3\n4\n5\n"),
        (&["-3", "--no-raw", "get", "none"], b"", "(nil)\n"),
        (
            &["-3", "--no-raw", "config", "get", "maxclients"],
            b"",
            "1# \"maxclients\" => \"10000\"\n",
        ),
        (&["-3", "--no-raw", "ttl", "a"], b"", "(integer) -1\n"),
        (&["--no-raw", "incr", "b"], b"", "(error) ERR value is not an integer or out of range\n"),
        (&["nosuch", "x"], b"", "ERR unknown command 'nosuch', with args beginning with: 'x' \n\n"),
        (&["get"], b"", "ERR wrong number of arguments for 'get' command\n\n"),
        (&["-n", "0", "ping"], b"", "PONG\n"),
    ];
    for (args, input, out) in cases {
        assert_eq!(cli(&server, args, input).well(), out, "{args:?}");
    }
    // With -e, an error is one for whoever started it, too.
    let ran = cli(&server, &["-e", "incr", "b"], b"");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let other = cli(&server, &["-n", "1", "ping"], b"");
    assert!(other.err.contains("SELECT 1 failed: ERR DB index is out of range"), "{other:?}");
}

#[test]
fn a_script_is_executed_from_its_input() {
    if !has_redis_cli() {
        return;
    }
    let server = Server::start(&[]);
    let script = "set n 1\nincr n\nmulti\nincr n\nget n\nexec\nbad\nsetex t 100 v\nttl t\n\
                  append n 0\nset \"with space\" \"a\\x00b\"\nstrlen \"with space\"\ndbsize\n";
    let out = "OK\n2\nOK\nQUEUED\nQUEUED\n3\n3\n\
               ERR unknown command 'bad', with args beginning with: \n\nOK\n100\n2\nOK\n3\n3\n";
    assert_eq!(cli(&server, &[], script.as_bytes()).well(), out);
}

#[test]
fn commands_are_typed_on_a_terminal() {
    if !has_redis_cli() || !Terminal::is_there() {
        return;
    }
    let server = Server::start(&[]);
    let line = format!("redis-cli -h 127.0.0.1 -p {}", server.addr.port());
    let mut terminal = Terminal::run(&line, |command| {
        // Without its own editing of lines, which would paint.
        command.env("HOME", server.dir.path()).env("TERM", "dumb").env_remove("REDISCLI_AUTH");
    });
    let prompt = format!("{}> ", server.addr);
    let queueing = format!("{}(TX)> ", server.addr);
    let dialogue = [
        ("set city 'the value'", "OK", &prompt),
        ("get city", "\"the value\"", &prompt),
        ("incr city", "(error) ERR value is not an integer or out of range", &prompt),
        ("multi", "OK", &queueing),
        ("incr n", "QUEUED", &queueing),
        ("get city", "QUEUED", &queueing),
        ("exec", "1) (integer) 1\r\n2) \"the value\"", &prompt),
        // What it says comes from the table of commands that the server has told.
        ("help set", "Set the string value of a key", &prompt),
        ("hello 3", "1# \"server\" => \"redis\"", &prompt),
        ("get none", "(nil)", &prompt),
    ];
    terminal.wait_for(&prompt);
    for (typed, answer, next) in dialogue {
        terminal.press(&format!("{typed}\r"));
        terminal.wait_for(answer);
        terminal.wait_for(next);
    }
    terminal.press("quit\r");
    assert!(terminal.end());
}

#[test]
fn a_password_and_tls_let_those_in_who_have_both() {
    if !has_redis_cli() {
        return;
    }
    let (cert, key, ca) = (tls("server.pem"), tls("server.key"), tls("ca.pem"));
    let plain = Server::start_with(&[], &[("KVS_PASSWORD", "secret")]);
    assert_eq!(cli(&plain, &["ping"], b"").out, "NOAUTH Authentication required.\n\n");
    let wrong = cli(&plain, &["--no-auth-warning", "-a", "wrong", "ping"], b"");
    let told = "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\n";
    assert_eq!(wrong.err, told);
    assert_eq!(wrong.out, "NOAUTH Authentication required.\n\n");
    let right = ["--no-auth-warning", "-a", "secret"];
    assert_eq!(cli(&plain, &[&right[..], &["ping"]].concat(), b"").well(), "PONG\n");
    let named = ["--user", "default", "-3", "ping"];
    assert_eq!(cli(&plain, &[&right[..], &named].concat(), b"").well(), "PONG\n");

    if !cli(&plain, &["--help"], b"").out.contains("--cacert") {
        super::server::skip("this redis-cli has no TLS");
        return;
    }
    let args = ["--tls-cert-file", &cert, "--tls-key-file", &key];
    let server = Server::start_with(&args, &[("KVS_PASSWORD", "secret")]);
    let over_tls = [&right[..], &["--tls", "--cacert", &ca]].concat();
    let set = cli(&server, &[&over_tls[..], &["set", "k", "over TLS"]].concat(), b"");
    assert_eq!(set.well(), "OK\n");
    let pipe = [&over_tls[..], &["--pipe"]].concat();
    let piped = cli(&server, &pipe, &b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n".repeat(500));
    assert!(piped.out.ends_with("errors: 0, replies: 500\n"), "{piped:?}");
    let untrusted = [&right[..], &["--tls", "--cacert", &cert, "ping"]].concat();
    let untrusted = cli(&server, &untrusted, b"");
    assert!(untrusted.err.contains("certificate verify failed"), "{untrusted:?}");
    let in_the_clear = cli(&server, &[&right[..], &["ping"]].concat(), b"");
    assert!(!in_the_clear.out.contains("PONG"), "{in_the_clear:?}");
}
