//! Random sequences of everything that a store can do, against a map. A sequence that fails is
//! shrunk to a short one.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::actions::{Action, KEYS, action};
use super::clock::{START_MS, SetClock};
use super::oracle::{key, value};
use super::proof::{Checked, prove};
use super::ranges::same_range;
use super::scene::{Model, contents};
use super::snapshots::same_snapshot;
use super::workload::{SMALL, Shape, open_at, remove_hints};
use crate::batch::{Batch, Expected};
use crate::error::KvsError;
use crate::options::{Index, SetOptions};
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;
use crate::store::{Snapshot, Store};

const SHAPE: Shape = Shape { keys: KEYS, ..SMALL };
/// Sequences per seed.
const CASES: u32 = 100;

/// What a store holds, with expiries: of each key the value, and when it expires.
type Full = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// A store and what it must hold.
struct Pair {
    disk: SimDisk,
    clock: Arc<SetClock>,
    store: Option<Store>,
    /// Snapshots, what they hold, and whether they have ended.
    snapshots: Vec<(Snapshot, Model, bool)>,
    now: Full,
    /// What it held when it was last durable, and after each write since.
    versions: Vec<Full>,
    /// The latest time that expiry has seen.
    seen_ms: u64,
    number: usize,
    lives: u64,
}

impl Pair {
    fn new() -> Checked<Pair> {
        let mut pair = Pair {
            disk: SimDisk::new(),
            clock: Arc::default(),
            store: None,
            snapshots: Vec::new(),
            now: BTreeMap::new(),
            versions: vec![BTreeMap::new()],
            seen_ms: 0,
            number: 0,
            lives: 0,
        };
        pair.open()?;
        Ok(pair)
    }

    fn open(&mut self) -> Checked<()> {
        self.lives += 1;
        // The directory opens with either index.
        let index = if self.lives.is_multiple_of(2) { Index::Hash } else { Index::Ordered };
        let options = SHAPE.options().index(index);
        let opened = open_at(&self.clock, &self.disk, &options, self.lives);
        self.store = Some(opened.map_err(|error| format!("open: {error}"))?);
        self.look_at_time()
    }

    /// Time goes forward, whatever happens to the clock, the process or the machine.
    fn look_at_time(&mut self) -> Checked<()> {
        let (before, store) = (self.seen_ms, self.store()?);
        self.seen_ms = store.expiry_ms();
        if self.seen_ms < before || self.seen_ms > store.now_ms() {
            return Err(format!("after {before} ms it is {} ms", self.seen_ms));
        }
        Ok(())
    }

    fn durable(&mut self) {
        self.versions = vec![self.now.clone()];
    }

    /// What has not expired of what a store holds.
    fn visible(&self, full: &Full) -> Model {
        let alive = full.iter().filter(|(_, (_, at))| at.is_none_or(|at| at > self.seen_ms));
        alive.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    fn one(&self, index: usize) -> Option<(Vec<u8>, Option<u64>)> {
        let found = self.now.get(&key(index)).cloned();
        found.filter(|(_, at)| at.is_none_or(|at| at > self.seen_ms))
    }

    fn put(&mut self, index: usize, value: Option<(Vec<u8>, Option<u64>)>) {
        match value {
            Some(value) => drop(self.now.insert(key(index), value)),
            None => drop(self.now.remove(&key(index))),
        }
        self.versions.push(self.now.clone());
    }

    /// Applies changes to the map; answers with the values.
    fn change(&mut self, changes: &[(usize, Option<usize>)]) -> Batch {
        let mut batch = Batch::new();
        for (index, len) in changes {
            let key = key(*index);
            if let Some(len) = len {
                let value = value(&key, self.number, *len);
                batch.set(&key, &value);
                self.now.insert(key, (value, None));
            } else {
                batch.remove(&key);
                self.now.remove(&key);
            }
        }
        self.versions.push(self.now.clone());
        batch
    }

    fn store(&self) -> Checked<Store> {
        self.store.clone().ok_or_else(|| "the store is not open".to_owned())
    }

    fn write(&mut self, action: &Action) -> Checked<()> {
        self.number += 1;
        let store = self.store()?;
        let (written, existed) = match action {
            Action::Set(index, len) => {
                let (key, existed) = (key(*index), self.one(*index).is_some());
                let value = value(&key, self.number, *len);
                self.put(*index, Some((value.clone(), None)));
                (store.set(&key, &value), existed)
            }
            Action::SetFor(index, len, ms) => {
                let (key, existed) = (key(*index), self.one(*index).is_some());
                let value = value(&key, self.number, *len);
                self.put(*index, Some((value.clone(), Some(store.now_ms() + ms))));
                let options = SetOptions::new().expire_after_ms(*ms);
                let written = store.set_with(&key, &value, options);
                (written.map(|written| written.unwrap()), existed)
            }
            Action::Remove(index) => {
                let existed = self.one(*index).is_some();
                self.put(*index, None);
                (store.remove(key(*index)), existed)
            }
            Action::Batch(changes) => {
                let existed = changes.iter().any(|(index, _)| self.one(*index).is_some());
                (store.write(&self.change(changes)), existed)
            }
            _ => return self.write_if(action),
        };
        let written = written.map_err(|error| error.to_string())?;
        if written.existed != existed {
            return Err(format!("says that it existed: {}", written.existed));
        }
        Ok(())
    }

    /// The writes that depend on what is there.
    fn write_if(&mut self, action: &Action) -> Checked<()> {
        let store = self.store()?;
        let (Action::SwapRight(index, _)
        | Action::SwapWrong(index, _)
        | Action::SwapVersion(index, _)
        | Action::Append(index, _)
        | Action::ExpireAt(index, _)
        | Action::Persist(index)) = action
        else {
            return Ok(());
        };
        let (key, before) = (key(*index), self.one(*index));
        let new = |number, len: &usize| value(&key, number, *len);
        let swap = |expected, value: &[u8]| {
            let written = store.compare_and_swap(&key, expected, Some(value));
            written.map(|written| written.is_some()).map_err(|error| error.to_string())
        };
        let (after, is_done, should_be) = match (action, &before) {
            (Action::SwapRight(_, len), before) => {
                let value = new(self.number, len);
                let expected = match before {
                    None => Expected::Absent,
                    Some((before, _)) => Expected::value(before),
                };
                (Some((value.clone(), None)), swap(expected, &value)?, true)
            }
            (Action::SwapWrong(_, len), before) => {
                let expected = match before {
                    None => Expected::Present,
                    Some((before, _)) => Expected::value([before, &b"!"[..]].concat()),
                };
                (None, swap(expected, &new(self.number, len))?, false)
            }
            (Action::SwapVersion(_, len), before) => {
                let found = store.get_versioned(&key).map_err(|error| error.to_string())?;
                let version = Expected::Version(found.map_or(0, |found| found.seq));
                let value = new(self.number, len);
                (Some((value.clone(), None)), swap(version, &value)?, before.is_some())
            }
            (Action::Append(_, len), before) => {
                let (old, at) = before.clone().unwrap_or_default();
                let more = new(self.number, len);
                store.append(&key, &more).map_err(|error| error.to_string())?;
                (Some(([old, more].concat(), at)), true, true)
            }
            (Action::ExpireAt(_, ms), before) => {
                let at = store.now_ms() + ms;
                let done = store.expire_at(&key, at).map_err(|error| error.to_string())?;
                let after = before.clone().map(|(value, _)| (value, Some(at)));
                (after, done.is_some(), before.is_some())
            }
            (_, before) => {
                let done = store.persist(&key).map_err(|error| error.to_string())?;
                let is_expiring = before.as_ref().is_some_and(|(_, at)| at.is_some());
                let after = before.clone().map(|(value, _)| (value, None));
                (after, done.is_some(), is_expiring)
            }
        };
        if is_done != should_be {
            return Err(format!("says that it was done: {is_done}"));
        }
        if is_done {
            self.put(*index, after);
        }
        Ok(())
    }

    fn read(&self, action: &Action) -> Checked<()> {
        let store = self.store()?;
        let one = |index: &usize| self.one(*index).map(|(value, _)| value);
        let vec = |value: Option<crate::Value>| value.map(crate::Value::into_vec);
        let is_right = match action {
            Action::Get(index) => store.get(key(*index)).map(|got| vec(got) == one(index)),
            Action::Contains(index) => {
                store.contains_key(key(*index)).map(|there| there == one(index).is_some())
            }
            Action::GetMany(indices) => {
                let keys: Vec<_> = indices.iter().map(|index| key(*index)).collect();
                let wanted: Vec<_> = indices.iter().map(one).collect();
                let got = store.get_many(&keys);
                got.map(|got| got.into_iter().map(vec).collect::<Vec<_>>() == wanted)
            }
            Action::Range(from, to, ends) => {
                return same_range(&store.snapshot(), &self.visible(&self.now), *from, *to, *ends);
            }
            _ => contents(&store).map(|found| found == self.visible(&self.now)),
        };
        if is_right.map_err(|error| error.to_string())? {
            return Ok(());
        }
        Err("another value".to_owned())
    }

    fn upkeep(&mut self, action: &Action) -> Checked<()> {
        let store = self.store()?;
        let done = match action {
            Action::Compact(mask) => {
                let mut ids = store.segment_ids();
                ids.pop();
                let chosen = ids.iter().enumerate().filter(|(bit, _)| mask >> (bit % 16) & 1 == 1);
                let chosen: Vec<u64> = chosen.map(|(_, id)| *id).collect();
                if chosen.is_empty() { Ok(()) } else { store.compact_segments(&chosen) }
            }
            Action::CompactAll => store.compact(),
            Action::CompactStep => store.compact_step().map(drop),
            Action::Rotate => store.rotate(),
            Action::Sync => store.sync(),
            Action::SyncStep => store.sync_step(),
            Action::Clear => store.clear(),
            Action::Pass(ms) => {
                self.clock.pass(*ms);
                Ok(())
            }
            Action::SetClock(ms) => {
                self.clock.set_wall(START_MS.saturating_add_signed(*ms));
                Ok(())
            }
            Action::Sweep => store.sweep_step(),
            _ => Ok(()),
        };
        done.map_err(|error| error.to_string())?;
        self.look_at_time()?;
        if matches!(action, Action::Sweep) {
            self.check_counts(&store)?;
        }
        match action {
            Action::Sync | Action::SyncStep => self.durable(),
            Action::Clear => {
                self.now.clear();
                self.snapshots.iter_mut().for_each(|(_, _, has_ended)| *has_ended = true);
                self.durable();
            }
            Action::DropHints => drop(remove_hints(&self.disk)),
            _ => {}
        }
        self.read(&Action::Iterate)
    }

    /// After a sweep what has expired is not counted.
    fn check_counts(&self, store: &Store) -> Checked<()> {
        let alive = |(_, at): &&(Vec<u8>, Option<u64>)| at.is_none_or(|at| at > self.seen_ms);
        let (there, expiring) = self
            .now
            .values()
            .filter(alive)
            .fold((0, 0), |(all, some), it| (all + 1, some + u64::from(it.1.is_some())));
        let counted = (store.len(), store.expiring_keys());
        if counted == (there, expiring) { Ok(()) } else { Err(format!("counts {counted:?}")) }
    }

    fn look_back(&mut self, action: &Action) -> Checked<()> {
        let wrong = |error: KvsError| error.to_string();
        match action {
            Action::Snapshot => {
                let snapshot = self.store()?.snapshot().map_err(wrong)?;
                self.snapshots.push((snapshot, self.visible(&self.now), false));
            }
            Action::EndSnapshot(index) if *index < self.snapshots.len() => {
                self.snapshots.remove(*index);
            }
            Action::LookBack(index) => {
                let Some((snapshot, model, has_ended)) = self.snapshots.get(*index) else {
                    return Ok(());
                };
                return same_snapshot(snapshot, model, *has_ended, *index);
            }
            _ => {}
        }
        Ok(())
    }

    fn open_again(&mut self, action: &Action) -> Checked<()> {
        let store = self.store.take().ok_or("the store is not open")?;
        self.snapshots.clear();
        match action {
            Action::Reopen => {
                store.close().map_err(|error| error.to_string())?;
                self.durable();
            }
            Action::LosePower(seed) => {
                store.abandon();
                let mut rng = Rng::new(*seed);
                let mut plans = CrashPlan::choose(self.disk.pending(), 12, &mut rng);
                plans.retain(|plan| plan.keep != Keep::Process);
                self.disk = self.disk.crash(&plans[rng.below(plans.len())]);
                self.open()?;
                let found = contents(&self.store()?).map_err(|error| error.to_string())?;
                let is_found = |version: &&Full| self.visible(version) == found;
                let Some(version) = self.versions.iter().rev().find(is_found) else {
                    return Err("after a power loss, what it never held".to_owned());
                };
                // Which one it was cannot be told if they differ only in when keys expire.
                let mut matching = self.versions.iter().filter(is_found);
                let at = |version: &Full, key: &Vec<u8>| version.get(key).and_then(|it| it.1);
                let (mut now, store) = (version.clone(), self.store()?);
                if !matching.all(|it| found.keys().all(|key| at(it, key) == at(version, key))) {
                    for key in found.keys() {
                        let found = store.expires_at(key).map_err(|error| error.to_string())?;
                        now.entry(key.clone()).and_modify(|it| it.1 = found.flatten());
                    }
                }
                self.now = now;
                return self.settle();
            }
            _ => store.abandon(),
        }
        self.open()?;
        self.read(&Action::Iterate)
    }

    /// After a power loss what is left is not durable for that: only a sync makes it so.
    fn settle(&mut self) -> Checked<()> {
        self.store()?.sync().map_err(|error| error.to_string())?;
        self.durable();
        Ok(())
    }

    fn perform(&mut self, action: &Action) -> Checked<()> {
        match action {
            Action::Set(..)
            | Action::SetFor(..)
            | Action::Remove(_)
            | Action::Batch(_)
            | Action::SwapRight(..)
            | Action::SwapWrong(..)
            | Action::SwapVersion(..)
            | Action::Append(..)
            | Action::ExpireAt(..)
            | Action::Persist(_) => self.write(action),
            Action::Get(_)
            | Action::GetMany(_)
            | Action::Contains(_)
            | Action::Range(..)
            | Action::Iterate => self.read(action),
            Action::Snapshot | Action::LookBack(_) | Action::EndSnapshot(_) => {
                self.look_back(action)
            }
            Action::Reopen | Action::Kill | Action::LosePower(_) => self.open_again(action),
            _ => self.upkeep(action),
        }
    }
}

fn perform(actions: &[Action]) -> Checked<()> {
    let mut pair = Pair::new()?;
    for (index, action) in actions.iter().enumerate() {
        pair.perform(action).map_err(|wrong| format!("action {index}, {action:?}: {wrong}"))?;
    }
    pair.read(&Action::Iterate)
}

fn random_sequences(seed: u64) -> Checked<u64> {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let ran = runner
        .run(&vec(action(), 1..120), |actions| perform(&actions).map_err(TestCaseError::fail));
    ran.map(|()| u64::from(CASES)).map_err(|error| error.to_string())
}

#[test]
fn a_store_behaves_like_a_map() {
    prove("P5 model", 20_000, random_sequences);
}
