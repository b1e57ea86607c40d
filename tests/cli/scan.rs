//! `scan`: keys in order.

use super::place::{Map, Place};

fn place() -> Place {
    let pairs = [("b/1", "2"), ("a", "1"), ("b/2", "3\t"), ("c", ""), ("\u{e9}", "5")];
    let map: Map =
        pairs.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).into();
    Place::with(&map)
}

#[test]
fn ranges_prefixes_limits_and_directions() {
    let place = place();
    place.run(&["scan"]).printed("a\t1\nb/1\t2\nb/2\t3\t\nc\t\n\u{e9}\t5\n");
    place.run(&["scan", "--keys"]).printed("a\nb/1\nb/2\nc\n\u{e9}\n");
    place.run(&["scan", "--prefix", "b/", "--keys"]).printed("b/1\nb/2\n");
    place.run(&["scan", "--prefix", "b/", "--reverse", "--limit", "1"]).printed("b/2\t3\t\n");
    place.run(&["scan", "--from", "b/2", "--to", "c"]).printed("b/2\t3\t\n");
    place.run(&["scan", "--from", "b/2", "--limit", "2", "--keys"]).printed("b/2\nc\n");
    place.run(&["scan", "--to", "b", "--keys"]).printed("a\n");
    place.run(&["scan", "--prefix", "x"]).printed("");
    place.run(&["scan", "--limit", "0"]).printed("");
    let json = "{\"key\":\"b/2\",\"value\":\"3\\t\"}\n";
    place.run(&["scan", "--prefix", "b/2", "--json"]).printed(json);
    place.run(&["scan", "--prefix", "b/2", "--json", "--keys"]).printed("{\"key\":\"b/2\"}\n");
}

#[test]
fn nonsense_is_told() {
    let place = place();
    place
        .run(&["scan", "--from", "b", "--to", "a"])
        .complained("the range starts at \"b\", after its end \"a\"");
    for args in [&["scan", "--prefix", "a", "--from", "b"][..], &["scan", "--limit", "-1"]] {
        assert_eq!(place.run(args).code, Some(2), "{args:?}");
    }
}
