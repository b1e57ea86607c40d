//! Compaction: rewrite what is alive, drop the rest. Here is the choice of what to rewrite; how
//! it is done stands in `rewrite`.
//!
//! Garbage is allowed up to a limit below the bound on disk space; above it, the segments are
//! chosen that give the most bytes for the fewest rewritten (Rosenblum and Ousterhout, 1992, call
//! it greedy cleaning). A tombstone gives nothing while a segment outside may hold an older set of
//! its key; where only such tombstones are left, the oldest segment that holds them up is
//! rewritten, which sets its `clean_upto` and lets them go next time.

use std::sync::atomic::Ordering;

use super::names::SegmentId;
use super::record::SEAL_BYTES_MAX;
use super::segment::{HEADER_BYTES, Segment};

/// The part of the allowed garbage at which compaction begins: the rest is for what is written
/// while it runs.
const BEGIN: f64 = 0.7;
/// A segment of which less than this part would be won is not worth rewriting.
const WORTH: f64 = 0.05;
/// What a segment takes beside its records.
const FRAME: u64 = (HEADER_BYTES + SEAL_BYTES_MAX) as u64;

/// What is known of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) id: SegmentId,
    pub(crate) file_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) tombstone_bytes: u64,
    /// Dead, but kept for the sake of history.
    pub(crate) retained_bytes: u64,
    pub(crate) min_seq: u64,
    pub(crate) max_seq: u64,
    pub(crate) clean_upto: u64,
    /// Whether it may be rewritten: sealed and readable.
    pub(crate) is_eligible: bool,
}

impl Segment {
    pub(crate) fn facts(&self) -> Facts {
        let is_sealed = self.sealed.load(Ordering::Acquire);
        Facts {
            id: self.id,
            file_bytes: self.file_bytes.load(Ordering::Relaxed),
            live_bytes: self.live_bytes.load(Ordering::Relaxed),
            tombstone_bytes: self.tombstone_bytes.load(Ordering::Relaxed),
            retained_bytes: self.retained_bytes.load(Ordering::Relaxed),
            min_seq: self.min_seq.load(Ordering::Relaxed),
            max_seq: self.max_seq.load(Ordering::Relaxed),
            clean_upto: self.clean_upto.load(Ordering::Relaxed),
            is_eligible: is_sealed && !self.damaged.load(Ordering::Relaxed),
        }
    }
}

impl Facts {
    /// Whether this segment can hold no set that a tombstone of that seq supersedes.
    pub(crate) fn is_clean_for(&self, tombstone_seq: u64) -> bool {
        tombstone_seq < self.min_seq || tombstone_seq <= self.clean_upto
    }
}

/// The state of a store's segments.
#[derive(Debug, Clone)]
pub(crate) struct Situation {
    pub(crate) segments: Vec<Facts>,
    /// The bytes of segment files, those included that are about to be unlinked.
    pub(crate) total_bytes: u64,
    /// With what is kept for the sake of history.
    pub(crate) live_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) amplification: f64,
}

/// Which segments to rewrite together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<SegmentId>,
}

impl Situation {
    /// The most bytes that segment files may take.
    pub(crate) fn bound(&self) -> u64 {
        scaled(self.live_bytes, self.amplification) + 2 * self.segment_bytes
    }

    /// Whether there is so much garbage that compaction should run.
    pub(crate) fn is_due(&self) -> bool {
        self.total_bytes > self.due_bytes()
    }

    fn due_bytes(&self) -> u64 {
        let garbage = scaled(self.live_bytes, (self.amplification - 1.0) * BEGIN);
        self.live_bytes + garbage + self.segment_bytes
    }

    /// How much is left of the room between where compaction begins and the bound, in percent.
    pub(crate) fn room_percent(&self) -> u32 {
        let room = self.bound().saturating_sub(self.due_bytes());
        let left = self.bound().saturating_sub(self.total_bytes).min(room);
        u32::try_from(left.saturating_mul(100) / room.max(1)).unwrap_or(100)
    }

    /// The bytes that rewriting a segment would win.
    fn winnable(&self, segment: &Facts) -> u64 {
        let mut others = self.segments.iter().filter(|other| other.id != segment.id);
        let mut stays = segment.live_bytes + segment.retained_bytes;
        if segment.tombstone_bytes != 0 && !others.all(|it| it.is_clean_for(segment.max_seq)) {
            stays += segment.tombstone_bytes;
        }
        if stays > 0 {
            stays += FRAME;
        }
        segment.file_bytes.saturating_sub(stays)
    }
}

/// Chooses what to rewrite next, if anything.
pub(crate) fn choose(situation: &Situation) -> Option<Plan> {
    if !situation.is_due() {
        return None;
    }
    let eligible = || situation.segments.iter().filter(|segment| segment.is_eligible);
    let mut worthy: Vec<(&Facts, u64)> = eligible()
        .map(|segment| (segment, situation.winnable(segment)))
        .filter(|(segment, won)| *won > scaled(segment.file_bytes, WORTH))
        .collect();
    // By the part that would be won, in whole numbers so that the order is total.
    let part = |(segment, won): &(&Facts, u64)| won * 1024 / segment.file_bytes.max(1);
    worthy.sort_by_key(|candidate| (std::cmp::Reverse(part(candidate)), candidate.0.id));
    if worthy.is_empty() {
        return choose_obstacle(situation);
    }
    let mut kept = 0;
    let mut inputs = Vec::new();
    for (segment, won) in worthy {
        kept += segment.file_bytes.saturating_sub(won);
        if !inputs.is_empty() && kept > situation.segment_bytes {
            break;
        }
        inputs.push(segment.id);
    }
    Some(Plan { inputs })
}

/// The oldest segment that keeps tombstones of others from being dropped.
fn choose_obstacle(situation: &Situation) -> Option<Plan> {
    let with_tombstones =
        || situation.segments.iter().filter(|it| it.is_eligible && it.tombstone_bytes > 0);
    let is_obstacle = |segment: &&Facts| {
        segment.is_eligible
            && with_tombstones().any(|it| it.id != segment.id && !segment.is_clean_for(it.max_seq))
    };
    let oldest = situation.segments.iter().filter(is_obstacle).min_by_key(|it| it.min_seq)?;
    Some(Plan { inputs: vec![oldest.id] })
}

/// `bytes` times a factor that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bound on disk space may be off by a few bytes in 2^53"
)]
fn scaled(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::{Facts, SegmentId, Situation, choose};

    /// Sizes in KiB.
    fn segment(id: u64, file_bytes: u64, live_bytes: u64, tombstone_bytes: u64) -> Facts {
        let (min_seq, max_seq) = (id * 100, id * 100 + 99);
        let [file_bytes, live_bytes, tombstone_bytes] =
            [file_bytes, live_bytes, tombstone_bytes].map(|kib| kib << 10);
        let id = SegmentId(id);
        let (clean_upto, is_eligible) = (0, true);
        Facts {
            id,
            file_bytes,
            live_bytes,
            tombstone_bytes,
            retained_bytes: 0,
            min_seq,
            max_seq,
            clean_upto,
            is_eligible,
        }
    }

    fn situation(segments: Vec<Facts>) -> Situation {
        Situation {
            total_bytes: segments.iter().map(|it| it.file_bytes).sum(),
            live_bytes: segments.iter().map(|it| it.live_bytes).sum(),
            segment_bytes: 100 << 10,
            amplification: 1.5,
            segments,
        }
    }

    fn chosen(segments: Vec<Facts>) -> Option<Vec<u64>> {
        choose(&situation(segments)).map(|plan| plan.inputs.iter().map(|id| id.0).collect())
    }

    #[test]
    fn all_of_a_dead_segment_is_won_and_its_tombstones_if_the_others_are_clean() {
        let (dead, other) = (segment(1, 100, 0, 100), segment(2, 100, 100, 0));
        let clean = Facts { clean_upto: 1000, ..other };
        let won = |others: Facts| situation(vec![dead, others]).winnable(&dead);
        assert_eq!((won(clean), won(Facts { min_seq: 0, ..other })), (100 << 10, 0));
        let dead = segment(1, 100, 0, 0);
        assert_eq!(situation(vec![dead, other]).winnable(&dead), 100 << 10);
    }

    #[test]
    fn nothing_is_won_of_what_was_just_written() {
        let facts = segment(1, 100, 10, 0);
        let won = situation(vec![facts]).winnable(&facts);
        assert!((89 << 10..90 << 10).contains(&won), "{won}");
        let dir = tempfile::tempdir().unwrap();
        let store = crate::Store::open(dir.path()).unwrap();
        store.set("key", "value").unwrap();
        store.compact().unwrap();
        let situation = store.core().situation();
        let mut sealed = situation.segments.iter().filter(|facts| facts.is_eligible);
        let output = sealed.next().unwrap();
        assert_eq!((situation.winnable(output), sealed.next().is_some()), (0, false));
    }

    /// A batch has one seq, and may have a key twice.
    #[test]
    fn a_segment_is_clean_for_what_is_older_than_all_of_it_or_was_looked_for() {
        let segment = Facts { min_seq: 50, clean_upto: 20, ..segment(1, 100, 0, 0) };
        let clean = [20, 21, 49, 50, 51].map(|seq| segment.is_clean_for(seq));
        assert_eq!(clean, [true, true, true, false, false]);
        let segment = Facts { clean_upto: 60, ..segment };
        assert_eq!([60, 61].map(|seq| segment.is_clean_for(seq)), [true, false]);
    }

    #[test]
    fn little_garbage_is_left_alone() {
        assert_eq!(chosen(vec![segment(1, 100, 90, 0), segment(2, 100, 90, 0)]), None);
    }

    #[test]
    fn the_room_ends_at_the_bound() {
        // Compaction is due above 1000 + 350 + 100 KiB; the bound is at 1500 + 200.
        let room = |file_bytes| situation(vec![segment(1, file_bytes, 1000, 0)]).room_percent();
        assert_eq!([1000, 1450, 1575, 1700, 2000].map(room), [100, 100, 50, 0, 0]);
        assert!(!situation(vec![segment(1, 1450, 1000, 0)]).is_due());
        assert!(situation(vec![segment(1, 1451, 1000, 0)]).is_due());
    }

    #[test]
    fn the_deadest_are_chosen_until_an_output_is_full() {
        let segments = (1..=6).map(|id| segment(id, 101, 10 * id, 0)).collect();
        assert_eq!(chosen(segments), Some(vec![1, 2, 3]));
    }

    #[test]
    fn the_part_that_is_won_counts_and_not_how_much_it_is() {
        let segments = vec![segment(1, 100, 10, 0), segment(2, 1000, 500, 0)];
        assert_eq!(chosen(segments), Some(vec![1]));
        let segments = vec![segment(1, 1000, 500, 0), segment(2, 100, 10, 0)];
        assert_eq!(chosen(segments), Some(vec![2]));
    }

    #[test]
    fn an_output_is_filled_to_the_last_byte() {
        let half = |id| Facts { live_bytes: (50 << 10) - super::FRAME, ..segment(id, 200, 0, 0) };
        assert_eq!(chosen(vec![half(1), half(2), half(3)]), Some(vec![1, 2]));
    }

    #[test]
    fn a_twentieth_is_not_worth_it() {
        let active = Facts { is_eligible: false, ..segment(2, 1000, 0, 0) };
        let with_won = |won| {
            let full = segment(1, 100, 0, 0);
            Facts { live_bytes: full.file_bytes - won - super::FRAME, ..full }
        };
        assert_eq!(chosen(vec![with_won(5 << 10), active]), None);
        assert_eq!(chosen(vec![with_won((5 << 10) + 1), active]), Some(vec![1]));
    }

    #[test]
    fn what_was_just_rewritten_is_not_worth_it_again() {
        let mut small = segment(1, 0, 0, 0);
        (small.file_bytes, small.live_bytes) = (300 + super::FRAME, 300);
        let active = Facts { is_eligible: false, ..segment(2, 1000, 0, 0) };
        assert_eq!(chosen(vec![small, active]), None);
    }

    #[test]
    fn what_is_kept_for_the_sake_of_history_is_no_gain() {
        let mut segments = vec![segment(1, 200, 20, 0), segment(2, 200, 30, 0)];
        assert_eq!(chosen(segments.clone()), Some(vec![1, 2]));
        segments[0].retained_bytes = 175 << 10;
        assert_eq!(chosen(segments), Some(vec![2]));
    }

    #[test]
    fn without_tombstones_that_must_stay_nothing_is_an_obstacle() {
        let active = Facts { is_eligible: false, ..segment(9, 1000, 0, 0) };
        assert_eq!(chosen(vec![segment(1, 100, 100, 0), segment(2, 100, 100, 0), active]), None);
        // So few that they are not worth it, though nothing keeps them.
        let clean = Facts { clean_upto: 1000, ..segment(1, 100, 100, 0) };
        assert_eq!(chosen(vec![clean, segment(3, 300, 299, 1), active]), None);
    }

    #[test]
    fn tombstones_that_must_stay_are_no_gain_and_the_oldest_obstacle_goes_first() {
        let segments = vec![
            segment(1, 100, 100, 0),
            segment(2, 100, 100, 0),
            segment(3, 300, 0, 300),
            segment(4, 300, 0, 300),
        ];
        assert_eq!(chosen(segments.clone()), Some(vec![1]));
        let mut clean = segments;
        for it in clean.iter_mut().take(2) {
            it.clean_upto = 1000;
        }
        assert_eq!(chosen(clean), Some(vec![3]), "nothing older than 3 is left");
    }
}
