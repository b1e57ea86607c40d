//! Tests of the pins with the threads of the system.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::store::pins::Pins;

#[test]
fn a_pin_holds_back_only_what_was_retired_after_it() {
    let pins = Pins::new();
    let before = pins.retire();
    let outer = pins.pin();
    let inner = pins.pin();
    assert!(pins.is_quiescent(before));
    let after = pins.retire();
    assert!(!pins.is_quiescent(after));
    drop(outer);
    assert!(!pins.is_quiescent(after), "pins of one thread nest, in any order");
    drop(inner);
    assert!(pins.is_quiescent(after));
}

#[test]
fn every_thread_has_a_slot_of_its_own() {
    let pins = Pins::new();
    let (is_pinned, pinned) = channel();
    thread::scope(|scope| {
        // Each thread pins in an epoch of its own, which would not be seen in a shared slot.
        let mut readers = Vec::new();
        for _ in 0..150 {
            let (go, told): (Sender<()>, _) = channel();
            let (pins, is_pinned) = (&pins, is_pinned.clone());
            let reader = scope.spawn(move || {
                let _pin = pins.pin();
                is_pinned.send(()).unwrap();
                told.recv().unwrap_err();
            });
            pinned.recv().unwrap();
            readers.push((pins.retire(), go, reader));
        }
        for (epoch, go, reader) in readers {
            assert!(!pins.is_quiescent(epoch));
            drop(go);
            reader.join().unwrap();
            assert!(pins.is_quiescent(epoch));
        }
    });
}
