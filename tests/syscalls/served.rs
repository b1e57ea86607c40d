//! `kvs-server` under a client, with a fault at one of its calls.
//!
//! What was acknowledged is left, whatever became of the server; what was not, may be. After an
//! error it has ended and said why, or it goes on, and a write that it could not do has an error
//! for a reply.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvs::{Options, Store};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::{TempDir, tempdir};

use super::proof::Checked;
use super::redis::{Redis, Reply};
use super::server;
use super::strace::{Injection, KINDS, Kind, NETWORK_KINDS, count};
use super::sweep::{Fault, Faults, sweep};

const QUICK: u64 = 40;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every write is on the disk when it is acknowledged, and segments are soon full.
const ARGS: [&str; 6] =
    ["--durability", "always", "--segment-bytes", "4096", "--ballast-bytes", "0"];
const COMMANDS: usize = 60;
const KEYS: usize = 7;
/// How often something is asked that may meet a fault.
const TRIES: usize = 8;

/// Calls that a server makes for itself, and that its runtime takes to succeed: they are not
/// failed, but it is killed at them.
const TAKEN_TO_SUCCEED: [&str; 5] = ["read", "write", "fcntl", "clone3", "mmap"];

#[test]
fn a_server_killed_at_any_call_loses_nothing() {
    sweep_server("syscalls::served::kills", Faults::Kills);
}

#[test]
fn an_error_of_any_call_of_a_server_is_told_and_loses_nothing() {
    sweep_server("syscalls::served::errors", Faults::Errors);
}

fn sweep_server(test: &str, faults: Faults) {
    let is_wanted =
        |kind: &&Kind| matches!(faults, Faults::Kills) || !TAKEN_TO_SUCCEED.contains(&kind.name);
    let kinds: Vec<&Kind> = KINDS.iter().chain(&NETWORK_KINDS).filter(is_wanted).collect();
    let points = || {
        let dir = tempdir().unwrap();
        let place = dir.path().join("data");
        let counts = count(&kinds, &place, |words| {
            let run = Run::new(&dir, words);
            match run.ended.success() && run.wrong.is_none() {
                true => Ok(()),
                false => Err(format!("{:?}, {:?}, {:?}", run.ended, run.wrong, run.said)),
            }
        })?;
        Ok(faults.at(&kinds, &counts))
    };
    sweep(test, QUICK, points, check);
}

/// Whether the fault came, and everything is as it should be.
fn check(fault: &Fault) -> Checked<bool> {
    let dir = tempdir().unwrap();
    let injection = Injection::new(fault.kind, &fault.fault, fault.number);
    let run = Run::new(&dir, &injection.words);
    let is_killed = run.ended.signal() == Some(9);
    let checked = run.check(&dir.path().join("data"), fault);
    let tell = |wrong| {
        let kept = dir.keep();
        let (kept, Fault { kind, number, fault, .. }) = (kept.display(), fault);
        format!("{kind} number {number}, {fault}: {wrong}; kept {kept}")
    };
    checked.map_err(tell)?;
    Ok(is_killed || injection.has_come())
}

/// What a key may have: the last value that was acknowledged, and those whose fate is not known.
type Allowed = BTreeMap<String, Vec<Option<String>>>;

/// A server from its start to its end.
struct Run {
    ended: ExitStatus,
    said: Vec<String>,
    allowed: Allowed,
    wrong: Option<String>,
    /// A write could not be made durable, and no more are taken.
    is_poisoned: bool,
    /// It would not end by itself, as after a failed sync.
    was_told_to_end: bool,
}

impl Run {
    /// Starts it behind these words, asks what there is to ask, and lets it end.
    fn new(dir: &TempDir, words: &[String]) -> Run {
        let (mut child, addr, reader) = start(dir, words);
        let child = &mut child.0;
        let mut run = Run {
            ended: ExitStatus::default(),
            said: Vec::new(),
            allowed: Allowed::new(),
            wrong: None,
            is_poisoned: false,
            was_told_to_end: false,
        };
        match addr {
            Ok(addr) => {
                run.wrong = run.ask_all(addr).and_then(|()| run.ask_again(addr)).err();
                run.was_told_to_end = !is_ending(addr);
                if run.was_told_to_end {
                    let _ = child.kill();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                run.wrong = Some("it does not come to listen".to_owned());
                let _ = child.kill();
            }
            // It has ended.
            Err(RecvTimeoutError::Disconnected) => {}
        }
        run.ended = wait(child, &mut run.wrong);
        run.said = reader.join().unwrap();
        run
    }

    /// Asks everything, as long as there is a server. Of what had no reply, nobody knows what
    /// became of it.
    fn ask_all(&mut self, addr: SocketAddr) -> Checked<()> {
        let mut connection = None;
        for number in 0..COMMANDS {
            if connection.is_none() {
                connection = Redis::connect(addr).ok();
            }
            let Some(open) = &mut connection else {
                return Ok(());
            };
            let command = command(number);
            let reply = open.ask(&command.words).ok();
            if reply.is_none() {
                connection = None;
            }
            self.note(&command, reply)?;
        }
        Ok(())
    }

    /// Notes a reply; true: what was asked is done.
    fn note(&mut self, command: &Asked, reply: Option<Reply>) -> Checked<bool> {
        let was_poisoned = self.is_poisoned;
        let (is_done, may_be_done) = match (reply, command.is_read()) {
            (Some(Reply::Bulk(value)), true) => {
                let value = String::from_utf8(value).map_err(|error| error.to_string())?;
                self.check_value(&command.words[1], Some(&value))?;
                (true, true)
            }
            (Some(Reply::Null), true) => {
                self.check_value(&command.words[1], None)?;
                (true, true)
            }
            // What writes nothing, as the removal of a key that is not there, is answered even
            // then, and proves nothing about the write that failed.
            (Some(Reply::Simple(_) | Reply::Integer(_)), false) => (true, !was_poisoned),
            (Some(Reply::Error(text)), _) => {
                self.is_poisoned |= text.contains("no more are taken");
                // The first one that fails is written, and maybe not durable. Others were refused
                // before anything was written, or what was written was taken back.
                (false, self.is_poisoned && !was_poisoned)
            }
            (None, _) => (false, true),
            (Some(other), _) => return Err(format!("{:?}: {other:?}", command.words)),
        };
        for (key, value) in command.effects.iter().filter(|_| may_be_done) {
            let allowed = self.allowed.entry(key.clone()).or_insert_with(|| vec![None]);
            if is_done {
                allowed.clear();
            }
            allowed.push(value.clone());
        }
        Ok(is_done)
    }

    /// Asks whether everything is well again, if the server is there and takes writes. Each of its
    /// threads may have met a fault, and one may come yet.
    fn ask_again(&mut self, addr: SocketAddr) -> Checked<()> {
        let mut failed = Vec::new();
        for number in (0..KEYS).flat_map(|number| [6 * number, 6 * number + 3]) {
            let mut tries = 0..TRIES;
            let is_done = tries.any(|_| {
                let reply = Redis::connect(addr).and_then(|mut it| it.ask(&command(number).words));
                match self.note(&command(number), reply.ok()) {
                    Ok(is_done) => is_done || self.is_poisoned,
                    Err(wrong) => {
                        failed.push(wrong);
                        false
                    }
                }
            });
            let is_there = Redis::connect(addr).is_ok();
            if !is_done && is_there {
                failed.push(format!("it goes on, but not with {:?}", command(number).words));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn check_value(&self, key: &str, found: Option<&String>) -> Checked<()> {
        let nothing = vec![None];
        let allowed = self.allowed.get(key).unwrap_or(&nothing);
        match allowed.iter().any(|it| it.as_ref() == found) {
            true => Ok(()),
            false => Err(format!("{key} is {found:?}, and may be {allowed:?}")),
        }
    }

    /// Checks how it has ended, what it said and what it has left.
    fn check(&self, place: &Path, fault: &Fault) -> Checked<()> {
        if let Some(wrong) = &self.wrong {
            return Err(format!("{wrong}; it said {:?}", self.said));
        }
        if self.said.iter().any(|line| line.contains("panicked")) {
            return Err(format!("a panic: {:?}", self.said));
        }
        let is_asked_to_die = fault.is_kill() || self.was_told_to_end || fault.is_loading;
        let says_why = || self.said.iter().any(|line| line.starts_with("kvs-server: "));
        let has_failed_well = self.ended.code().is_some() && says_why();
        if !(is_asked_to_die || self.ended.success() || has_failed_well) {
            return Err(format!("it ended with {:?}, and said {:?}", self.ended, self.said));
        }
        if !place.exists() {
            let is_nothing_acknowledged = self.allowed.values().all(|it| it.contains(&None));
            return match is_nothing_acknowledged {
                true => Ok(()),
                false => Err("the directory is gone".to_owned()),
            };
        }
        let store = Options::new().ballast_bytes(0).open(place);
        let store = store.map_err(|error| format!("open: {error}"))?;
        self.check_store(&store)?;
        store.close().map_err(|error| format!("close: {error}"))?;
        match kvs::verify(place, &mut |_| ()) {
            Ok(report) if report.damage.is_empty() => Ok(()),
            Ok(report) => Err(format!("damage: {:?}", report.damage)),
            Err(error) => Err(format!("verify: {error}")),
        }
    }

    fn check_store(&self, store: &Store) -> Checked<()> {
        for number in 0..KEYS {
            let key = key(number);
            let value = store.get(&key).map_err(|error| format!("{key}: {error}"))?;
            let value = value.map(|value| String::from_utf8(value.to_vec()).unwrap());
            self.check_value(&key, value.as_ref())?;
        }
        Ok(())
    }
}

/// A command, and what it makes of which keys.
struct Asked {
    words: Vec<String>,
    effects: Vec<(String, Option<String>)>,
}

impl Asked {
    fn is_read(&self) -> bool {
        self.effects.is_empty()
    }
}

fn key(number: usize) -> String {
    format!("key {}", number % KEYS)
}

fn command(number: usize) -> Asked {
    let value = |part: &str| format!("value {number}{part} ").repeat(12);
    let (first, second) = (key(number), key(number + 1));
    let (words, effects) = match number % 6 {
        3 => (vec!["GET".to_owned(), first], vec![]),
        4 => (vec!["DEL".to_owned(), first.clone()], vec![(first, None)]),
        5 => {
            let (one, other) = (value("a"), value("b"));
            let words = ["MSET", &first, &one, &second, &other].map(str::to_owned).to_vec();
            (words, vec![(first, Some(one)), (second, Some(other))])
        }
        _ => {
            let words = ["SET", &first, &value("")].map(str::to_owned).to_vec();
            (words, vec![(first, Some(value("")))])
        }
    };
    Asked { words, effects }
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address that no server has had here, and any of its ports: where one was, nobody else
/// comes to listen when it is gone.
fn own_addr() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = (number % 64_000 + 256).to_be_bytes();
    // Not 127.0, and seldom that of another run beside this one.
    format!("127.{}.{high}.{low}:0", std::process::id() % 254 + 1)
}

/// Starts it: where it listens, unless it ended before; and who reads what it says.
fn start(
    dir: &TempDir,
    words: &[String],
) -> (Killed, Result<SocketAddr, RecvTimeoutError>, JoinHandle<Vec<String>>) {
    let plain = server::command(dir, &own_addr(), &ARGS);
    let (program, before) = words.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(before).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    let mut child = Killed(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        for line in lines.map_while(Result::ok) {
            if let Some(addr) = server::listens_on(&line) {
                // Nobody asks a second time.
                let _ = tell.send(addr);
            }
            said.push(line);
        }
        said
    });
    // Without an answer, everything that could be said was said.
    (child, told.recv_timeout(PATIENCE), reader)
}

/// Asks it to end until it takes no more connections; whether it does. A fault may come between.
fn is_ending(addr: SocketAddr) -> bool {
    for _ in 0..TRIES {
        let Ok(mut connection) = Redis::connect(addr) else {
            return true;
        };
        match connection.ask(&["SHUTDOWN"]) {
            Ok(Reply::Error(_)) => return false,
            Ok(_) => return true,
            Err(_) => {}
        }
    }
    // It breaks every connection off: it ends, or is told to.
    true
}

/// Waits for its end. One that does not come is wrong.
fn wait(child: &mut Child, wrong: &mut Option<String>) -> ExitStatus {
    let id = Pid::from_child(child);
    let (ended, has_ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let is_late = has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if is_late {
            // It may just have ended after all.
            let _ = kill_process(id, Signal::KILL);
        }
        is_late
    });
    let status = child.wait().unwrap();
    drop(ended);
    if watch.join().unwrap() {
        *wrong = Some("it does not come to an end".to_owned());
    }
    status
}
