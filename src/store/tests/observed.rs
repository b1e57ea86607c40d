//! Power loss and kill -9 while snapshots live, a watch reads on and backups are made, by the owner
//! and by readers: a backup is refused as unfinished or restores to exactly the state at its seq, a
//! watch that goes on after the crash gives exactly what it has not given, or says that it is gone,
//! and of what a snapshot has pinned nothing is left.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;

use super::backups::{BACKUP, restored_with_seq};
use super::crash::{Crash, each_crash};
use super::oracle::Contents;
use super::proof::{Checked, prove};
use super::reader::reader;
use super::watches::{Seen, all};
use super::workload::{Action, COMPACTING, DIRECTORY, Session, Shape, open};
use crate::error::{KvsError, Result};
use crate::store::sim_disk::state::Rng;
use crate::store::sim_disk::trace::Trace;
use crate::store::{BackupReport, Snapshot, Store, Watch};

/// Crashes per crash point.
const PLANS: usize = 8;

/// A lot of compaction.
pub const OBSERVED: Shape = Shape { always_in: 6, ..COMPACTING };

/// The same, with some history retained.
pub const RETAINED: Shape = Shape { retain_history: 12, ..OBSERVED };

/// A backup that was made: where in the recording, and of which seq.
struct Made {
    begun: usize,
    done: usize,
    seq: u64,
}

/// A workload that was observed.
struct Observed {
    session: Session,
    /// All changes, with the number of the operation that made each.
    log: Vec<(usize, Seen)>,
    /// Where in the recording a watch had seen everything up to which seq.
    marks: Vec<(usize, u64)>,
    backups: Vec<Made>,
}

/// Those who observe a workload while it is performed.
struct Observers {
    rng: Rng,
    watch: Watch,
    /// How many changes of the log the watch has seen.
    seen: usize,
    /// Snapshots, each with the number of operations that it sees.
    snapshots: VecDeque<(Snapshot, usize)>,
}

fn wrong(error: KvsError) -> String {
    error.to_string()
}

impl Observed {
    /// Performs the workload, and records it.
    fn new(shape: Shape, seed: u64) -> Checked<(Observed, Trace)> {
        let mut session = Session::recorded(shape, seed);
        let watch = session.open().and_then(|store| store.watch(Some(0), "")).map_err(wrong)?;
        let (rng, snapshots) = (Rng::new(!seed), VecDeque::new());
        let mut observers = Observers { rng, watch, seen: 0, snapshots };
        let (log, marks, backups) = (Vec::new(), vec![(0, 0)], Vec::new());
        let mut observed = Observed { session, log, marks, backups };
        for (index, action) in shape.script(seed).into_iter().enumerate() {
            observed
                .step(action, &mut observers)
                .map_err(|error| format!("action {index}, {action:?}: {error}"))?;
        }
        let trace = observed.session.disk.take_trace();
        Ok((observed, trace))
    }

    fn store(&self) -> Checked<Store> {
        self.session.store.clone().ok_or_else(|| "the store is not open".to_owned())
    }

    fn step(&mut self, action: Action, observers: &mut Observers) -> Checked<()> {
        let before = self.session.written.len();
        self.session.act(action).map_err(wrong)?;
        for written in self.session.written.get(before..).unwrap_or_default() {
            let number = self.session.history.len();
            self.log.extend(written.changes().map(|change| (number, change)));
        }
        let store = self.store()?;
        if matches!(action, Action::Reopen | Action::Restart) {
            observers.snapshots.clear();
            let (_, last) = self.marks[self.marks.len() - 1];
            self.resume(&store, observers, Some(last))?;
        }
        match observers.rng.below(12) {
            0..=4 => self.read_on(&store, observers),
            5 => {
                let snapshot = store.snapshot().map_err(wrong)?;
                observers.snapshots.push_back((snapshot, self.session.history.len()));
                Ok(())
            }
            6..=7 => self.look_back(observers),
            8 => self.back_up(|| store.backup(BACKUP)),
            9 => {
                let disk = self.session.disk.clone();
                self.back_up(|| reader(&disk)?.backup(BACKUP))
            }
            _ => Ok(()),
        }
    }

    /// A watch goes on, behind a seq or from now on.
    fn resume(&self, store: &Store, observers: &mut Observers, after: Option<u64>) -> Checked<()> {
        let all = self.session.written.len();
        match store.watch(after, "") {
            Ok(watch) => observers.watch = watch,
            Err(error) if after.is_some_and(|after| self.may_be(&error, after, all)) => {
                return self.resume(store, observers, None);
            }
            Err(error) => return Err(wrong(error)),
        }
        let is_seen = |(_, (seq, ..)): &&(usize, Seen)| after.is_none_or(|after| *seq <= after);
        observers.seen = self.log.iter().take_while(is_seen).count();
        Ok(())
    }

    /// Whether that may be the answer of who was asked for what came after a seq, or was then, and
    /// knows so many operations.
    fn may_be(&self, error: &KvsError, seq: u64, known: usize) -> bool {
        let later = known.saturating_sub(self.count_upto(seq)) as u64;
        let is_gone = matches!(error, KvsError::HistoryGone { .. });
        is_gone && later > self.session.shape.retain_history
    }

    fn read_on(&mut self, store: &Store, observers: &mut Observers) -> Checked<()> {
        let all = self.session.written.len();
        for _ in 0..observers.rng.below(30) {
            let expected = self.log.get(observers.seen).map(|(_, change)| change);
            let next = match observers.watch.next() {
                Err(error)
                    if expected.is_some_and(|(seq, ..)| self.may_be(&error, seq - 1, all)) =>
                {
                    self.resume(store, observers, None)?;
                    let published = store.snapshot().map_err(wrong)?.seq();
                    self.marks.push((self.session.disk.position(), published));
                    return Ok(());
                }
                next => next.map_err(wrong)?,
            };
            let found = next.map(|it| (it.seq, it.key, it.value.map(crate::Value::into_vec)));
            if found.as_ref() != expected {
                return Err(format!("the watch gives {found:?}, not {expected:?}"));
            }
            let Some((seq, ..)) = found else {
                break;
            };
            observers.seen += 1;
            if self.log.get(observers.seen).is_none_or(|(_, next)| next.0 != seq) {
                self.marks.push((self.session.disk.position(), seq));
            }
        }
        Ok(())
    }

    /// Looks into all snapshots; the oldest may end then.
    fn look_back(&self, observers: &mut Observers) -> Checked<()> {
        for (snapshot, count) in &observers.snapshots {
            let pairs = snapshot.iter().collect::<crate::Result<Vec<_>>>().map_err(wrong)?;
            let pairs = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
            let checked = self.session.history.check(&Contents::of(pairs), (*count, *count));
            checked.map_err(|wrong| format!("a snapshot: {wrong}"))?;
        }
        if observers.rng.one_in(3) {
            observers.snapshots.pop_front();
        }
        Ok(())
    }

    fn back_up(&mut self, back_up: impl FnOnce() -> Result<BackupReport>) -> Checked<()> {
        let begun = self.session.disk.position();
        let seq = back_up().map_err(wrong)?.seq;
        self.backups.push(Made { begun, done: self.session.disk.position(), seq });
        Ok(())
    }

    /// How many operations have at most this seq.
    fn count_upto(&self, seq: u64) -> usize {
        self.session.written.partition_point(|written| written.seq <= seq)
    }

    /// What is seen in a state after a crash, besides the store itself.
    fn examine(&self, crash: &Crash, rng: &mut Rng) -> Checked<()> {
        self.check_backup(crash, rng)?;
        let Session { shape, history, .. } = &self.session;
        let store = open(&crash.disk, &shape.options(), rng.next() >> 1).map_err(wrong)?;
        let found = Contents::read(&store, shape.keys)?;
        let survived = history.check(&found, crash.bounds)?;
        self.check_watch(&store, &found, crash, survived)?;
        // A file without a whole header is left alone: it could be anybody's.
        let is_segment = |(path, bytes): &&(PathBuf, Vec<u8>)| {
            let is_whole = bytes.starts_with(b"KVS-SEG\n")
                && bytes.len() >= 48
                && bytes[44..48] == crc32c::crc32c(&bytes[..44]).to_le_bytes();
            let is_named = path.extension().is_some_and(|extension| extension == "seg");
            path.starts_with(DIRECTORY) && is_named && is_whole
        };
        let files = crash.disk.files().iter().filter(is_segment).count();
        let named = store.stats().segments.len();
        if files != named {
            return Err(format!("{files} files of {named} segments"));
        }
        if rng.one_in(16) {
            let seq = store.backup(BACKUP).map_err(wrong)?.seq;
            let (restored, pairs) = restored_with_seq(&crash.disk, None).map_err(wrong)?;
            let pairs = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
            if restored != seq || Contents::of(pairs) != found {
                return Err("a backup after the crash is another".to_owned());
            }
        }
        store.abandon();
        Ok(())
    }

    fn check_watch(
        &self,
        store: &Store,
        found: &Contents,
        crash: &Crash,
        survived: usize,
    ) -> Checked<()> {
        let past = self.marks.partition_point(|(position, _)| *position <= crash.at);
        let (_, after) = self.marks[past - 1];
        let seen = match store.watch(Some(after), "") {
            Err(error) if self.may_be(&error, after, survived) => return Ok(()),
            watch => all(&mut watch.map_err(|error| {
                format!("a watch after the seq {after}, {survived} operations: {error}")
            })?),
        };
        let is_given = |count: usize| {
            let later =
                self.log.iter().filter(|(number, (seq, ..))| *number <= count && *seq > after);
            seen.iter().eq(later.map(|(_, change)| change))
        };
        // Different prefixes may have the same contents.
        let (least, most) = crash.bounds;
        let history = &self.session.history;
        let mut counts =
            (least..=most).filter(|count| history.check(found, (*count, *count)).is_ok());
        match counts.any(is_given) {
            true => Ok(()),
            false => Err(format!("a watch after the seq {after} gives {} changes", seen.len())),
        }
    }

    fn check_backup(&self, crash: &Crash, rng: &mut Rng) -> Checked<()> {
        let done = self.backups.iter().rfind(|made| made.done <= crash.at);
        let begun = self.backups.iter().find(|made| made.begun <= crash.at && crash.at < made.done);
        let (seq, pairs) = match restored_with_seq(&crash.disk, None) {
            Err(KvsError::NotAStore { .. }) if done.is_none() => return Ok(()),
            restored => restored.map_err(|error| format!("the backup: {error}"))?,
        };
        if done.into_iter().chain(begun).all(|made| made.seq != seq) {
            return Err(format!("a backup of the seq {seq}, which none was made of"));
        }
        self.check_restored(seq, &pairs)?;
        let earlier = rng.below(self.count_upto(seq) + 1).checked_sub(1);
        let Some(earlier) = earlier.filter(|_| rng.one_in(2)) else {
            return Ok(());
        };
        let earlier = self.session.written[earlier].seq;
        match restored_with_seq(&crash.disk, Some(earlier)) {
            Err(error) if self.may_be(&error, earlier, self.count_upto(seq)) => Ok(()),
            Err(error) => Err(format!("a backup of the seq {seq}: {error}")),
            Ok((_, pairs)) => self.check_restored(earlier, &pairs),
        }
    }

    fn check_restored(&self, seq: u64, pairs: &super::scene::Model) -> Checked<()> {
        let count = self.count_upto(seq);
        let pairs = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
        let checked = self.session.history.check(&Contents::of(pairs), (count, count));
        checked.map(drop).map_err(|wrong| format!("restored to the seq {seq}: {wrong}"))
    }
}

/// Covers every crash point of one workload. Answers with the number of different states.
pub fn observe_everywhere(shape: Shape, seed: u64) -> Checked<u64> {
    let (observed, trace) = Observed::new(shape, seed)?;
    let mut rng = Rng::new(seed ^ 1);
    let mut known = HashSet::new();
    each_crash(&trace, &observed.session.history, PLANS, seed, &mut |crash| {
        let past = observed.marks.partition_point(|(position, _)| *position <= crash.at);
        let done = observed.backups.partition_point(|made| made.done <= crash.at);
        match known.insert((crash.disk.fingerprint(), crash.bounds, past, done)) {
            true => observed.examine(crash, &mut rng),
            false => Ok(()),
        }
    })?;
    Ok(known.len() as u64)
}

#[test]
fn crashes_keep_what_observers_were_told() {
    prove("P2 observers", 12_000, |seed| observe_everywhere(OBSERVED, seed));
}

#[test]
fn crashes_keep_retained_history() {
    prove("P2 retained history", 12_000, |seed| observe_everywhere(RETAINED, seed));
}
