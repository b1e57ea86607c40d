//! `kvs-server` in a process of its own, for every test that talks to it.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Write, stderr};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server on a directory and a port of its own, killed when it is dropped.
pub struct Server {
    pub dir: TempDir,
    pub addr: SocketAddr,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(args: &[&str]) -> Server {
        Server::start_with(args, &[])
    }

    /// With these environment variables.
    pub fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(&dir, "127.0.0.1:0", args);
        command.envs(variables.iter().copied());
        Server::of(command, dir)
    }

    /// What the command starts, which listens and has its data in the directory.
    pub fn of(command: Command, dir: TempDir) -> Server {
        let (child, addr, said) = spawn(command);
        Server { dir, addr, child, said }
    }

    /// Kills it, and starts another on the same directory and another port.
    pub fn start_again(&mut self, args: &[&str]) {
        self.start_at("127.0.0.1:0", args);
    }

    /// Kills it, and starts another on the same directory and port.
    pub fn restart(&mut self, args: &[&str]) {
        let addr = self.addr.to_string();
        self.start_at(&addr, args);
    }

    fn start_at(&mut self, addr: &str, args: &[&str]) {
        self.kill();
        (self.child, self.addr, self.said) = spawn(command(&self.dir, addr, args));
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had at a time.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// What it has said on standard error so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// A new connection.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }

    /// A path beside the data.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `kvs-server`, not started yet, without what the environment would tell it.
pub fn command(dir: &TempDir, addr: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KVS_") {
            command.env_remove(name);
        }
    }
    command.args(["--addr", addr, "--dir"]).arg(dir.path().join("data")).args(args);
    command
}

fn spawn(mut command: Command) -> (Child, SocketAddr, Arc<Mutex<Vec<String>>>) {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let addr = loop {
        let Some(Ok(line)) = lines.next() else { panic!("it ended, and said {said:?}") };
        let found = listens_on(&line);
        said.push(line);
        if let Some(addr) = found {
            break addr;
        }
    };
    let said = Arc::new(Mutex::new(said));
    let more = Arc::clone(&said);
    // It must not wait for somebody who reads on.
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            more.lock().unwrap().push(line);
        }
    });
    (child, addr, said)
}

/// The address, if this line says that it listens there.
pub fn listens_on(line: &str) -> Option<SocketAddr> {
    line.split("listening on ").nth(1)?.split_whitespace().next()?.parse().ok()
}

/// Says that something was not tested. What a test prints is shown only if it fails; this is not
/// printed by the test. Written at once: nothing else comes between.
pub fn skip(what: &str) {
    stderr().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}
