//! `inspect`: what is in a file, also in one that is damaged.

use std::fs;

use kvs::{Durability, Options, Store};

use super::place::{Map, Place, Ran, numbered};

/// The name of the first segment in `data`.
fn first_segment(place: &Place) -> String {
    place.list("data").into_iter().find(|name| name.ends_with(".seg")).unwrap()
}

/// Every file in `data` with its bytes.
fn all(place: &Place) -> Vec<(String, Vec<u8>)> {
    let names = place.list("data").into_iter();
    names.map(|name| (name.clone(), place.read(&format!("data/{name}")))).collect()
}

/// The lines that were printed, each cut into words.
fn words(stdout: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8(stdout.to_vec()).unwrap();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// A place with two sealed segments and their hints.
fn sealed() -> Place {
    let place = Place::new();
    let options = Options::new().segment_bytes(4096).compaction(false).durability(Durability::Os);
    let store = options.open(place.path("data")).unwrap();
    for (key, value) in numbered(150) {
        store.set(key, value).unwrap();
    }
    store.close().unwrap();
    assert!(place.path("data/0000000001.hint").exists());
    place
}

#[test]
fn the_manifest_a_segment_and_a_hint() {
    let place = sealed();
    let before = all(&place);
    let manifest = place.run(&["inspect"]).succeeded();
    assert!(manifest.starts_with("format          manifest, version 3\n"), "{manifest}");
    assert!(manifest.contains("\nsegment 1: sealed, length "), "{manifest}");
    place.run(&["inspect", "MANIFEST"]).printed(manifest);
    let segment = place.run(&["inspect", "1"]).succeeded();
    assert!(segment.contains(" seq 1, \"key 0\" = \"value 0\"\n"), "{segment}");
    let seal = segment.lines().last().unwrap();
    assert!(seal.contains(" seal    ") && seal.contains(", seqs 1 to "), "{seal}");
    place.run(&["inspect", "0000000001.seg"]).printed(&segment);
    place.run(&["inspect", "data/0000000001.seg"]).printed(&segment);
    let hint = place.run(&["inspect", "0000000001.hint"]).succeeded();
    assert!(hint.ends_with("compared        it matches its segment\n"), "{hint}");
    // Each set is in both, at the same place.
    let sets = |text: &str| -> Vec<String> {
        let sets = text.lines().filter(|line| line.contains(" set     seq "));
        sets.map(|line| line.split_once(',').unwrap().0.to_owned()).collect()
    };
    assert!(sets(&segment).len() > 50);
    assert_eq!(sets(&segment), sets(&hint));
    let last = place.list("data").into_iter().rfind(|name| name.ends_with(".seg")).unwrap();
    assert!(!place.run(&["inspect", &last]).succeeded().contains(" seal "));
    assert_eq!(all(&place), before, "nothing was written");
}

#[test]
fn a_store_that_is_open_can_be_seen() {
    let place = Place::new();
    let store = Store::open(place.path("data")).unwrap();
    store.set("key \u{7}\n", "v".repeat(1000)).unwrap();
    store.remove("key \u{7}\n").unwrap();
    let text = place.run(&["inspect", "1"]).succeeded();
    let shown = format!(" seq 1, \"key \\u{{7}}\\n\" = \"{}\"...\n", "v".repeat(80));
    assert!(text.contains(&shown), "{text}");
    assert!(text.contains(" remove  seq 2, \"key \\u{7}\\n\"\n"), "{text}");
    assert!(text.ends_with(" unused  zeros\n"), "{text}");
    place.run(&["inspect"]).succeeded();
    store.close().unwrap();
}

#[test]
fn what_is_not_valid_is_told_and_what_lies_behind_it_is_shown() {
    let place = Place::with(&numbered(100));
    let name = first_segment(&place);
    let whole = words(place.run(&["inspect", &name]).succeeded().as_bytes());
    let path = format!("data/{name}");
    let mut bytes = place.read(&path);
    let at = bytes.windows(8).position(|window| window == b"value 50").unwrap();
    bytes[at] ^= 1;
    place.write(&path, &bytes);
    let ran = place.run(&["inspect", &name]);
    ran.complained_like(&format!("data/{name} has 1 damaged place"));
    let damaged = words(&ran.stdout);
    let line = damaged
        .iter()
        .position(|words| words.get(2).is_some_and(|kind| kind == "invalid"))
        .unwrap();
    let (offset, length) = (damaged[line][0].clone(), damaged[line][1].clone());
    assert_eq!(damaged[line][3..].join(" "), "the checksum does not match");
    let mut expected = whole.clone();
    expected[line] = damaged[line].clone();
    assert_eq!(damaged, expected, "all else is as before");
    assert_eq!((&whole[line][0], &whole[line][1]), (&offset, &length));
    assert!(whole[line].contains(&"50\"".to_owned()), "{:?}", whole[line]);

    // A torn end, with zeros behind it.
    let end = bytes.len();
    bytes[at] ^= 1;
    bytes.extend_from_slice(&[7; 20]);
    bytes.extend_from_slice(&[0; 100]);
    place.write(&path, &bytes);
    let ran = place.run(&["inspect", &name]);
    assert_eq!(ran.code, Some(1));
    let text = String::from_utf8(ran.stdout).unwrap();
    let [torn, unused] = [format!("{end:>10}        20 invalid "), " unused  zeros\n".to_owned()];
    assert!(text.contains(&torn) && text.ends_with(&unused), "{text}");
}

#[test]
fn a_header_that_is_damaged_is_made_up_for_by_the_manifest() {
    let place = Place::with(&numbered(10));
    let path = format!("data/{}", first_segment(&place));
    let mut bytes = place.read(&path);
    bytes[20] ^= 1;
    place.write(&path, bytes);
    let sets = |ran: &Ran| {
        words(&ran.stdout)
            .iter()
            .filter(|words| words.get(2).is_some_and(|kind| kind == "set"))
            .count()
    };
    let ran = place.run(&["inspect", "1"]);
    ran.complained_like("data/0000000001.seg has 1 damaged place");
    assert_eq!(
        (words(&ran.stdout)[0].join(" "), sets(&ran)),
        ("0 48 invalid the header is damaged".to_owned(), 10,)
    );
    fs::remove_file(place.path("data/MANIFEST")).unwrap();
    let ran = place.run(&["inspect", "1"]);
    ran.complained_like("data/0000000001.seg has 2 damaged places");
    assert_eq!(sets(&ran), 0);
}

#[test]
fn damaged_manifests_and_hints_are_told() {
    let place = sealed();
    for name in ["MANIFEST", "0000000001.hint"] {
        let path = format!("data/{name}");
        let whole = place.read(&path);
        for cut in [0, 7, 40, whole.len() - 1] {
            place.write(&path, &whole[..cut]);
            place
                .run(&["inspect", name])
                .complained_like(&format!("data/{name} has 1 damaged place"));
        }
        for at in [0, 9, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x80;
            place.write(&path, bytes);
            let ran = place.run(&["inspect", name]);
            assert_eq!(ran.code, Some(1), "{name}, byte {at}: {}", ran.stderr);
        }
        place.write(&path, whole);
        place.run(&["inspect", name]).succeeded();
    }
    // A hint that is whole, and is not that of its segment.
    let hint = place.read("data/0000000001.hint");
    place.write("data/0000000002.hint", hint);
    let ran = place.run(&["inspect", "0000000002.hint"]);
    assert_eq!(ran.code, Some(1));
    assert!(String::from_utf8(ran.stdout).unwrap().contains("another segment's hint"));
    fs::remove_file(place.path("data/0000000001.seg")).unwrap();
    let said = place.run(&["inspect", "0000000001.hint"]).succeeded();
    assert!(said.contains("\ncompared        no: segment 1 is missing"), "{said}");
}

#[test]
fn what_is_no_file_of_a_store_is_refused() {
    let place = Place::with(&Map::new());
    let said = "option file is data/ENGINE, but must be a manifest, a segment or a hint";
    place.run(&["inspect", "ENGINE"]).complained(said);
    let missing = "No such file or directory (os error 2)";
    place
        .run(&["inspect", "77"])
        .complained(&format!("cannot open data/0000000077.seg: {missing}"));
    place
        .run(&["inspect", "0000000077.hint"])
        .complained(&format!("cannot open data/0000000077.hint: {missing}"));
    place
        .run(&["inspect", "elsewhere/MANIFEST"])
        .complained(&format!("cannot open elsewhere/MANIFEST: {missing}"));
    place.write("data/ENGINE", "sled\n");
    place.run(&["inspect"]).complained_like("data belongs to the engine \"sled\"");
    fs::remove_file(place.path("data/ENGINE")).unwrap();
    fs::remove_file(place.path("data/MANIFEST")).unwrap();
    place.run(&["inspect"]).complained_like("data holds segments but no manifest");
    fs::create_dir(place.path("data/MANIFEST")).unwrap();
    assert_eq!(place.run(&["inspect"]).code, Some(1));
}
