//! What a directory must hold after a kill: of each writer, what its first p operations left, for
//! a p from the last one acknowledged to the last one begun.

use std::collections::BTreeMap;

use super::proof::Checked;
use super::script::{Operation, What, operation};

/// Each key with its value and when that expires.
pub type State = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// How far a writer has come: the number of its last operation, or 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    pub acknowledged: u64,
    pub begun: u64,
}

/// A writer as the parent knows it.
pub struct Writer {
    seed: u64,
    index: usize,
    state: State,
    /// The number of the next operation.
    pub next: u64,
}

impl Writer {
    pub fn new(seed: u64, index: usize) -> Writer {
        Writer { seed, index, state: State::new(), next: 1 }
    }

    /// What a directory holds of this writer.
    pub fn part_of(&self, found: &State) -> State {
        let prefix = format!("writer {} ", self.index).into_bytes();
        let own = found.iter().filter(|(key, _)| key.starts_with(&prefix));
        own.map(|(key, held)| (key.clone(), held.clone())).collect()
    }

    /// Checks what was found, and takes it for what there is from here on. The next operations
    /// get numbers that none of those had that may be lost.
    pub fn settle(&mut self, found: &State, progress: Progress) -> Checked<()> {
        let found = self.part_of(found);
        let mut state = self.state.clone();
        let mut fits = false;
        let mut nearest = String::new();
        for number in self.next..=progress.begun + 1 {
            // The state is the one before this operation.
            if number > progress.acknowledged {
                if state == found {
                    fits = true;
                } else if nearest.is_empty() {
                    nearest = difference(&state, &found);
                }
            }
            apply(&mut state, &operation(self.seed, self.index, number));
        }
        if !fits {
            return Err(format!(
                "writer {}, {progress:?} from {}: not what it wrote: {nearest}",
                self.index, self.next
            ));
        }
        self.state = found;
        self.next = progress.begun + 1;
        Ok(())
    }
}

fn apply(state: &mut State, operation: &Operation) {
    for change in operation.changes() {
        match &change.what {
            What::Set { value, expires_at_ms } => {
                state.insert(change.key.clone(), (value.clone(), *expires_at_ms));
            }
            What::Remove => {
                state.remove(&change.key);
            }
        }
    }
}

/// The first key in which two states differ.
pub fn difference(expected: &State, found: &State) -> String {
    let keys = expected.keys().chain(found.keys());
    for key in keys {
        let (expected, found) = (expected.get(key), found.get(key));
        if expected != found {
            let told = |held: Option<&(Vec<u8>, Option<u64>)>| match held {
                Some((value, expires)) => {
                    let start = &value[..value.len().min(60)];
                    format!("{:?} ({expires:?})", String::from_utf8_lossy(start))
                }
                None => "nothing".to_owned(),
            };
            let key = String::from_utf8_lossy(key);
            return format!("{key:?} has {}, not {}", told(found), told(expected));
        }
    }
    "nothing".to_owned()
}

/// The oracle would notice; a test of it, as one that cannot fail is worth nothing.
#[test]
fn what_is_lost_or_back_or_half_there_is_noticed() {
    let seed = 7;
    let after = |count: u64| {
        let mut state = State::new();
        (1..=count).for_each(|number| apply(&mut state, &operation(seed, 0, number)));
        state
    };
    let settle = |found: &State, acknowledged, begun| {
        Writer::new(seed, 0).settle(found, Progress { acknowledged, begun })
    };
    let whole = after(200);
    assert_eq!(settle(&whole, 200, 201), Ok(()));
    assert_eq!(settle(&after(201), 200, 201), Ok(()));
    assert!(settle(&after(190), 200, 201).is_err(), "lost");
    assert!(settle(&after(210), 200, 201).is_err(), "never begun");
    let mut lost = whole.clone();
    lost.pop_first();
    assert!(settle(&lost, 200, 201).is_err());
    let gone = (1..=200)
        .rev()
        .map(&after)
        .find_map(|earlier| earlier.into_iter().find(|(key, _)| !whole.contains_key(key)));
    let mut back = whole.clone();
    back.extend(gone);
    assert!(settle(&back, 200, 201).is_err(), "back");
    let batch = (1..).find(|number| {
        let operation = operation(seed, 0, *number);
        let before = after(number - 1);
        let changed = operation.changes().iter().filter(|change| match change.what {
            What::Set { .. } => true,
            What::Remove => before.contains_key(&change.key),
        });
        matches!(operation, Operation::Batch(_)) && changed.count() >= 2
    });
    let batch = batch.unwrap();
    let mut half = after(batch - 1);
    let Operation::Batch(mut changes) = operation(seed, 0, batch) else { unreachable!() };
    changes.retain(|change| match change.what {
        What::Set { .. } => true,
        What::Remove => half.contains_key(&change.key),
    });
    apply(&mut half, &Operation::One(changes.swap_remove(0)));
    assert!(settle(&half, batch - 1, batch).is_err(), "half a batch");
}
