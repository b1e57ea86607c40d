//! Batches: what is published together is seen as a whole or not at all.

use shuttle::thread;

use super::keydir::{Keydir, Writer};
use super::keys::{hash_of, location};
use super::pins::Pins;
use super::sync::Arc;
use super::{catches, explore};

/// Two keys that every batch replaces; each batch also adds a key, which makes the shard grow.
const CHANGED: [u64; 2] = [20, 21];
const FIRST_ADDED: u64 = 30;
const BATCHES: u64 = 5;

struct Index {
    pins: Pins,
    keydir: Keydir,
}

impl Index {
    fn publish(&self, batch: u64) {
        let change = |writer: &mut Writer<'_>| {
            let [first, second] = CHANGED;
            let move_on = |writer: &mut Writer<'_>, key| {
                let (from, to) = (location(key, batch - 1), location(key, batch));
                assert!(writer.replace(hash_of(key), from, to));
            };
            move_on(writer, first);
            let added = FIRST_ADDED + batch;
            writer.insert(hash_of(added), location(added, 0));
            move_on(writer, second);
        };
        let mut writer = self.keydir.write(&self.pins);
        if kvs_bug!("publish_one_by_one") {
            change(&mut writer);
        } else {
            writer.together(change);
        }
    }

    /// The batch that each key is of, and the number of keys that were added.
    fn read(&self) -> (Vec<u64>, u64) {
        let pin = self.pins.pin();
        let find = |key| self.keydir.candidates(&pin, hash_of(key)).next();
        let version = |key| {
            let found = find(key);
            (0..=BATCHES).find(|batch| found == Some(location(key, *batch))).unwrap()
        };
        let versions = CHANGED.map(version).to_vec();
        let added = (1..=BATCHES).filter(|batch| find(FIRST_ADDED + batch).is_some()).count();
        (versions, added as u64)
    }
}

fn batches() {
    let index = Index { pins: Pins::new(), keydir: Keydir::new() };
    for key in CHANGED {
        index.keydir.write(&index.pins).insert(hash_of(key), location(key, 0));
    }
    let index = Arc::new(index);
    let readers = [2, 1].map(|times| {
        let index = Arc::clone(&index);
        thread::spawn(move || {
            let mut last = 0;
            for _ in 0..times {
                let (versions, added) = index.keydir.consistently(|| index.read());
                assert_eq!(versions, [added; 2], "half of a batch, or of one key");
                assert!(added >= last, "batch {added} was seen after {last}");
                last = added;
            }
        })
    });
    (1..=BATCHES).for_each(|batch| index.publish(batch));
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn a_batch_is_seen_as_a_whole() {
    explore("model_batches", batches);
}

#[test]
fn half_a_batch_is_caught() {
    catches("publish_one_by_one", batches);
}
