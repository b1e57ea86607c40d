//! Reading commands beside a process that has the store open, and on a directory that nobody may
//! change.

use std::fs;
use std::time::{Duration, Instant};

use kvs::Store;

use super::place::{Place, numbered, sorted_lines};

/// The reading commands, with a key that is there.
const READING: [&[&str]; 5] =
    [&["get", "key 5"], &["ttl", "key 5"], &["stats"], &["export"], &["export", "out.tsv"]];

/// The files of the store with their bytes.
fn files(place: &Place) -> Vec<(String, Vec<u8>)> {
    let names = place.list("data").into_iter().filter(|name| name != "quarantine");
    names.map(|name| (name.clone(), place.read(&format!("data/{name}")))).collect()
}

/// Runs `kvs get KEY` until it prints this: what an owner writes can be read a moment later.
fn is_read_in_time(place: &Place, key: &str, value: &str) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if place.run(&["get", key]).succeeded() == format!("{value}\n") {
            return true;
        }
    }
    false
}

#[test]
fn reading_commands_work_beside_an_owner() {
    let place = Place::with(&numbered(1000));
    let store = Store::open(place.path("data")).unwrap();
    for command in READING {
        place.run(command).succeeded();
    }
    place.run(&["get", "key 5"]).printed("value 5\n");
    place.run(&["ttl", "key 5"]).printed("never\n");
    let lines = place.run(&["export", "--format", "tsv"]).stdout;
    assert_eq!(sorted_lines(&lines).len(), 1000);
    store.set("key 5", "new").unwrap();
    assert!(is_read_in_time(&place, "key 5", "new"));
    store.compact().unwrap();
    place.run(&["get", "key 5"]).printed("new\n");
    store.clear().unwrap();
    assert!(is_read_in_time(&place, "key 5", "Key not found"));
    store.set("key 5", "last").unwrap();
    store.close().unwrap();
    place.run(&["get", "key 5"]).printed("last\n");
}

#[test]
fn reading_commands_leave_the_directory_as_it_is() {
    let place = Place::with(&numbered(1000));
    let is_active = |name: &&String| name.ends_with(".seg");
    let active = place.list("data").iter().rfind(is_active).cloned().unwrap();
    // A tail that a crash could have left, a hint that is missing, a lock file that is missing.
    let mut bytes = place.read(&format!("data/{active}"));
    bytes.extend([0xab; 24]);
    place.write(&format!("data/{active}"), bytes);
    for name in place.list("data") {
        if name.ends_with(".hint") || name == "LOCK" {
            fs::remove_file(place.path(&format!("data/{name}"))).unwrap();
        }
    }
    let before = (place.list("data"), files(&place));
    for command in READING {
        place.run(command).succeeded();
        assert!((place.list("data"), files(&place)) == before, "{command:?}");
    }
    let stats = place.run(&["stats"]).succeeded();
    assert!(stats.contains("torn tail          24 B\n"), "{stats}");
    // An owner cuts it off.
    place.run(&["set", "key", "value"]).printed("");
    assert!(place.list("data").contains(&"quarantine".to_owned()));
    assert!(!place.run(&["stats"]).succeeded().contains("torn tail"));
}
