//! Removed keys never come back: every sequence, up to a length, of sets and removes of two keys,
//! rotations, compactions of the oldest, the newest and all segments, and the ways to open again;
//! and the same of one key that may expire, with the clock set back before each open.
//! After each of them all values are right, now and after the death of the process.
//!
//! `KVS_DEPTH` is the length (6). Left out are sequences that begin with the second key, which is
//! like the first, and those in which a step makes no call to the disk: they equal shorter ones.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::sync::Arc;

use super::clock::SetClock;
use super::oracle::key;
use super::proof::{Checked, prove};
use super::workload::{SMALL, open_at};
use crate::options::{Index, SetOptions};
use crate::store::Store;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};

/// The number of keys. The first of them is the empty key.
const KEYS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Set(usize),
    /// A set that expires after a minute.
    SetExpiring(usize),
    /// So much time goes by that what was set before expires, wherever the clock began.
    Pass,
    Remove(usize),
    Rotate,
    CompactOldest,
    CompactNewest,
    CompactAll,
    Reopen,
    Restart,
    LosePower,
}

const EXPIRING_STEPS: [Step; 11] = [
    Step::Set(0),
    Step::SetExpiring(0),
    Step::Pass,
    Step::Remove(0),
    Step::Rotate,
    Step::CompactOldest,
    Step::CompactNewest,
    Step::CompactAll,
    Step::Reopen,
    Step::Restart,
    Step::LosePower,
];

const STEPS: [Step; 11] = [
    Step::Set(0),
    Step::Set(1),
    Step::Remove(0),
    Step::Remove(1),
    Step::Rotate,
    Step::CompactOldest,
    Step::CompactNewest,
    Step::CompactAll,
    Step::Reopen,
    Step::Restart,
    Step::LosePower,
];

/// Of each key, the number of the step that set it, and whether it expires.
type Model = [Option<(usize, bool)>; KEYS];

/// Where sequences fork: a disk at rest, and the steps that were made since.
#[derive(Clone)]
struct Fork {
    disk: SimDisk,
    since: Vec<(usize, Step)>,
    steps: Vec<Step>,
    model: Model,
}

/// What a step came to.
enum Outcome {
    /// It changed nothing on the disk.
    Nothing,
    /// The store is still open.
    Open(Store),
    /// The store is gone, and this disk is left.
    Gone(SimDisk),
}

fn value(number: usize) -> String {
    format!("value of step {number}")
}

/// Makes a step. `model` is what the store holds before and after it.
fn make(
    (disk, clock): (&SimDisk, &SetClock),
    store: Store,
    (number, step): (usize, Step),
    model: &mut Model,
) -> Checked<Outcome> {
    let wrong = |error: crate::KvsError| format!("{step:?}: {error}");
    let before = disk.calls(None);
    let ids = store.segment_ids();
    let sealed = &ids[..ids.len() - 1];
    match step {
        Step::Set(index) | Step::SetExpiring(index) | Step::Remove(index) => {
            let minute = SetOptions::new().expire_after_ms(60_000);
            let written = match step {
                Step::Set(_) => store.set(key(index), value(number)).map(Some),
                Step::Remove(_) => store.remove(key(index)).map(Some),
                _ => store.set_with(key(index), value(number), minute),
            };
            let existed = written.map_err(wrong)?.is_some_and(|written| written.existed);
            if existed != model[index].is_some() {
                return Err(format!("{step:?} says {existed}"));
            }
            change(model, (number, step));
        }
        Step::Pass => {
            clock.pass(3_600_000 << number);
            store.sync_step().map_err(wrong)?;
            change(model, (number, step));
            if number % 2 == 0 {
                store.sweep_step().map_err(wrong)?;
            }
        }
        Step::Rotate => store.rotate().map_err(wrong)?,
        Step::CompactOldest if !sealed.is_empty() => {
            store.compact_segments(&sealed[..1]).map_err(wrong)?;
        }
        // Of one segment alone it is also the oldest.
        Step::CompactNewest if sealed.len() > 1 => {
            store.compact_segments(&sealed[sealed.len() - 1..]).map_err(wrong)?;
        }
        Step::CompactOldest | Step::CompactNewest => {}
        Step::CompactAll => store.compact().map_err(wrong)?,
        Step::Reopen => {
            store.close().map_err(wrong)?;
            return Ok(Outcome::Gone(disk.fork()));
        }
        Step::Restart => {
            store.abandon();
            return Ok(Outcome::Gone(disk.fork()));
        }
        Step::LosePower => {
            store.sync().map_err(wrong)?;
            store.abandon();
            return Ok(Outcome::Gone(disk.crash(&CrashPlan::new(Keep::Nothing, 1))));
        }
    }
    if disk.calls(None) == before {
        store.abandon();
        return Ok(Outcome::Nothing);
    }
    Ok(Outcome::Open(store))
}

/// What a step makes of what there is.
fn change(model: &mut Model, (number, step): (usize, Step)) {
    match step {
        Step::Set(index) => model[index] = Some((number, false)),
        Step::SetExpiring(index) => model[index] = Some((number, true)),
        Step::Remove(index) => model[index] = None,
        Step::Pass => {
            let expired = model.iter_mut().filter(|it| it.is_some_and(|(_, expires)| expires));
            expired.for_each(|it| *it = None);
        }
        _ => {}
    }
}

fn check(store: &Store, model: &Model) -> Checked<()> {
    for (index, number) in model.iter().enumerate() {
        let got = store.get(key(index)).map_err(|error| format!("get {index}: {error}"))?;
        if got.as_deref() != number.map(|(it, _)| value(it)).as_deref().map(str::as_bytes) {
            let got = got.as_deref().map(String::from_utf8_lossy);
            return Err(format!("key {index} holds {got:?}, not that of {number:?}"));
        }
    }
    if store.is_ordered() {
        let in_order = store.prefix("").and_then(|range| range.keys().collect());
        let in_order: Vec<Vec<u8>> = in_order.map_err(|error| format!("in order: {error}"))?;
        let there = (0..KEYS).filter(|index| model[*index].is_some()).map(key);
        if !in_order.iter().eq(&there.collect::<BTreeSet<_>>()) {
            return Err(format!("in order there are {in_order:?}"));
        }
    }
    let there = model.iter().flatten().count() as u64;
    // Keys that have expired count until they are swept.
    let may_be = there..=there + store.expiring_keys();
    if may_be.contains(&store.len()) { Ok(()) } else { Err(format!("len is {}", store.len())) }
}

/// The walk over all sequences.
struct Walk {
    steps: &'static [Step],
    depth: usize,
    sequences: u64,
    seen: HashSet<(u64, Model, usize)>,
}

impl Walk {
    fn start(&self, disk: &SimDisk, seed: usize) -> Checked<(Store, Arc<SetClock>)> {
        let clock = Arc::default();
        // The two indexes take turns.
        let index = if seed.is_multiple_of(2) { Index::Hash } else { Index::Ordered };
        let store = open_at(&clock, disk, &SMALL.options().index(index), seed as u64);
        Ok((store.map_err(|error| format!("open: {error}"))?, clock))
    }

    /// Goes on from here with each step.
    fn go_on(&mut self, fork: &Fork) -> Checked<()> {
        if fork.steps.len() == self.depth {
            return Ok(());
        }
        let is_first = !fork.steps.iter().any(|step| matches!(step, Step::Set(_)));
        let is_first = is_first && self.steps.contains(&Step::Set(1));
        for step in self.steps.iter().copied() {
            if is_first && step == Step::Set(1) {
                continue;
            }
            let mut next = fork.clone();
            next.steps.push(step);
            let made = self.step(fork, step, &mut next);
            let went_on = made.map_err(|wrong| format!("{:?}: {wrong}", next.steps))?;
            if went_on {
                self.sequences += 1;
                self.go_on(&next)?;
            }
        }
        Ok(())
    }

    /// Makes one step more than `fork` has made. False: it leads nowhere new.
    fn step(&mut self, fork: &Fork, step: Step, next: &mut Fork) -> Checked<bool> {
        let number = fork.steps.len();
        let disk = fork.disk.fork();
        let (mut store, clock) = self.start(&disk, number - fork.since.len())?;
        // What the model was when the disk was at rest makes no difference to a replay.
        for earlier in &fork.since {
            let mut model = replayed(fork, earlier.0);
            match make((&disk, &clock), store, *earlier, &mut model)? {
                Outcome::Open(open) => store = open,
                _ => return Err("a replay differs".to_owned()),
            }
        }
        let gone = match make((&disk, &clock), store, (number, step), &mut next.model)? {
            Outcome::Nothing => return Ok(false),
            Outcome::Open(store) => {
                check(&store, &next.model)?;
                store.abandon();
                next.since.push((number, step));
                if next.steps.len() < self.depth {
                    return Ok(true);
                }
                disk.fork()
            }
            Outcome::Gone(disk) => {
                next.since.clear();
                next.disk = disk;
                let left = self.depth - next.steps.len();
                if !self.seen.insert((next.disk.fingerprint(), next.model, left)) {
                    return Ok(false);
                }
                next.disk.fork()
            }
        };
        let (store, _) = self.start(&gone, number + 1)?;
        check(&store, &next.model).map_err(|wrong| format!("opened again: {wrong}"))?;
        store.abandon();
        Ok(true)
    }
}

/// The model before the step of this number.
fn replayed(fork: &Fork, number: usize) -> Model {
    let mut model = [None; KEYS];
    for (at, step) in fork.steps.iter().enumerate().take(number) {
        change(&mut model, (at, *step));
    }
    model
}

/// Walks over all sequences up to this length. Answers with their number.
fn walk(steps: &'static [Step], depth: usize) -> Checked<u64> {
    let mut walk = Walk { steps, depth, sequences: 0, seen: HashSet::new() };
    let disk = SimDisk::new();
    let (store, _) = walk.start(&disk, 1000)?;
    store.abandon();
    walk.go_on(&Fork { disk, since: Vec::new(), steps: Vec::new(), model: [None; KEYS] })?;
    Ok(walk.sequences)
}

fn walk_all(name: &str, steps: &'static [Step]) {
    let depth = env::var("KVS_DEPTH").map_or(6, |depth| depth.parse().unwrap());
    let floor = if depth >= 6 { 50_000 } else { 1 };
    prove(name, floor, |_| walk(steps, depth));
}

#[test]
fn removed_keys_never_come_back() {
    walk_all("P6 all short sequences", &STEPS);
}

#[test]
fn expired_keys_never_come_back() {
    walk_all("P6 all short sequences with expiry", &EXPIRING_STEPS);
}
