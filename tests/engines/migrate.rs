//! Moving a directory from one engine to another, and every state in which that can die.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;

use kvs::engine::StoredEngine::{Kvs, Sled};
use kvs::engine::{BlockingEngine, Scan, SledKvsEngine, StoredEngine, Write, engine_of, migrate};
use kvs::{Batch, Durability, KvsError, Store};
use tempfile::TempDir;

/// Values and expiries.
type Contents = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn move_to(dir: &Path, to: StoredEngine) -> kvs::Result<kvs::engine::MigrateReport> {
    migrate(dir, other(to), to, &mut |_| ())
}

fn other(engine: StoredEngine) -> StoredEngine {
    if engine == Kvs { Sled } else { Kvs }
}

fn write(dir: &Path, engine: StoredEngine, batch: &Batch) {
    if engine == Kvs {
        let store = Store::open(dir).unwrap();
        store.write(batch).unwrap();
        return store.close().unwrap();
    }
    let engine = SledKvsEngine::open(dir, Durability::Os).unwrap();
    let write = Write { batch: batch.clone(), ..Write::default() };
    engine.write(&[write]).unwrap().remove(0).unwrap();
    engine.close().unwrap();
}

fn contents(dir: &Path, engine: StoredEngine) -> Contents {
    assert_eq!(engine_of(dir).unwrap().as_deref(), Some(engine.name()));
    if engine == Kvs {
        let store = Store::open(dir).unwrap();
        let records = store.records().map(|found| {
            let (key, found) = found.unwrap();
            (key, (found.value.into_vec(), found.expires_at_ms))
        });
        let contents = records.collect();
        store.close().unwrap();
        return contents;
    }
    let engine = SledKvsEngine::open(dir, Durability::Os).unwrap();
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    let scan = Scan { from, to, reverse: false, keys_only: false };
    let page = engine.page(&scan, usize::MAX, usize::MAX).unwrap();
    engine.close().unwrap();
    page.into_iter()
        .map(|(key, found)| (key, (found.value.into_vec(), found.expires_at_ms)))
        .collect()
}

/// Something of everything; keys of both tell them apart.
fn some(mark: &str) -> Batch {
    let mut batch = Batch::new();
    for number in 0..2500 {
        batch.set(format!("key {number}"), format!("{mark} {number}"));
    }
    batch.set("", "").set(b"\0\xff", b"\xff\0").set("large", vec![7; 3 << 20]);
    batch.set_until("expiring", mark, 9_000_000_000_000);
    batch
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn is_of(engine: StoredEngine, name: &str) -> bool {
    match engine {
        Kvs => {
            name == "MANIFEST"
                || name == "BALLAST"
                || name.ends_with(".seg")
                || name.ends_with(".hint")
        }
        _ => ["conf", "db", "blobs"].contains(&name) || name.starts_with("snap."),
    }
}

/// Only one engine's files are there.
fn assert_clean(dir: &Path, engine: StoredEngine) {
    let names = names(dir);
    let is_left = |name: &String| is_of(other(engine), name) || name == "kvs-migration";
    assert!(!names.iter().any(is_left), "{names:?}");
}

#[test]
fn everything_moves_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Kvs, &some("first"));
    let expected = contents(dir.path(), Kvs);
    for to in [Sled, Kvs, Sled, Kvs] {
        let mut told = Vec::new();
        let report =
            migrate(dir.path(), other(to), to, &mut |progress| told.push(progress)).unwrap();
        assert_eq!((report.records, report.has_leftovers), (Some(2504), false));
        assert!(told.iter().any(|it| it.is_copying && it.total == 2504 && it.done > 0));
        assert!(told.iter().any(|it| !it.is_copying && it.done > 0));
        assert!(contents(dir.path(), to) == expected, "{to}");
        assert_clean(dir.path(), to);
        // It is done, so there is nothing to do.
        assert_eq!(move_to(dir.path(), to).unwrap().records, None);
    }
}

/// A directory of one engine, and the files that the other one would make of other data, so that
/// nothing of a dead migration is taken for good.
struct Scene {
    dir: TempDir,
    /// The names that a migration moves.
    made: Vec<String>,
}

/// Both engines' data: what the directory has, and what lies in `kvs-migration/new`.
fn scene(from: StoredEngine) -> (Scene, Contents, Contents) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), from, &some("old"));
    let new = dir.path().join("kvs-migration").join("new");
    fs::create_dir_all(&new).unwrap();
    write(&new, other(from), &some("new"));
    let (old_contents, new_contents) = (contents(dir.path(), from), contents(&new, other(from)));
    assert!(old_contents != new_contents);
    let made = names(&new).into_iter().filter(|name| is_of(other(from), name)).collect();
    (Scene { dir, made }, old_contents, new_contents)
}

impl Scene {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The list of names is written.
    fn state(&self, from: StoredEngine) {
        let lines = [from.name(), other(from).name()].map(str::to_owned);
        let text = [&lines[..], &self.made].concat().join("\n") + "\n";
        fs::write(self.path().join("kvs-migration").join("STATE"), text).unwrap();
    }

    /// The first few files are moved.
    fn moved(&self, count: usize) {
        for name in &self.made[..count] {
            let new = self.path().join("kvs-migration").join("new");
            fs::rename(new.join(name), self.path().join(name)).unwrap();
        }
    }

    /// The directory is given to the new engine.
    fn given(&self, to: StoredEngine) {
        fs::write(self.path().join("ENGINE"), format!("{to}\n")).unwrap();
    }
}

#[test]
fn a_migration_that_died_before_the_directory_changed_hands_never_was() {
    for from in [Kvs, Sled] {
        let moves = scene(from).0.made.len();
        // Without a list; with one, and 0 to all of the files moved.
        for step in 0..=moves + 1 {
            let (scene, old, _) = scene(from);
            if let Some(moved) = step.checked_sub(1) {
                scene.state(from);
                scene.moved(moved);
            } else {
                // Not even complete.
                let unfinished = scene.path().join("kvs-migration/new").join(&scene.made[0]);
                fs::remove_dir_all(&unfinished).or_else(|_| fs::remove_file(&unfinished)).unwrap();
                fs::write(scene.path().join("kvs-migration/STATE.new"), "kv").unwrap();
            }
            assert!(contents(scene.path(), from) == old, "{from} {step}");
            // The old one lives on.
            let mut more = Batch::new();
            more.set("more", "value");
            write(scene.path(), from, &more);
            let report = move_to(scene.path(), other(from)).unwrap();
            assert_eq!(report.records, Some(2505));
            let mut expected = old;
            expected.insert(b"more".to_vec(), (b"value".to_vec(), None));
            assert!(contents(scene.path(), other(from)) == expected, "{from} {step}");
            assert_clean(scene.path(), other(from));
        }
    }
}

#[test]
fn a_migration_that_died_after_the_directory_changed_hands_is_done() {
    for from in [Kvs, Sled] {
        let to = other(from);
        for removed in 0..4 {
            for back in [false, true] {
                let (scene, _, new) = scene(from);
                scene.state(from);
                scene.moved(scene.made.len());
                scene.given(to);
                let olds: Vec<String> =
                    names(scene.path()).into_iter().filter(|name| is_of(from, name)).collect();
                for name in olds.iter().take(removed) {
                    let path = scene.path().join(name);
                    fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
                }
                assert!(contents(scene.path(), to) == new, "{from} {removed}");
                // The same command finishes; the opposite one finishes first.
                let report = move_to(scene.path(), if back { from } else { to }).unwrap();
                assert_eq!(report.records, back.then_some(2504));
                let owner = if back { from } else { to };
                assert!(contents(scene.path(), owner) == new, "{from} {removed} {back}");
                assert_clean(scene.path(), owner);
            }
        }
    }
}

#[test]
fn what_is_in_the_way_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Kvs, &some("old"));
    let expected = contents(dir.path(), Kvs);
    fs::write(dir.path().join("db"), "Dear").unwrap();
    let refused = move_to(dir.path(), Sled);
    assert!(matches!(refused, Err(KvsError::Io { path, .. }) if path.ends_with("db")));
    assert_eq!(fs::read(dir.path().join("db")).unwrap(), b"Dear");
    assert!(contents(dir.path(), Kvs) == expected);
    assert!(!dir.path().join("kvs-migration").exists());
}

#[test]
fn what_cannot_be_moved_is_told() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(move_to(dir.path(), Sled), Err(KvsError::NotAStore { .. })));
    assert!(matches!(move_to(&dir.path().join("none"), Sled), Err(KvsError::Io { .. })));
    let same = migrate(dir.path(), Kvs, Kvs, &mut |_| ());
    assert!(matches!(same, Err(KvsError::InvalidOption { option: "to", .. })));
    assert!(names(dir.path()).is_empty());
    fs::write(dir.path().join("ENGINE"), "abacus\n").unwrap();
    assert!(matches!(move_to(dir.path(), Sled), Err(KvsError::WrongEngine { found, .. })
        if found == "abacus"));
    // Open with other options in this process, or at all in another.
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let refused = move_to(dir.path(), Sled);
    assert!(matches!(refused, Err(KvsError::OptionsDiffer { .. })), "{refused:?}");
    store.close().unwrap();
    move_to(dir.path(), Sled).unwrap();
    let engine = SledKvsEngine::open(dir.path(), Durability::Os).unwrap();
    let refused = move_to(dir.path(), Kvs);
    assert!(matches!(refused, Err(KvsError::Locked { .. })), "{refused:?}");
    engine.close().unwrap();
    move_to(dir.path(), Kvs).unwrap();
}
