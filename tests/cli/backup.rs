//! `backup` and `restore`.

use super::place::{Place, Ran, kvs, numbered};

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
