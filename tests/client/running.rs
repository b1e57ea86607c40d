//! The real server, in a process of its own, and `kvs-client` against it.

use std::io::{BufRead, BufReader, Write, stderr};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

/// Set where the package has a server.
const SERVER: Option<&str> = option_env!("CARGO_BIN_EXE_kvs-server");

/// A server on a directory and a port of its own, killed when it is dropped.
pub struct Server {
    pub dir: TempDir,
    pub addr: SocketAddr,
    child: Child,
}

/// Says that something was not tested. What a test prints is shown only if it fails; this is not
/// printed by the test.
pub fn skip(what: &str) {
    writeln!(stderr(), "SKIPPED: {what}").unwrap();
}

/// A running server; none, said aloud, where the package has none.
pub fn server(args: &[&str]) -> Option<Server> {
    let Some(binary) = SERVER else {
        skip("this package has no kvs-server");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let (child, addr) = spawn(binary, &dir, "127.0.0.1:0", args);
    Some(Server { dir, addr, child })
}

fn spawn(binary: &str, dir: &TempDir, addr: &str, args: &[&str]) -> (Child, SocketAddr) {
    let mut child = Command::new(binary)
        .args(["--addr", addr, "--dir"])
        .arg(dir.path().join("data"))
        .args(args)
        .env_remove("KVS_PASSWORD")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let addr = loop {
        let Some(Ok(line)) = lines.next() else { panic!("it ended, and said {said:?}") };
        let found = line
            .split("listening on ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next().and_then(|addr| addr.parse().ok()));
        match found {
            Some(addr) => break addr,
            None => said.push(line),
        }
    };
    // It must not wait for somebody who reads on.
    thread::spawn(move || lines.for_each(drop));
    (child, addr)
}

impl Server {
    /// Kills it and starts another one on the same directory and port.
    pub fn restart(&mut self, args: &[&str]) {
        self.kill();
        let addr = self.addr.to_string();
        let (child, addr) = spawn(SERVER.unwrap(), &self.dir, &addr, args);
        assert_eq!(addr, self.addr);
        self.child = child;
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `kvs-client --addr ADDR ARGS`, not started yet, beside the directory of the server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = client();
        command.current_dir(self.dir.path()).arg("--addr").arg(self.addr.to_string()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
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

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
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
