//! `migrate`.

use super::place::{Place, numbered};

#[test]
fn there_and_back() {
    let records = numbered(3000);
    let place = Place::with(&records);
    let key = String::from_utf8(records.keys().next().unwrap().clone()).unwrap();
    place.run(&["expire", &key, "60000000"]).succeeded();
    let expected = place.contents();
    place
        .run(&["migrate", "--from", "kvs", "--to", "sled"])
        .printed("3,000 records moved to sled\n");
    place.run(&["get", &key]).complained("data belongs to the engine \"sled\", not to \"kvs\"");
    place
        .run(&["migrate", "--from", "kvs", "--to", "sled"])
        .printed("data belongs to sled already\n");
    place
        .run(&["migrate", "--from", "sled", "--to", "kvs"])
        .printed("3,000 records moved to kvs\n");
    assert!(place.contents() == expected);
    assert_ne!(place.run(&["ttl", &key]).succeeded(), "never\n");
    assert!(!place.list("data").iter().any(|name| name == "kvs-migration" || name == "db"));
}

#[test]
fn nonsense_is_told_and_nothing_is_lost() {
    let place = Place::with(&numbered(10));
    place
        .run(&["migrate", "--from", "sled", "--to", "kvs"])
        .printed("data belongs to kvs already\n");
    place
        .run(&["migrate", "--from", "kvs", "--to", "kvs"])
        .complained("option to is kvs, but must be another engine than the one it has");
    let unknown = place.run(&["migrate", "--from", "kvs", "--to", "memory"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("must be kvs or sled"), "{}", unknown.stderr);
    place.write("data/db", "Dear");
    place.run(&["migrate", "--from", "kvs", "--to", "sled"]).complained_like("cannot make data/db");
    assert_eq!(place.read("data/db"), b"Dear");
    assert_eq!(place.contents().len(), 10);
}
