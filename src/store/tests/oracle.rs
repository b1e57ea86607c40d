//! The oracle: what a store may contain after a crash.
//!
//! Operations are numbered 1 to T in the order in which they were made. The contents of a
//! recovered store must be those after the first p of them, for one p: at least the last one that
//! had to survive, at most the last one that had begun. Contents are compared by a hash that
//! changes with every operation, so a check costs one pass over the store, not T replays.

use std::collections::{BTreeMap, HashSet};
use std::ops::Deref;

use super::proof::Checked;
use crate::store::sim_disk::state::{Rng, hash_bytes, mix};
use crate::store::{Iter, ReadOnlyStore, Store, Value};

/// A change of one key: the value that it gets, or none.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key of the tests. They differ in length; the first one is empty.
pub fn key(index: usize) -> Vec<u8> {
    match index {
        0 => Vec::new(),
        _ => format!("key-{index}{}", "-".repeat(index % 4 * 9)).into_bytes(),
    }
}

/// A value that says which operation on which key wrote it, as far as its length allows.
pub fn value(key: &[u8], number: usize, len: usize) -> Vec<u8> {
    let mut bytes = format!("{}#{number}/{len}:", String::from_utf8_lossy(key)).into_bytes();
    let mut rng = Rng::new(hash_bytes(number as u64, key));
    while bytes.len() < len {
        bytes.extend(rng.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What is in a store: the hash of each key's value, and of all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    values: BTreeMap<Vec<u8>, u64>,
    hash: u64,
}

/// A store that can be read, whoever owns it.
pub trait Reads {
    /// Goes over all keys and values.
    fn iter(&self) -> Iter;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> crate::Result<Option<Value>>;
    /// The number of keys.
    fn len(&self) -> u64;
    /// How many of them may have expired.
    fn expiring_keys(&self) -> u64;
    /// The keys in order, where there is an index for that.
    fn in_order(&self) -> Option<crate::Result<Vec<Vec<u8>>>>;
}

macro_rules! reads {
    ($store:ty, $is_ordered:expr) => {
        impl Reads for $store {
            fn iter(&self) -> Iter {
                <$store>::iter(self)
            }

            fn get(&self, key: &[u8]) -> crate::Result<Option<Value>> {
                <$store>::get(self, key)
            }

            fn len(&self) -> u64 {
                <$store>::len(self)
            }

            fn expiring_keys(&self) -> u64 {
                <$store>::expiring_keys(self)
            }

            fn in_order(&self) -> Option<crate::Result<Vec<Vec<u8>>>> {
                let keys = || self.prefix("").and_then(|range| range.keys().collect());
                $is_ordered(self).then(keys)
            }
        }
    };
}

reads!(Store, Store::is_ordered);
reads!(ReadOnlyStore, |_| true);

impl Contents {
    /// Reads a store in each way that there is: by iterating, by asking for these keys, and its
    /// length. An error, or two ways that differ, is an answer of its own.
    pub fn read(store: &impl Reads, keys: usize) -> Checked<Contents> {
        let mut contents = Contents::default();
        for item in store.iter() {
            let (key, value) = item.map_err(|error| format!("iterating: {error}"))?;
            let known = contents.put(&key, Some(hash_bytes(0, &value)));
            if known.is_some() {
                return Err(format!("iterating: the key {} came twice", show(&key)));
            }
        }
        if let Some(in_order) = store.in_order() {
            let in_order = in_order.map_err(|error| format!("in order: {error}"))?;
            if !in_order.iter().eq(contents.values.keys()) {
                return Err(format!("the ordered index has other keys: {in_order:?}"));
            }
        }
        for key in (0..keys).map(key) {
            let got = store.get(&key).map_err(|error| format!("get {}: {error}", show(&key)))?;
            if got.map(|value| hash_bytes(0, &value)) != contents.values.get(&key).copied() {
                return Err(format!("get and iterating differ in the key {}", show(&key)));
            }
        }
        // Keys that have expired count until they are swept.
        let there = contents.values.len() as u64;
        if !(there..=there + store.expiring_keys()).contains(&store.len()) {
            return Err(format!("len is {}, not {}", store.len(), contents.values.len()));
        }
        Ok(contents)
    }

    /// These keys and values.
    pub fn of<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Contents {
        let mut contents = Contents::default();
        for (key, value) in pairs {
            contents.put(key, Some(hash_bytes(0, value)));
        }
        contents
    }

    /// Whether a key has a value.
    pub fn has(&self, key: &[u8]) -> bool {
        self.values.contains_key(key)
    }

    fn put(&mut self, key: &[u8], value: Option<u64>) -> Option<u64> {
        let seed = hash_bytes(1, key);
        let before = match value {
            Some(value) => self.values.insert(key.to_vec(), value),
            None => self.values.remove(key),
        };
        for there in before.iter().chain(&value) {
            // Set and taken away by the same operation, so the order of the keys is no matter.
            self.hash ^= mix(seed ^ there.rotate_left(17));
        }
        before
    }

    fn apply(&mut self, changes: &[(Vec<u8>, Option<u64>)]) {
        for (key, value) in changes {
            self.put(key, *value);
        }
    }
}

#[derive(Debug, Clone)]
struct Operation {
    changes: Vec<(Vec<u8>, Option<u64>)>,
    value_lens: Vec<Option<usize>>,
    started: usize,
    /// Whether it was answered with an error that says that it may be in the store or not.
    uncertain: bool,
}

/// An operation that failed and is not in the store. Its bytes may have been written and cut off
/// again: a crash may find it in the place of what came then, if that is lost.
#[derive(Debug, Clone)]
struct Ghost {
    /// How many operations were made before.
    base: usize,
    operation: Operation,
    /// Where it was answered with an error.
    failed: usize,
}

/// The operations of a workload, with the places in the recording of the disk at which they began
/// and were acknowledged.
#[derive(Debug, Clone)]
pub struct History {
    operations: Vec<Operation>,
    /// The hash of the contents after the first p operations.
    hashes: Vec<u64>,
    latest: Contents,
    written: HashSet<(Vec<u8>, u64)>,
    /// From this place on, so many operations were acknowledged.
    acknowledged: Vec<(usize, usize)>,
    /// From this place on, so many operations were acknowledged as durable.
    durable: Vec<(usize, usize)>,
    ghosts: Vec<Ghost>,
}

impl History {
    /// No operations yet.
    pub fn new() -> History {
        History {
            operations: Vec::new(),
            hashes: vec![0],
            latest: Contents::default(),
            written: HashSet::new(),
            acknowledged: Vec::new(),
            durable: Vec::new(),
            ghosts: Vec::new(),
        }
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// The contents after all operations.
    pub fn latest(&self) -> &Contents {
        &self.latest
    }

    /// The contents after the first `count` operations.
    pub fn contents(&self, count: usize) -> Contents {
        let mut contents = Contents::default();
        for operation in &self.operations[..count] {
            contents.apply(&operation.changes);
        }
        contents
    }

    /// The history if only the first `count` operations had been made, all of them acknowledged.
    pub fn prefix(&self, count: usize) -> History {
        let mut prefix = History { written: self.written.clone(), ..History::new() };
        for operation in &self.operations[..count] {
            prefix.push(Operation { started: 0, uncertain: false, ..operation.clone() });
        }
        prefix.acknowledged.push((0, count));
        prefix
    }

    /// Whether it is uncertain that the last operation was made.
    pub fn uncertain(&self) -> bool {
        self.operations.last().is_some_and(|operation| operation.uncertain)
    }

    /// What the operation with this number did, with values as long as its own, but new ones.
    pub fn echo(&self, number: usize, new_number: usize) -> Vec<Change> {
        let Some(operation) = self.operations.get(number - 1) else {
            return Vec::new();
        };
        let changes = operation.changes.iter().zip(&operation.value_lens);
        let change = |((key, _), len): (&(Vec<u8>, _), &Option<usize>)| {
            (key.clone(), len.map(|len| value(key, new_number, len)))
        };
        changes.map(change).collect()
    }

    /// The number of operations that are certain.
    pub fn settled(&self) -> usize {
        self.len() - usize::from(self.uncertain())
    }

    /// After opening the store again it is certain that the first so many operations were made.
    pub fn resolve(&mut self, survived: usize, position: usize) {
        self.operations.truncate(survived);
        self.operations.iter_mut().for_each(|operation| operation.uncertain = false);
        self.hashes.truncate(survived + 1);
        self.latest = self.contents(survived);
        self.acknowledged.push((position, survived));
    }

    /// The next operation begins.
    pub fn begin(&mut self, changes: &[Change], position: usize) {
        let lens = changes.iter().map(|(_, value)| value.as_ref().map(Vec::len));
        let hash = |value: &Option<Vec<u8>>| value.as_ref().map(|value| hash_bytes(0, value));
        let changes: Vec<_> = changes.iter().map(|(key, v)| (key.clone(), hash(v))).collect();
        let value_lens = lens.collect();
        for (key, value) in &changes {
            self.written.extend(value.map(|value| (key.clone(), value)));
        }
        self.push(Operation { changes, value_lens, started: position, uncertain: false });
    }

    fn push(&mut self, operation: Operation) {
        self.latest.apply(&operation.changes);
        self.hashes.push(self.latest.hash);
        self.operations.push(operation);
    }

    /// The last operation was acknowledged.
    pub fn acknowledge(&mut self, position: usize) {
        self.acknowledged.push((position, self.len()));
    }

    /// The histories with a failed operation at their end that a crash at this place could bring
    /// back.
    pub fn haunted(&self, position: usize, process_only: bool) -> Vec<History> {
        let least = self.bounds(position, process_only).0;
        let ghosts = self.ghosts.iter().filter(|ghost| {
            let may_be_there =
                ghost.operation.started <= position && (!process_only || position < ghost.failed);
            ghost.base >= least && may_be_there
        });
        let haunted = |ghost: &Ghost| {
            let mut history = self.prefix(ghost.base);
            history.push(ghost.operation.clone());
            history
        };
        ghosts.map(haunted).collect()
    }

    /// Everything acknowledged so far was also acknowledged as durable.
    pub fn durable(&mut self, position: usize) {
        let count = self.acknowledged.last().map_or(0, |(_, count)| *count);
        self.durable.push((position, count));
    }

    /// The last operation was answered with an error that poisons the store: it may be in it or
    /// not.
    pub fn may_have_failed(&mut self) {
        if let Some(operation) = self.operations.last_mut() {
            operation.uncertain = true;
        }
    }

    /// The last operation was answered with another error: it is not in the store.
    pub fn fail(&mut self, position: usize) {
        if let Some(operation) = self.take_back() {
            self.ghosts.push(Ghost { base: self.len(), operation, failed: position });
        }
    }

    /// The last operation was refused by a poisoned store: it left no trace.
    pub fn refuse(&mut self) {
        self.take_back();
    }

    fn take_back(&mut self) -> Option<Operation> {
        let operation = self.operations.pop();
        self.hashes.truncate(self.len() + 1);
        self.latest = self.contents(self.len());
        operation
    }

    /// How many operations a store must at least and may at most contain after a crash at this
    /// place: of the process alone, or of the machine.
    pub fn bounds(&self, position: usize, process_only: bool) -> (usize, usize) {
        let marks = if process_only { &self.acknowledged } else { &self.durable };
        let past = marks.partition_point(|(at, _)| *at <= position);
        let least = if past == 0 { 0 } else { marks[past - 1].1 };
        (least, self.operations.partition_point(|operation| operation.started <= position))
    }

    /// Checks that the contents are those after p operations, with p within the bounds. Answers
    /// with p, the highest if there are several.
    pub fn check(&self, found: &Contents, bounds: (usize, usize)) -> Checked<usize> {
        let (least, most) = bounds;
        if let Some(p) = (least..=most).rev().find(|p| self.hashes[*p] == found.hash) {
            return Ok(p);
        }
        let never = found
            .values
            .iter()
            .find(|(key, value)| !self.written.contains(&((*key).clone(), **value)));
        if let Some((key, _)) = never {
            return Err(format!("the key {} has a value that was never written", show(key)));
        }
        if let Some(p) = self.hashes.iter().position(|hash| *hash == found.hash) {
            return Err(format!("the state after operation {p}, not one of {least} to {most}"));
        }
        let differences = (least..=most).map(|p| (p, self.differences(p, found)));
        let nearest = differences.min_by_key(|(_, differences)| differences.len());
        Err(format!("no state after {least} to {most} operations; nearest: {nearest:?}"))
    }

    /// Checks that a read of each key gives its latest value or an error, nothing else.
    pub fn check_reads<V: Deref<Target = [u8]>, E>(
        &self,
        get: impl Fn(&[u8]) -> Result<Option<V>, E>,
        keys: usize,
    ) -> Checked<()> {
        for key in (0..keys).map(key) {
            let Ok(found) = get(&key) else { continue };
            let found = found.map(|value| hash_bytes(0, &value));
            if found != self.latest.values.get(&key).copied() {
                return Err(format!("the key {} reads {found:?}", show(&key)));
            }
        }
        Ok(())
    }

    fn differences(&self, count: usize, found: &Contents) -> Vec<String> {
        let wanted = self.contents(count);
        let keys: HashSet<&Vec<u8>> = wanted.values.keys().chain(found.values.keys()).collect();
        let mut differences: Vec<String> = Vec::new();
        for key in keys {
            let (wanted, found) = (wanted.values.get(key), found.values.get(key));
            match (wanted, found) {
                (Some(wanted), Some(found)) if wanted == found => {}
                (_, None) => differences.push(format!("{} is missing", show(key))),
                (None, _) => differences.push(format!("{} is back", show(key))),
                _ => differences.push(format!("{} has another value", show(key))),
            }
        }
        differences.sort();
        differences
    }
}

fn show(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}
