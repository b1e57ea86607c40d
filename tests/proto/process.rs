//! `kvs-server` in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tempfile::TempDir;

/// A server on a directory and a port of its own, killed when it is dropped.
pub struct Server {
    pub dir: TempDir,
    pub addr: SocketAddr,
    child: Child,
}

impl Server {
    pub fn start(args: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let (child, addr) = spawn(&dir, args);
        Server { dir, addr, child }
    }

    /// Starts it again on the same directory, and another port.
    pub fn start_again(&mut self, args: &[&str]) {
        self.kill();
        (self.child, self.addr) = spawn(&self.dir, args);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(dir: &TempDir, args: &[&str]) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvs-server"))
        .args(["--addr", "127.0.0.1:0", "--dir"])
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
