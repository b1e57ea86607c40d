//! The history that compaction leaves alone, as an option: the last so many writes, and the records
//! that they superseded.
//!
//! Compaction asks two questions. From which seq on is history kept? It does not touch a segment
//! with anything later, so a watch can read on from there. And which dead records were alive at
//! that seq? It copies them as if they still were, so the state after every later seq stays on the
//! disk. For that each write notes what it supersedes, in 24 to 40 bytes of memory, until so many
//! writes have come after it. An open makes the notes anew, from the hints.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Below this seq the log is not whole.
    begin: u64,
    /// The seq of the last write.
    last: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last writes, the oldest first. What writes nothing, and a process that dies, leave gaps
    /// in the seqs; what counts is what was written.
    runs: VecDeque<Run>,
    /// How many writes are in them, and were.
    count: u64,
    /// In the order in which they were superseded.
    notes: VecDeque<Superseded>,
    /// A compaction goes by them: none is let go.
    is_held: bool,
}

/// Seqs of writes without a gap.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The seq before the first.
    before: u64,
    /// How many writes were counted before it.
    earlier: u64,
}

/// What a compaction keeps of the dead records, as long as it runs.
pub(crate) struct Hold<'a> {
    retained: &'a Retained,
    /// What was noted since, and the number of notes that were looked at.
    known: HashSet<Location>,
    seen: usize,
}

impl State {
    fn count_write(&mut self, seq: u64) {
        let end = self.runs.back().map(|run| run.before + (self.count - run.earlier));
        if end != seq.checked_sub(1) {
            self.runs.push_back(Run { before: seq.saturating_sub(1), earlier: self.count });
        }
        self.count += 1;
    }

    /// The seq of the write before the last so many; none: there are no more.
    fn before_last(&mut self, writes: u64) -> Option<u64> {
        let number = self.count.checked_sub(writes).filter(|number| *number > 0)?;
        while self.runs.get(1).is_some_and(|next| next.earlier < number) {
            self.runs.pop_front();
        }
        self.runs.front().map(|run| run.before + (number - run.earlier))
    }
}

impl Retained {
    /// Over what was found by an open: `last` is the seq of the last write, `compacted_seq` the one
    /// up to which the log is not whole.
    pub(crate) fn new(writes: u64, sources: &[Source], last: u64, compacted_seq: u64) -> Retained {
        let begin = compacted_seq.min(last);
        let retained =
            Retained { writes, begin, last: AtomicU64::new(last), state: Mutex::default() };
        if writes > 0 {
            let found = last_writes(sources, writes.saturating_add(1), begin);
            found.iter().rev().for_each(|seq| lock(&retained.state).count_write(*seq));
            let notes = superseded_after(sources, retained.floor());
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

    /// The seq from which on history is kept: of the write before those that are. It does not
    /// decrease.
    pub(crate) fn floor(&self) -> u64 {
        let last = self.last.load(Ordering::Acquire);
        if !self.is_active() || kvs_bug!("count_gaps_as_writes") {
            return last.saturating_sub(self.writes);
        }
        lock(&self.state).before_last(self.writes).unwrap_or(self.begin)
    }

    /// Notes that there was a write, and that it is published. To be called in the order of the
    /// seqs.
    #[inline]
    pub(crate) fn count_write(&self, seq: u64) {
        if self.is_active() {
            lock(&self.state).count_write(seq);
        }
        self.last.store(seq, Ordering::Release);
    }

    /// Notes that a record is superseded. To be called in the order of the seqs.
    pub(crate) fn note(&self, superseded: Superseded) {
        lock(&self.state).notes.push_back(superseded);
    }

    /// Lets go of what was superseded before history is kept, unless a compaction goes by it.
    pub(crate) fn trim(&self, mut uncount: impl FnMut(Superseded)) {
        let floor = self.floor();
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
        if !self.retained.is_active() || kvs_bug!("forget_retained") {
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

/// The seqs of the last writes after `begin`, the newest first.
fn last_writes(sources: &[Source], most: u64, begin: u64) -> Vec<u64> {
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
    seqs.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    seqs
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
