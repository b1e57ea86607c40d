//! Watching: every change, once, in the order of the seqs, or an error.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::backups::BACKUP;
use super::oracle::{key, value};
use super::reader::reader_in;
use super::scene::{Model, Scene};
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options};
use crate::store::core::Core;
use crate::store::feed::{AHEAD, Feed, Published};
use crate::store::notice::Readable;
use crate::store::restore::restore_on;
use crate::store::segments::Segments;
use crate::store::sim_disk::fault::{CallKind, Failure, Fault};
use crate::store::sim_disk::state::Rng;
use crate::store::{Change, Store, Watch};

/// A change that was seen.
pub type Seen = (u64, Vec<u8>, Option<Vec<u8>>);

/// All further changes that there are.
pub fn all(watch: &mut Watch) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(Change { seq, key, value, .. }) = watch.next().unwrap() {
        seen.push((seq, key, value.map(crate::Value::into_vec)));
    }
    seen
}

#[test]
pub fn a_watch_sees_everything_in_order_from_any_seq_on() {
    let mut scene = Scene::new();
    let mut rng = Rng::new(3);
    let mut expected: Vec<Seen> = Vec::new();
    let mut live = scene.store.watch(None, "").unwrap();
    let mut seen = Vec::new();
    for number in 0..400 {
        let mut batch = Batch::new();
        let mut changes = std::collections::BTreeMap::new();
        for _ in 0..1 + rng.below(4) {
            let key = key(rng.below(9));
            let value = (!rng.one_in(4)).then(|| value(&key, number, rng.below(900)));
            match &value {
                Some(value) => batch.set(&key, value),
                None => batch.remove(&key),
            };
            changes.insert(key, value);
        }
        let existed = changes.keys().any(|key| scene.store.contains_key(key).unwrap());
        let seq = scene.store.write(&batch).unwrap().seq;
        // One remove of nothing writes nothing.
        if batch.len() > 1 || existed || changes.values().any(Option::is_some) {
            let mut order: Vec<Seen> =
                changes.into_iter().map(|(key, value)| (seq, key, value)).collect();
            // In the order of the last operations on each key.
            let last = |key: &Vec<u8>| {
                batch.iter().collect::<Vec<_>>().iter().rposition(|it| it.key() == &key[..])
            };
            order.sort_by_key(|(_, key, _)| last(key));
            expected.extend(order);
        }
        match rng.below(30) {
            0 => scene.store.rotate().unwrap(),
            1 => scene.store.sync_step().unwrap(),
            2 => seen.extend(all(&mut live)),
            3 => {
                seen.extend(all(&mut live));
                let last = seen.last().map(|(seq, ..): &Seen| *seq);
                scene = if rng.one_in(2) { scene.restart() } else { scene.reopen() };
                live = scene.store.watch(last.or(Some(0)), "").unwrap();
            }
            _ => {}
        }
    }
    seen.extend(all(&mut live));
    assert!(seen == expected, "{} and {}", seen.len(), expected.len());
    assert!(!live.wait(Duration::ZERO).unwrap());
    for _ in 0..30 {
        let after = rng.below(420) as u64;
        let prefix = key(rng.below(9));
        let wanted =
            expected.iter().filter(|(seq, key, _)| *seq > after && key.starts_with(&prefix));
        let mut watch = scene.store.watch(Some(after), &prefix).unwrap();
        assert!(all(&mut watch).iter().eq(wanted), "after {after}");
    }
}

#[test]
pub fn what_compaction_went_through_is_gone_and_that_is_said() {
    let scene = Scene::new();
    let first = scene.store.set("a", "1").unwrap().seq;
    scene.set("b", "1");
    scene.rotate();
    let mut behind = scene.store.watch(Some(first), "").unwrap();
    let mut ahead = scene.store.watch(None, "").unwrap();
    let is_gone = |error: KvsError| matches!(error, KvsError::HistoryGone { .. });
    // Nothing is dropped, but the records are no longer where they were written.
    scene.store.compact().unwrap();
    let last = scene.store.set("c", "1").unwrap().seq;
    assert!(behind.next().is_err_and(is_gone));
    assert_eq!(all(&mut ahead).len(), 1);
    let scene = scene.reopen();
    assert!(scene.store.watch(Some(first), "").is_err_and(is_gone));
    assert_eq!(all(&mut scene.store.watch(Some(last - 1), "").unwrap()).len(), 1);
    // What is cleared is no change of a key: a watch that has seen everything has to begin anew.
    let mut cleared = scene.store.watch(Some(last), "").unwrap();
    scene.store.clear().unwrap();
    assert!(cleared.next().is_err_and(is_gone));
    assert!(scene.store.watch(Some(last), "").is_err_and(is_gone));
    let mut fresh = scene.store.watch(None, "").unwrap();
    assert!(fresh.next().unwrap().is_none());
    scene.set("d", "1");
    assert!(cleared.next().is_err_and(is_gone));
    let seen = all(&mut fresh);
    assert_eq!(seen.len(), 1);
    let scene = scene.reopen();
    assert!(scene.store.watch(Some(last), "").is_err_and(is_gone));
    assert!(scene.store.watch(Some(seen[0].0), "").is_ok());
}

#[test]
fn a_watch_that_has_seen_everything_does_not_miss_a_clear() {
    type Act = fn(&Scene);
    let uses_of_a_seq: [Act; 3] = [
        |_| (),
        |scene| scene.store.sync().unwrap(),
        |scene| assert!(!scene.store.remove("none").unwrap().existed),
    ];
    for use_a_seq in uses_of_a_seq {
        let scene = Scene::new();
        scene.set("old", "1");
        scene.store.compact().unwrap();
        // In an empty segment.
        let mut watch = scene.store.watch(None, "").unwrap();
        assert!(watch.next().unwrap().is_none());
        use_a_seq(&scene);
        scene.store.clear().unwrap();
        assert!(watch.wait(Duration::ZERO).unwrap());
        use_a_seq(&scene);
        scene.set("new", "1");
        assert!(matches!(watch.next(), Err(KvsError::HistoryGone { .. })));
        scene.expect(&[("new", "1")]);
    }
}

#[test]
fn the_first_change_after_a_clear_is_seen_or_called_gone() {
    for is_reopened in [false, true] {
        let mut scene = Scene::new();
        scene.set("old", "1");
        scene.store.clear().unwrap();
        if is_reopened {
            scene = scene.reopen();
        }
        let [mut early, mut late] = [(); 2].map(|()| scene.store.watch(None, "").unwrap());
        let written = scene.store.set("a", "1").unwrap();
        assert_eq!(all(&mut early), [(written.seq, b"a".to_vec(), Some(b"1".to_vec()))]);
        scene.store.compact().unwrap();
        assert!(matches!(late.next(), Err(KvsError::HistoryGone { .. })));
        assert_eq!(all(&mut early), []);
        scene.expect(&[("a", "1")]);
    }
}

/// Whoever follows a watch, and begins anew when it says so, ends with what the store has.
#[test]
fn a_mirror_is_right_in_the_end_though_the_store_is_cleared_meanwhile() {
    const EACH: usize = 2000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(64 << 10).durability(Durability::Os);
    let store = options.open(dir.path()).unwrap();
    let contents = || store.iter().map(|pair| pair.map(|(key, value)| (key, value.into_vec())));
    let begin = || {
        let watch = store.watch(None, "").unwrap();
        (watch, contents().collect::<Result<Model>>())
    };
    let (mut watch, mut mirror) = (store.watch(None, "").unwrap(), Model::new());
    thread::scope(|scope| {
        let writers = [0, 1].map(|thread| {
            let store = &store;
            scope.spawn(move || {
                for number in 0..EACH {
                    store.set(format!("{thread} {}", number % 7), format!("{number}")).unwrap();
                    if number % 97 == 0 {
                        store.clear().unwrap();
                    }
                }
            })
        });
        loop {
            let is_over = writers.iter().all(thread::ScopedJoinHandle::is_finished);
            match watch.next() {
                Ok(Some(Change { key, value: Some(value), .. })) => {
                    mirror.insert(key, value.into_vec());
                }
                Ok(Some(change)) => panic!("nothing was removed: {change:?}"),
                Ok(None) if is_over => break,
                Ok(None) => {}
                Err(KvsError::HistoryGone { .. }) => {
                    let (new, now) = begin();
                    watch = new;
                    // Cleared while it was read: then the watch says so too.
                    mirror = now.unwrap_or_default();
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(mirror, contents().collect::<Result<Model>>().unwrap());
}

#[test]
fn a_watch_that_has_seen_a_whole_segment_does_not_miss_its_seal() {
    let scene = Scene::new();
    // As many as are read at once: the seal alone is left.
    for number in 0..AHEAD {
        scene.set(&format!("{number}"), "1");
    }
    scene.rotate();
    let mut watch = scene.store.watch(Some(0), "").unwrap();
    for _ in 0..AHEAD {
        assert!(watch.next().unwrap().is_some());
    }
    scene.store.compact().unwrap();
    assert!(watch.next().unwrap().is_none());
    scene.set("new", "1");
    assert_eq!(all(&mut watch).len(), 1);
}

#[test]
fn retained_history_is_left_alone_by_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let options = Options::new().segment_bytes(4096).durability(Durability::Os).retain_history(500);
    let mut store = options.open(at("data")).unwrap();
    let mut seqs = Vec::new();
    for number in 0..2000 {
        let value = format!("{number:0100}");
        seqs.push(store.set(format!("{}", number % 7), value).unwrap().seq);
        match number {
            399 | 799 | 1999 => store.compact().unwrap(),
            1199 => {
                store.close().unwrap();
                store = options.open(at("data")).unwrap();
            }
            _ => {}
        }
    }
    store.backup(at("backup")).unwrap();
    for last in [1499, 1503, 1700] {
        let to = at(&format!("{last}"));
        crate::store::restore(&at("backup"), &to, Some(seqs[last]), &mut |_| ()).unwrap();
        let restored = Store::open(to).unwrap();
        assert_eq!(restored.len(), 7);
        for number in last - 6..=last {
            let value = restored.get(format!("{}", number % 7)).unwrap().unwrap();
            assert_eq!(&value[..], format!("{number:0100}").as_bytes());
        }
    }
    let mut watch = store.watch(Some(seqs[1600]), "").unwrap();
    let seen: Vec<u64> = all(&mut watch).into_iter().map(|(seq, ..)| seq).collect();
    assert_eq!(seen, seqs[1601..]);
    assert!(store.watch(Some(seqs[10]), "").is_err(), "what is older is not");
}

#[test]
fn a_watch_that_waits_sees_all_that_many_threads_write() {
    const EACH: usize = 3000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(64 << 10).durability(Durability::Os);
    let store = options.compaction(false).open(dir.path()).unwrap();
    let mut watch = store.watch(None, "").unwrap();
    thread::scope(|scope| {
        for thread in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..EACH {
                    store.set(format!("{thread}"), format!("{number}")).unwrap();
                }
            });
        }
        let mut next = [0; 3];
        let mut last = 0;
        while next.iter().sum::<usize>() < 3 * EACH {
            let Some(change) = watch.next().unwrap() else {
                assert!(watch.wait(Duration::from_secs(60)).unwrap(), "{next:?}");
                continue;
            };
            let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<usize>().unwrap();
            let thread = number(&change.key);
            assert_eq!(number(&change.value.unwrap()), next[thread]);
            assert!(change.seq > last);
            (next[thread], last) = (next[thread] + 1, change.seq);
        }
    });
    store.close().unwrap();
    assert!(matches!(watch.wait(Duration::from_secs(60)), Err(KvsError::Closed)));
    drop(Store::open(dir.path()).unwrap());
}

#[test]
pub fn what_was_never_published_is_in_no_watch_and_in_no_backup() {
    let scene = Scene::new();
    scene.set_durably("a", "1").unwrap();
    let mut watch = scene.store.watch(Some(0), "").unwrap();
    let kind = Some(CallKind::Sync);
    scene.disk.set_fault(Fault { kind, after: 0, failure: Failure::Eio, forever: false });
    assert!(scene.set_durably("b", "1").is_err());
    assert_eq!(all(&mut watch).len(), 1);
    assert!(scene.store.get("b").unwrap().is_none());
    scene.store.backup(BACKUP).unwrap();
    let mut batches = Vec::new();
    let (disk, from) = (Arc::new(scene.disk.clone()), Path::new(BACKUP));
    let mut write = |batch: &Batch| {
        batches.push(batch.len());
        Ok(())
    };
    restore_on(disk, from, None, 0, &mut |_| (), &mut write).unwrap();
    assert_eq!(batches, [1]);
    let reader = reader_in(BACKUP, Arc::new(scene.disk.clone()), &scene.clock).unwrap();
    assert!(reader.get("b").unwrap().is_none());
}

#[test]
fn what_was_read_before_an_error_is_given_once() {
    let scene = Scene::new();
    for number in 0..100 {
        scene.store.set(format!("{number}"), vec![b'v'; 5000]).unwrap();
    }
    let mut watch = scene.store.watch(Some(0), "").unwrap();
    let kind = Some(CallKind::Read);
    scene.disk.set_fault(Fault { kind, after: 1, failure: Failure::Eio, forever: true });
    let mut seen = Vec::new();
    let error = loop {
        match watch.next() {
            Ok(change) => seen.push(change.unwrap().seq),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, KvsError::Io { .. }), "{error:?}");
    assert!(!seen.is_empty() && seen.len() < 100, "{} were read", seen.len());
    scene.disk.clear_faults();
    seen.extend(all(&mut watch).into_iter().map(|(seq, ..)| seq));
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_segment_whose_last_change_was_seen_may_be_compacted() {
    // As many as are read at once: what is left of the segment is its seal.
    let scene = Scene::new();
    for number in 0..256 {
        scene.set(&format!("{number}"), "1");
    }
    let sealed = scene.rotate();
    let mut watch = scene.store.watch(Some(0), "").unwrap();
    for _ in 0..256 {
        assert!(watch.next().unwrap().is_some());
    }
    scene.compact(&[sealed]);
    assert!(watch.next().unwrap().is_none());
}

/// A log in which much happens right after it was asked how far it goes.
struct Busy<'a> {
    core: &'a Core,
    act: RefCell<Option<Box<dyn FnOnce() + 'a>>>,
}

impl Published for Busy<'_> {
    fn segments(&self) -> &Segments {
        self.core.segments()
    }

    fn tail(&self) -> Option<Readable> {
        self.core.tail()
    }

    fn published_seq(&self) -> u64 {
        let seq = self.core.published_seq();
        self.act.take().into_iter().for_each(|act| act());
        seq
    }

    fn compacted_seq(&self) -> u64 {
        self.core.compacted_seq()
    }
}

#[test]
pub fn a_watch_from_now_on_begins_behind_what_was_compacted() {
    let scene = Scene::new();
    scene.set("a", "1");
    let core = scene.store.core();
    let act: Box<dyn FnOnce()> = Box::new(|| {
        scene.set("b", "1");
        scene.rotate();
        scene.set("c", "1");
        let last = scene.rotate();
        scene.compact(&[last]);
    });
    let mut feed = Feed::new(&Busy { core, act: RefCell::new(Some(act)) }, None, "").unwrap();
    scene.set("d", "1");
    let mut seen = Vec::new();
    while let Some(change) = feed.next(core).unwrap() {
        seen.push(String::from_utf8(change.key).unwrap());
    }
    assert_eq!(seen, ["d"], "nothing is missing in between");
}
