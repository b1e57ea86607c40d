//! A damaged store: `verify` says where, `salvage` saves the rest.

use super::place::{Map, Place, Ran, kvs, numbered};

const KEYS: usize = 100;

/// A place whose store has one flipped bit, in the value of "key 50"; and the name of the file.
fn damaged() -> (Place, String, u64) {
    let place = Place::with(&numbered(KEYS));
    for name in place.list("data").iter().filter(|name| name.ends_with(".seg")) {
        let name = format!("data/{name}");
        let mut bytes = place.read(&name);
        if let Some(at) = bytes.windows(8).position(|window| window == b"value 50") {
            bytes[at] ^= 1;
            place.write(&name, bytes);
            return (place, name, at as u64);
        }
    }
    panic!("no segment has the value");
}

/// The offset in a line `FILE: offset OFFSET: REASON`.
fn offset_in(line: &str, name: &str) -> u64 {
    let rest = line.strip_prefix(&format!("{name}: offset ")).unwrap_or_else(|| panic!("{line}"));
    let (offset, reason) = rest.split_once(": ").unwrap();
    assert!(!reason.is_empty());
    offset.parse().unwrap()
}

#[test]
fn verify_of_a_good_store() {
    let place = Place::with(&numbered(KEYS));
    let said = place.run(&["verify"]).succeeded();
    assert!(said.starts_with("no damage: ") && said.contains(" segments, "), "{said}");
    assert_eq!(place.contents(), numbered(KEYS));
}

#[test]
fn verify_names_file_offset_and_reason() {
    let (place, name, at) = damaged();
    let before = place.read(&name);
    let ran = place.run(&["verify"]);
    ran.complained_like("data has ");
    let stdout = String::from_utf8(ran.stdout).unwrap();
    let offset = offset_in(stdout.lines().next().unwrap(), &name);
    assert!(offset <= at && at < offset + 100, "the flip is at {at}, the record at {offset}");
    assert_eq!(place.read(&name), before, "verify changes nothing");
}

#[test]
fn other_commands_say_what_is_damaged() {
    let (place, name, _) = damaged();
    let before = place.read(&name);
    place.write("in.tsv", "key 50\tv\n");
    let lines: [&[&str]; 3] = [&["get", "key 50"], &["export"], &["import", "in.tsv"]];
    for line in lines {
        place.run(line).complained_like(&format!("{name} is damaged at offset "));
    }
    assert_eq!(place.read(&name), before);
}

#[test]
fn salvage_saves_the_rest() {
    let (place, name, at) = damaged();
    let said = place.run(&["salvage", "data", "saved"]).succeeded();
    assert!(said.contains(" keys saved from "), "{said}");
    let damage = said.lines().find(|line| line.starts_with(&name)).unwrap();
    assert!(offset_in(damage, &name) <= at);
    let saved = place.contents_of("saved");
    let mut want = numbered(KEYS);
    want.remove(&b"key 50"[..]);
    assert_eq!(saved, want);

    let verified = kvs(&place.path("")).args(["--dir", "saved", "verify"]).output().unwrap();
    Ran::from(verified).succeeded();
}

#[test]
fn salvage_lists_stale_keys_and_strict_leaves_them_out() {
    let (place, _, _) = damaged();
    let stale = |said: &str| -> Vec<Vec<u8>> {
        let keys = said.lines().filter(|line| line.starts_with('{'));
        keys.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["key"].as_str().unwrap().as_bytes().to_vec())
            .collect()
    };
    let loose = place.run(&["salvage", "data", "saved"]).succeeded();
    let strict = place.run(&["salvage", "--strict", "data", "strict"]).succeeded();
    let listed = stale(&loose);
    assert!(!listed.is_empty(), "{loose}");
    let (mut sorted_loose, mut sorted_strict) = (listed.clone(), stale(&strict));
    sorted_loose.sort();
    sorted_strict.sort();
    assert_eq!(sorted_loose, sorted_strict);
    let mut want = place.contents_of("saved");
    for key in &listed {
        assert!(want.remove(key).is_some(), "a stale key was saved");
    }
    assert_eq!(place.contents_of("strict"), want);
}

#[test]
fn salvage_names_a_segment_that_it_cannot_use() {
    let place = Place::with(&numbered(KEYS));
    std::fs::remove_file(place.path("data/MANIFEST")).unwrap();
    let is_segment = |name: &String| name.ends_with(".seg");
    let name = format!("data/{}", place.list("data").into_iter().find(is_segment).unwrap());
    let mut bytes = place.read(&name);
    bytes[0] ^= 1;
    place.write(&name, &bytes);
    let said = place.run(&["salvage", "data", "saved"]).succeeded();
    let damage = said.lines().find(|line| line.starts_with(&name)).unwrap();
    assert_eq!(offset_in(damage, &name), 0);
    assert_eq!(place.contents_of("saved"), Map::new());
}

#[test]
fn salvage_never_writes_over_anything() {
    let (place, _, _) = damaged();
    std::fs::create_dir(place.path("full")).unwrap();
    place.write("full/file", "mine");
    let full = "cannot write full: directory not empty";
    place.run(&["salvage", "data", "full"]).complained(full);
    place.run(&["salvage", "data", "data"]).complained("cannot write data: directory not empty");
    assert_eq!(place.list("full"), ["file"]);
    place
        .run(&["salvage", "none", "saved"])
        .complained("cannot open none: No such file or directory (os error 2)");
    assert_eq!(place.list("saved"), [""; 0]);

    std::fs::create_dir(place.path("empty")).unwrap();
    place.run(&["salvage", "data", "empty"]).succeeded();
    let saved: Map = place.contents_of("empty");
    assert_eq!(saved.len(), KEYS - 1);
}
