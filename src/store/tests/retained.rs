//! History that is retained: watches and restores reach as many writes back as was asked for,
//! whatever is compacted, over closes and kills. What is older is there or said to be gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backups::{self, BACKUP};
use super::oracle::{key, value};
use super::proof::{Checked, prove};
use super::scene::Model;
use super::watches::{Seen, all};
use super::workload::{open, remove_hints};
use crate::batch::Batch;
use crate::error::KvsError;
use crate::options::{Durability, Options, ReadPath};
use crate::store::Store;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::state::Rng;

const KEYS: usize = 10;

/// One write: its seq, what it changed, and what there was afterwards.
struct Written {
    seq: u64,
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    state: Model,
}

/// A store that retains so many writes, and all that was written to it.
struct Subject {
    disk: SimDisk,
    store: Store,
    retained: usize,
    writes: Vec<Written>,
    rng: Rng,
    /// How often the past was asked for, and how often it was gone.
    asked: u64,
    gone: u64,
}

fn options(retained: usize) -> Options {
    Options::new()
        .segment_bytes(4096)
        .ballast_bytes(0)
        .space_amplification(1.1)
        .read_path(ReadPath::Pread)
        .durability(Durability::Os)
        .retain_history(retained as u64)
}

impl Subject {
    fn new(retained: usize, seed: u64) -> Subject {
        let disk = SimDisk::new();
        let store = open(&disk, &options(retained), seed).unwrap();
        let rng = Rng::new(seed);
        Subject { disk, store, retained, writes: Vec::new(), rng, asked: 0, gone: 0 }
    }

    fn write(&mut self) {
        let number = self.writes.len();
        let mut state = self.writes.last().map(|it| it.state.clone()).unwrap_or_default();
        let count = if self.rng.one_in(6) { 2 + self.rng.below(4) } else { 1 };
        let (mut batch, mut changes) = (Batch::new(), BTreeMap::new());
        for _ in 0..count {
            let key = key(self.rng.below(KEYS));
            let len = self.rng.below(500);
            let value = value(&key, number, len);
            // Removing nothing would be no write.
            match self.rng.one_in(4) && state.contains_key(&key) && !changes.contains_key(&key) {
                true => changes.insert(key, None),
                false => changes.insert(key, Some(value)),
            };
        }
        for (key, value) in &changes {
            match value {
                Some(value) => {
                    batch.set(key, value);
                    state.insert(key.clone(), value.clone());
                }
                None => {
                    batch.remove(key);
                    state.remove(key);
                }
            }
        }
        let seq = self.store.write(&batch).unwrap().seq;
        self.writes.push(Written { seq, changes: changes.into_iter().collect(), state });
    }

    fn upkeep(&mut self) {
        match self.rng.below(9) {
            0..=2 => self.store.rotate().unwrap(),
            3..=4 => while self.store.compact_step().unwrap() {},
            5 => self.store.compact().unwrap(),
            6 => self.reopen(|store| store.close().unwrap()),
            7 => self.reopen(Store::abandon),
            _ => {
                self.reopen(|store| {
                    store.sync().unwrap();
                    store.abandon();
                });
            }
        }
    }

    fn reopen(&mut self, end: impl FnOnce(Store)) {
        let before = self.store.retained_bytes();
        end(self.store.clone());
        if self.rng.one_in(2) {
            remove_hints(&self.disk);
        }
        self.store = open(&self.disk, &options(self.retained), self.rng.next() >> 1).unwrap();
        let after = self.store.retained_bytes();
        assert_eq!(after, before, "what was noted is found again");
    }

    /// Whether the state after the first so many writes must be known.
    fn is_promised(&self, count: usize) -> bool {
        self.writes.len() - count <= self.retained
    }

    fn is_gone(&mut self, error: &KvsError, count: usize) -> Checked<()> {
        let is_gone = matches!(error, KvsError::HistoryGone { .. });
        if !is_gone || self.is_promised(count) {
            return Err(format!("after {count} of {} writes: {error}", self.writes.len()));
        }
        self.gone += 1;
        Ok(())
    }

    /// Everything after some write is watched.
    fn check_watch(&mut self, count: usize) -> Checked<()> {
        self.asked += 1;
        let after = count.checked_sub(1).map_or(0, |last| self.writes[last].seq);
        let mut watch = match self.store.watch(Some(after), "") {
            Ok(watch) => watch,
            Err(error) => return self.is_gone(&error, count),
        };
        let later = self.writes[count..].iter();
        let expected: Vec<Seen> = later
            .flat_map(|it| {
                it.changes.iter().map(|(key, value)| (it.seq, key.clone(), value.clone()))
            })
            .collect();
        if all(&mut watch) != expected {
            return Err(format!("a watch after {count} of {} writes", self.writes.len()));
        }
        Ok(())
    }

    /// The state after some write is restored from a backup.
    fn check_restore(&mut self, count: usize) -> Checked<()> {
        let Some(last) = count.checked_sub(1) else {
            return Ok(());
        };
        self.asked += 1;
        match backups::restored(&self.disk, Some(self.writes[last].seq)) {
            Err(error) => self.is_gone(&error, count),
            Ok(found) if found == self.writes[last].state => Ok(()),
            Ok(_) => Err(format!("the state after {count} of {} writes", self.writes.len())),
        }
    }

    fn check(&mut self) -> Checked<()> {
        self.store.backup(BACKUP).map_err(|error| error.to_string())?;
        let all = self.writes.len();
        let oldest = all.saturating_sub(self.retained);
        let mut counts = vec![oldest, oldest.saturating_sub(1), all];
        counts.extend((0..3).map(|_| oldest + self.rng.below(all - oldest + 1)));
        counts.extend((0..2).map(|_| self.rng.below(all + 1)));
        for count in counts {
            self.check_watch(count)?;
            self.check_restore(count)?;
        }
        Ok(())
    }
}

/// Answers with how often the past was asked for.
pub fn retain(seed: u64) -> Checked<u64> {
    look_back(seed).map(|(asked, _)| asked)
}

/// How often the past was asked for, and how often it was gone.
fn look_back(seed: u64) -> Checked<(u64, u64)> {
    let retained = [20, 60, 150][Rng::new(seed).below(3)];
    let mut subject = Subject::new(retained, seed);
    for _ in 0..400 {
        if subject.rng.one_in(8) {
            subject.upkeep();
        } else {
            subject.write();
        }
        if subject.rng.one_in(40) {
            subject.check()?;
        }
    }
    let live: u64 = subject
        .writes
        .last()
        .map_or(0, |it| it.state.values().map(|value| value.len() as u64 + 64).sum());
    subject.store.compact().map_err(|error| error.to_string())?;
    subject.check()?;
    // What need not be kept is not.
    let bytes = subject.store.stats().segment_file_bytes;
    let most = live + (subject.retained as u64) * 1000 + 5 * 4096;
    if bytes > most {
        return Err(format!("{bytes} bytes of segments, more than {most}"));
    }
    Ok((subject.asked, subject.gone))
}

#[test]
fn watches_and_restores_reach_as_far_back_as_was_asked_for() {
    let gone = AtomicU64::new(0);
    prove("retained history", 20_000, |seed| {
        let (asked, gone_now) = look_back(seed)?;
        gone.fetch_add(gone_now, Ordering::Relaxed);
        Ok(asked)
    });
    // Not with each seed, but a test in which it never was would say little.
    assert!(gone.into_inner() > 0, "nothing of the past was ever gone");
}

#[test]
fn what_was_compacted_before_history_was_retained_is_gone() {
    let disk = SimDisk::new();
    let store = open(&disk, &options(0), 1).unwrap();
    let first = store.set("a", "1").unwrap().seq;
    let second = store.set("a", "2").unwrap().seq;
    store.compact().unwrap();
    store.close().unwrap();
    let store = open(&disk, &options(100), 2).unwrap();
    let third = store.set("a", "3").unwrap().seq;
    store.set("b", "1").unwrap();
    store.compact().unwrap();
    store.backup(BACKUP).unwrap();
    let is_gone = |error: KvsError| matches!(error, KvsError::HistoryGone { .. });
    assert!(store.watch(Some(first), "").is_err_and(is_gone));
    assert_eq!(all(&mut store.watch(Some(second), "").unwrap()).len(), 2);
    assert!(backups::restored(&disk, Some(first)).is_err_and(is_gone));
    for (seq, value) in [(second, "2"), (third, "3")] {
        let found = backups::restored(&disk, Some(seq)).unwrap();
        assert_eq!(found, super::scene::model(&[("a", value)]));
    }
}

#[test]
fn what_was_cleared_is_gone_and_history_goes_on_from_there() {
    let disk = SimDisk::new();
    let store = open(&disk, &options(100), 1).unwrap();
    let first = store.set("a", "1").unwrap().seq;
    store.set("a", "2").unwrap();
    store.clear().unwrap();
    let third = store.set("a", "3").unwrap().seq;
    store.set("a", "4").unwrap();
    store.close().unwrap();
    let store = open(&disk, &options(100), 2).unwrap();
    store.compact().unwrap();
    store.backup(BACKUP).unwrap();
    let is_gone = |error: KvsError| matches!(error, KvsError::HistoryGone { .. });
    assert!(store.watch(Some(first), "").is_err_and(is_gone));
    assert!(backups::restored(&disk, Some(first)).is_err_and(is_gone));
    // The clear has a seq of its own, before that of the first write after it.
    assert_eq!(all(&mut store.watch(Some(third - 1), "").unwrap()).len(), 2);
    for (seq, pairs) in [(third - 1, &[][..]), (third, &[("a", "3")])] {
        let found = backups::restored(&disk, Some(seq)).unwrap();
        assert_eq!(found, super::scene::model(pairs));
    }
}
