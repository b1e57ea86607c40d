//! A program on a terminal of its own.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::server::skip;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    parts: Receiver<String>,
    /// What was shown behind what was waited for last.
    shown: String,
}

impl Terminal {
    /// Whether a terminal can be had; said aloud where not.
    pub fn is_there() -> bool {
        let version = Command::new("script").arg("--version").output();
        let is_there = version.is_ok_and(|it| it.status.success());
        if !is_there {
            skip("there is no script(1) here");
        }
        is_there
    }

    /// Runs a line of the shell on a terminal, in an environment that is changed.
    pub fn run(line: &str, change: impl FnOnce(&mut Command)) -> Terminal {
        let mut command = Command::new("script");
        command.args(["-qec", line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let (keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, parts) = mpsc::channel();
        thread::spawn(move || {
            let mut part = [0; 1024];
            while let Ok(count @ 1..) = screen.read(&mut part) {
                let _ = sender.send(String::from_utf8_lossy(&part[..count]).into_owned());
            }
        });
        Terminal { child, keys, parts, shown: String::new() }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it has shown this.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            let part = self.parts.recv_timeout(PATIENCE);
            let shown = &self.shown;
            let part = part.unwrap_or_else(|_| panic!("{text:?} is not in {shown:?}"));
            self.shown.push_str(&part);
        }
        self.shown = self.shown.split_once(text).unwrap().1.to_owned();
    }

    /// Waits until the program has ended; whether it ended well.
    pub fn end(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}
