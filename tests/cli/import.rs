//! `import`: formats, compressions, and running it again.

use std::io::Write;
use std::process::Stdio;

use super::place::{Map, Place, gz, numbered, random_records, sorted_lines, to_tsv, zst};

#[test]
fn tsv_jsonl_plain_and_compressed() {
    let records = numbered(2500);
    let tsv = to_tsv(&records);
    let jsonl: Vec<u8> = records
        .iter()
        .map(|(key, value)| (str::from_utf8(key).unwrap(), str::from_utf8(value).unwrap()))
        .flat_map(|(key, value)| {
            format!("{{\"value\":\"{value}\",\"key\":\"{key}\"}}\n").into_bytes()
        })
        .collect();
    let files = [
        ("in.tsv", tsv.clone()),
        ("in.jsonl", jsonl.clone()),
        ("in.ndjson", jsonl.clone()),
        ("in.tsv.gz", gz(&tsv)),
        ("in.tsv.zst", zst(&tsv)),
        ("in.jsonl.gz", [gz(&jsonl[..1000]), gz(&jsonl[1000..])].concat()),
        ("in.jsonl.zst", [zst(&jsonl[..1000]), zst(&jsonl[1000..])].concat()),
        ("no line feed at the end.tsv", tsv[..tsv.len() - 1].to_vec()),
        ("windows.tsv", tsv.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..])),
    ];
    for (name, bytes) in files {
        let place = Place::new();
        place.write(name, bytes);
        place.run(&["import", name]).printed("2500 records read, 2500 written\n");
        assert!(place.contents() == records, "{name}");
    }
    let place = Place::new();
    place.write("records", &tsv);
    place
        .run(&["import", "--format", "tsv", "records"])
        .printed("2500 records read, 2500 written\n");
    assert!(place.contents() == records);
}

#[test]
fn standard_input_is_jsonl_unless_said_otherwise() {
    let place = Place::new();
    let jsonl = br#"{"key":"a","value":"1"}"#;
    place.run_with_input(&["import", "-"], jsonl).printed("1 records read, 1 written\n");
    let said = place.run_with_input(&["import", "--format", "tsv", "-"], b"b\t2\n");
    said.printed("1 records read, 1 written\n");
    place.run_with_input(&["import", "-"], b"").printed("0 records read, 0 written\n");
    let want = [("a", "1"), ("b", "2")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(place.contents(), Map::from(want));
}

#[test]
fn the_first_tab_ends_the_key_and_base64_carries_any_bytes() {
    let place = Place::new();
    place.write("in.tsv", "k\ta\tb \n\tno key\nno value\t\n");
    place.run(&["import", "in.tsv"]).printed("3 records read, 3 written\n");
    place.run(&["get", "k"]).printed("a\tb \n");
    place.run(&["get", ""]).printed("no key\n");
    place.run(&["get", "no value"]).printed("\n");
    place.write("in.jsonl", r#"{"key_base64":"/w==","value_base64":"AP8K"}"#);
    place.run(&["import", "in.jsonl"]).printed("1 records read, 1 written\n");
    assert_eq!(place.contents().get(&b"\xff"[..]).unwrap(), b"\0\xff\n");
}

#[test]
fn a_later_line_replaces_an_earlier_one_and_what_the_store_had() {
    let place = Place::new();
    place.run(&["set", "a", "2"]).printed("");
    place.run(&["set", "keep", "this"]).printed("");
    // The last line has what the store has, the first one has not: it must not win.
    place.write("in.tsv", "a\t1\nb\t1\nb\t2\na\t2\n");
    let said = "4 records read, 1 written, 1 already there, 2 replaced by a later line\n";
    place.run(&["import", "in.tsv"]).printed(said);
    let want = [("a", "2"), ("b", "2"), ("keep", "this")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(place.contents(), Map::from(want));
}

#[test]
fn running_it_again_changes_nothing_and_writes_nothing() {
    let place = Place::new();
    // The same keys over and over, also across batches.
    let lines: String = (0..5000).map(|i| format!("key {}\t{i}\n", i % 700)).collect();
    place.write("in.tsv", lines);
    assert!(place.run(&["import", "in.tsv"]).succeeded().starts_with("5000 records read"));
    let first = place.contents();
    assert!(place.run(&["import", "in.tsv"]).succeeded().starts_with("5000 records read"));
    assert_eq!(place.contents(), first);

    let place = Place::new();
    place.write("in.tsv", to_tsv(&numbered(3000)));
    place.run(&["import", "in.tsv"]).printed("3000 records read, 3000 written\n");
    let again = place.run(&["import", "in.tsv"]);
    again.printed("3000 records read, 0 written, 3000 already there\n");
}

/// Larger than a batch of several records may be.
#[test]
fn a_large_record_has_a_batch_of_its_own() {
    let place = Place::new();
    let large = vec![b'x'; kvs::BATCH_BYTES_MAX + 1];
    let tsv = [b"a\t1\nlarge\t", &large[..], b"\nb\t2\n"].concat();
    place.write("in.tsv", tsv);
    place.run(&["import", "in.tsv"]).printed("3 records read, 3 written\n");
    place.run(&["import", "in.tsv"]).printed("3 records read, 0 written, 3 already there\n");
    let want = [("a", &b"1"[..]), ("b", b"2"), ("large", &large)];
    assert!(place.contents() == Map::from(want.map(|(k, v)| (k.into(), v.into()))));
}

/// Random bytes through JSON Lines, gzip and Zstandard: what goes in comes out.
#[test]
fn export_of_import_is_the_same() {
    for seed in 1..=5 {
        let records = random_records(seed, 300, 3000);
        let place = Place::with(&records);
        let count = records.len();
        place.run(&["export", "x.jsonl"]).printed(format!("{count} records written\n"));
        let x = place.read("x.jsonl");
        place.write("y.jsonl.gz", gz(&x));
        place.write("z.jsonl.zst", zst(&x));
        for name in ["x.jsonl", "y.jsonl.gz", "z.jsonl.zst"] {
            let other = Place::new();
            other.write(name, place.read(name));
            let said = format!("{count} records read, {count} written\n");
            other.run(&["import", name]).printed(said);
            assert!(other.contents() == records, "seed {seed}, {name}");
            let exported = other.run(&["export"]);
            exported.succeeded();
            assert!(sorted_lines(&exported.stdout) == sorted_lines(&x), "seed {seed}, {name}");
        }
    }
}

/// SIGKILL in the middle, five times further on each time, then to the end.
#[test]
fn an_import_that_was_killed_is_resumed() {
    const LINES: usize = 120_000;
    let place = Place::new();
    let line = |i: usize| format!("key {i:07}\tvalue {i} {}\n", "x".repeat(i % 50));
    let all: String = (0..LINES).map(line).collect();
    let mut had = 0;
    for part in 1..=5 {
        let fed = LINES * part / 6;
        let bytes: String = (0..fed).map(line).collect();
        let mut child = place
            .command(&["import", "--format", "tsv", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(bytes.as_bytes()).unwrap();
        // It waits for more, or still works on what it has: it cannot have ended.
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
        drop(stdin);

        let contents = place.contents();
        // Whole batches, of the first lines: the pipe and the buffers may hold the rest.
        assert_eq!(contents.len() % 1000, 0);
        assert!(contents.len() >= had.max(fed / 2), "{} of {fed}", contents.len());
        had = contents.len();
        let prefix: Vec<u8> = (0..had).flat_map(|i| line(i).into_bytes()).collect();
        assert!(to_tsv(&contents) == prefix);
    }
    place.write("in.tsv", &all);
    let said = format!("{LINES} records read, {} written, {had} already there\n", LINES - had);
    place.run(&["import", "in.tsv"]).printed(said);
    assert!(to_tsv(&place.contents()) == all.as_bytes());
}
