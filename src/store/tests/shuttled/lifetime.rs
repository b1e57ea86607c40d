//! Segments: a reader that found a location under its pin reads the record that lay there, while
//! keys are overwritten, segments compacted and their numbers given to others.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use shuttle::thread;

use super::hash::KeyHash;
use super::keydir::{Keydir, Location};
use super::names::SegmentId;
use super::pins::Pins;
use super::segment::Segment;
use super::segments::Segments;
use super::sync::{Arc, AtomicBool, AtomicU64};
use super::{catches, explore};

const KEYS: u64 = 2;
const COMPACTIONS: u64 = 3;
/// Segments that exist in one schedule: those of compactions, and one for overwritten keys.
const SEGMENTS: u64 = COMPACTIONS + 2;

fn hash_of(key: u64) -> KeyHash {
    KeyHash { place: 9 << 54 | (key + 1) << 30, rest: key }
}

struct Engine {
    pins: Pins,
    keydir: Keydir,
    /// Outlives the schedule, as its table is large. Only one thread changes it.
    segments: Arc<Segments>,
    /// Between two accesses to what is no point of a schedule.
    breath: AtomicBool,
}

impl Engine {
    /// A segment with a record of each key, each segment in another order.
    fn segment(&self, id: u64) -> Arc<Segment> {
        let segment = Arc::new(Segment {
            id: SegmentId(id),
            number: self.segments.claim_number().unwrap(),
            path: PathBuf::from(id.to_string()),
            file_bytes: AtomicU64::new(8 * KEYS),
            keys: (0..KEYS).map(|key| (key + id) % KEYS).collect(),
            unlinked: AtomicBool::new(false),
        });
        self.segments.add(Arc::clone(&segment));
        segment
    }

    fn read(&self, key: u64) {
        let pin = self.pins.pin();
        let mut found = 0;
        for location in self.keydir.candidates(&pin, hash_of(key)) {
            self.breath.load(Ordering::Relaxed);
            let segment = self.segments.get(&pin, location.number());
            let segment = segment.expect("no segment has the number of a location");
            let record = usize::try_from(location.offset() / 8 - 2).unwrap();
            assert_eq!(segment.keys.get(record), Some(&key), "a record of another key");
            assert!(!segment.unlinked.load(Ordering::Relaxed), "the file is gone");
            found += 1;
        }
        assert_eq!(found, 1, "a key that is always there");
    }

    /// Overwrites a key, wherever it is, with its record in `segment`.
    fn overwrite(&self, key: u64, segment: &Segment) {
        let mut writer = self.keydir.write(&self.pins);
        let pin = self.pins.pin();
        let from = self.keydir.candidates(&pin, hash_of(key)).next().unwrap();
        assert!(writer.replace(hash_of(key), from, location(segment, key)));
    }

    /// Moves all keys that are still in `from` into a new segment, as a compaction does.
    fn compact(&self, from: &Arc<Segment>, id: u64) -> Arc<Segment> {
        let to = self.segment(id);
        for key in 0..KEYS {
            let mut writer = self.keydir.write(&self.pins);
            writer.replace(hash_of(key), location(from, key), location(&to, key));
        }
        self.keydir.write(&self.pins).next_generation();
        self.segments.retire(std::slice::from_ref(from));
        to
    }

    fn bury(&self, all: &[Arc<Segment>]) {
        for path in self.segments.bury(&self.pins) {
            let buried = all.iter().find(|segment| segment.path == path).unwrap();
            buried.unlinked.store(true, Ordering::Relaxed);
        }
    }
}

fn location(segment: &Segment, key: u64) -> Location {
    let record = segment.keys.iter().position(|it| *it == key).unwrap();
    Location::new(segment.number, 16 + 8 * record as u64).unwrap()
}

fn compactions(segments: &Arc<Segments>) {
    let (pins, keydir) = (Pins::new(), Keydir::new());
    let breath = AtomicBool::new(false);
    let engine = Arc::new(Engine { pins, keydir, segments: Arc::clone(segments), breath });
    // Kept to the end, so that even a wrong engine leaves no reference without its segment.
    let mut all = vec![engine.segment(1)];
    for key in 0..KEYS {
        let first = location(&all[0], key);
        engine.keydir.write(&engine.pins).insert(hash_of(key), first);
    }
    let newest = engine.segment(0);
    let mut threads: Vec<thread::JoinHandle<()>> = (0..KEYS)
        .map(|key| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || (0..2).for_each(|_| engine.read(key)))
        })
        .collect();
    let (writer, target) = (Arc::clone(&engine), Arc::clone(&newest));
    threads.push(thread::spawn(move || writer.overwrite(0, &target)));
    for id in 0..COMPACTIONS {
        let compacted = engine.compact(&all[all.len() - 1], 2 + id);
        all.push(compacted);
        engine.bury(&all);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Nothing of this schedule is left to the next.
    let last = [Arc::clone(&all[all.len() - 1]), newest];
    engine.segments.retire(&last);
    all.extend(last);
    engine.bury(&all);
    assert!(all.iter().all(|segment| segment.unlinked.load(Ordering::Relaxed)), "not buried");
    assert_eq!(engine.segments.graveyard_bytes(), (0, 0));
}

/// The model on segments of which the numbers are free in the same order in every schedule.
fn model() -> impl Fn() + Clone + Send + Sync + 'static {
    let segments = Arc::new(Segments::new());
    let numbers: Vec<u16> = (0..SEGMENTS).map(|_| segments.claim_number().unwrap()).collect();
    numbers.into_iter().for_each(|number| segments.release_number(number));
    move || compactions(&segments)
}

#[test]
fn a_record_that_was_found_can_be_read() {
    explore("model_segments", model());
}

#[test]
fn a_file_that_is_unlinked_under_a_reader_is_caught() {
    catches("unlink_while_read", model());
}
