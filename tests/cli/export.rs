//! `export`: what it writes, and what it never overwrites.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use flate2::read::MultiGzDecoder;

use super::place::{Map, Place, Ran, numbered, sorted_lines, to_tsv};

fn one(key: &[u8], value: &[u8]) -> Map {
    Map::from([(key.to_vec(), value.to_vec())])
}

#[test]
fn tsv_and_jsonl_to_files_and_to_standard_output() {
    let records = numbered(1500);
    let place = Place::with(&records);
    place.run(&["export", "out.tsv"]).printed("1500 records written\n");
    assert!(sorted_lines(&place.read("out.tsv")) == sorted_lines(&to_tsv(&records)));
    let stdout = place.run(&["export", "--format", "tsv"]);
    assert!(sorted_lines(&stdout.stdout) == sorted_lines(&to_tsv(&records)));
    place.run(&["export", "out.tsv.gz"]).printed("1500 records written\n");
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(&place.read("out.tsv.gz")[..]).read_to_end(&mut unpacked).unwrap();
    assert!(sorted_lines(&unpacked) == sorted_lines(&to_tsv(&records)));
    assert_eq!(place.list(""), ["data", "out.tsv", "out.tsv.gz"]);

    let place = Place::with(&one(b"k\t", b"\xff"));
    let line = "{\"key\":\"k\\t\",\"value_base64\":\"/w==\"}\n";
    place.run(&["export"]).printed(line);
    place.run(&["export", "-"]).printed(line);
    place.run(&["export", "--format", "jsonl", "out"]).printed("1 records written\n");
    assert_eq!(place.read("out"), line.as_bytes());
}

#[test]
fn what_tsv_cannot_carry_is_refused_by_key() {
    let cases: [(&[u8], &[u8], &str); 5] = [
        (b"a\tb", b"v", "\"a\\tb\" cannot be written as TSV: its key has a tab in it"),
        (b"a\nb", b"v", "\"a\\nb\" cannot be written as TSV: its key has a line feed in it"),
        (b"a", b"v\nw", "\"a\" cannot be written as TSV: its value has a line feed in it"),
        (b"a", b"v\r", "\"a\" cannot be written as TSV: its value ends with a carriage return"),
        (b"\xff\n", b"", "\"\u{fffd}\\n\" cannot be written as TSV: its key has a line feed in it"),
    ];
    for (key, value, said) in cases {
        let place = Place::with(&one(key, value));
        let sentence = format!("the record with the key {said}; use --format jsonl");
        place.run(&["export", "--format", "tsv"]).complained(&sentence);
        place.write("out.tsv", "good");
        place.run(&["export", "out.tsv"]).complained(&sentence);
        assert_eq!(place.read("out.tsv"), b"good");
        assert_eq!(place.list(""), ["data", "out.tsv"]);
    }
    let place = Place::with(&one(b"a\r", b"\tv\rw"));
    place.run(&["export", "--format", "tsv"]).printed("a\r\t\tv\rw\n");
}

#[test]
fn an_export_that_fails_leaves_the_good_file() {
    let place = Place::with(&numbered(10));
    place.write("out.tsv", "good");
    let seg = place.list("data").into_iter().find(|name| name.ends_with(".seg")).unwrap();
    let mut bytes = place.read(&format!("data/{seg}"));
    let at = bytes.windows(7).position(|w| w == b"value 5").unwrap();
    bytes[at] ^= 1;
    place.write(&format!("data/{seg}"), bytes);
    place.run(&["export", "out.tsv"]).complained_like(&format!("data/{seg} is damaged at offset "));
    assert_eq!(place.read("out.tsv"), b"good");
    assert_eq!(place.list(""), ["data", "out.tsv"]);
}

#[test]
fn where_the_file_cannot_be_written() {
    let place = Place::with(&numbered(10));
    fs::create_dir(place.path("dir.tsv")).unwrap();
    place
        .run(&["export", "none/out.tsv"])
        .complained("cannot write none/out.tsv: No such file or directory (os error 2)");
    place.run(&["export", "dir.tsv"]).complained("cannot write dir.tsv: is a directory");
    let name = place.run(&["export", "out.txt"]);
    assert_eq!(
        (name.code, name.stderr.as_str()),
        (
            Some(2),
            "kvs: the name out.txt does not tell its format; \
                   add --format tsv or --format jsonl\n"
        ),
    );
    let zst = place.run(&["export", "out.tsv.zst"]);
    assert_eq!(zst.code, Some(2));
    assert_eq!(
        zst.stderr,
        "kvs: cannot write out.tsv.zst: zstd files can be imported only; export to .gz instead\n"
    );
    let mut full = place.command(&["export"]);
    full.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    Ran::from(full.output().unwrap())
        .complained("cannot write standard output: No space left on device (os error 28)");
    assert_eq!(place.list(""), ["data", "dir.tsv"]);
}

#[test]
fn links_devices_and_permissions_stay() {
    let place = Place::with(&one(b"k", b"v"));
    place.write("real.tsv", "old");
    fs::set_permissions(place.path("real.tsv"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("real.tsv", place.path("link.tsv")).unwrap();
    place.run(&["export", "link.tsv"]).printed("1 records written\n");
    assert!(fs::symlink_metadata(place.path("link.tsv")).unwrap().is_symlink());
    assert_eq!(place.read("real.tsv"), b"k\tv\n");
    let mode = fs::metadata(place.path("real.tsv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.run(&["export", "--format", "tsv", "/dev/null"]).printed("1 records written\n");
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn a_reader_that_goes_away_is_told_nothing_but_the_exit_code() {
    let place = Place::with(&numbered(50_000));
    let mut child =
        place.command(&["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""));
    assert_eq!(&first, b"{\"key\":\"ke");
}

#[test]
fn a_named_pipe_that_is_not_read_to_its_end_is_an_error() {
    let place = Place::with(&numbered(50_000));
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let mut export = place.command(&["export", "--format", "tsv", "pipe"]);
    let child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 4];
    fs::File::open(place.path("pipe")).unwrap().read_exact(&mut first).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(&first, b"key ");
    ran.complained("cannot write pipe: Broken pipe (os error 32)");
}
