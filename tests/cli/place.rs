//! A temporary directory in which `kvs` runs, with the store in `data`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::write::GzEncoder;
use kvs::{Options, Store};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tempfile::TempDir;

/// The contents of a store.
pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;

pub struct Place(TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    /// A place whose store holds `records`.
    pub fn with(records: &Map) -> Place {
        let place = Place::new();
        let store = Store::open(place.path("data")).unwrap();
        for (key, value) in records {
            store.set(key, value).unwrap();
        }
        store.close().unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The names of the files at `name`, in order; none if it is not there.
    pub fn list(&self, name: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(name)) else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `kvs --dir data ARGS`, not started yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = kvs(self.0.path());
        command.args(["--dir", "data"]).args(args);
        command
    }

    /// Runs `kvs --dir data ARGS` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.ended(self.command(args).output().unwrap())
    }

    /// How a command ended, with the paths of this place as they were typed: the engine tells
    /// them from the root on.
    fn ended(&self, output: Output) -> Ran {
        let root = format!("{}/", fs::canonicalize(self.0.path()).unwrap().display());
        let mut ran = Ran::from(output);
        ran.stderr = ran.stderr.replace(&root, "");
        ran
    }

    /// Runs `kvs --dir data ARGS` with `input` as standard input.
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        self.ended(child.wait_with_output().unwrap())
    }

    /// What the store in `data` holds.
    pub fn contents(&self) -> Map {
        self.contents_of("data")
    }

    /// What the store in the directory `name` holds.
    pub fn contents_of(&self, name: &str) -> Map {
        let store = Options::new().must_exist(true).open(self.path(name)).unwrap();
        let contents = store
            .iter()
            .map(|record| record.map(|(key, value)| (key, value.into_vec())))
            .collect::<kvs::Result<Map>>()
            .unwrap();
        store.close().unwrap();
        contents
    }
}

/// `kvs`, not started yet, in the directory `current`.
pub fn kvs(current: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.current_dir(current).stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// It ended with 0, printed this and complained about nothing.
    #[track_caller]
    pub fn printed(&self, stdout: impl AsRef<[u8]>) {
        assert_eq!(String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(stdout.as_ref()));
        self.succeeded();
    }

    /// It ended with 0 and complained about nothing.
    #[track_caller]
    pub fn succeeded(&self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// It ended with 1, printed nothing, and complained in exactly this sentence.
    #[track_caller]
    pub fn complained(&self, sentence: &str) {
        assert_eq!(self.stderr, format!("kvs: {sentence}\n"));
        assert_eq!((self.code, self.stdout.as_slice()), (Some(1), &b""[..]));
    }

    /// It ended with 1 and complained in one sentence that begins like this.
    #[track_caller]
    pub fn complained_like(&self, beginning: &str) {
        assert!(self.stderr.starts_with(&format!("kvs: {beginning}")), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert_eq!(self.code, Some(1));
    }
}

pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zst(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// The lines of a file, in order.
pub fn sorted_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> =
        bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

/// `count` records: "key 0" has the value "value 0", and so on.
pub fn numbered(count: usize) -> Map {
    (0..count)
        .map(|i| (format!("key {i}").into_bytes(), format!("value {i}").into_bytes()))
        .collect()
}

/// The records as TSV.
pub fn to_tsv(records: &Map) -> Vec<u8> {
    records.iter().flat_map(|(key, value)| [key, &b"\t"[..], value, b"\n"].concat()).collect()
}

/// Records of random bytes, the same for the same seed (xorshift64*).
pub fn random_records(seed: u64, count: usize, value_bytes_max: u64) -> Map {
    let mut state = seed;
    let mut next = |below: u64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    };
    let mut bytes = |len_max: u64| -> Vec<u8> {
        // One string in two is ASCII, control characters included, so that both forms occur.
        let range = if next(2) == 0 { 256 } else { 128 };
        (0..next(len_max + 1)).map(|_| u8::try_from(next(range)).unwrap()).collect()
    };
    (0..count).map(|_| (bytes(40), bytes(value_bytes_max))).collect()
}
