//! The commands, the directories on which they run, and what they may leave there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kvs::{Durability, KvsError, Options, Store};
use tempfile::{TempDir, tempdir};

use super::proof::Checked;

/// What a directory holds.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// So many records are a batch of an import.
const BATCH_RECORDS: usize = 1000;
const IMPORTED: usize = 2500;
/// A value that makes a segment of 4 KiB full soon.
const VALUE: &str = "a value of some forty-eight bytes, or thereabouts";

/// A command on a directory.
pub struct Scene {
    pub name: &'static str,
    pub args: Vec<&'static str>,
    /// Standard input, if it reads any.
    pub input: Option<PathBuf>,
    /// Copied for each run.
    pub before: PathBuf,
    /// What the directory may hold: first what it held before, last what the command leaves.
    pub states: Vec<State>,
}

/// All of them, with the directory in which they lie.
pub fn scenes() -> (Vec<Scene>, TempDir) {
    let root = tempdir().unwrap();
    let (none, closed) = (root.path().join("none"), root.path().join("closed"));
    fs::create_dir(&none).unwrap();
    let base = fill(&closed);
    let unclean = root.path().join("unclean");
    leave(&closed, &unclean, &root.path().join("open"));
    let mut left = base.clone();
    left.insert(b"left".to_vec(), b"open".to_vec());
    let (input, batches) = import(&root.path().join("input"), &base);
    let with = |state: &State, value: Option<&[u8]>| {
        let mut state = state.clone();
        match value {
            Some(value) => state.insert(b"key 3".to_vec(), value.to_vec()),
            None => state.remove(&b"key 3"[..]),
        };
        state
    };
    let scene = |name, args: &[&'static str], before: &Path, states| Scene {
        name,
        args: args.to_vec(),
        input: None,
        before: before.to_owned(),
        states,
    };
    let set = ["set", "key 3", "new"];
    let new = Some(&b"new"[..]);
    let scenes = vec![
        scene("create", &set, &none, vec![State::new(), with(&State::new(), new)]),
        scene("set", &set, &closed, vec![base.clone(), with(&base, new)]),
        scene("recover", &set, &unclean, vec![left.clone(), with(&left, new)]),
        scene("rm", &["rm", "key 3"], &closed, vec![base.clone(), with(&base, None)]),
        Scene {
            input: Some(input),
            ..scene("import", &["import", "--format", "tsv", "-"], &closed, batches)
        },
        scene("compact", &["compact"], &closed, vec![base]),
        scene("compact unclean", &["compact"], &unclean, vec![left]),
    ];
    (scenes, root)
}

fn small() -> Options {
    Options::new().segment_bytes(4096).durability(Durability::Os).ballast_bytes(0).compaction(false)
}

/// A closed store with several small segments, some of them partly dead.
fn fill(dir: &Path) -> State {
    let store = small().open(dir).unwrap();
    let mut state = State::new();
    for round in 0..4 {
        for key in 0..40 {
            let (key, value) = (format!("key {key}"), format!("{VALUE} {round}"));
            store.set(&key, &value).unwrap();
            state.insert(key.into_bytes(), value.into_bytes());
        }
        for key in 30 + round..40 {
            let key = format!("key {key}");
            store.remove(&key).unwrap();
            state.remove(key.as_bytes());
        }
    }
    store.close().unwrap();
    state
}

/// A store as its process leaves it when it is killed.
fn leave(closed: &Path, left: &Path, open: &Path) {
    copy_files(closed, open);
    let store = small().open(open).unwrap();
    store.set("left", "open").unwrap();
    copy_files(open, left);
    store.close().unwrap();
}

/// The file to import, and the states after each of its batches.
fn import(path: &Path, base: &State) -> (PathBuf, Vec<State>) {
    let mut text = String::new();
    let mut states = vec![base.clone()];
    let mut state = base.clone();
    for number in 0..IMPORTED {
        let (key, value) = (format!("imported {number}"), format!("value {number}"));
        writeln!(text, "{key}\t{value}").unwrap();
        state.insert(key.into_bytes(), value.into_bytes());
        if (number + 1) % BATCH_RECORDS == 0 || number + 1 == IMPORTED {
            states.push(state.clone());
        }
    }
    fs::write(path, text).unwrap();
    (path.to_owned(), states)
}

pub fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    Done,
    Killed,
    Failed {
        code: i32,
        said: String,
    },
    /// Of another signal.
    Died(String),
}

/// What `timeout` answers with.
const LATE: i32 = 124;

impl Ended {
    /// Whether an error may end a command so: in words, if there is anything to say them yet.
    fn is_proper(&self, is_loading: bool) -> bool {
        match self {
            Ended::Done | Ended::Killed => true,
            Ended::Failed { code: LATE, .. } => false,
            Ended::Failed { said, .. } => !said.is_empty() && !said.contains("panicked"),
            Ended::Died(said) => is_loading || said.contains("memory allocation"),
        }
    }
}

impl Scene {
    /// A copy of its directory, to run on.
    pub fn stage(&self) -> TempDir {
        let dir = tempdir().unwrap();
        copy_files(&self.before, dir.path());
        dir
    }

    /// Runs the command on a directory, behind these words; they give up after a minute.
    pub fn run(&self, dir: &Path, before: &[String]) -> Ended {
        let mut command = Command::new("timeout");
        command.arg("60").args(before).arg(env!("CARGO_BIN_EXE_kvs"));
        command.arg("--dir").arg(dir).args(&self.args).env_remove("KVS_DIR");
        match &self.input {
            Some(path) => command.stdin(File::open(path).unwrap()),
            None => command.stdin(Stdio::null()),
        };
        let Output { status, stderr, .. } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stderr).trim_end().to_owned();
        match (status.code(), status.signal()) {
            (Some(0), _) => Ended::Done,
            // 128 and the number of SIGKILL, as shells and timeout say it.
            (Some(137), _) | (_, Some(9)) => Ended::Killed,
            (Some(code), _) => Ended::Failed { code, said },
            (None, signal) => Ended::Died(format!("signal {signal:?}: {said}")),
        }
    }

    /// Checks a directory after the command ended so, and that it can be run again. While it is
    /// loaded, not even `kvs` can say what is wrong.
    pub fn check(&self, dir: &Path, ended: &Ended, is_loading: bool) -> Checked<()> {
        if !ended.is_proper(is_loading) {
            return Err(format!("it ended badly: {ended:?}"));
        }
        let found = read(dir)?;
        let last = self.states.last().unwrap();
        let is_allowed = match ended {
            Ended::Done => found == *last,
            _ => self.states.contains(&found),
        };
        if !is_allowed {
            return Err(format!("{} keys, and not as they should be: {ended:?}", found.len()));
        }
        verify(dir)?;
        let again = self.run(dir, &[]);
        // What was removed by the first run cannot be removed again.
        let was_removed = self.name == "rm" && found == *last;
        if !matches!(again, Ended::Done) && !was_removed {
            return Err(format!("run again: {again:?}"));
        }
        if read(dir)? != *last {
            return Err("run again, it leaves something else".to_owned());
        }
        verify(dir)
    }
}

fn read(dir: &Path) -> Checked<State> {
    let store = match Store::open_read_only(dir) {
        Ok(store) => store,
        Err(KvsError::NotAStore { .. }) => return Ok(State::new()),
        Err(error) => return Err(format!("open: {error}")),
    };
    let record = |record: kvs::Result<(Vec<u8>, kvs::Value)>| {
        let (key, value) = record.map_err(|error| format!("read: {error}"))?;
        Ok((key, value.to_vec()))
    };
    store.iter().map(record).collect()
}

fn verify(dir: &Path) -> Checked<()> {
    match kvs::verify(dir, &mut |_| ()) {
        Ok(report) if report.damage.is_empty() => Ok(()),
        Ok(report) => Err(format!("damage: {:?}", report.damage)),
        Err(KvsError::NotAStore { .. }) => Ok(()),
        Err(error) => Err(format!("verify: {error}")),
    }
}
