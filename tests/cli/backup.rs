//! `backup` and `restore`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kvs::{Batch, Durability, KvsError, Options, ReadOnlyStore, Store};

use super::place::{Map, Place, Ran, kvs, numbered};

#[test]
fn there_and_back() {
    let records = numbered(2000);
    let place = Place::with(&records);
    let said = place.run(&["backup", "saved"]).succeeded();
    assert!(said.starts_with("backed up to seq "), "{said}");
    let version = |key: &str| {
        let line = place.run(&["get", "--version", key]).succeeded();
        line.split('\t').next().unwrap().to_owned()
    };
    place.run(&["set", "marker", "old"]).printed("");
    let then = version("marker");
    place.run(&["set", "marker", "new"]).printed("");
    let said = place.run(&["backup", "saved"]).succeeded();
    assert!(said.contains(" kept, "), "{said}");
    place
        .run(&["restore", "saved", "now"])
        .printed(format!("2,001 keys restored, as of seq {}\n", version("marker")));
    let restored = place.run(&["restore", "--to-seq", &then, "saved", "then"]).succeeded();
    assert_eq!(restored, format!("2,001 keys restored, as of seq {then}\n"));
    for (dir, value) in [("now", "new"), ("then", "old")] {
        let mut expected = records.clone();
        expected.insert(b"marker".to_vec(), value.as_bytes().to_vec());
        assert!(place.contents_of(dir) == expected, "{dir}");
    }
}

#[test]
fn nonsense_is_told_and_nothing_is_lost() {
    let place = Place::with(&numbered(10));
    place.run(&["backup", "saved"]).succeeded();
    std::fs::create_dir(place.path("full")).unwrap();
    place.write("full/letter", "Dear");
    place.run(&["backup", "full"]).complained_like("full is not empty");
    place.run(&["restore", "saved", "data"]).complained_like("data is not empty");
    place.run(&["restore", "full", "new"]).complained_like("there is no store in full");
    place.run(&["restore", "none", "new"]).complained_like("cannot open none");
    place.run(&["set", "key", "old"]).printed("");
    place.run(&["set", "key", "value"]).printed("");
    place.run(&["compact"]).succeeded();
    place.run(&["backup", "saved"]).succeeded();
    place
        .run(&["restore", "--to-seq", "1", "saved", "new"])
        .complained_like("the state at seq 1 is gone: what is kept begins at seq ");
    let set = kvs(&place.path("saved")).args(["set", "key", "value"]).output().unwrap();
    let opened = Ran::from(set);
    assert_eq!(opened.code, Some(1));
    assert!(opened.stderr.ends_with(" holds a backup; `kvs restore` makes a store of it\n"));
    assert_eq!(place.list(""), ["data", "full", "saved"]);
}

/// How many keys are overwritten in turn.
const KEYS: u64 = 50;

/// What the store holds after so many writes.
fn after(step: u64) -> Map {
    let first = step.saturating_sub(KEYS - 1).max(1);
    let pair = |step: u64| (format!("key {}", step % KEYS), format!("{step:0300}"));
    let last = (step > 0).then(|| ("last".to_owned(), step.to_string()));
    let pairs = (first..=step).map(pair).chain(last);
    pairs.map(|(key, value)| (key.into_bytes(), value.into_bytes())).collect()
}

/// More tries than a writer is faster than a reader in a row.
const TRIES: usize = 1000;

/// A reader, as soon as the writer lets it be opened.
fn reader(place: &Place) -> ReadOnlyStore {
    (0..TRIES)
        .map(|_| Store::open_read_only(place.path("data")))
        .find(|opened| !matches!(opened, Err(KvsError::Unsettled { .. })))
        .unwrap()
        .unwrap()
}

/// Backs up, as soon as the writer lets that be done.
fn back_up(place: &Place) -> String {
    (0..TRIES)
        .map(|_| place.run(&["backup", "saved"]))
        .find(|ran| !ran.stderr.contains(" times that it was read: try again"))
        .unwrap()
        .succeeded()
}

#[test]
fn beside_a_writer_that_overwrites_and_compacts() {
    let place = Place::new();
    let options = Options::new().segment_bytes(16 << 10).durability(Durability::Os);
    let store = options.open(place.path("data")).unwrap();
    let written = AtomicU64::new(0);
    let write = |step: u64| {
        let mut batch = Batch::new();
        batch.set(format!("key {}", step % KEYS), format!("{step:0300}"));
        batch.set("last", step.to_string());
        assert_eq!(store.write(&batch).unwrap().seq, step);
        written.store(step, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        let backups = scope.spawn(|| {
            for round in 0..6 {
                let before = reader(&place).get("last").unwrap();
                let before: u64 =
                    before.map_or(0, |it| String::from_utf8_lossy(&it).parse().unwrap());
                let said = back_up(&place);
                let of = said.strip_prefix("backed up to seq ").unwrap();
                let of: u64 = of.split(':').next().unwrap().parse().unwrap();
                let to = format!("{round}");
                place.run(&["restore", "saved", &to]).succeeded();
                assert!(place.contents_of(&to) == after(of), "round {round}: seq {of}");
                store.compact().unwrap();
                // How soon others may read it is for the owner to say, but it is not taken back.
                assert!(of >= before, "round {round}: seq {of}, {before} were read before");
            }
        });
        (1..).take_while(|_| !backups.is_finished()).for_each(write);
    });
    let last = written.load(Ordering::Relaxed);
    store.close().unwrap();
    let said = place.run(&["backup", "saved"]).succeeded();
    assert!(said.starts_with(&format!("backed up to seq {last}: ")), "{said}");
    place.run(&["restore", "saved", "last"]).succeeded();
    assert!(place.contents_of("last") == after(last));
}

#[test]
fn beside_an_owner_what_is_in_the_way_is_told() {
    let place = Place::with(&numbered(10));
    let store = Options::new().open(place.path("data")).unwrap();
    place.write("letter", "Dear");
    std::fs::create_dir(place.path("full")).unwrap();
    place.write("full/letter", "Dear");
    place.run(&["backup", "full"]).complained_like("full is not empty");
    place.run(&["backup", "saved"]).succeeded();
    store.close().unwrap();
}
