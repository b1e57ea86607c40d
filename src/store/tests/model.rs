//! Random sequences of everything that a store can do, against a map. A sequence that fails is
//! shrunk to a short one.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::oracle::{key, value};
use super::proof::{Checked, prove};
use super::scene::{Model, contents};
use super::workload::{SMALL, Shape, open, remove_hints};
use crate::batch::Batch;
use crate::store::Store;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;

const SHAPE: Shape = Shape { keys: 12, ..SMALL };
/// Sequences per seed.
const CASES: u32 = 100;

#[derive(Debug, Clone)]
enum Action {
    /// A key, and the length of its value.
    Set(usize, usize),
    Remove(usize),
    Batch(Vec<(usize, Option<usize>)>),
    Get(usize),
    GetMany(Vec<usize>),
    Contains(usize),
    Iterate,
    /// The sealed segments whose bits are set are compacted together.
    Compact(u16),
    CompactAll,
    CompactStep,
    Rotate,
    Sync,
    SyncStep,
    Reopen,
    Kill,
    LosePower(u64),
    DropHints,
    Clear,
}

fn action() -> impl Strategy<Value = Action> {
    let key = || 0..SHAPE.keys;
    let len = || prop_oneof![3 => 0..120_usize, 1 => 0..1500_usize];
    let change = (key(), prop_oneof![2 => len().prop_map(Some), 1 => Just(None)]);
    prop_oneof![
        12 => (key(), len()).prop_map(|(key, len)| Action::Set(key, len)),
        6 => key().prop_map(Action::Remove),
        4 => vec(change, 1..8).prop_map(Action::Batch),
        3 => key().prop_map(Action::Get),
        2 => vec(key(), 0..20).prop_map(Action::GetMany),
        1 => key().prop_map(Action::Contains),
        1 => Just(Action::Iterate),
        4 => proptest::num::u16::ANY.prop_map(Action::Compact),
        1 => Just(Action::CompactAll),
        4 => Just(Action::CompactStep),
        4 => Just(Action::Rotate),
        1 => Just(Action::Sync),
        1 => Just(Action::SyncStep),
        2 => Just(Action::Reopen),
        2 => Just(Action::Kill),
        2 => proptest::num::u64::ANY.prop_map(Action::LosePower),
        1 => Just(Action::DropHints),
        1 => Just(Action::Clear),
    ]
}

/// A store and what it must hold.
struct Pair {
    disk: SimDisk,
    store: Option<Store>,
    now: Model,
    /// What it held when it was last durable, and after each write since.
    versions: Vec<Model>,
    number: usize,
    lives: u64,
}

impl Pair {
    fn new() -> Checked<Pair> {
        let mut pair = Pair {
            disk: SimDisk::new(),
            store: None,
            now: BTreeMap::new(),
            versions: vec![BTreeMap::new()],
            number: 0,
            lives: 0,
        };
        pair.open()?;
        Ok(pair)
    }

    fn open(&mut self) -> Checked<()> {
        self.lives += 1;
        let opened = open(&self.disk, &SHAPE.options(), self.lives);
        self.store = Some(opened.map_err(|error| format!("open: {error}"))?);
        Ok(())
    }

    fn durable(&mut self) {
        self.versions = vec![self.now.clone()];
    }

    /// Applies changes to the map; answers with the values, and whether a key existed.
    fn change(&mut self, changes: &[(usize, Option<usize>)]) -> (Batch, bool) {
        self.number += 1;
        let mut batch = Batch::new();
        let existed = changes.iter().any(|(index, _)| self.now.contains_key(&key(*index)));
        for (index, len) in changes {
            let key = key(*index);
            if let Some(len) = len {
                let value = value(&key, self.number, *len);
                batch.set(&key, &value);
                self.now.insert(key, value);
            } else {
                batch.remove(&key);
                self.now.remove(&key);
            }
        }
        self.versions.push(self.now.clone());
        (batch, existed)
    }

    fn store(&self) -> Checked<Store> {
        self.store.clone().ok_or_else(|| "the store is not open".to_owned())
    }

    fn write(&mut self, action: &Action) -> Checked<()> {
        let store = self.store()?;
        let (written, existed) = match action {
            Action::Set(index, len) => {
                let (_, existed) = self.change(&[(*index, Some(*len))]);
                let key = key(*index);
                (store.set(&key, &self.now[&key]), existed)
            }
            Action::Remove(index) => {
                let (_, existed) = self.change(&[(*index, None)]);
                (store.remove(key(*index)), existed)
            }
            Action::Batch(changes) => {
                let (batch, existed) = self.change(changes);
                (store.write(&batch), existed)
            }
            _ => return Ok(()),
        };
        let written = written.map_err(|error| error.to_string())?;
        if written.existed != existed && !matches!(action, Action::Batch(_)) {
            return Err(format!("says that it existed: {}", written.existed));
        }
        Ok(())
    }

    fn read(&self, action: &Action) -> Checked<()> {
        let store = self.store()?;
        let one = |index: &usize| self.now.get(&key(*index)).cloned();
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
            _ => contents(&store).map(|found| found == self.now),
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
            _ => Ok(()),
        };
        done.map_err(|error| error.to_string())?;
        match action {
            Action::Sync | Action::SyncStep => self.durable(),
            Action::Clear => {
                self.now.clear();
                self.durable();
            }
            Action::DropHints => drop(remove_hints(&self.disk)),
            _ => {}
        }
        self.read(&Action::Iterate)
    }

    fn open_again(&mut self, action: &Action) -> Checked<()> {
        let store = self.store.take().ok_or("the store is not open")?;
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
                if !self.versions.contains(&found) {
                    return Err("after a power loss, what it never held".to_owned());
                }
                self.now = found;
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
            Action::Set(..) | Action::Remove(_) | Action::Batch(_) => self.write(action),
            Action::Get(_) | Action::GetMany(_) | Action::Contains(_) | Action::Iterate => {
                self.read(action)
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
