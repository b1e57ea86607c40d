//! `set`, `get`, `rm`, `stats`, `compact`, `completions`, and the command line itself.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use kvs::Options;

use super::place::{Place, Ran, kvs, numbered};

fn stats(place: &Place) -> serde_json::Value {
    serde_json::from_str(&place.run(&["stats", "--json"]).succeeded()).unwrap()
}

#[test]
fn set_get_rm() {
    let place = Place::new();
    place.run(&["set", "key", "old"]).printed("");
    place.run(&["get", "key"]).printed("old\n");
    place.run(&["set", "key", "new"]).printed("");
    place.run(&["get", "key"]).printed("new\n");
    place.run(&["rm", "key"]).printed("");
    place.run(&["get", "key"]).printed("Key not found\n");
    let again = place.run(&["rm", "key"]);
    assert_eq!(again.code, Some(1));
    assert_eq!((again.stdout.as_slice(), again.stderr.as_str()), (&b"Key not found\n"[..], ""));
}

#[test]
fn the_store_is_in_the_current_directory_unless_dir_says_otherwise() {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    let here = |args: &[&str]| Ran::from(kvs(&place.path("data")).args(args).output().unwrap());
    here(&["set", "key", "value"]).printed("");
    place.run(&["get", "key"]).printed("value\n");
    here(&["get", "--dir", "../data", "key"]).printed("value\n");
}

#[test]
fn keys_and_values_are_bytes() {
    let place = Place::new();
    let bytes = OsStr::from_bytes(b"\xff \xfe\n");
    place.run(&[OsStr::new("set"), bytes, bytes]).printed("");
    place.run(&[OsStr::new("get"), bytes]).printed(b"\xff \xfe\n\n");
    place.run(&["set", "", ""]).printed("");
    place.run(&["get", ""]).printed("\n");
    place.run(&["set", "degrees", "-5"]).printed("");
    place.run(&["get", "degrees"]).printed("-5\n");
    place.run(&["set", "--", "-key", "--value"]).printed("");
    place.run(&["get", "--", "-key"]).printed("--value\n");
    place.run(&["rm", "--", "-key"]).printed("");
}

#[test]
fn version_and_help() {
    let place = Place::new();
    let version = concat!("kvs ", env!("CARGO_PKG_VERSION"), "\n");
    place.run(&["-V"]).printed(version);
    place.run(&["--version"]).printed(version);
    let commands = [
        "set",
        "get",
        "rm",
        "import",
        "export",
        "stats",
        "compact",
        "verify",
        "doctor",
        "inspect",
        "salvage",
        "completions",
    ];
    let help = place.run(&["--help"]).succeeded();
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        let help = place.run(&[command, "--help"]).succeeded();
        assert!(help.contains("Example"), "{command}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command}");
    }
    let import = place.run(&["import", "--help"]).succeeded().replace('\n', " ");
    assert!(import.contains("the records of the batches before that line may stay imported"));
    assert_eq!(place.list("data"), [""; 0]);
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let place = Place::new();
    let none = Ran::from(kvs(&place.path("")).output().unwrap());
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("Usage: kvs [OPTIONS] <COMMAND>"), "{}", none.stderr);
    let lines: [&[&str]; 11] = [
        &["set"],
        &["set", "key"],
        &["set", "key", "value", "extra"],
        &["get"],
        &["get", "key", "extra"],
        &["rm"],
        &["rm", "key", "extra"],
        &["import"],
        &["import", "--format", "xml", "-"],
        &["salvage", "one"],
        &["unknown", "subcommand"],
    ];
    for line in lines {
        let ran = place.run(line);
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(2), &b""[..]), "{line:?}");
        assert!(ran.stderr.starts_with("error: "), "{line:?}: {}", ran.stderr);
    }
    assert_eq!(place.list("data"), [""; 0]);
}

#[test]
fn reading_commands_make_no_store() {
    let place = Place::new();
    for command in
        [&["get", "key"][..], &["rm", "key"], &["export"], &["stats"], &["verify"], &["inspect"]]
    {
        let ran = place.run(command);
        ran.complained("cannot open data: No such file or directory (os error 2)");
    }
    place.run(&["compact"]).complained("cannot open data: No such file or directory (os error 2)");

    fs::create_dir(place.path("data")).unwrap();
    place.run(&["get", "key"]).printed("Key not found\n");
    let rm = place.run(&["rm", "key"]);
    assert_eq!((rm.code, rm.stdout.as_slice()), (Some(1), &b"Key not found\n"[..]));
    for command in ["export", "stats", "verify", "compact", "inspect"] {
        place.run(&[command]).complained("there is no store in data");
    }
    place.run(&["export", "out.jsonl"]).complained("there is no store in data");
    assert_eq!(place.list("data"), [""; 0]);
    assert_eq!(place.list(""), ["data"]);
}

#[test]
fn stats_as_json_and_as_a_picture() {
    let place = Place::with(&numbered(1000));
    let json = stats(&place);
    assert_eq!(json["live_keys"], 1000);
    let segments = json["segments"].as_array().unwrap();
    let live: u64 = segments.iter().map(|s| s["live_bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["live_bytes"], live);
    assert!(json["segment_file_bytes"].as_u64().unwrap() >= live);
    assert!(json["last_background_error"].is_null());
    assert!(json["open_us"].as_u64().unwrap() > 0);
    let is_active = |segment: &&serde_json::Value| segment["active"] == true;
    assert_eq!(segments.iter().filter(is_active).count(), 1, "{json}");

    let text = place.run(&["stats"]).succeeded();
    assert!(text.starts_with("keys               1,000\n"), "{text}");
    let bars: Vec<&str> =
        text.lines().filter(|line| line.ends_with('|') || line.contains("| ")).collect();
    assert_eq!(bars.len(), segments.len(), "{text}");
    assert!(bars.iter().any(|bar| bar.contains("|#") && bar.contains("% live, ")), "{text}");
    assert_eq!(bars.iter().filter(|bar| bar.ends_with(", active")).count(), 1, "{text}");
}

#[test]
fn compact_gives_dead_bytes_back() {
    let place = Place::new();
    let store = Options::new().compaction(false).open(place.path("data")).unwrap();
    for round in 0..40 {
        for i in 0..1000 {
            store.set(format!("key {i}"), format!("{round} {}", "x".repeat(100))).unwrap();
        }
    }
    store.close().unwrap();
    let before = stats(&place);
    let said = place.run(&["compact"]).succeeded();
    assert!(said.starts_with("segment files: ") && said.ends_with(" after\n"), "{said}");
    let after = stats(&place);
    let figure = |stats: &serde_json::Value, name: &str| stats[name].as_u64().unwrap();
    assert_eq!(figure(&after, "live_keys"), 1000);
    let bytes = "segment_file_bytes";
    assert!(figure(&after, bytes) < figure(&before, bytes), "{before}\n{after}");
    assert!(figure(&after, "dead_bytes") * 10 < figure(&before, "dead_bytes"), "{after}");
    let value = format!("39 {}\n", "x".repeat(100));
    place.run(&["get", "key 999"]).printed(value);
    assert_eq!(place.contents().len(), 1000);
}

#[test]
fn completions_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).succeeded();
        assert!(script.contains("kvs") && script.contains("salvage"), "{shell}");
    }
    assert_eq!(place.list(""), [""; 0]);
}

/// That nobody reads what it prints makes no failure a success.
#[test]
fn closed_output_is_never_success() {
    let place = Place::with(&numbered(10));
    let seg = place.list("data").into_iter().find(|name| name.ends_with(".seg")).unwrap();
    let seg = format!("data/{seg}");
    let unread = |args: &[&str]| {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        Ran::from(place.command(args).stdout(writer).output().unwrap())
    };
    for line in [
        &["rm", "none"][..],
        &["get", "key 5"],
        &["stats"],
        &["verify"],
        &["export"],
        &["inspect"],
        &["doctor"],
    ] {
        let ran = unread(line);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""), "{line:?}");
    }
    // What prints nothing has nothing to fail at.
    assert_eq!(unread(&["rm", "key 6"]).code, Some(0));
    let mut bytes = place.read(&seg);
    let at = bytes.windows(7).position(|window| window == b"value 5").unwrap();
    bytes[at] ^= 1;
    place.write(&seg, bytes);
    let verify = unread(&["verify"]);
    assert!(verify.code.is_some_and(|code| code != 0), "{verify:?}");
}
