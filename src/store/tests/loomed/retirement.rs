//! Pins under weak memory orders: an object is freed only after its readers are done with it.

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::catches;
use super::pins::Pins;
use super::sync::set_thread_index;

/// Objects, each of which is within reach until it is replaced.
struct Shelf<const N: usize> {
    pins: Pins,
    objects: [Object; N],
}

struct Object {
    replaced: AtomicBool,
    /// Loom fails if a change of it does not come surely before or after each read.
    memory: UnsafeCell<()>,
}

impl<const N: usize> Shelf<N> {
    fn read(&self) {
        let _pin = self.pins.pin();
        let reachable = |object: &&Object| !object.replaced.load(Ordering::Acquire);
        self.objects.iter().filter(reachable).for_each(|object| object.memory.with(|_| ()));
    }

    fn replace(&self, object: &Object) {
        object.replaced.store(true, Ordering::Release);
        let epoch = self.pins.retire();
        if self.pins.is_quiescent(epoch) {
            object.memory.with_mut(|_| ());
        }
    }
}

fn one_reader<const N: usize>(reads: usize) {
    let pins = Pins::new();
    // The slots are there before there is a second thread.
    drop(pins.pin());
    let object = || Object { replaced: AtomicBool::new(false), memory: UnsafeCell::new(()) };
    let objects = std::array::from_fn(|_| object());
    let shelf: Arc<Shelf<N>> = Arc::new(Shelf { pins, objects });
    let reader = {
        let shelf = Arc::clone(&shelf);
        thread::spawn(move || {
            set_thread_index(1);
            (0..reads).for_each(|_| shelf.read());
        })
    };
    shelf.objects.iter().for_each(|object| shelf.replace(object));
    reader.join().unwrap();
}

#[test]
fn a_reader_keeps_what_it_reaches() {
    loom::model(|| one_reader::<1>(1));
}

#[test]
fn a_reader_that_pins_again_keeps_what_it_reaches() {
    loom::model(|| one_reader::<1>(2));
}

#[test]
fn a_reader_keeps_what_it_reaches_of_several() {
    loom::model(|| one_reader::<2>(2));
}

#[test]
fn a_missing_barrier_is_caught() {
    catches("no_light_barrier", || one_reader::<1>(1));
    catches("no_heavy_barrier", || one_reader::<1>(1));
    catches("ignore_pins", || one_reader::<1>(1));
}
