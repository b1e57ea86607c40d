//! One owner: a directory has one process that writes to it, and gives its descriptors back;
//! others may read.
//!
//! What must be seen from another process runs in this test binary, started again with the name
//! of a part in `KVS_OWNERS_PART` and the directory in `KVS_OWNERS_DIR`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kvs::{Batch, Durability, KvsError, Options, ReadOnlyStore, Store};
use tempfile::tempdir;

#[path = "../src/store/tests/proof.rs"]
mod proof;

const PART: &str = "KVS_OWNERS_PART";
const DIR: &str = "KVS_OWNERS_DIR";
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// More tries than an owner is faster than a reader in a row.
const TRIES: usize = 1000;
const QUICK_RACES: usize = 8;
/// How often a reader must find something new.
const QUICK_REFRESHES: u64 = 50;
const LONG_REFRESHES: u64 = 5000;
const QUICK_CYCLES: u64 = 200;
const LONG_CYCLES: u64 = 1000;
/// Cycles after which a process has all that it will ever need.
const FIRST_CYCLES: u64 = 20;
/// What the memory of a process may grow by over all cycles: an arena of the allocator, no more.
const GROWTH_KIB_MAX: u64 = 4096;
const FEW_DESCRIPTORS: u64 = 64;

/// A part of a test in a process of its own, which does as it is told line by line.
struct Part {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Part {
    fn start(part: &str, dir: &Path) -> Part {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_part_of_a_test", "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Part { child, orders, answers }
    }

    fn order(&mut self) {
        self.orders.write_all(b"go\n").unwrap();
    }

    /// The next line that is an answer and not of the test harness.
    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the part has died");
            if let Some((_, answer)) = line.trim_end().split_once("answer: ") {
                return answer.to_owned();
            }
        }
    }

    fn end(mut self) {
        // It may have ended by itself.
        let _ = self.orders.write_all(b"go\n");
        drop(self.orders);
        let mut rest = String::new();
        self.answers.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

fn answer(text: &str) {
    println!("answer: {text}");
}

/// Waits for the other side.
fn wait_for_order() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// Not a test of its own: what the others start.
#[test]
fn a_part_of_a_test() {
    let Ok(part) = env::var(PART) else {
        return;
    };
    let dir = env::var_os(DIR).unwrap();
    let dir = Path::new(&dir);
    match part.as_str() {
        "race" => race(dir),
        "fork" => fork(dir),
        "write" => write(dir),
        "few descriptors" => few_descriptors(dir),
        "no descriptors" => no_descriptors(dir),
        "descriptors" => descriptors(dir),
        other => panic!("there is no part {other}"),
    }
}

fn race(dir: &Path) {
    answer("ready");
    wait_for_order();
    match Store::open(dir) {
        Ok(store) => {
            store.set("winner", std::process::id().to_string()).unwrap();
            answer("won");
            wait_for_order();
        }
        Err(error @ KvsError::Locked { pid, .. }) => {
            let pid = pid.unwrap();
            assert!(error.to_string().contains(&pid.to_string()), "{error}");
            answer(&format!("lost to {pid}"));
            wait_for_order();
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// What a forked child finds comes back in its exit code: anything else than a panic or an exit
/// would run the tests of its parent.
fn fork(dir: &Path) {
    let store = Store::open(dir).unwrap();
    // SAFETY: the child calls the store, which may not wait for locks of threads that it has not
    // got: that is what is tested. Then it ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = |result: kvs::Result<_>| matches!(result, Err(KvsError::Forked));
        let right = refused(store.set("key", "child").map(|_| ()))
            && refused(store.remove("key").map(|_| ()))
            && refused(store.sync())
            && refused(store.close())
            && Store::open(dir.join("own")).is_ok_and(|own| own.set("key", "child").is_ok());
        // SAFETY: ends the process, without any destructor.
        unsafe { libc::_exit(if right { 0 } else { 1 }) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child could write, or hung");
    answer("forked");
    wait_for_order();
    store.set("key", "parent").unwrap();
    assert_eq!(store.get("key").unwrap().as_deref(), Some(&b"parent"[..]));
    store.close().unwrap();
}

/// The keys that writer and readers know besides `first` and `last`.
const WRITTEN_KEYS: u64 = 200;

/// Writes batch after batch until it is killed: the number of the batch into `first`, `last` and
/// one of the other keys. Compacts now and then, and says how far it has come.
fn write(dir: &Path) {
    let options = Options::new().segment_bytes(65536).durability(Durability::Os);
    let store = options.open(dir).unwrap();
    for number in 1_u64.. {
        let text = number.to_string();
        let mut batch = Batch::new();
        batch.set("first", &text).set(format!("key {}", number % WRITTEN_KEYS), &text);
        store.write(batch.set("last", &text)).unwrap();
        if number.is_multiple_of(200) {
            answer(&text);
        }
        if number.is_multiple_of(3000) {
            store.compact().unwrap();
        }
    }
}

/// How many batches of the writer a reader sees: exactly so many, and each as a whole.
fn batches_seen(reader: &ReadOnlyStore) -> u64 {
    let parse = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap().parse::<u64>().unwrap();
    let ends = reader.get_many(&["first", "last"]).unwrap();
    let ends = ends.iter().map(|value| value.as_ref().map_or(0, |value| parse(value)));
    let [first, last] = ends.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(first, last);
    let mut found: Vec<(Vec<u8>, u64)> = reader
        .iter()
        .map(Result::unwrap)
        .filter(|(key, _)| key.starts_with(b"key "))
        .map(|(key, value)| (key, parse(&value)))
        .collect();
    found.sort();
    let newest = (first.saturating_sub(WRITTEN_KEYS) + 1)..=first;
    let key = |number: u64| format!("key {}", number % WRITTEN_KEYS).into_bytes();
    let mut expected: Vec<(Vec<u8>, u64)> = newest.map(|number| (key(number), number)).collect();
    expected.sort();
    assert_eq!(found, expected, "after {first} batches");
    first
}

/// The limit of this process, which it can raise again.
fn set_limit(descriptors: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a pointer to a limit that lives.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = descriptors.min(limit.rlim_max);
    // SAFETY: a pointer to a limit that lives.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

fn few_descriptors(dir: &Path) {
    set_limit(FEW_DESCRIPTORS);
    for round in 0..5 {
        let store = Store::open(dir).unwrap();
        for key in 0..50 {
            store.set(format!("{key}"), format!("{round}")).unwrap();
        }
        store.compact().unwrap();
        assert_eq!(store.len(), 50);
        store.close().unwrap();
    }
}

/// Each segment takes a descriptor: writes until there is none left, goes on when there are more.
fn no_descriptors(dir: &Path) {
    set_limit(FEW_DESCRIPTORS);
    let options = Options::new().segment_bytes(4096).durability(Durability::Os).compaction(false);
    let store = options.open(dir).unwrap();
    let value = vec![b'v'; 1000];
    let set = |key: u64| store.set(format!("{key}"), &value);
    let written = (0..1000).take_while(|key| match set(*key) {
        Ok(_) => true,
        Err(KvsError::Io { source, .. }) if source.raw_os_error() == Some(libc::EMFILE) => false,
        Err(other) => panic!("{other:?}"),
    });
    let written = u64::try_from(written.count()).unwrap();
    assert!((100..1000).contains(&written), "{written}");
    let check = |store: &Store, keys: u64| {
        for key in 0..keys {
            let found = store.get(format!("{key}")).unwrap();
            assert_eq!(found.as_deref(), Some(&value[..]), "key {key} of {keys}");
        }
        assert_eq!(store.len(), keys);
    };
    check(&store, written);
    set_limit(1024);
    (written..2 * written).for_each(|key| _ = set(key).unwrap());
    check(&store, 2 * written);
    store.close().unwrap();
    set_limit(FEW_DESCRIPTORS);
    let refused = options.open(dir).unwrap_err();
    assert!(refused.to_string().contains("Too many open files"), "{refused}");
    set_limit(1024);
    let store = options.open(dir).unwrap();
    check(&store, 2 * written);
    store.close().unwrap();
}

/// Descriptors and threads of this process.
fn taken() -> [usize; 2] {
    ["fd", "task"].map(|name| fs::read_dir(format!("/proc/self/{name}")).unwrap().count())
}

/// The memory that this process has, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn descriptors(dir: &Path) {
    let cycles = cycles();
    let options = Options::new().segment_bytes(4096).durability(Durability::Os).ballast_bytes(0);
    (0..FIRST_CYCLES).for_each(|number| cycle(&options, dir, number));
    let (before, before_kib) = (taken(), resident_kib());
    (0..cycles).for_each(|number| cycle(&options, dir, number));
    // A thread that has been waited for may be there for a moment longer, also when it was counted.
    let is_back = |now: [usize; 2]| now[0] <= before[0] && now[1] <= before[1];
    let begun = Instant::now();
    while !is_back(taken()) && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    let now = taken();
    assert!(is_back(now), "descriptors and threads after {cycles} cycles: {now:?}, {before:?}");
    let growth_kib = resident_kib().saturating_sub(before_kib);
    assert!(growth_kib < GROWTH_KIB_MAX, "{growth_kib} KiB in {cycles} cycles");
    answer(&format!("{cycles} cycles"));
}

/// Of one process.
fn cycles() -> u64 {
    if env::var_os("KVS_PROOF_SECONDS").is_some() { LONG_CYCLES } else { QUICK_CYCLES }
}

/// Opens and closes; sometimes what is opened has a torn tail, sometimes it is compacted.
fn cycle(options: &Options, dir: &Path, number: u64) {
    let store = options.open(dir).unwrap();
    for key in 0..4 {
        store
            .set(format!("{key}"), vec![b'v'; 300 + usize::try_from(number % 7).unwrap()])
            .unwrap();
    }
    if number.is_multiple_of(10) {
        store.compact().unwrap();
    }
    store.close().unwrap();
    if number.is_multiple_of(3) {
        let segments = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let newest = segments.filter(|path| path.extension().is_some_and(|end| end == "seg")).max();
        let mut file = fs::OpenOptions::new().append(true).open(newest.unwrap()).unwrap();
        file.write_all(&[0xff; 24]).unwrap();
    }
}

#[test]
fn of_two_processes_one_gets_the_directory() {
    for _ in 0..QUICK_RACES {
        let dir = tempdir().unwrap();
        let mut parts = [(); 2].map(|()| Part::start("race", dir.path()));
        for part in &mut parts {
            assert_eq!(part.answer(), "ready");
        }
        parts.iter_mut().for_each(Part::order);
        let outcomes = parts.each_mut().map(Part::answer);
        let pids = parts.each_ref().map(|part| part.child.id());
        let winner = usize::from(outcomes[1] == "won");
        assert_eq!(outcomes[winner], "won");
        assert_eq!(outcomes[1 - winner], format!("lost to {}", pids[winner]));
        parts.into_iter().for_each(Part::end);
        let store = Store::open(dir.path()).unwrap();
        let won = store.get("winner").unwrap().unwrap();
        assert_eq!(won[..], *pids[winner].to_string().as_bytes());
    }
}

/// Opens it when the process that was killed has come to its end, however long that takes.
fn open_when_free(dir: &Path) -> Store {
    let begun = Instant::now();
    loop {
        match Store::open(dir) {
            Err(KvsError::Locked { .. }) if begun.elapsed() < PATIENCE => {}
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn the_lock_of_a_killed_process_is_free() {
    let dir = tempdir().unwrap();
    for _ in 0..QUICK_RACES {
        let mut part = Part::start("race", dir.path());
        assert_eq!(part.answer(), "ready");
        part.order();
        assert_eq!(part.answer(), "won");
        let pid = part.child.id();
        assert!(matches!(Store::open(dir.path()),
            Err(KvsError::Locked { pid: Some(owner), .. }) if owner == pid));
        part.child.kill().unwrap();
        // At once: its memory may still be given back.
        let store = open_when_free(dir.path());
        assert_eq!(store.get("winner").unwrap().unwrap()[..], *pid.to_string().as_bytes());
        store.close().unwrap();
        part.child.wait().unwrap();
    }
}

#[test]
fn a_forked_child_cannot_write_and_leaves_the_lock_alone() {
    let dir = tempdir().unwrap();
    let mut part = Part::start("fork", dir.path());
    assert_eq!(part.answer(), "forked");
    let pid = part.child.id();
    assert!(matches!(Store::open(dir.path()),
        Err(KvsError::Locked { pid: Some(owner), .. }) if owner == pid));
    part.end();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.get("key").unwrap().as_deref(), Some(&b"parent"[..]));
}

/// Reads again where an owner that compacts was faster each time: readers are told so.
fn settled<T>(read: impl Fn() -> kvs::Result<T>) -> T {
    let is_settled = |read: &kvs::Result<T>| !matches!(read, Err(KvsError::Unsettled { .. }));
    (0..TRIES).map(|_| read()).find(is_settled).unwrap().unwrap()
}

#[test]
fn another_process_reads_while_the_owner_writes_compacts_and_is_killed() {
    let dir = tempdir().unwrap();
    let mut part = Part::start("write", dir.path());
    assert_eq!(part.answer(), "200");
    let reader = settled(|| Store::open_read_only(dir.path()));
    let (mut seen, mut refreshes, mut acknowledged) = (batches_seen(&reader), 0, 200);
    let long = env::var_os("KVS_PROOF_SECONDS").is_some();
    let enough = if long { LONG_REFRESHES } else { QUICK_REFRESHES };
    while seen < 20_000 || refreshes < enough {
        let is_newer = settled(|| reader.refresh());
        let now = batches_seen(&reader);
        assert!(now >= seen && (is_newer || now == seen), "{now} after {seen}");
        refreshes += u64::from(now > seen);
        seen = now;
        // It can be read that much later, but then it can: the answers of the writer go ahead.
        while acknowledged < seen.saturating_sub(200) {
            acknowledged = part.answer().parse().unwrap();
        }
    }
    let new = settled(|| Store::open_read_only(dir.path()));
    assert!(batches_seen(&new) >= seen);
    part.child.kill().unwrap();
    part.child.wait().unwrap();
    let mut rest = String::new();
    part.answers.read_to_string(&mut rest).unwrap();
    let last = rest.lines().rev().find_map(|line| line.split_once("answer: ")?.1.parse().ok());
    let acknowledged = last.unwrap_or(acknowledged);
    // Nothing that was acknowledged is lost for readers either, before an owner comes again.
    reader.refresh().unwrap();
    let left = batches_seen(&reader);
    assert!(left >= acknowledged, "{left} of {acknowledged}");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.get("last").unwrap().unwrap()[..], *left.to_string().as_bytes());
    store.set("last", "0").unwrap();
    store.set("first", "0").unwrap();
    store.close().unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.get("last").unwrap().as_deref(), Some(&b"0"[..]));
}

#[test]
fn two_opens_of_one_process_share_the_store() {
    let dir = tempdir().unwrap();
    let (one, two) = (Store::open(dir.path()).unwrap(), Store::open(dir.path()).unwrap());
    one.set("key", "value").unwrap();
    assert_eq!(two.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    let other = Options::new().segment_bytes(8192).open(dir.path());
    assert!(matches!(other, Err(KvsError::OptionsDiffer { option: "segment_bytes", .. })));
    drop(one);
    two.set("key", "other").unwrap();
    drop(two);
    let again = Options::new().segment_bytes(8192).open(dir.path()).unwrap();
    assert_eq!(again.get("key").unwrap().as_deref(), Some(&b"other"[..]));
}

#[test]
fn no_descriptor_thread_or_memory_is_left_behind() {
    proof::prove("owners::cycles", cycles(), |_| {
        let dir = tempdir().unwrap();
        let mut part = Part::start("descriptors", dir.path());
        assert_eq!(part.answer(), format!("{} cycles", cycles()));
        part.end();
        Ok(cycles())
    });
}

#[test]
fn sixty_four_descriptors_are_enough() {
    let dir = tempdir().unwrap();
    Part::start("few descriptors", dir.path()).end();
}

#[test]
fn descriptors_that_run_out_lose_nothing() {
    let dir = tempdir().unwrap();
    Part::start("no descriptors", dir.path()).end();
}
