//! `watch`: changes as they come, beside a process that writes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvs::{Batch, Options, SetOptions, Store};
use rustix::process::{Pid, Signal, kill_process};

use super::place::{Place, Ran};

/// A `kvs watch` that runs.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(place: &Place, args: &[&str]) -> Running {
        let mut command = place.command(&[&["watch"], args].concat());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    /// The next line; waits for it.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ended; what it printed further stands in it.
    fn end(self) -> Ran {
        let Running { child, mut lines } = self;
        let mut rest = Vec::new();
        lines.read_to_end(&mut rest).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        Ran { stdout: rest, ..ran }
    }
}

fn seq(line: &str) -> u64 {
    line.split('\t').next().unwrap().parse().unwrap()
}

/// Five changes with the seqs 1, 2, 3, 3 and 4, closed.
fn place() -> Place {
    let place = Place::new();
    let store = Store::open(place.path("data")).unwrap();
    store.set("a", "1").unwrap();
    let expiring = SetOptions::new().expire_at_ms(4_102_444_800_000);
    store.set_with("b/1", b"\xff\t", expiring).unwrap();
    let mut batch = Batch::new();
    batch.set("b/2", "2").remove("a");
    store.write(&batch).unwrap();
    assert_eq!(store.set("c", "").unwrap().seq, 4);
    store.close().unwrap();
    place
}

#[test]
fn what_is_there_is_printed_from_any_seq_on() {
    let place = place();
    let watch = |args: &[&str]| place.run(&[&["watch", "--no-follow"], args].concat());
    let all: [&[u8]; 5] = [
        b"1\tset\t-\ta\t1\n",
        b"2\tset\t4102444800000\tb/1\t\xff\t\n",
        b"3\tset\t-\tb/2\t2\n",
        b"3\tremove\t-\ta\n",
        b"4\tset\t-\tc\t\n",
    ];
    watch(&["--after", "0"]).printed(all.concat());
    watch(&["--after", "2"]).printed(all[2..].concat());
    watch(&["--after", "4"]).printed("");
    watch(&["--after", "0", "--prefix", "b/"]).printed(all[1..3].concat());
    // A batch is not cut, so one can go on after the last seq.
    watch(&["--after", "0", "--limit", "2"]).printed(all[..2].concat());
    watch(&["--after", "0", "--limit", "3"]).printed(all[..4].concat());
    watch(&["--after", "0", "--limit", "0"]).printed("");
    place.run(&["watch", "--after", "2", "--limit", "1"]).printed(all[2..4].concat());
    watch(&["--after", "0", "--json"]).printed(concat!(
        "{\"seq\":1,\"key\":\"a\",\"value\":\"1\"}\n",
        "{\"seq\":2,\"key\":\"b/1\",\"value_base64\":\"/wk=\",\"expires_at_ms\":4102444800000}\n",
        "{\"seq\":3,\"key\":\"b/2\",\"value\":\"2\"}\n",
        "{\"seq\":3,\"key\":\"a\",\"removed\":true}\n",
        "{\"seq\":4,\"key\":\"c\",\"value\":\"\"}\n",
    ));
}

#[test]
fn changes_come_while_a_process_writes_until_it_is_interrupted() {
    let place = place();
    for signal in [Signal::INT, Signal::TERM] {
        let store = Store::open(place.path("data")).unwrap();
        let last = store.set("c", "begin").unwrap().seq;
        let mut running = Running::start(&place, &["--after", &last.to_string()]);
        for number in 0..3 {
            let seq = store.set("key", format!("{number}")).unwrap().seq;
            assert_eq!(running.line(), format!("{seq}\tset\t-\tkey\t{number}\n"));
        }
        // An owner that closes the store is no end, nor is one that opens it again.
        store.close().unwrap();
        let store = Store::open(place.path("data")).unwrap();
        let seq = store.remove("key").unwrap().seq;
        assert_eq!(running.line(), format!("{seq}\tremove\t-\tkey\n"));
        running.signal(signal);
        running.end().printed("");
        store.close().unwrap();
    }
}

#[test]
fn without_a_seq_it_begins_where_it_is() {
    let place = place();
    let store = Store::open(place.path("data")).unwrap();
    let last = store.set("old", "1").unwrap().seq;
    store.close().unwrap();
    let store = Store::open(place.path("data")).unwrap();
    let is_seen = AtomicBool::new(false);
    let (mut first, mut written) = (String::new(), Vec::new());
    let mut running = Running::start(&place, &["--limit", "1"]);
    thread::scope(|scope| {
        // It began at some time; only what is written from then on comes.
        scope.spawn(|| {
            while !is_seen.load(Ordering::Relaxed) {
                written.push(store.set("new", "1").unwrap().seq);
            }
        });
        first = running.line();
        is_seen.store(true, Ordering::Relaxed);
    });
    assert!(first.ends_with("\tset\t-\tnew\t1\n") && seq(&first) > last, "{first}");
    assert!(written.contains(&seq(&first)));
    running.end().printed("");
}

#[test]
fn nobody_who_reads_ends_it_even_if_nothing_comes() {
    let place = place();
    let mut running = Running::start(&place, &["--after", "3"]);
    assert_eq!(running.line(), "4\tset\t-\tc\t\n");
    let Running { child, lines } = running;
    drop(lines);
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""));
}

#[test]
fn it_comes_through_rotations_and_compactions_that_it_is_not_behind() {
    const COUNT: usize = 20_000;
    let place = Place::new();
    let options = Options::new().segment_bytes(64 << 10).compaction(false);
    let store = options.open(place.path("data")).unwrap();
    let mut running = Running::start(&place, &["--after", "0", "--prefix", "key"]);
    let mut last = 0;
    for _ in 0..2 {
        for number in 0..COUNT {
            store.set(format!("key {}", number % 100), format!("{number}")).unwrap();
        }
        for number in 0..COUNT {
            let line = running.line();
            assert!(line.ends_with(&format!("\tkey {}\t{number}\n", number % 100)), "{line}");
        }
        // All of it was seen.
        store.compact().unwrap();
        last = store.set("key", "more").unwrap().seq;
        assert_eq!(running.line(), format!("{last}\tset\t-\tkey\tmore\n"));
    }
    running.signal(Signal::INT);
    running.end().printed("");
    // What is gone is told.
    place.run(&["watch", "--after", "5"]).complained_like("the state at seq 5 is gone: ");
    place.run(&["watch", "--after", &last.to_string(), "--no-follow"]).printed("");
}

#[test]
fn nonsense_is_told() {
    let place = place();
    for args in [&["watch", "--no-follow"][..], &["watch", "--after", "-1"]] {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
    let empty = Place::new();
    std::fs::create_dir(empty.path("data")).unwrap();
    empty.run(&["watch"]).complained("there is no store in data");
    assert!(empty.list("data").is_empty(), "it makes no store");
}
