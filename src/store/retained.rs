//! The history that compaction leaves alone, as an option: the last so many writes, and the records
//! that they superseded.
//!
//! Compaction asks two questions. From which seq on is history kept? It does not touch a segment
//! with anything later, so a watch can read on from there. And which dead records were alive at
//! that seq? It copies them as if they still were, so the state after every later seq stays on the
//! disk. For that each write notes what it supersedes, 24 bytes in memory, until so many writes
//! have come after it. An open makes the notes anew, from the hints.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::hash::KeyHash;
use super::hint::{Entry, Kind};
use super::keydir::Location;
use super::load::{Source, entries};
use super::segment::Segment;
use super::sync::lock;

/// A set that was superseded, and by the write with which seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superseded {
    pub(crate) by: u64,
    pub(crate) location: Location,
    /// Its length on disk in bytes.
    pub(crate) len: u64,
}

pub(crate) struct Retained {
    /// How many writes are kept; 0: none.
    writes: u64,
    /// The last seq before the store was opened.
    opened_seq: u64,
    /// What was written before that, the newest first. A process that dies leaves a gap in the
    /// seqs; what counts is what was written.
    runs: Vec<Run>,
    /// Below this seq the log is not whole.
    begin: u64,
    state: Mutex<State>,
}

/// Seqs without a gap.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The seq before the first.
    before: u64,
    /// How many seqs were written from the first on, those of later runs too.
    writes: u64,
}

#[derive(Default)]
struct State {
    /// In the order in which they were superseded.
    notes: VecDeque<Superseded>,
    /// A compaction goes by them: none is let go.
    is_held: bool,
}

/// What a compaction keeps of the dead records, as long as it runs.
pub(crate) struct Hold<'a> {
    retained: &'a Retained,
    /// What was noted since, and the number of notes that were looked at.
    known: HashSet<Location>,
    seen: usize,
}

impl Retained {
    /// Over what was found by an open, `opened_seq` being the last seq before this life, and
    /// `compacted_seq` the one up to which the log is not whole.
    pub(crate) fn new(
        writes: u64,
        sources: &[Source],
        opened_seq: u64,
        compacted_seq: u64,
    ) -> Retained {
        let begin = compacted_seq.min(opened_seq);
        let runs =
            if writes == 0 { Vec::new() } else { runs(sources, writes.saturating_add(1), begin) };
        let state = Mutex::default();
        let retained = Retained { writes, opened_seq, runs, begin, state };
        if writes > 0 {
            let floor = retained.floor(opened_seq);
            let notes = superseded_after(sources, floor);
            let mut bytes = HashMap::new();
            for note in &notes {
                *bytes.entry(note.location.number()).or_default() += note.len;
            }
            for Source { segment, .. } in sources {
                let bytes = bytes.get(&usize::from(segment.number)).copied();
                segment.retained_bytes.store(bytes.unwrap_or_default(), Ordering::Relaxed);
            }
            lock(&retained.state).notes = notes.into();
        }
        retained
    }

    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.writes > 0
    }

    /// The seq from which on history is kept, when `published` is the last that was given. It does
    /// not decrease as that grows.
    pub(crate) fn floor(&self, published: u64) -> u64 {
        let since = published.saturating_sub(self.opened_seq);
        if since > self.writes || self.writes == 0 {
            return published - self.writes;
        }
        // A seq that was written, not one in a gap.
        let older = self.writes - since;
        let run = self.runs.get(self.runs.partition_point(|run| run.writes <= older));
        run.map_or(self.begin, |run| run.before + (run.writes - older))
    }

    /// Notes that a record is superseded. To be called in the order of the seqs.
    pub(crate) fn note(&self, superseded: Superseded) {
        lock(&self.state).notes.push_back(superseded);
    }

    /// Lets go of what was superseded before history is kept, unless a compaction goes by it.
    pub(crate) fn trim(&self, published: u64, mut uncount: impl FnMut(Superseded)) {
        let floor = self.floor(published);
        loop {
            let mut state = lock(&self.state);
            let is_over = |note: &Superseded| note.by <= floor;
            if state.is_held || !state.notes.front().is_some_and(is_over) {
                return;
            }
            let note = state.notes.pop_front();
            drop(state);
            note.into_iter().for_each(&mut uncount);
        }
    }

    /// Begins a compaction: what was superseded later than `floor` is kept until it ends.
    pub(crate) fn hold(&self, floor: u64) -> Hold<'_> {
        let mut state = lock(&self.state);
        state.is_held = true;
        let seen = state.notes.partition_point(|note| note.by <= floor);
        drop(state);
        Hold { retained: self, known: HashSet::new(), seen }
    }

    /// Forgets all of it.
    pub(crate) fn clear(&self) {
        lock(&self.state).notes.clear();
    }
}

impl Hold<'_> {
    /// Whether a dead record is to be kept.
    pub(crate) fn keeps(&mut self, location: Location) -> bool {
        if !self.retained.is_active() {
            return false;
        }
        // It was noted before the keydir said that it is dead.
        let state = lock(&self.retained.state);
        self.known.extend(state.notes.iter().skip(self.seen).map(|note| note.location));
        self.seen = state.notes.len();
        self.known.contains(&location)
    }

    /// Ends a compaction: records of the inputs lie elsewhere now, or are gone.
    pub(crate) fn end(
        self,
        inputs: &HashSet<usize>,
        moves: impl Iterator<Item = (Location, Location)>,
        mut count: impl FnMut(Location, u64),
    ) {
        if !self.retained.is_active() {
            return;
        }
        let moves: HashMap<Location, Location> = moves.collect();
        let mut state = lock(&self.retained.state);
        state.notes.retain_mut(|note| {
            if !inputs.contains(&note.location.number()) {
                return true;
            }
            let moved = moves.get(&note.location);
            if let Some(to) = moved {
                note.location = *to;
                count(note.location, note.len);
            }
            moved.is_some()
        });
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        lock(&self.retained.state).is_held = false;
    }
}

/// The seqs of the last writes after `begin`, in runs, the newest first.
fn runs(sources: &[Source], most: u64, begin: u64) -> Vec<Run> {
    let max_seq = |segment: &Segment| segment.max_seq.load(Ordering::Relaxed);
    let mut sources: Vec<&Source> = sources.iter().collect();
    sources.sort_unstable_by_key(|source| std::cmp::Reverse(max_seq(&source.segment)));
    let mut seqs: Vec<u64> = Vec::new();
    for Source { segment, hint } in sources {
        if seqs.len() as u64 >= most || max_seq(segment) <= begin {
            break;
        }
        let found = hint.iter(segment.end()).map(|entry| entry.seq);
        seqs.extend(found.filter(|seq| *seq > begin));
        seqs.sort_unstable_by_key(|seq| std::cmp::Reverse(*seq));
        seqs.dedup();
    }
    let mut runs: Vec<Run> = Vec::new();
    for (writes, seq) in (1..=most).zip(seqs) {
        let before = seq.saturating_sub(1);
        match runs.last_mut().filter(|run| run.before == seq) {
            Some(run) => *run = Run { before, writes },
            None => runs.push(Run { before, writes }),
        }
    }
    runs
}

/// What was superseded by the writes after `floor`, in their order.
fn superseded_after(sources: &[Source], floor: u64) -> Vec<Superseded> {
    let mut later: Vec<(KeyHash, Entry, u16)> = entries(sources)
        .filter(|(_, entry)| entry.seq > floor)
        .map(|(segment, entry)| (entry.hash, entry, segment.number))
        .collect();
    later.sort_unstable_by_key(|(hash, entry, _)| (hash.place, hash.rest, entry.seq));
    // Of each of their keys, what there was before.
    let mut newest: HashMap<KeyHash, Option<(Entry, u16)>> =
        later.iter().map(|(hash, ..)| (*hash, None)).collect();
    for (segment, entry) in entries(sources).filter(|(_, entry)| entry.seq <= floor) {
        if let Some(newest) = newest.get_mut(&entry.hash)
            && newest.is_none_or(|(newest, _)| newest.seq < entry.seq)
        {
            *newest = Some((entry, segment.number));
        }
    }
    let mut found = Vec::new();
    for (hash, entry, number) in later {
        let before = newest.insert(hash, Some((entry, number))).flatten();
        let before = before.filter(|(before, _)| before.kind == Kind::Set);
        found.extend(before.and_then(|(before, number)| {
            let location = Location::new(number, before.offset)?;
            Some(Superseded { by: entry.seq, location, len: before.len })
        }));
    }
    found.sort_unstable_by_key(|note| note.by);
    found
}
