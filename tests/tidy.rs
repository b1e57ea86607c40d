//! The house rules, kept by a test: every violation is told as `file:line: what`.
//!
//! The rules look at text, not at types: comments and the insides of strings are blanked first, so
//! that neither can break a rule of code. `tidy/samples.txt` has a sample that breaks each rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "tidy/blank.rs"]
mod blank;
#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, is_test_attribute};

const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const DOCUMENT_LINES_MAX: [(&str, usize); 4] = [
    ("docs/ARCHITECTURE.md", 200),
    ("docs/FORMAT.md", 200),
    ("docs/TESTING.md", 200),
    ("docs/PROTOCOL.md", 150),
];
const CODE_MAP: &str = "docs/ARCHITECTURE.md";
const STORE_MOD: &str = "src/store/mod.rs";
/// Files that a program writes: as long as they come out.
const GENERATED: [&str; 1] = ["src/protocol/proto/messages.rs"];
/// Files of the engine that may call the file system or look at a clock.
const MAY_USE_FS_AND_CLOCKS: [&str; 5] = [
    "src/store/disk.rs",
    "src/store/machine.rs",
    "src/store/map.rs",
    "src/store/real_disk.rs",
    "src/store/worker.rs",
];
/// Files of the package that may be unsafe.
const MAY_BE_UNSAFE: [&str; 8] = [
    "src/store/fork.rs",
    "src/store/keydir.rs",
    "src/store/machine.rs",
    "src/store/map.rs",
    "src/store/real_disk.rs",
    "src/store/segments.rs",
    "src/store/sync.rs",
    "tests/owners.rs",
];
const EMPTY_NAMES: [&str; 5] = ["Manager", "Helper", "Util", "Utils", "Handler"];
/// Put together here, so that this file does not break its own rule.
const FORBIDDEN: [(&str, &str); 4] = [
    (concat!("TO", "DO"), "an open end"),
    (concat!("FIX", "ME"), "an open end"),
    (concat!("..", "/shared"), "a path outside of the project"),
    (concat!("/wo", "rk/"), "a path of one machine"),
];

/// Path and text of each file.
type Tree = BTreeMap<String, String>;

#[test]
fn the_house_rules_are_kept() {
    let tree = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let sources = tree.keys().filter(|path| path.ends_with(".rs")).count();
    assert!(sources > 10, "only {sources} sources were found");
    let found = violations(&tree);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

/// The files that git tracks or would track; without git, all but hidden ones and `target`.
fn read_tree(root: &Path) -> Tree {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(arguments).current_dir(root).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let mut paths: Vec<String> =
        String::from_utf8_lossy(&listed).split_terminator('\0').map(str::to_owned).collect();
    if paths.is_empty() {
        walk(root, "", &mut paths);
    }
    let read = |path: String| {
        let bytes = fs::read(root.join(&path)).ok()?;
        Some((path, String::from_utf8(bytes).ok()?))
    };
    paths.into_iter().filter_map(read).collect()
}

fn walk(root: &Path, under: &str, paths: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(under)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if entry.path().is_dir() {
            walk(root, &path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// Everything in the tree that breaks a rule.
fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let modules = tree.get(STORE_MOD).map(|text| modules_of(text)).unwrap_or_default();
    for (path, text) in tree {
        check_columns(path, text, &mut found);
        check_forbidden(path, text, &mut found);
        if path.ends_with(".rs") {
            let source = Source::new(path, text);
            if !GENERATED.contains(&path.as_str()) {
                source.check_lines(&mut found);
                source.check_functions(&mut found);
            }
            source.check_tokens(&mut found);
            source.check_seam(&modules, &mut found);
            source.check_globs(&mut found);
            source.check_safety(&mut found);
            if path.starts_with("src/") && !text.starts_with("//!") {
                found.push(format!("{path}:1: does not begin with //!"));
            }
        }
    }
    check_documents(tree, &mut found);
    check_code_map(tree, &mut found);
    check_layers(tree, &modules, &mut found);
    found
}

fn check_columns(path: &str, text: &str, found: &mut Vec<String>) {
    let markdown = path.ends_with(".md");
    let checked = [".rs", ".toml", ".yml", ".proto", ".ci/run"];
    if !markdown && !checked.iter().any(|end| path.ends_with(end)) {
        return;
    }
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        // A row of a table and an address cannot be broken.
        let unbreakable = markdown && (line.starts_with('|') || line.contains("://"));
        if columns > COLUMNS_MAX && !unbreakable {
            found.push(format!("{path}:{number}: {columns} columns, at most {COLUMNS_MAX}"));
        }
    }
}

fn check_forbidden(path: &str, text: &str, found: &mut Vec<String>) {
    for (number, line) in (1..).zip(text.lines()) {
        for (word, what) in FORBIDDEN {
            if line.contains(word) {
                found.push(format!("{path}:{number}: {word}: {what}"));
            }
        }
    }
}

fn check_documents(tree: &Tree, found: &mut Vec<String>) {
    for (path, lines_max) in DOCUMENT_LINES_MAX {
        let lines = tree.get(path).map_or(0, |text| text.lines().count());
        if lines > lines_max {
            found.push(format!("{path}:{lines}: {lines} lines, at most {lines_max}"));
        }
    }
}

/// Each source is named in the code map, and the map names nothing else.
fn check_code_map(tree: &Tree, found: &mut Vec<String>) {
    let document = tree.get(CODE_MAP).map_or("", String::as_str);
    let mut named = BTreeMap::new();
    let mut in_map = false;
    for (number, line) in (1..).zip(document.lines()) {
        if line.starts_with("## ") {
            in_map = line == "## Code map";
        }
        let quoted = line.split('`').skip(1).step_by(2).filter(|_| in_map);
        for path in quoted.filter(|path| path.starts_with("src/") && path.ends_with(".rs")) {
            named.insert(path, number);
        }
    }
    for (path, number) in &named {
        if !tree.contains_key(*path) {
            found.push(format!("{CODE_MAP}:{number}: names {path}, which is gone"));
        }
    }
    for path in tree.keys().filter(|path| path.starts_with("src/") && path.ends_with(".rs")) {
        if !named.contains_key(path.as_str()) {
            found.push(format!("{path}:1: is not in the code map of {CODE_MAP}"));
        }
    }
}

/// A file of the engine uses only what stands before it in the list of modules.
fn check_layers(tree: &Tree, modules: &[Module], found: &mut Vec<String>) {
    let place = |name: &str| modules.iter().position(|module| module.name == name);
    for (path, text) in tree {
        let Some(own) = engine_module(path) else {
            continue;
        };
        let Some(own_place) = place(own) else {
            found.push(format!("{path}:1: is not in the list of modules in {STORE_MOD}"));
            continue;
        };
        if modules.get(own_place).is_none_or(|module| module.for_tests) {
            continue;
        }
        let source = Source::new(path, text);
        // In a folder of its own, `super` is not the engine.
        let flat = path.matches('/').count() == 2;
        for prefix in ["crate::store::", "super::"].into_iter().take(1 + usize::from(flat)) {
            for (number, used) in source.uses(prefix) {
                if place(&used).is_some_and(|used_place| used_place > own_place) {
                    found.push(format!("{path}:{number}: uses {used}, which stands after {own}"));
                }
            }
        }
    }
}

/// The name of the engine's module that a file belongs to.
fn engine_module(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/store/")?;
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (path.ends_with(".rs") && name != "mod").then_some(name)
}

/// A `mod` line of the engine.
struct Module {
    name: String,
    for_tests: bool,
}

/// The modules in the order of their `mod` lines.
fn modules_of(text: &str) -> Vec<Module> {
    let mut modules = Vec::new();
    let mut for_tests = false;
    for line in text.lines().map(str::trim) {
        let name = line.strip_suffix(';').and_then(|line| {
            let mut words = line.split_whitespace().rev();
            let name = words.next()?;
            (words.next() == Some("mod")).then(|| name.to_owned())
        });
        if let Some(name) = name {
            modules.push(Module { name, for_tests });
        }
        for_tests = is_test_attribute(line) || (for_tests && line.starts_with('#'));
    }
    modules
}
