//! Pins: what was retired and is quiescent is not in the hands of a reader.

use std::sync::atomic::Ordering;

use shuttle::thread;

use super::pins::Pins;
use super::sync::{Arc, AtomicBool, AtomicU64};
use super::{catches, explore};

const OBJECTS: usize = 4;

/// Objects of which one is within reach.
struct Shelf {
    pins: Pins,
    current: AtomicU64,
    freed: [AtomicBool; OBJECTS],
}

impl Shelf {
    fn get(&self) -> &AtomicBool {
        &self.freed[usize::try_from(self.current.load(Ordering::Acquire)).unwrap()]
    }

    /// Reads with nested pins, the outer of which may end first.
    fn read(&self) {
        let outer = self.pins.pin();
        let first = self.get();
        let inner = self.pins.pin();
        let second = self.get();
        drop(outer);
        assert!(!first.load(Ordering::Relaxed), "an object was freed under a pin");
        assert!(!second.load(Ordering::Relaxed), "an object was freed under an inner pin");
        drop(inner);
    }

    fn replace_all(&self) {
        let mut retired = Vec::new();
        for object in 0..OBJECTS - 1 {
            self.current.store(object as u64 + 1, Ordering::Release);
            retired.push((self.pins.retire(), object));
            retired.retain(|(epoch, object)| {
                let free = self.pins.is_quiescent(*epoch);
                if free {
                    self.freed[*object].store(true, Ordering::Relaxed);
                }
                !free
            });
        }
    }
}

fn shelf() {
    let shelf = Arc::new(Shelf {
        pins: Pins::new(),
        current: AtomicU64::new(0),
        freed: [const { AtomicBool::new(false) }; OBJECTS],
    });
    let readers = [2, 1].map(|times| {
        let shelf = Arc::clone(&shelf);
        thread::spawn(move || (0..times).for_each(|_| shelf.read()))
    });
    shelf.replace_all();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert!(shelf.pins.is_quiescent(shelf.pins.retire()), "a pin was left behind");
}

#[test]
fn nothing_is_freed_under_a_pin() {
    explore("model_pins", shelf);
}

#[test]
fn a_free_that_does_not_ask_for_pins_is_caught() {
    catches("ignore_pins", shelf);
}
