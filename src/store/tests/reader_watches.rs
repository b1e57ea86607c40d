//! Watching beside the owner: the same changes as the owner's own watch, as far as they may be
//! read, or an error.

use std::collections::BTreeSet;

use super::clock::START_MS;
use super::oracle::{key, value};
use super::reader::{post, reader};
use super::scene::Scene;
use crate::batch::Batch;
use crate::error::KvsError;
use crate::store::sim_disk::state::Rng;
use crate::store::{Change, ReadOnlyWatch, Watch};

/// What a watch gives until there is no more.
fn all(watch: &mut ReadOnlyWatch) -> Vec<Change> {
    std::iter::from_fn(|| watch.next().unwrap()).collect()
}

fn all_of_owner(watch: &mut Watch) -> Vec<Change> {
    std::iter::from_fn(|| watch.next().unwrap()).collect()
}

fn keys(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| str::from_utf8(&change.key).unwrap()).collect()
}

fn is_gone(error: KvsError) -> bool {
    matches!(error, KvsError::HistoryGone { .. })
}

/// One to four operations on different keys; some sets expire.
fn write_some(scene: &Scene, rng: &mut Rng, number: usize) {
    let mut batch = Batch::new();
    for key in (0..1 + rng.below(4)).map(|_| key(rng.below(9))).collect::<BTreeSet<_>>() {
        let value = value(&key, number, rng.below(900));
        match rng.below(5) {
            0 => batch.remove(&key),
            1 => batch.set_until(&key, value, START_MS + 1_000_000),
            _ => batch.set(&key, value),
        };
    }
    scene.store.write(&batch).unwrap();
}

#[test]
fn a_reader_watches_what_the_owner_does_from_any_seq_on() {
    let mut scene = Scene::new();
    let mut rng = Rng::new(5);
    let mut beside = reader(&scene.disk).unwrap();
    let mut live = beside.watch(None, "").unwrap();
    let (mut seen, mut posted) = (Vec::new(), 0);
    for number in 0..600 {
        write_some(&scene, &mut rng, number);
        match rng.below(30) {
            0 => scene.store.rotate().unwrap(),
            1..4 => {
                post(&scene);
                posted = all_of_owner(&mut scene.store.watch(Some(0), "").unwrap()).len();
            }
            4..8 => {
                let calls = scene.disk.calls(None);
                beside.refresh().unwrap();
                seen.extend(all(&mut live));
                assert!(seen.len() >= posted, "what was posted can be read");
                assert_eq!(scene.disk.calls(None), calls, "a watch changes nothing");
            }
            8 if rng.one_in(4) => {
                scene = if rng.one_in(2) { scene.restart() } else { scene.reopen() };
            }
            9 if rng.one_in(4) => {
                // Without an owner all that is valid counts, and another one goes on behind it.
                let disk = scene.die();
                beside.refresh().unwrap();
                seen.extend(all(&mut live));
                let expected = all(&mut reader(&disk).unwrap().watch(Some(0), "").unwrap());
                assert!(seen == expected, "at {number}, without an owner");
                scene = Scene::on(disk, number as u64).unwrap();
            }
            10 if rng.one_in(2) => {
                // Another reader goes on where this one was.
                let last = seen.last().map_or(0, |change: &Change| change.seq);
                beside = reader(&scene.disk).unwrap();
                live = beside.watch(Some(last), "").unwrap();
            }
            _ => {}
        }
        let owners = all_of_owner(&mut scene.store.watch(Some(0), "").unwrap());
        assert!(owners.starts_with(&seen), "at {number}");
    }
    post(&scene);
    beside.refresh().unwrap();
    seen.extend(all(&mut live));
    let expected = all_of_owner(&mut scene.store.watch(Some(0), "").unwrap());
    assert!(seen == expected && seen.len() > 600, "{} and {}", seen.len(), expected.len());
    assert!(seen.iter().any(|change| change.expires_at_ms.is_some()));
    for _ in 0..30 {
        let (after, prefix) = (rng.below(620) as u64, key(rng.below(9)));
        let mut theirs = beside.watch(Some(after), &prefix).unwrap();
        let mut own = scene.store.watch(Some(after), &prefix).unwrap();
        assert!(all(&mut theirs) == all_of_owner(&mut own), "after {after}");
    }
}

#[test]
fn a_watch_goes_no_further_than_its_reader() {
    let scene = Scene::new();
    let first = scene.store.set("a", "1").unwrap().seq;
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    let mut from_begin = reader.watch(Some(0), "").unwrap();
    let mut from_now = reader.clone().watch(None, "").unwrap();
    let mut batch = Batch::new();
    batch.set("b/1", "1").set("c", "1").remove("b/2");
    let second = scene.store.write(&batch).unwrap().seq;
    let mut some = reader.watch(Some(first), "b/").unwrap();
    for _ in 0..2 {
        assert!(all(&mut from_now).is_empty() && all(&mut some).is_empty());
        // It is there, but not readable before it is posted and the reader has looked.
        post(&scene);
    }
    assert_eq!(keys(&all(&mut from_begin)), ["a"]);
    assert!(reader.refresh().unwrap());
    for watch in [&mut from_begin, &mut from_now] {
        assert_eq!(keys(&all(watch)), ["b/1", "c", "b/2"]);
    }
    let changes = all(&mut some);
    assert_eq!(keys(&changes), ["b/1", "b/2"]);
    assert!(changes.iter().all(|change| change.seq == second));
    assert!(changes[0].value.is_some() && changes[1].value.is_none());
    assert!(all(&mut reader.watch(None, "").unwrap()).is_empty());
}

#[test]
fn what_compaction_went_through_is_gone_for_readers_too() {
    let scene = Scene::new();
    let first = scene.store.set("a", "1").unwrap().seq;
    scene.set("b", "1");
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    let mut behind = reader.watch(Some(first), "").unwrap();
    let mut begun = reader.watch(Some(0), "").unwrap();
    assert_eq!(begun.next().unwrap().map(|change| change.seq), Some(first));
    let mut ahead = reader.watch(None, "").unwrap();
    assert!(all(&mut ahead).is_empty());
    let old = scene.rotate();
    scene.compact(&[old]);
    let last = scene.store.set("c", "1").unwrap().seq;
    post(&scene);
    assert!(reader.refresh().unwrap());
    assert!(behind.next().is_err_and(is_gone));
    assert!(reader.watch(Some(first), "").is_err_and(is_gone));
    assert_eq!(keys(&all(&mut ahead)), ["c"]);
    // What was read ahead is handed out, and the segment in which it stood was read to its end.
    assert_eq!(keys(&all(&mut begun)), ["b", "c"]);
    assert!(all(&mut reader.watch(Some(last), "").unwrap()).is_empty());
    scene.store.clear().unwrap();
    assert!(reader.refresh().unwrap());
    assert!(ahead.next().is_err_and(is_gone));
    assert!(reader.watch(Some(last), "").is_err_and(is_gone));
    let mut fresh = reader.watch(None, "").unwrap();
    assert!(all(&mut fresh).is_empty());
    scene.set("d", "1");
    post(&scene);
    assert!(reader.refresh().unwrap());
    assert!(ahead.next().is_err_and(is_gone));
    assert_eq!(keys(&all(&mut fresh)), ["d"]);
}

#[test]
fn a_segment_that_went_while_it_was_read_is_read_to_its_end() {
    let scene = Scene::new();
    scene.set("a", "1");
    post(&scene);
    let reader = reader(&scene.disk).unwrap();
    let mut watch = reader.watch(Some(0), "").unwrap();
    assert_eq!(keys(&all(&mut watch)), ["a"]);
    // Written behind what the reader knows of that segment, which is compacted before it looks.
    scene.set("b", "1");
    let old = scene.rotate();
    scene.compact(&[old]);
    assert!(scene.disk.bytes(&Scene::segment(old)).is_none(), "it was unlinked");
    assert!(reader.refresh().unwrap());
    assert_eq!(keys(&all(&mut watch)), ["b"]);
    // But not one that it never came to.
    scene.set("c", "1");
    scene.rotate();
    scene.set("d", "1");
    let late = scene.rotate();
    scene.compact(&[late]);
    assert!(reader.refresh().unwrap());
    assert!(watch.next().is_ok_and(|change| change.is_some_and(|change| change.key == b"c")));
    assert!(watch.next().is_err_and(is_gone));
}
