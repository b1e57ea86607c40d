//! Programs of others: whether they are there, and what they say when they are run.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::server::skip;

/// Longer than anything takes, in seconds.
const PATIENCE: &str = "60";

/// What a program left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// What it wrote, where all went well and nothing was complained of.
    #[track_caller]
    pub fn well(self) -> String {
        assert!(self.code == Some(0) && self.err.is_empty(), "{self:?}");
        self.out
    }
}

/// A program that is stopped if it does not come to an end.
pub fn program(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(name);
    command
}

/// Runs it to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may answer before it has read everything, or not read at all.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Whether a program works here; said aloud where it does not.
pub fn is_there(command: &mut Command) -> bool {
    let is_there = command.output().is_ok_and(|output| output.status.success());
    if !is_there {
        skip(&format!("{command:?} does not work here"));
    }
    is_there
}

/// The Python of the system, which has the packages of the system.
pub fn python() -> &'static str {
    match Path::new("/usr/bin/python3").exists() {
        true => "/usr/bin/python3",
        false => "python3",
    }
}
