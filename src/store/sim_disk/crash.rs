//! What a power loss makes of the simulated disk: for every change that is pending, whether it is
//! on the disk afterwards, and in which parts.
//!
//! The model, per pending change, independent of all others: kept, dropped, or (a write) torn at
//! sector boundaries, with any of its sectors kept. The length of a file need not be that of its
//! data. A range that was never written durably may hold zeros, garbage or the blocks of another
//! file. Changes of names are kept or dropped each for itself. What was durable stays: the medium
//! damages only the bytes that it is writing.
#![expect(clippy::indexing_slicing, reason = "a test double: a wrong range is to end the test")]

use std::ops::Range;
use std::sync::Arc;

use super::state::{Change, Content, Directory, FileNode, Names, Rng, State, mix};

/// Which of the pending changes are there after the crash. They are numbered from 0 in the order
/// in which they were made, over all files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The process died, not the machine: nothing is lost, and what was pending still is.
    Process,
    /// All of them.
    All,
    /// None.
    Nothing,
    /// The first so many.
    Prefix(usize),
    /// All but these two, which may be the same.
    AllBut(usize, usize),
    /// Only these two, which may be the same.
    Only(usize, usize),
    /// Each with a chance of one half.
    Subset,
    /// All, but of this one only some sectors of so many bytes.
    TornOne(usize, usize),
    /// Of each write some sectors of so many bytes; each change of names with a chance of one half.
    Torn(usize),
}

/// How long a file is after the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As long as the changes that were kept make it.
    OfData,
    /// As long as it was at its last sync.
    Durable,
    /// As long as it was at any moment since.
    Any,
}

/// What stands in a range that was never written durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Zeros.
    Zeros,
    /// Random bytes.
    Garbage,
    /// The blocks of the file that was removed last.
    Stale,
}

/// A crash. The same plan makes the same bytes of the same state.
#[derive(Debug, Clone, Copy)]
pub struct CrashPlan {
    /// Which changes are kept.
    pub keep: Keep,
    /// How long files are.
    pub length: Length,
    /// What stands where nothing was written.
    pub fill: Fill,
    /// Makes the random choices.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
    Torn(usize),
}

impl CrashPlan {
    /// A crash with these changes, lengths as they follow from them, and zeros elsewhere.
    pub fn new(keep: Keep, seed: u64) -> CrashPlan {
        CrashPlan { keep, length: Length::OfData, fill: Fill::Zeros, seed }
    }

    /// Crashes for a state with so many pending changes: always the death of the process, all and
    /// nothing; then prefixes, single and pair drops and keeps, torn writes and random subsets. If
    /// there are more than `most`, a random choice of them.
    pub fn choose(pending: usize, most: usize, rng: &mut Rng) -> Vec<CrashPlan> {
        let mut plans: Vec<CrashPlan> = [Keep::Process, Keep::All, Keep::Nothing]
            .map(|keep| CrashPlan::new(keep, rng.next()))
            .to_vec();
        if pending == 0 {
            plans.truncate(2);
            return plans;
        }
        let mut others = Vec::new();
        for i in 0..pending {
            others.extend([Keep::Prefix(i), Keep::AllBut(i, i), Keep::Only(i, i)]);
            others.extend([Keep::TornOne(i, 512), Keep::TornOne(i, 4096)]);
        }
        for _ in 0..(2 * pending).min(pending * (pending - 1)) {
            let (i, j) = (rng.below(pending), rng.below(pending));
            others.extend([Keep::AllBut(i, j), Keep::Only(i, j)]);
        }
        others.extend([Keep::All, Keep::Torn(512), Keep::Torn(4096), Keep::Torn(512)]);
        others.resize(others.len() + pending.min(8), Keep::Subset);
        while !others.is_empty() && plans.len() < most {
            let keep = others.swap_remove(rng.below(others.len()));
            let length = [Length::OfData, Length::OfData, Length::Any, Length::Durable];
            let fill = [Fill::Zeros, Fill::Zeros, Fill::Garbage, Fill::Stale];
            plans.push(CrashPlan {
                keep,
                length: length[rng.below(length.len())],
                fill: fill[rng.below(fill.len())],
                seed: rng.next(),
            });
        }
        plans
    }

    /// The state after this crash.
    pub fn apply(&self, state: &State) -> State {
        let mut after = state.at_rest();
        if self.keep == Keep::Process {
            return after;
        }
        let orders = after.pending();
        for (node, file) in &mut after.files {
            let rng = Rng::new(self.seed ^ mix(*node as u64));
            *file = self.file(file, &orders, rng, &state.stale);
        }
        for directory in after.directories.values_mut() {
            let names = Arc::new(self.names(directory, &orders));
            *directory =
                Directory { current: Arc::clone(&names), durable: names, pending: Vec::new() };
        }
        after.at_rest()
    }

    fn fate(&self, order: u64, orders: &[u64]) -> Fate {
        let index = orders.partition_point(|other| *other < order);
        let mut rng = Rng::new(self.seed ^ mix(order));
        let kept = match self.keep {
            Keep::Process | Keep::All => true,
            Keep::Nothing => false,
            Keep::Prefix(count) => index < count,
            Keep::AllBut(i, j) => index != i && index != j,
            Keep::Only(i, j) => index == i || index == j,
            Keep::Subset => rng.one_in(2),
            Keep::TornOne(i, sector) if index == i => return Fate::Torn(sector),
            Keep::TornOne(..) => true,
            Keep::Torn(sector) => return Fate::Torn(sector),
        };
        if kept { Fate::Kept } else { Fate::Dropped }
    }

    fn names(&self, directory: &Directory, orders: &[u64]) -> Names {
        let mut names = Names::clone(&directory.durable);
        for (order, change) in &directory.pending {
            let kept = match self.fate(*order, orders) {
                Fate::Kept => true,
                Fate::Dropped => false,
                // A name cannot be torn: it is there or not.
                Fate::Torn(_) => Rng::new(self.seed ^ order).one_in(2),
            };
            if kept {
                change.apply(&mut names);
            }
        }
        names
    }

    fn file(&self, file: &FileNode, orders: &[u64], mut rng: Rng, stale: &Content) -> FileNode {
        if file.pending.is_empty() {
            return FileNode::durable(Arc::clone(&file.durable), file.written);
        }
        let mut lengths = vec![file.durable.bytes().len()];
        for (_, change) in &file.pending {
            lengths.push(change.len_after(lengths[lengths.len() - 1]));
        }
        let most = lengths.iter().copied().max().unwrap_or(0);
        let mut image = Image {
            bytes: vec![0; most],
            len: lengths[0],
            written: file.written,
            fill: self.fill,
            stale,
            rng: rng.clone(),
        };
        image.fill(lengths[0]..most);
        image.bytes[..lengths[0]].copy_from_slice(file.durable.bytes());
        for (order, change) in &file.pending {
            let mut choice = Rng::new(self.seed ^ mix(*order));
            image.change(change, self.fate(*order, orders), &mut choice);
        }
        let len = match self.length {
            Length::OfData => image.len,
            Length::Durable => lengths[0],
            Length::Any => lengths[rng.below(lengths.len())],
        };
        image.bytes.truncate(len);
        FileNode::durable(Content::new(image.bytes), image.written.min(len))
    }
}

/// A file as the crash leaves it, in the making: as long as it ever was, its length apart.
struct Image<'a> {
    bytes: Vec<u8>,
    len: usize,
    written: usize,
    fill: Fill,
    stale: &'a Content,
    rng: Rng,
}

impl Image<'_> {
    fn change(&mut self, change: &Change, fate: Fate, choice: &mut Rng) {
        let before = self.len;
        match change {
            Change::Write(offset, bytes) => {
                let pieces = pieces(*offset..offset + bytes.len(), fate);
                let kept = choose_pieces(pieces.len(), fate, choice);
                for (piece, kept) in pieces.into_iter().zip(&kept) {
                    if *kept {
                        self.len = self.len.max(piece.end);
                        self.written = self.written.max(piece.end);
                        let from = piece.start - offset..piece.end - offset;
                        self.bytes[piece].copy_from_slice(&bytes[from]);
                    } else if piece.start >= self.written {
                        self.fill(piece);
                    }
                }
                // Which sectors are there says nothing about the length: it is metadata.
                if kept.contains(&true) && choice.one_in(2) {
                    self.len = change.len_after(before);
                }
            }
            _ if fate == Fate::Dropped || (fate != Fate::Kept && choice.one_in(2)) => {}
            Change::SetLen(_) | Change::Grow(_) => {
                self.len = change.len_after(before);
                self.written = change.written_after(self.written);
            }
        }
        if self.len < before {
            self.fill(self.len..before);
        }
    }

    fn fill(&mut self, range: Range<usize>) {
        for position in range {
            self.bytes[position] = match self.fill {
                Fill::Zeros => 0,
                #[expect(clippy::cast_possible_truncation, reason = "one byte of a random word")]
                Fill::Garbage => self.rng.next() as u8,
                Fill::Stale => self.stale.bytes().get(position).copied().unwrap_or(0),
            };
        }
    }
}

/// A written range cut at the boundaries of sectors, which are those of the file.
fn pieces(range: Range<usize>, fate: Fate) -> Vec<Range<usize>> {
    let Fate::Torn(sector) = fate else {
        return vec![range];
    };
    let mut pieces = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let end = ((start / sector + 1) * sector).min(range.end);
        pieces.push(start..end);
        start = end;
    }
    pieces
}

/// Which pieces of a write are there. If it is torn: any, the first or the last ones.
fn choose_pieces(count: usize, fate: Fate, choice: &mut Rng) -> Vec<bool> {
    let (pattern, cut) = (choice.below(3), choice.below(count + 1));
    let kept = |index: usize| match (fate, pattern) {
        (Fate::Kept, _) => true,
        (Fate::Dropped, _) => false,
        (_, 0) => index < cut,
        (_, 1) => index >= cut,
        _ => choice.one_in(2),
    };
    (0..count).map(kept).collect()
}
