//! Keys in order, with either index.

use std::ops::Bound;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::oracle::key;
use super::proof::Checked;
use super::scene::{Model, Scene};
use crate::error::KvsError;
use crate::options::{Index, Options};
use crate::store::ordered::Leaf;
use crate::store::sim_disk::fault::ReadFault;
use crate::store::{Range, Snapshot, Store};

/// Whether a range of a snapshot is that of the map: forward, backward and from both ends.
pub fn same_range(
    snapshot: &crate::Result<Snapshot>,
    model: &Model,
    from: usize,
    to: usize,
    ends: u8,
) -> Checked<()> {
    let wrong = |error: &KvsError| error.to_string();
    let snapshot = snapshot.as_ref().map_err(wrong)?;
    let mut bounds = [key(from), key(to)];
    bounds.sort();
    let [from, to] = bounds;
    let with = |at, key| if at { Bound::Included(key) } else { Bound::Excluded(key) };
    let bounds = (with(ends & 1 == 0 || from == to, from), with(ends & 2 == 0, to));
    let open = || snapshot.range::<Vec<u8>>(bounds.clone()).map_err(|error| wrong(&error));
    let collect = |range: &mut dyn Iterator<Item = crate::Result<(Vec<u8>, crate::Value)>>| {
        let pairs = range.map(|pair| pair.map(|(key, value)| (key, value.into_vec())));
        pairs.collect::<crate::Result<Vec<_>>>().map_err(|error| wrong(&error))
    };
    let expected: Vec<_> =
        model.range(bounds.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut backward = collect(&mut open()?.rev())?;
    backward.reverse();
    let mut both = open()?;
    let (mut low, mut high) = (Vec::new(), Vec::new());
    while let Some(next) = both.next() {
        low.extend(collect(&mut std::iter::once(next))?);
        high.extend(collect(&mut both.next_back().into_iter())?);
    }
    high.reverse();
    low.extend(high);
    let is_same = [collect(&mut open()?)?, backward, low].iter().all(|found| *found == expected);
    if is_same { Ok(()) } else { Err("another range".to_owned()) }
}

/// A store with a thousand keys, opened with each index.
fn with_each(check: impl Fn(&Store)) {
    let dir = tempfile::tempdir().unwrap();
    for index in [Index::Hash, Index::Ordered, Index::Hash] {
        let store = Options::new().index(index).open(dir.path()).unwrap();
        for number in 0..1000 {
            store.set(format!("{number:04}"), format!("value of {number}")).unwrap();
        }
        check(&store);
        store.close().unwrap();
    }
}

fn keys(range: Range) -> Vec<String> {
    range.keys().map(|key| String::from_utf8(key.unwrap()).unwrap()).collect()
}

#[test]
fn ranges_and_prefixes() {
    with_each(|store| {
        assert_eq!(keys(store.range("0998"..).unwrap()), ["0998", "0999"]);
        assert_eq!(keys(store.range(.."0002").unwrap()), ["0000", "0001"]);
        assert_eq!(keys(store.range("0997"..="0998").unwrap()), ["0997", "0998"]);
        assert_eq!(keys(store.range("1"..).unwrap()), Vec::<String>::new());
        assert_eq!(keys(store.range::<&str>(..).unwrap()).len(), 1000);
        assert_eq!(keys(store.prefix("042").unwrap()).len(), 10);
        assert_eq!(keys(store.prefix("0042").unwrap()), ["0042"]);
        assert_eq!(keys(store.prefix("00421").unwrap()), Vec::<String>::new());
        let nothing = (Bound::Excluded("0005"), Bound::Excluded("0005"));
        assert_eq!(keys(store.range::<&str>(nothing).unwrap()), Vec::<String>::new());
        let turned = store.range("0002".."0001");
        assert!(matches!(turned, Err(KvsError::InvalidRange { from, to })
            if from == b"0002" && to == b"0001"));
        let mut last = store.prefix("").unwrap().rev();
        let (key, value) = last.next().unwrap().unwrap();
        assert_eq!((&key[..], &value[..]), (&b"0999"[..], &b"value of 999"[..]));
    });
}

#[test]
fn a_range_is_of_one_moment() {
    with_each(|store| {
        let mut range = store.range("0100"..).unwrap();
        assert_eq!(range.next().unwrap().unwrap().0, b"0100");
        for number in 0..1000 {
            store.remove(format!("{number:04}")).unwrap();
        }
        store.set("0500", "changed").unwrap();
        store.compact().unwrap();
        let rest: Vec<_> = range.map(Result::unwrap).collect();
        assert_eq!(rest.len(), 899);
        assert_eq!(&rest[399].1[..], b"value of 500");
        assert_eq!(keys(store.prefix("").unwrap()), ["0500"]);
    });
}

#[test]
fn removed_keys_leave_the_ordered_index_when_nobody_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().index(Index::Ordered).compaction(false);
    let store = options.open(dir.path()).unwrap();
    let fill = || {
        for number in 0..5000 {
            store.set(format!("{number:08}"), "v").unwrap();
        }
    };
    fill();
    let full = store.stats().ordered_bytes;
    let snapshot = store.snapshot().unwrap();
    for number in 0..5000 {
        store.remove(format!("{number:08}")).unwrap();
    }
    store.compact_step().unwrap();
    assert_eq!(store.stats().ordered_bytes, full);
    // One that comes again stays.
    store.set("00000007", "v").unwrap();
    assert_eq!(keys(snapshot.prefix("").unwrap()).len(), 5000);
    drop(snapshot);
    store.compact_step().unwrap();
    assert!(store.stats().ordered_bytes < full / 20);
    assert_eq!(keys(store.prefix("").unwrap()), ["00000007"]);
    fill();
    store.clear().unwrap();
    assert!(store.stats().ordered_bytes < 1000);
    assert_eq!(keys(store.prefix("").unwrap()), Vec::<String>::new());
}

#[test]
fn a_key_that_cannot_be_read_is_never_left_out_in_silence() {
    let scene = Scene::new();
    for key in ["a", "b", "c"] {
        scene.set(key, "value");
    }
    let id = scene.rotate();
    scene.write_hints();
    let scene = scene.reopen();
    let path = Scene::segment(id);
    let mut bytes = scene.disk.bytes(&path).unwrap();
    let place = bytes.windows(6).position(|it| it == b"bvalue" || it == b"b\x05valu").unwrap();
    bytes[place + 3] ^= 1;
    scene.disk.set_bytes(&path, bytes);
    let damaged = |found: &crate::Result<Vec<u8>>| matches!(found, Err(KvsError::Corrupt { .. }));
    let ordered = Options::new().index(Index::Ordered).ballast_bytes(0);
    assert!(scene.store.prefix("").is_err(), "all keys are read before they are sorted");
    let disk = scene.die();
    let opened = super::workload::open(&disk, &ordered, 9).map(|store| store.len());
    assert!(damaged(&opened.map(|_| Vec::new())));
}

#[test]
fn a_range_whose_snapshot_has_ended_says_so_at_its_end_too() {
    for index in [Index::Hash, Index::Ordered] {
        let dir = tempfile::tempdir().unwrap();
        let store = Options::new().index(index).open(dir.path()).unwrap();
        for number in 0..100 {
            store.set(format!("{number:03}"), "value").unwrap();
        }
        for taken in [0, 16, 50] {
            let mut range = store.range("0"..).unwrap();
            assert_eq!(range.by_ref().take(taken).filter(Result::is_ok).count(), taken);
            store.clear().unwrap();
            let next = range.next().expect("not the end");
            assert!(matches!(next, Err(KvsError::SnapshotEnded { .. })), "{taken}: {next:?}");
            assert!(range.next().is_none());
            for number in 0..100 {
                store.set(format!("{number:03}"), "value").unwrap();
            }
        }
    }
}

/// A key that is to leave the ordered index comes again and goes again, and another snapshot sees
/// it.
#[test]
fn a_key_that_comes_and_goes_again_is_kept_for_the_next_snapshot() {
    // Without threads of its own, which would take the key in their hands first.
    let scene = Scene::indexed(Index::Ordered);
    let store = &scene.store;
    let ordered = store.core().ordered.as_ref().unwrap();
    store.set("key", "1").unwrap();
    let first = store.snapshot().unwrap();
    store.remove("key").unwrap();
    drop(first);
    // What the thread that compacts has in its hands.
    let taken = ordered.take_removed(|| u64::MAX);
    assert_eq!(taken.len(), 1);
    store.set("key", "2").unwrap();
    let second = store.snapshot().unwrap();
    store.remove("key").unwrap();
    store.core().forget_keys(taken).unwrap();
    assert_eq!(keys(second.prefix("").unwrap()), ["key"]);
    drop(second);
    store.compact_step().unwrap();
    let mut left = Leaf::default();
    ordered.first((Bound::Unbounded, Bound::Unbounded), 1, &mut left);
    assert_eq!(left.len(), 0);
}

/// It goes out of the ordered index while a snapshot begins that sees it.
#[test]
fn a_key_that_is_removed_beside_a_new_snapshot_is_kept_for_it() {
    let scene = Scene::indexed(Index::Ordered);
    let core = scene.store.core();
    let ordered = core.ordered.as_ref().unwrap();
    scene.set("key", "1");
    let (done, is_done) = channel();
    let taken = ordered.take_removed(|| {
        let oldest = core.history.oldest();
        let store = scene.store.clone();
        std::thread::spawn(move || {
            let snapshot = store.snapshot().unwrap();
            store.remove("key").unwrap();
            done.send(snapshot).unwrap();
        });
        // It can be removed when it is known which snapshots there are, and not before.
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err());
        oldest
    });
    let snapshot = is_done.recv().unwrap();
    core.forget_keys(taken).unwrap();
    assert_eq!(keys(snapshot.prefix("").unwrap()), ["key"]);
}

/// Whether it is to leave the ordered index cannot be found out; all else goes on.
#[test]
fn a_key_that_cannot_be_read_holds_up_no_background_work() {
    let scene = Scene::indexed(Index::Ordered);
    scene.set("key", "1");
    let snapshot = scene.store.snapshot().unwrap();
    scene.remove("key");
    drop(snapshot);
    scene.set("key", "value that cannot be read");
    let bad = scene.rotate();
    scene.set("other", "1");
    let other = scene.rotate();
    let bytes = scene.disk.bytes(&Scene::segment(bad)).unwrap();
    let at = bytes.windows(5).position(|it| it == b"value").unwrap();
    scene.disk.set_read_fault(&Scene::segment(bad), at, ReadFault::Error(8));
    // A step that could do nothing is not the last one.
    for _ in 0..4 {
        scene.store.compact_step().unwrap();
    }
    assert!(scene.disk.bytes(&Scene::hint(other)).is_some());
    let error = scene.store.stats().last_background_error;
    assert!(matches!(error, Some(KvsError::Io { .. })), "{error:?}");
}
