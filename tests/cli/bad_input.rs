//! Bad input: one sentence, word by word, and nothing lost that was there before.

use std::fs;

use kvs::{KEY_BYTES_MAX, Store};

use super::place::{Map, Place, gz, numbered, to_tsv, zst};

/// A place whose store holds one record, which no bad import may harm.
fn with_old_record() -> Place {
    Place::with(&old_record())
}

fn old_record() -> Map {
    Map::from([(b"old".to_vec(), b"record".to_vec())])
}

#[test]
fn a_file_that_cannot_be_read() {
    let place = Place::new();
    let missing = "cannot read none.tsv: No such file or directory (os error 2)";
    place.run(&["import", "none.tsv"]).complained(missing);
    fs::create_dir(place.path("dir.tsv")).unwrap();
    place.run(&["import", "dir.tsv"]).complained("cannot read dir.tsv: is a directory");
    place.write("in.txt", "a\tb\n");
    let name = place.run(&["import", "in.txt"]);
    assert_eq!(
        (name.code, name.stderr.as_str()),
        (
            Some(2),
            "kvs: the name in.txt does not tell its format; \
                   add --format tsv or --format jsonl\n"
        ),
    );
    assert_eq!(place.list(""), ["dir.tsv", "in.txt"], "no store was made");
}

#[test]
fn a_bad_line_is_named() {
    let cases = [
        ("in.tsv", "a\tb\nno tab\nc\td\n", "in.tsv:2: the line has no tab"),
        ("in.tsv", "a\tb\n\n", "in.tsv:2: the line has no tab"),
        ("in.jsonl", "{\"key\":\"a\"", "in.jsonl:1: EOF while parsing an object, at column 10"),
        ("in.jsonl", "\n", "in.jsonl:1: EOF while parsing a value, at column 0"),
        (
            "in.jsonl",
            "{\"key\":\"a\",\"value\":\"b\"}\n{\"key\":\"a\"}\n",
            "in.jsonl:2: the object must have either \"value\" or \"value_base64\"",
        ),
        (
            "in.jsonl",
            "{\"key\":\"a\",\"value\":\"b\",\"ttl\":1}\n",
            "in.jsonl:1: unknown field `ttl`, expected one of `key`, `key_base64`, `value`, \
             `value_base64`, `expires_at_ms`, at column 28",
        ),
        (
            "in.jsonl",
            "{\"key_base64\":\"?\",\"value\":\"b\"}\n",
            "in.jsonl:1: \"key_base64\" is not base64: Invalid symbol 63, offset 0.",
        ),
    ];
    for (name, text, said) in cases {
        let place = with_old_record();
        place.write(name, text);
        place.run(&["import", name]).complained(said);
        assert_eq!(place.contents(), old_record(), "{said}");
        let input = place.run_with_input(&["import", "--format", &name[3..], "-"], text.as_bytes());
        input.complained(&said.replacen(name, "standard input", 1));
    }
    let place = with_old_record();
    place.write("in.tsv", gz(b"a\tb\n\xff\n"));
    fs::rename(place.path("in.tsv"), place.path("in.tsv.gz")).unwrap();
    place.run(&["import", "in.tsv.gz"]).complained("in.tsv.gz:2: the line has no tab");
}

#[test]
fn the_batches_before_a_bad_line_stay() {
    let place = with_old_record();
    let mut records = numbered(2500);
    let mut tsv = to_tsv(&records);
    tsv.extend_from_slice(b"no tab\n");
    place.write("in.tsv", &tsv);
    place.run(&["import", "in.tsv"]).complained("in.tsv:2501: the line has no tab");
    let mut want: Map = records.clone().into_iter().take(2000).collect();
    want.append(&mut old_record());
    assert!(place.contents() == want);

    place.write("in.tsv", to_tsv(&records));
    let said = "2500 records read, 500 written, 2000 already there\n";
    place.run(&["import", "in.tsv"]).printed(said);
    records.append(&mut old_record());
    assert!(place.contents() == records);
}

#[test]
fn a_key_over_the_limit() {
    let place = with_old_record();
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    let said = "the key has 1048577 bytes; the limit is 1048576";
    place.write("in.tsv", format!("a\tb\n{too_long}\tv\n"));
    place.run(&["import", "in.tsv"]).complained(&format!("in.tsv:2: {said}"));
    place.write("in.jsonl", format!("{{\"key\":\"{too_long}\",\"value\":\"\"}}\n"));
    place.run(&["import", "in.jsonl"]).complained(&format!("in.jsonl:1: {said}"));
    assert_eq!(place.contents(), old_record());

    for length in [KEY_BYTES_MAX - 1, KEY_BYTES_MAX] {
        place.write("in.tsv", format!("{}\tv\n", &too_long[..length]));
        place.run(&["import", "in.tsv"]).printed("1 records read, 1 written\n");
    }
    assert_eq!(place.contents().len(), 3);
}

#[test]
fn a_directory_in_use() {
    let place = with_old_record();
    place.write("in.tsv", "a\tb\n");
    let store = Store::open(place.path("data")).unwrap();
    let said = format!("data is in use by process {}", std::process::id());
    let lines: [&[&str]; 7] = [
        &["set", "old", "new"],
        &["rm", "old"],
        &["incr", "old"],
        &["expire", "old", "1000"],
        &["import", "in.tsv"],
        &["compact"],
        &["verify"],
    ];
    for line in lines {
        place.run(line).complained(&said);
    }
    store.close().unwrap();
    assert_eq!(place.contents(), old_record());
}

#[test]
fn dir_is_a_file() {
    let place = Place::new();
    place.write("data", "");
    for command in [
        &["get", "a"][..],
        &["rm", "a"],
        &["export"],
        &["stats"],
        &["verify"],
        &["inspect"],
        &["doctor"],
    ] {
        place.run(command).complained("cannot open data: not a directory");
    }
    place.run(&["set", "a", "b"]).complained_like("cannot ");
    assert_eq!(place.read("data"), b"");
}

/// Nothing is imported of a compressed file that is cut short, wherever the cut is.
#[test]
fn a_compressed_file_that_is_cut_short() {
    let tsv = to_tsv(&numbered(5000));
    for (name, whole) in [("in.tsv.gz", gz(&tsv)), ("in.tsv.zst", zst(&tsv))] {
        let place = with_old_record();
        for cut in [0, 1, 5, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
            place.write(name, &whole[..cut]);
            let said = format!("{name} is cut short: its compressed data ends at offset {cut}");
            place.run(&["import", name]).complained(&said);
        }
        assert_eq!(place.contents(), old_record());
    }
}

#[test]
fn a_compressed_file_that_is_damaged() {
    let tsv = to_tsv(&numbered(5000));
    for (name, whole) in [("in.tsv.gz", gz(&tsv)), ("in.tsv.zst", zst(&tsv))] {
        let place = with_old_record();
        for at in [0, whole.len() / 3, whole.len() / 2, whole.len() - 2] {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            place.write(name, bad);
            let ran = place.run(&["import", name]);
            let cut = format!("{name} is cut short");
            if !ran.stderr.starts_with(&format!("kvs: {cut}")) {
                ran.complained_like(&format!("{name} is damaged at or before offset "));
            }
            assert_eq!(ran.code, Some(1));
        }
        place.write(name, &tsv);
        place.run(&["import", name]).complained_like(&format!("{name} is damaged at or before"));
        assert_eq!(place.contents(), old_record());
    }
}
