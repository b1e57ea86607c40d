//! The keydir: readers of a shard that grows and changes find each key that is there.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use shuttle::thread;

use super::hash::KeyHash;
use super::keydir::{Keydir, Location, Writer};
use super::pins::Pins;
use super::sync::{Arc, AtomicU64};
use super::{catches, explore};

const SHARD: u64 = 5;
/// A key that is replaced all the time, one that nobody touches, and one with its tag.
const CHANGED: u64 = 1;
const STILL: u64 = 2;
const TWIN: u64 = 3;
/// A key that comes and goes, and those that make the shard grow.
const FLEETING: u64 = 4;
const GROWTH: std::ops::Range<u64> = 5..9;
/// A key has at most so many locations.
const VERSIONS: u64 = 8;

/// All keys are of one shard, and their searches begin close together.
pub(super) fn hash_of(key: u64) -> KeyHash {
    let tag = if key == TWIN { STILL } else { key };
    KeyHash { place: SHARD << 54 | tag << 30, rest: key }
}

pub(super) fn location(key: u64, version: u64) -> Location {
    Location::new(u16::try_from(key).unwrap(), 16 + 8 * version).unwrap()
}

fn version_of(key: u64, found: Location) -> Option<u64> {
    (0..VERSIONS).find(|version| location(key, *version) == found)
}

struct Index {
    pins: Pins,
    keydir: Keydir,
    /// The version of `CHANGED` that is surely published, so that nobody may see an older one.
    published: AtomicU64,
}

impl Index {
    fn write<R>(&self, change: impl FnOnce(&mut Writer<'_>) -> R) -> R {
        change(&mut self.keydir.write(&self.pins))
    }

    /// Searches for every kind of key under one pin.
    fn read(&self) {
        let pin = self.pins.pin();
        let all = |key| self.keydir.candidates(&pin, hash_of(key)).collect::<Vec<_>>();
        let published = self.published.load(Ordering::Acquire);
        let found = all(CHANGED);
        assert_eq!(found.len(), 1, "a key that is always there: {found:?}");
        let version = version_of(CHANGED, found[0]).expect("a location of another key");
        assert!(version >= published, "version {version} after {published} was published");
        let found = all(STILL);
        let own = found.iter().filter(|found| version_of(STILL, **found) == Some(0)).count();
        assert_eq!(own, 1, "a key that nobody touches: {found:?}");
        let other = found.iter().filter(|found| version_of(TWIN, **found).is_some()).count();
        assert_eq!(own + other, found.len(), "a location of another tag: {found:?}");
        let found = all(FLEETING);
        assert!(found.iter().all(|found| version_of(FLEETING, *found).is_some()), "{found:?}");
        drop(pin);
    }

    fn change(&self) {
        for (version, key) in (1..).zip(GROWTH) {
            self.write(|writer| writer.insert(hash_of(key), location(key, 0)));
            let (from, to) = (location(CHANGED, version - 1), location(CHANGED, version));
            assert!(self.write(|writer| writer.replace(hash_of(CHANGED), from, to)));
            self.published.store(version, Ordering::Release);
            let gone = location(FLEETING, version - 1);
            assert!(self.write(|writer| writer.remove(hash_of(FLEETING), gone)));
            assert!(!self.write(|writer| writer.remove(hash_of(FLEETING), gone)), "twice");
            let back = location(FLEETING, version);
            self.write(|writer| writer.insert(hash_of(FLEETING), back));
        }
        assert!(self.write(|writer| writer.remove(hash_of(TWIN), location(TWIN, 0))));
    }
}

fn shard() {
    let index = Index { pins: Pins::new(), keydir: Keydir::new(), published: AtomicU64::new(0) };
    for key in [CHANGED, TWIN, STILL, FLEETING] {
        index.write(|writer| writer.insert(hash_of(key), location(key, 0)));
    }
    let index = Arc::new(index);
    let readers = [2, 1].map(|times| {
        let index = Arc::clone(&index);
        thread::spawn(move || (0..times).for_each(|_| index.read()))
    });
    index.change();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let last = GROWTH.count() as u64;
    let kept = [(CHANGED, last), (STILL, 0), (FLEETING, last)];
    let kept = kept.into_iter().chain(GROWTH.map(|key| (key, 0)));
    let expected: HashSet<Location> = kept.map(|(key, version)| location(key, version)).collect();
    let pin = index.pins.pin();
    let shard = usize::try_from(SHARD).unwrap();
    let copy = index.keydir.copy_shard(&pin, shard);
    let found = copy.into_iter().map(|(_, location)| location).collect();
    assert_eq!(expected, found);
    assert_eq!(index.keydir.len(), expected.len() as u64);
}

#[test]
fn a_key_that_is_there_is_found() {
    explore("model_keydir", shard);
}

#[test]
fn a_table_that_is_freed_under_a_reader_is_caught() {
    catches("ignore_pins", shard);
}
