//! Samples that keep the rules and samples that break them, one for each rule.
//!
//! `samples.txt` holds blocks: `=== PATH`, the text of that file, and `>>> ` with what must be
//! found when a clean tree has that text there; without such a line, nothing may be found.

use super::{CODE_MAP, FORBIDDEN, Tree, violations};

const SAMPLES: &str = include_str!("samples.txt");

/// A tree that keeps the rules.
fn clean() -> Tree {
    let map = "# A\n## Code map\n- `src/lib.rs` `src/store/mod.rs` `src/store/names.rs`\n- \
               `src/store/disk.rs` `src/store/map.rs` `src/store/sim.rs`\n## B\n`src/old.rs`\n";
    let files = [
        (CODE_MAP, map),
        ("src/lib.rs", "//! D.\n"),
        (
            "src/store/mod.rs",
            "//! D.\nmod names;\npub mod map;\nmod disk;\n#[cfg(test)]\nmod sim;\n",
        ),
        ("src/store/names.rs", "//! D.\n"),
        ("src/store/map.rs", "//! D.\n"),
        ("src/store/disk.rs", "//! D.\n"),
        ("src/store/sim.rs", "//! D.\nuse super::{map, names};\nuse std::fs;\n"),
    ];
    files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
}

/// What is found when a clean tree has `text` at `path` too.
fn found_in(path: &str, text: &str) -> Vec<String> {
    let mut tree = clean();
    tree.insert(path.to_owned(), text.to_owned());
    violations(&tree)
}

#[test]
fn the_clean_tree_is_clean() {
    assert_eq!(violations(&clean()), [""; 0]);
}

#[test]
fn each_sample_is_judged_as_it_says() {
    let mut count = 0;
    for block in SAMPLES.split("=== ").skip(1) {
        let (path, text) = block.split_once('\n').unwrap();
        let (said, text): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with(">>> "));
        let said: Vec<&str> = said.iter().map(|line| &line[4..]).collect();
        assert_eq!(found_in(path, &text.join("\n")), said, "{block}");
        count += 1;
    }
    assert!(count >= 20, "only {count} samples were read");
}

#[test]
fn what_is_too_long_is_caught() {
    let function = format!("//! D.\n\nfn long(a: [u8; 3]) {{\n{}}}\n", "    a();\n".repeat(69));
    assert_eq!(found_in("src/lib.rs", &function), ["src/lib.rs:3: long has 71 lines, at most 70"]);
    let code = "const A: u8 = 1;\n\n// Not counted.\n";
    let tests = "#[cfg(test)]\nmod tests {\n";
    let fits = format!("//! D.\n{}{tests}{}}}\n", code.repeat(400), code.repeat(397));
    assert_eq!(found_in("src/lib.rs", &fits), [""; 0]);
    let over = format!("//! D.\n{}{tests}{}}}\n", code.repeat(401), code.repeat(398));
    assert_eq!(
        found_in("src/lib.rs", &over),
        [
            "src/lib.rs:1: 401 lines of code, at most 400",
            "src/lib.rs:1: 401 lines of tests, at most 400"
        ],
    );
    let said = ["docs/PROTOCOL.md:151: 151 lines, at most 150"];
    assert_eq!(found_in("docs/PROTOCOL.md", &"line\n".repeat(151)), said);
    assert_eq!(found_in("README.md", &"x".repeat(101)), ["README.md:1: 101 columns, at most 100"]);
    assert_eq!(found_in("README.md", &"| x ".repeat(101)), [""; 0]);
}

#[test]
fn forbidden_words_are_caught() {
    for (word, what) in FORBIDDEN {
        let said = [format!("a.txt:2: {word}: {what}")];
        assert_eq!(found_in("a.txt", &format!("a\nsee {word}b\n")), said);
    }
}

#[test]
fn the_code_map_is_compared() {
    let map = clean().remove(CODE_MAP).unwrap().replace("## B", "## Code map");
    let said = ["docs/ARCHITECTURE.md:6: names src/old.rs, which is gone"];
    assert_eq!(found_in(CODE_MAP, &map), said);
    assert_eq!(
        found_in("src/store/lost.rs", "//! D.\n"),
        [
            "src/store/lost.rs:1: is not in the code map of docs/ARCHITECTURE.md",
            "src/store/lost.rs:1: is not in the list of modules in src/store/mod.rs",
        ],
    );
}
