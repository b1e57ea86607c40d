//! `doctor`: a line for each check, and the clock that can be reset.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use kvs::{Options, Store};

use super::place::{Map, Place, Ran, numbered};

/// Every file in `data` with its bytes.
fn all(place: &Place) -> Vec<(String, Vec<u8>)> {
    let names = place.list("data").into_iter().filter(|name| name != "quarantine");
    names.map(|name| (name.clone(), place.read(&format!("data/{name}")))).collect()
}

/// What was said of a check: the verdict, and what stands behind the colon.
#[track_caller]
fn said(ran: &Ran, check: &str) -> (String, String) {
    let text = String::from_utf8(ran.stdout.clone()).unwrap();
    let is_it = |line: &&str| line.get(9..).is_some_and(|rest| rest.starts_with(check));
    let line = text.lines().find(is_it).unwrap_or_else(|| panic!("no {check} in {text}"));
    let (verdict, rest) = line.split_at(9);
    let rest = rest.strip_prefix(check).unwrap().strip_prefix(": ").unwrap();
    (verdict.trim().to_owned(), rest.to_owned())
}

#[track_caller]
fn is(ran: &Ran, check: &str, verdict: &str, beginning: &str) {
    let (found, text) = said(ran, check);
    assert!(found == verdict && text.starts_with(beginning), "{check}: {found}: {text}");
    assert_eq!(ran.code == Some(0), ran.stderr.is_empty(), "{ran:?}");
    assert!(verdict != "problem" || ran.code == Some(1), "{ran:?}");
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// Makes the manifest say that it was this late once.
fn set_clock_floor(place: &Place, floor_ms: u64) {
    type Fields = ([u8; 16], [u64; 2], u64, u64, u64);
    let bytes = place.read("data/MANIFEST");
    let config = bincode::config::standard();
    let (fields, len) = bincode::decode_from_slice::<Fields, _>(&bytes[16..], config).unwrap();
    let fields: Fields = (fields.0, fields.1, fields.2, fields.3, floor_ms);
    let mut body = bincode::encode_to_vec(fields, config).unwrap();
    body.extend_from_slice(&bytes[16 + len..]);
    let mut manifest = bytes[..12].to_vec();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[8..12]), &body);
    manifest.extend_from_slice(&crc.to_le_bytes());
    manifest.extend_from_slice(&body);
    place.write("data/MANIFEST", manifest);
}

#[test]
fn a_good_store_has_no_problem_and_is_left_as_it_is() {
    let place = Place::with(&numbered(100));
    let before = all(&place);
    for args in [&["doctor"][..], &["doctor", "--deep"]] {
        let ran = place.run(args);
        ran.succeeded();
        is(&ran, "store", "ok", "engine kvs, format version 3, 1 segment");
        is(&ran, "owner", "ok", "nobody has the store open");
        is(&ran, "clock", "ok", "nothing expires");
        is(&ran, "damage", "ok", "none");
        is(&ran, "leftovers", "ok", "none");
        is(&ran, "garbage", "ok", "");
        is(&ran, "hints", "ok", "all there");
        is(&ran, "quarantine", "ok", "empty");
        is(&ran, "ballast", "ok", "1.0 MiB");
        for check in ["free space", "descriptors", "mappings", "file system"] {
            said(&ran, check);
        }
    }
    assert!(all(&place) == before, "a byte was changed");
}

#[test]
fn where_there_is_no_store_it_says_so_and_makes_none() {
    let place = Place::new();
    for args in [&["doctor"][..], &["doctor", "--reset-clock"]] {
        let missing = "cannot open data: No such file or directory (os error 2)";
        place.run(args).complained(missing);
    }
    fs::create_dir(place.path("data")).unwrap();
    let ran = place.run(&["doctor"]);
    ran.complained_like("data has 1 problem");
    is(&ran, "store", "problem", "there is no store in data");
    place.run(&["doctor", "--reset-clock"]).complained("there is no store in data");
    assert_eq!(place.list("data"), [""; 0]);
    assert_eq!(place.run(&["doctor", "--reset-clock", "--deep"]).code, Some(2));
}

#[test]
fn a_store_that_is_not_ours_or_not_whole() {
    let place = Place::with(&numbered(10));
    let manifest = place.read("data/MANIFEST");
    let store = |beginning: &str| is(&place.run(&["doctor"]), "store", "problem", beginning);
    place.write("data/ENGINE", "sled\n");
    store("data belongs to the engine \"sled\", not to \"kvs\"; ");
    place.write("data/ENGINE", "kvs\n");
    let mut newer = manifest.clone();
    newer[8] = 77;
    place.write("data/MANIFEST", newer);
    store("data/MANIFEST has format version 77; this version of kvs reads up to 3; ");
    place.write("data/MANIFEST", &manifest[..manifest.len() - 1]);
    store("data/MANIFEST is damaged at offset 0: the checksum does not match; `kvs salvage`");
    place.run(&["doctor", "--reset-clock"]).complained_like("data/MANIFEST is damaged");
    fs::remove_file(place.path("data/MANIFEST")).unwrap();
    store("data holds segments but no manifest; `kvs salvage` can recover its records");
}

#[test]
fn a_store_in_use_is_looked_at_from_outside() {
    let place = Place::new();
    let store = Store::open(place.path("data")).unwrap();
    store.set("key", "value").unwrap();
    let in_use = format!("process {} has the store open", std::process::id());
    let ran = place.run(&["doctor"]);
    ran.succeeded();
    is(&ran, "owner", "ok", &in_use);
    is(&ran, "clock", "ok", "nothing expires");
    assert!(!String::from_utf8(ran.stdout).unwrap().contains(" damage: "));
    is(&place.run(&["doctor", "--deep"]), "damage", "problem", "not looked for");
    let said = format!("data is in use by process {}", std::process::id());
    place.run(&["doctor", "--reset-clock"]).complained(&said);
    store.set("key", "again").unwrap();
    store.close().unwrap();
    assert_eq!(place.contents(), Map::from([(b"key".to_vec(), b"again".to_vec())]));
}

#[test]
fn damage_is_found_at_once_or_by_reading_all() {
    let place = Place::new();
    let options = Options::new().segment_bytes(4096).compaction(false);
    let store = options.open(place.path("data")).unwrap();
    for (key, value) in numbered(300) {
        store.set(key, value).unwrap();
    }
    store.close().unwrap();
    let (path, hint) = ("data/0000000001.seg", "data/0000000001.hint");
    let whole = place.read(path);
    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    place.write(path, flipped);
    is(
        &place.run(&["doctor"]),
        "damage",
        "ok",
        "none in the manifest, headers and lengths; --deep",
    );
    let first = "1 place, first data/0000000001.seg at offset 9";
    is(&place.run(&["doctor", "--deep"]), "damage", "problem", first);
    // Without its hint it is read, as an open would read it.
    let hint_bytes = place.read(hint);
    fs::remove_file(place.path(hint)).unwrap();
    let ran = place.run(&["doctor"]);
    is(&ran, "damage", "problem", first);
    is(&ran, "hints", "warning", "1 of ");
    place.write(hint, hint_bytes);
    place.write(path, &whole[..whole.len() - 8]);
    is(
        &place.run(&["doctor"]),
        "damage",
        "problem",
        "1 place, first data/0000000001.seg at offset",
    );
    place.write(path, &whole);
    place.run(&["doctor"]).succeeded();
}

#[test]
fn leftovers_the_quarantine_and_the_ballast() {
    let place = Place::with(&numbered(10));
    place.write("data/MANIFEST.new", "half");
    place.write("data/0000000077.hint", "old");
    fs::remove_file(place.path("data/BALLAST")).unwrap();
    let segment = place.list("data").into_iter().find(|name| name.ends_with(".seg")).unwrap();
    let path = format!("data/{segment}");
    let torn = [&place.read(&path)[..], &[7; 100]].concat();
    place.write(&path, torn);
    let ran = place.run(&["doctor"]);
    ran.succeeded();
    is(&ran, "damage", "ok", "none");
    is(&ran, "leftovers", "warning", "2 files that no manifest names; ");
    is(&ran, "ballast", "warning", "not there");
    // An open that writes; reading commands change nothing.
    place.run(&["expire", "key 5", "--never"]).printed("");
    let ran = place.run(&["doctor"]);
    ran.succeeded();
    is(&ran, "leftovers", "ok", "none");
    is(&ran, "ballast", "ok", "1.0 MiB");
    is(&ran, "quarantine", "warning", "1 file, 100 B: ");
    place.write("data/0000000099.seg", "of somebody else");
    is(&place.run(&["doctor"]), "leftovers", "warning", "1 segment not of this store; ");
    assert_eq!(place.contents(), numbered(10));
    assert!(place.path("data/0000000099.seg").exists());
}

#[test]
fn garbage_is_told_with_advice() {
    let place = Place::new();
    let options = Options::new().compaction(false).segment_bytes(64 << 10);
    let store = options.open(place.path("data")).unwrap();
    for number in 0..5000 {
        store.set(format!("key {}", number % 10), vec![b'v'; 1000]).unwrap();
    }
    store.close().unwrap();
    let ran = place.run(&["doctor"]);
    ran.succeeded();
    is(&ran, "garbage", "warning", "");
    assert!(said(&ran, "garbage").1.ends_with("; `kvs compact` gives the space back"));
    place.run(&["compact"]).succeeded();
    is(&place.run(&["doctor"]), "garbage", "ok", "");
}

#[test]
fn a_clock_that_was_wrong_is_found_and_reset() {
    let place = Place::new();
    place.run(&["set", "key", "value", "--expire-after-ms", "100000000"]).printed("");
    place.run(&["set", "other", "value"]).printed("");
    is(&place.run(&["doctor"]), "clock", "ok", "not ahead of the machine");
    place.run(&["doctor", "--reset-clock"]).printed("the clock floor was not ahead of the clock\n");
    let wrong_ms = now_ms() + 10 * 24 * 3600 * 1000 + 1_000_000;
    set_clock_floor(&place, wrong_ms);
    let before = all(&place);
    let ran = place.run(&["doctor"]);
    let found = "the store takes it to be 10 days later than the machine does: keys expire early";
    is(&ran, "clock", "problem", found);
    assert!(said(&ran, "clock").1.ends_with("`kvs doctor --reset-clock`"));
    assert!(all(&place) == before, "a byte was changed");
    place.run(&["get", "key"]).printed("Key not found\n");
    let reset = place.run(&["doctor", "--reset-clock"]).succeeded();
    assert!(reset.starts_with(&format!("the clock floor was {wrong_ms}")[..30]), "{reset}");
    is(&place.run(&["doctor"]), "clock", "ok", "not ahead of the machine");
    place.run(&["get", "key"]).printed("value\n");
    let left = place.run(&["ttl", "key"]).succeeded().trim().parse::<u64>().unwrap();
    assert!(left > 90_000_000, "{left}");
    place.run(&["get", "other"]).printed("value\n");
}
