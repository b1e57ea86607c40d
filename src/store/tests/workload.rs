//! Workloads: a script that follows from a seed, and a session that performs it on a store while
//! it keeps the history for the oracle.

use std::path::Path;
use std::sync::Arc;

use super::clock::SetClock;
use super::oracle::{Change, Contents, History, key, value};
use super::proof::Checked;
use crate::batch::Batch;
use crate::error::{KvsError, Result};
use crate::options::{Durability, Options, ReadPath, WriteOptions};
use crate::store::disk::Disk;
use crate::store::sim_disk::SimDisk;
use crate::store::sim_disk::crash::{CrashPlan, Keep};
use crate::store::sim_disk::state::Rng;
use crate::store::{Environment, Store};

/// The directory of the store on the simulated disk.
pub const DIRECTORY: &str = "/data";

/// What a workload is like. Each `_in` is a chance of one in so many.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The number of actions.
    pub actions: usize,
    /// The number of different keys.
    pub keys: usize,
    /// The longest value in bytes.
    pub value_bytes: usize,
    /// The size of a segment in bytes.
    pub segment_bytes: u64,
    /// The size of the ballast in bytes.
    pub ballast_bytes: u64,
    /// Chance that an action is upkeep (sync, rotation, compaction, reopening), not a write.
    pub upkeep_in: usize,
    /// Chance that a write is a remove.
    pub remove_in: usize,
    /// Chance that a write is a batch.
    pub batch_in: usize,
    /// Chance that a write is to be acknowledged as durable.
    pub always_in: usize,
    /// Chance that a set expires; 0: none does. To the history it is a remove, so a store is to be
    /// read at a time (`LATER_MS`) when all that could expire has.
    pub expiring_in: usize,
    /// How many writes compaction leaves alone.
    pub retain_history: u64,
}

/// Sets and removes of few keys, for states that differ in little.
pub const SMALL: Shape = Shape {
    actions: 60,
    keys: 8,
    value_bytes: 400,
    segment_bytes: 4096,
    ballast_bytes: 0,
    upkeep_in: 6,
    remove_in: 4,
    batch_in: 12,
    always_in: 3,
    expiring_in: 0,
    retain_history: 0,
};

/// Values that fill a segment quickly, and a lot of compaction.
pub const COMPACTING: Shape = Shape { keys: 12, value_bytes: 1500, upkeep_in: 3, ..SMALL };

/// Mostly batches.
pub const BATCHES: Shape = Shape { keys: 24, value_bytes: 300, batch_in: 2, ..SMALL };

/// Sets of which many expire, most of them soon, and a lot of compaction.
pub const EXPIRING: Shape = Shape { expiring_in: 2, ..COMPACTING };

/// How much later everything has expired, in milliseconds.
pub const LATER_MS: u64 = 1_000_000_000;

/// Many writes between two syncs, and larger segments.
pub const LAZY: Shape = Shape {
    actions: 90,
    value_bytes: 900,
    segment_bytes: 16384,
    upkeep_in: 10,
    always_in: 12,
    ..SMALL
};

/// One step of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A write whose keys and values follow from the seed.
    Write { seed: u64, operations: usize, durability: Durability },
    /// What the thread that syncs does.
    SyncStep,
    /// A sync that a caller asks for.
    Sync,
    /// The active segment is sealed.
    Rotate,
    /// What the thread that compacts does.
    CompactStep,
    /// Some time goes by, in milliseconds, and the thread that compacts sweeps.
    Pass(u64),
    /// Compaction of a random choice of sealed segments.
    CompactSome(u64),
    /// Compaction of everything.
    Compact,
    /// The store is closed and opened again.
    Reopen,
    /// The process dies and the store is opened again.
    Restart,
}

impl Shape {
    /// The script of this shape and seed.
    pub fn script(&self, seed: u64) -> Vec<Action> {
        let mut rng = Rng::new(seed);
        (0..self.actions).map(|_| self.action(&mut rng)).collect()
    }

    fn action(&self, rng: &mut Rng) -> Action {
        if !rng.one_in(self.upkeep_in) {
            let operations = if rng.one_in(self.batch_in) { 2 + rng.below(12) } else { 1 };
            let durable = rng.one_in(self.always_in);
            let durability = if durable { Durability::Always } else { Durability::Os };
            if self.expiring_in > 0 && rng.one_in(8) {
                return Action::Pass(rng.next() % 3000);
            }
            return Action::Write { seed: rng.next(), operations, durability };
        }
        match rng.below(16) {
            0..=2 => Action::SyncStep,
            3 => Action::Sync,
            4..=6 => Action::Rotate,
            7..=9 => Action::CompactStep,
            10..=12 => Action::CompactSome(rng.next()),
            13 => Action::Compact,
            14 => Action::Reopen,
            _ => Action::Restart,
        }
    }

    fn changes(&self, seed: u64, operations: usize, number: usize) -> Vec<Change> {
        let mut rng = Rng::new(seed);
        let mut change = || {
            let key = key(rng.below(self.keys));
            let len = if rng.one_in(16) { 0 } else { rng.below(self.value_bytes) };
            let value = value(&key, number, len);
            (key, if rng.one_in(self.remove_in) { None } else { Some(value) })
        };
        (0..operations).map(|_| change()).collect()
    }

    /// How long each of a write's values is to live, in milliseconds; none: for ever.
    fn lives(&self, seed: u64, operations: usize) -> Vec<Option<u64>> {
        let mut rng = Rng::new(!seed);
        let mut life = || {
            let expires = self.expiring_in > 0 && rng.one_in(self.expiring_in);
            expires.then(|| if rng.one_in(4) { LATER_MS / 2 } else { 1 + rng.next() % 5000 })
        };
        (0..operations).map(|_| life()).collect()
    }

    /// The options of a store for this workload.
    pub fn options(&self) -> Options {
        Options::new()
            .segment_bytes(self.segment_bytes)
            .ballast_bytes(self.ballast_bytes)
            .read_path(ReadPath::Pread)
            .durability(Durability::Os)
            .retain_history(self.retain_history)
    }
}

/// A write that was acknowledged.
pub struct Committed {
    /// The seq that it got.
    pub seq: u64,
    changes: Vec<Change>,
    is_noop: bool,
}

impl Committed {
    /// What a watch sees of it: of each key the last change, in their order.
    pub fn changes(&self) -> impl Iterator<Item = (u64, Vec<u8>, Option<Vec<u8>>)> {
        let changes = self.changes.iter().enumerate().filter(|(index, (key, _))| {
            !self.is_noop && self.changes.iter().skip(index + 1).all(|(later, _)| later != key)
        });
        changes.map(|(_, (key, value))| (self.seq, key.clone(), value.clone()))
    }
}

/// Opens the store on a disk, without threads.
pub fn open(disk: &SimDisk, options: &Options, seed: u64) -> Result<Store> {
    open_at(&Arc::default(), disk, options, seed)
}

/// Opens the store on a disk, without threads, with this clock.
pub fn open_at(
    clock: &Arc<SetClock>,
    disk: &SimDisk,
    options: &Options,
    seed: u64,
) -> Result<Store> {
    let (disk, clock) = (Arc::new(disk.clone()), Arc::<SetClock>::clone(clock));
    let environment = Environment { disk, clock, seed, background: false };
    Store::open_in(Path::new(DIRECTORY), options, environment)
}

/// Takes the hints of a disk away. Answers with how many there were.
pub fn remove_hints(disk: &SimDisk) -> usize {
    let directory = Path::new(DIRECTORY);
    let names = disk.list(directory).unwrap_or_default();
    let hints = names.iter().filter(|name| name.ends_with(".hint"));
    hints.map(|name| disk.remove(&directory.join(name)).unwrap()).count()
}

/// A store that is worked on, and what the oracle must know of it.
pub struct Session {
    /// The disk, which may be recording.
    pub disk: SimDisk,
    /// The store; `None` if it could not be opened.
    pub store: Option<Store>,
    /// What was done.
    pub history: History,
    /// What was acknowledged in this session.
    pub written: Vec<Committed>,
    /// What the workload is like.
    pub shape: Shape,
    /// The clock of the machine.
    pub clock: Arc<SetClock>,
    number: usize,
    opened: u64,
    poisoned: bool,
}

impl Session {
    /// A session on an empty disk, recorded from before the store is made.
    pub fn recorded(shape: Shape, seed: u64) -> Session {
        let disk = SimDisk::new();
        disk.record();
        Session::new(disk, shape, seed, (History::new(), 0))
    }

    /// A session on this disk, whose store has this history. Operations that were lost are not in
    /// it, but `numbers` were given.
    pub fn new(
        disk: SimDisk,
        shape: Shape,
        seed: u64,
        (history, numbers): (History, usize),
    ) -> Session {
        Session {
            disk,
            store: None,
            history,
            written: Vec::new(),
            shape,
            clock: Arc::default(),
            number: numbers,
            opened: seed,
            poisoned: false,
        }
    }

    /// Opens the store, if it is not open.
    pub fn open(&mut self) -> Result<&Store> {
        if self.store.is_none() {
            self.opened += 1;
            self.store =
                Some(open_at(&self.clock, &self.disk, &self.shape.options(), self.opened)?);
            self.poisoned = false;
            self.resolve();
        }
        self.store.as_ref().ok_or(KvsError::Closed)
    }

    /// Whether the open store has said that it is poisoned.
    pub fn poisoned(&self) -> bool {
        self.poisoned && self.store.is_some()
    }

    /// Removes keys that are there.
    pub fn remove_some(&mut self, count: usize) -> Result<()> {
        let store = self.open()?.clone();
        let there = self.history.contents(self.history.settled());
        let keys = (0..self.shape.keys).map(key).filter(|key| there.has(key)).take(count);
        for key in keys.collect::<Vec<_>>() {
            self.number += 1;
            self.write(&store, &[(key, None)], &[], Durability::Os)?;
        }
        Ok(())
    }

    /// What opening the store found decides which of the last, failed operations were made.
    fn resolve(&mut self) {
        if self.history.uncertain() {
            let bounds = (self.history.settled(), self.history.len());
            let survived = self.contents().and_then(|found| self.history.check(&found, bounds));
            let survived = survived.unwrap_or_else(|wrong| panic!("opened again: {wrong}"));
            self.history.resolve(survived, self.disk.position());
        }
    }

    /// The contents of the open store.
    pub fn contents(&self) -> Checked<Contents> {
        let store = self.store.as_ref().ok_or("the store is not open")?;
        Contents::read(store, self.shape.keys)
    }

    /// Performs all of a script; every error is one too many.
    pub fn perform(&mut self, script: &[Action]) -> Checked<()> {
        for (index, action) in script.iter().enumerate() {
            self.act(*action).map_err(|error| format!("action {index}, {action:?}: {error}"))?;
        }
        Ok(())
    }

    /// Performs one action.
    pub fn act(&mut self, action: Action) -> Result<()> {
        let outcome = self.try_act(action);
        self.poisoned |= matches!(outcome, Err(KvsError::Poisoned { .. }));
        outcome
    }

    fn try_act(&mut self, action: Action) -> Result<()> {
        let store = self.open()?.clone();
        match action {
            Action::Write { seed, operations, durability } => {
                self.number += 1;
                let changes = self.shape.changes(seed, operations, self.number);
                let lives = self.shape.lives(seed, operations);
                return self.write(&store, &changes, &lives, durability);
            }
            Action::SyncStep => {
                store.sync_step()?;
                self.history.durable(self.disk.position());
            }
            Action::Sync => {
                store.sync()?;
                self.history.durable(self.disk.position());
            }
            Action::Rotate => store.rotate()?,
            Action::CompactStep => drop(store.compact_step()?),
            Action::Pass(ms) => {
                self.clock.pass(ms);
                store.sync_step()?;
                self.history.durable(self.disk.position());
                store.sweep_step()?;
            }
            Action::CompactSome(seed) => {
                let (mut rng, mut ids) = (Rng::new(seed), store.segment_ids());
                ids.pop();
                ids.retain(|_| rng.one_in(2));
                if !ids.is_empty() {
                    store.compact_segments(&ids)?;
                }
            }
            Action::Compact => store.compact()?,
            Action::Reopen => {
                self.store = None;
                store.close()?;
                self.history.durable(self.disk.position());
                self.open()?;
            }
            Action::Restart => {
                self.store = None;
                store.abandon();
                self.open()?;
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        store: &Store,
        changes: &[Change],
        lives: &[Option<u64>],
        durability: Durability,
    ) -> Result<()> {
        let existed = changes.first().map(|(key, _)| self.history.latest().has(key));
        let certain = !self.history.uncertain() && self.shape.expiring_in == 0;
        let lasting: Vec<Change> = changes
            .iter()
            .zip(lives.iter().chain(std::iter::repeat(&None)))
            .map(|((key, value), life)| (key.clone(), value.clone().filter(|_| life.is_none())))
            .collect();
        self.history.begin(&lasting, self.disk.position());
        let options = WriteOptions::new().durability(durability);
        let written = match (changes, lives) {
            ([(key, Some(value))], [] | [None]) => store.set_opt(key, value, options),
            ([(key, None)], _) => store.remove_opt(key, options),
            _ => {
                let mut batch = Batch::new();
                for (at, (key, value)) in changes.iter().enumerate() {
                    match (value, lives.get(at).copied().flatten()) {
                        (Some(value), None) => batch.set(key, value),
                        (Some(value), Some(ms)) => batch.set_until(key, value, store.now_ms() + ms),
                        (None, _) => batch.remove(key),
                    };
                }
                store.write_opt(&batch, options)
            }
        };
        match written {
            Ok(written) => {
                if changes.len() == 1 && certain {
                    assert_eq!(Some(written.existed), existed, "`existed` of {changes:?}");
                }
                self.history.acknowledge(self.disk.position());
                // In the end it is one remove of nothing.
                let is_remove = changes.last().is_some_and(|(key, value)| {
                    value.is_none() && changes.iter().all(|(other, _)| other == key)
                });
                let is_noop = !written.existed && is_remove;
                let (seq, changes) = (written.seq, lasting);
                self.written.push(Committed { seq, changes, is_noop });
                if durability == Durability::Always {
                    self.history.durable(self.disk.position());
                }
                Ok(())
            }
            Err(error) => {
                // The first error of a poisoned store may be that of a write whose sync failed;
                // after it every write is refused.
                let poisoned = matches!(error, KvsError::Poisoned { .. });
                match (poisoned, self.poisoned) {
                    (true, true) => self.history.refuse(),
                    (true, false) => self.history.may_have_failed(),
                    (false, _) => self.history.fail(self.disk.position()),
                }
                Err(error)
            }
        }
    }

    /// Writes something that takes exactly the place of a lost operation, so that what lay behind
    /// that one would be found again, and lets the process die.
    pub fn check_overwrites(&mut self, lost: &[Change]) -> Checked<()> {
        let store = self.open().map_err(|error| format!("open: {error}"))?.clone();
        let written = self.write(&store, lost, &[], Durability::Os);
        written.map_err(|error| format!("in the place of a lost operation: {error}"))?;
        self.store = None;
        store.abandon();
        self.open().map_err(|error| format!("open: {error}"))?;
        let all = self.history.len();
        let checked = self.history.check(&self.contents()?, (all, all));
        checked.map_err(|wrong| format!("in the place of a lost operation: {wrong}"))?;
        Ok(())
    }

    /// Checks that the store works: writes that are acknowledged as durable are still there after
    /// a power loss, nothing else changed, and upkeep goes on.
    pub fn check_works(&mut self) -> Checked<()> {
        let wrong = |error: KvsError| format!("going on: {error}");
        for seed in 0..4 {
            let durability = Durability::Always;
            let operations = 1 + usize::from(seed == 2) * 5;
            self.act(Action::Write { seed, operations, durability }).map_err(wrong)?;
        }
        for action in [Action::Rotate, Action::Compact] {
            self.act(action).map_err(wrong)?;
        }
        let write = Action::Write { seed: 9, operations: 1, durability: Durability::Always };
        self.act(write).map_err(wrong)?;
        let all = self.history.len();
        self.history.check(&self.contents()?, (all, all)).map_err(|w| format!("going on: {w}"))?;
        let disk = self.disk.crash(&CrashPlan::new(Keep::Nothing, 1));
        let store = open_at(&self.clock, &disk, &self.shape.options(), self.opened + 77);
        let store = store.map_err(wrong)?;
        let found = Contents::read(&store, self.shape.keys)?;
        store.abandon();
        self.history
            .check(&found, (all, all))
            .map_err(|w| format!("going on, then a crash: {w}"))?;
        Ok(())
    }
}
