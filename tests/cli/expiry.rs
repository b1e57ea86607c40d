//! Expiries, versions and counters from the command line.

use super::place::{Place, sorted_lines};

/// In the year 2100.
const LATER_MS: &str = "4102444800000";

#[test]
fn a_key_expires_when_it_is_told_to() {
    let place = Place::new();
    place.run(&["set", "key", "value"]).printed("");
    place.run(&["ttl", "key"]).printed("never\n");
    place.run(&["ttl", "none"]).printed("Key not found\n");
    place.run(&["expire", "key", "100000000"]).printed("");
    let left = place.run(&["ttl", "key"]).succeeded();
    assert!(left.trim().parse::<u64>().unwrap() > 90_000_000, "{left}");
    place.run(&["expire", "key", "--at-ms", LATER_MS]).printed("");
    place.run(&["expire", "key", "--never"]).printed("");
    place.run(&["expire", "key", "--never"]).printed("");
    place.run(&["ttl", "key"]).printed("never\n");
    let missing = place.run(&["expire", "none", "5000"]);
    assert_eq!((missing.code, &missing.stdout[..]), (Some(1), &b"Key not found\n"[..]));
    place.run(&["set", "key", "value", "--expire-after-ms", "100000000"]).printed("");
    assert!(place.run(&["ttl", "key"]).succeeded().trim().parse::<u64>().is_ok());
    place.run(&["set", "key", "value"]).printed("");
    place.run(&["ttl", "key"]).printed("never\n");
}

#[test]
fn nonsense_is_told_and_changes_nothing() {
    let place = Place::new();
    place.run(&["set", "key", "12a"]).printed("");
    let said = |args: &[&str]| {
        let ran = place.run(args);
        assert_eq!(ran.code, Some(1), "{args:?}");
        ran.stderr
    };
    assert!(said(&["expire", "key", "--at-ms", "5"]).contains("cannot expire at 5 ms"));
    assert!(said(&["expire", "key", "0"]).contains("cannot expire at"));
    assert!(said(&["set", "key", "b", "--expire-after-ms", "0"]).contains("cannot expire at"));
    assert_eq!(said(&["incr", "key"]), "kvs: the value of key \"key\" is not an integer\n");
    place.run(&["set", "most", &i64::MAX.to_string()]).printed("");
    assert!(said(&["incr", "most"]).contains("leaves the range of 64-bit integers"));
    for args in [&["expire", "key"][..], &["expire", "key", "5", "--never"], &["incr", "key", "x"]]
    {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
    place.run(&["get", "key"]).printed("12a\n");
    place.run(&["ttl", "key"]).printed("never\n");
    place.run(&["get", "most"]).printed(format!("{}\n", i64::MAX));
}

#[test]
fn counters_and_versions() {
    let place = Place::new();
    place.run(&["incr", "visits"]).printed("1\n");
    place.run(&["incr", "visits", "41"]).printed("42\n");
    place.run(&["incr", "visits", "-2"]).printed("40\n");
    let version = |place: &Place| {
        let line = place.run(&["get", "--version", "visits"]).succeeded();
        let (version, value) = line.trim_end().split_once('\t').unwrap();
        assert_eq!(value, "40");
        version.parse::<u64>().unwrap()
    };
    let first = version(&place);
    assert_eq!(version(&place), first);
    place.run(&["incr", "visits", "0"]).printed("40\n");
    assert!(version(&place) > first);
    place.run(&["get", "--version", "none"]).printed("Key not found\n");
}

#[test]
fn expiries_go_through_export_and_import() {
    let place = Place::new();
    let lines = format!(
        "{{\"key\":\"a\",\"value\":\"1\",\"expires_at_ms\":{LATER_MS}}}\n\
         {{\"key\":\"b\",\"value\":\"2\"}}\n"
    );
    place.write("in.jsonl", lines.as_bytes());
    place.run(&["import", "in.jsonl"]).printed("2 records read, 2 written\n");
    place.run(&["import", "in.jsonl"]).printed("2 records read, 0 written, 2 already there\n");
    let out = place.run(&["export"]).succeeded();
    assert_eq!(sorted_lines(out.as_bytes()), sorted_lines(lines.as_bytes()));
    let tsv = place.run(&["export", "--format", "tsv"]);
    assert_eq!(tsv.code, Some(1));
    assert!(tsv.stderr.contains("the record with the key \"a\" cannot be written as TSV"));
    // What has expired removes its key, as it would have by itself.
    place.write("old.jsonl", b"{\"key\":\"b\",\"value\":\"3\",\"expires_at_ms\":1000}\n");
    place.run(&["import", "old.jsonl"]).printed("1 records read, 0 written, 1 expired\n");
    place.run(&["get", "b"]).printed("Key not found\n");
    let late = "{\"key\":\"b\",\"value\":\"3\",\"expires_at_ms\":18446744073709551615}\n";
    place.write("late.jsonl", late.as_bytes());
    let late = place.run(&["import", "late.jsonl"]);
    assert_eq!(late.code, Some(1));
    assert!(
        late.stderr.starts_with("kvs: late.jsonl:1: a key cannot expire at"),
        "{}",
        late.stderr
    );
    place.write("plain.tsv", b"c\t1\n");
    place.run(&["import", "plain.tsv", "--expire-after-ms", "100000000"]).succeeded();
    assert!(place.run(&["ttl", "c"]).succeeded().trim().parse::<u64>().unwrap() > 90_000_000);
}

#[test]
fn an_import_with_an_expiry_that_no_key_can_have_is_refused() {
    let place = Place::new();
    place.write("in.tsv", b"a\t1\n");
    for ms in [u64::MAX.to_string(), kvs::EXPIRES_AT_MS_MAX.to_string()] {
        let ran = place.run(&["import", "in.tsv", "--expire-after-ms", &ms]);
        ran.complained_like("a key cannot expire at");
    }
    place.run(&["get", "a"]).printed("Key not found\n");
}
