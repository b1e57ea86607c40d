//! `kvs-client` against the real server.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::server::Server;

/// `kvs-client` against a server.
pub trait Client {
    /// `kvs-client --addr ADDR ARGS`, not started yet, beside the directory of the server.
    fn command(&self, args: &[&str]) -> Command;

    fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl Client for Server {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = client();
        command.current_dir(self.dir.path()).arg("--addr").arg(self.addr.to_string()).args(args);
        command
    }
}

/// `kvs-client`, not started yet.
pub fn client() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-client"));
    command.stdin(Stdio::null()).env_remove("KVS_PASSWORD");
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// It ended with 0, printed this and complained about nothing.
    #[track_caller]
    pub fn printed(&self, stdout: &str) {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (Some(0), stdout, ""));
    }

    /// It ended with 0 and complained about nothing.
    #[track_caller]
    pub fn succeeded(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        &self.stdout
    }

    /// It ended with 1, printed nothing, and said this on standard error.
    #[track_caller]
    pub fn complained(&self, stderr: &str) {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (Some(1), "", stderr));
    }
}
