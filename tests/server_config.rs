//! The binary `kvs-server` up to where it serves: what it prints, and how it refuses.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::net::TcpListener;
use std::process::{Command, Output};

/// Runs the server with this command line and environment, in an empty directory.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KVS_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied());
    command.current_dir(dir.path()).output().unwrap()
}

fn refused(arguments: &[&str], variables: &[(&str, &str)], code: i32) -> String {
    let output = run(arguments, variables);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

#[test]
fn the_version_is_printed() {
    for flag in ["-V", "--version"] {
        let output = run(&[flag], &[]);
        assert!(output.status.success());
        assert_eq!(
            output.stdout,
            concat!("kvs-server ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()
        );
    }
}

#[test]
fn the_help_names_the_options_and_no_password() {
    let output = run(&["--help"], &[("KVS_PASSWORD", "hush")]);
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in ["--addr <IP:PORT>", "--engine <NAME>", "--config <FILE>", "--insecure"] {
        assert!(help.contains(flag), "{help}");
    }
    assert!(!help.contains("--password ") && !help.contains("hush"));
}

#[test]
fn the_configuration_is_printed_and_read_again() {
    let variables = [("KVS_LOG_LEVEL", "debug"), ("KVS_PASSWORD", "hush")];
    let arguments = ["--addr", "127.0.0.1:0", "--insecure", "--print-config"];
    let output = run(&arguments, &variables);
    assert!(output.status.success() && output.stderr.is_empty());
    let toml = String::from_utf8(output.stdout).unwrap();
    for line in [
        "addr = \"127.0.0.1:0\" # flag --addr\n",
        "insecure = true # flag --insecure\n",
        "log_level = \"debug\" # variable KVS_LOG_LEVEL\n",
        "dir = \".\" # default\n",
    ] {
        assert!(toml.contains(line), "{toml}");
    }
    assert!(!toml.contains("hush"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kvs.toml");
    std::fs::write(&file, &toml).unwrap();
    let again = run(&["--print-config"], &[("KVS_CONFIG", file.to_str().unwrap())]);
    let again = String::from_utf8(again.stdout).unwrap();
    let values = |toml: &str| -> Vec<String> {
        toml.lines().filter_map(|it| Some(it.split_once(" #")?.0.to_owned())).collect()
    };
    assert_eq!(values(&again), values(&toml));
    assert!(again.contains("kvs.toml:1\n"), "{again}");
}

#[test]
fn a_bad_configuration_is_one_sentence_that_names_the_place() {
    let stderr = refused(&[], &[("KVS_POOL_THREADS", "0")], 2);
    let expected = "kvs-server: variable KVS_POOL_THREADS: pool_threads is \"0\", but must be a \
                    whole number from 1 to 1024\n";
    assert_eq!(stderr, expected);
    let stderr = refused(&["--engine", "rocks"], &[], 2);
    let expected = "kvs-server: flag --engine: engine is \"rocks\", but must be kvs, sled or \
                    memory\n";
    assert_eq!(stderr, expected);
    assert!(refused(&["--speed", "9"], &[], 2).contains("--speed"));
}

#[test]
fn an_address_that_cannot_be_had_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let stderr = refused(&["--addr", &addr], &[], 1);
    let error = format!("kvs-server: cannot listen on {addr}: Address already in use");
    assert!(stderr.lines().last().unwrap().starts_with(&error), "{stderr}");
    assert!(stderr.contains(concat!("kvs-server ", env!("CARGO_PKG_VERSION"), " on ")));
}

#[test]
fn nobody_is_let_in_from_outside_by_accident() {
    let stderr = refused(&["--addr=0.0.0.0:0"], &[], 1);
    assert!(stderr.contains("kvs-server: 0.0.0.0:0 can be reached from outside"), "{stderr}");
    // An empty variable counts as not set.
    let stderr = refused(&["--addr=0.0.0.0:0"], &[("KVS_PASSWORD", "")], 1);
    assert!(stderr.contains("kvs-server: 0.0.0.0:0 can be reached from outside"), "{stderr}");
    let stderr = refused(&["--addr=0.0.0.0:0"], &[("KVS_PASSWORD", "\n")], 1);
    assert!(stderr.contains("the password in the variable KVS_PASSWORD is empty"), "{stderr}");
}

#[test]
fn the_log_can_be_json() {
    let stderr = refused(&["--addr=0.0.0.0:0", "--log-format=json"], &[], 1);
    let first: serde_json::Value = serde_json::from_str(stderr.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "INFO");
    assert!(first["message"].as_str().unwrap().starts_with("kvs-server "), "{first}");
}
