//! The steps of random sequences, and how often each comes.

use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::strategy::{Just, Strategy};

/// How many keys there are.
pub const KEYS: usize = 12;

/// One step of a sequence.
#[derive(Debug, Clone)]
pub enum Action {
    /// A key, and the length of its value.
    Set(usize, usize),
    /// And so many milliseconds to live.
    SetFor(usize, usize, u64),
    Remove(usize),
    Batch(Vec<(usize, Option<usize>)>),
    /// A key gets a value if it is as it should be, as it should not be, or has the version that it
    /// has.
    SwapRight(usize, usize),
    SwapWrong(usize, usize),
    SwapVersion(usize, usize),
    Append(usize, usize),
    ExpireAt(usize, u64),
    Persist(usize),
    /// So many milliseconds go by.
    Pass(u64),
    /// Somebody sets the clock, by so many milliseconds from where it was at first.
    SetClock(i64),
    Sweep,
    Snapshot,
    /// The keys between two, with or without them, forward, backward and from both ends.
    Range(usize, usize, u8),
    /// What a snapshot holds is compared, by iterating and by asking.
    LookBack(usize),
    EndSnapshot(usize),
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

/// A random step.
pub fn action() -> impl Strategy<Value = Action> {
    let key = || 0..KEYS;
    let len = || prop_oneof![3 => 0..120_usize, 1 => 0..1500_usize];
    let change = (key(), prop_oneof![2 => len().prop_map(Some), 1 => Just(None)]);
    prop_oneof![
        12 => (key(), len()).prop_map(|(key, len)| Action::Set(key, len)),
        6 => (key(), len(), 1..4000_u64).prop_map(|(k, l, ms)| Action::SetFor(k, l, ms)),
        1 => (key(), len()).prop_map(|(key, len)| Action::SwapRight(key, len)),
        1 => (key(), len()).prop_map(|(key, len)| Action::SwapWrong(key, len)),
        1 => (key(), len()).prop_map(|(key, len)| Action::SwapVersion(key, len)),
        1 => (key(), 0..40_usize).prop_map(|(key, len)| Action::Append(key, len)),
        1 => (key(), 1..4000_u64).prop_map(|(key, ms)| Action::ExpireAt(key, ms)),
        1 => key().prop_map(Action::Persist),
        4 => (0..2500_u64).prop_map(Action::Pass),
        1 => (-9_000_000..9_000_000_i64).prop_map(Action::SetClock),
        2 => Just(Action::Sweep),
        3 => (key(), key(), 0..4_u8).prop_map(|(a, b, ends)| Action::Range(a, b, ends)),
        2 => Just(Action::Snapshot),
        3 => (0..4_usize).prop_map(Action::LookBack),
        1 => (0..4_usize).prop_map(Action::EndSnapshot),
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
